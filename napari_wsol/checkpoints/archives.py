"""The tensors in a file of ``torch.save``: which there are, and their numbers.

Since torch 1.6 such a file is a zip of a pickle and of one file of numbers for each
storage, none of them compressed. Before, it was a row of pickles with the numbers
behind them.
"""

from __future__ import annotations

import io
import sys
import zipfile
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

import torch

from napari_wsol.checkpoints.pickles import read_pickle
from napari_wsol.errors import MalformedError, told_as
from napari_wsol.files.parsing import typed

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from napari_wsol.checkpoints.pickles import Contents, StoredNumbers, StoredTensor

PICKLE_BYTES = 32 << 20
"""Of a pickle in a zip: the longest published one has 300 kB."""

ENTRIES_BYTES = 16 << 20
"""Of the list of files in a zip: 200,000 of them; networks have some thousands."""

_COUNT = 8
"""Bytes before the numbers of a storage, which say how many they are."""

_MAGIC = 0x1950A86A20F9469CFC6C
_END, _END_SIZE, _LOCATOR_SIZE = b"PK\5\6", 22, 20
_COMMENT = 1 << 16
_BIG = 0xFFFFFFFF
_KINDS = {
    "BFloat16Storage": torch.bfloat16,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ComplexDoubleStorage": torch.complex128,
    "ComplexFloatStorage": torch.complex64,
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "ShortStorage": torch.int16,
}


class Archive(Protocol):
    """A file of ``torch.save``."""

    contents: Contents

    def bytes_of(self, numbers: StoredNumbers, size: int) -> bytes:
        """The bytes of a storage; fewer than ``size`` where some are missing.

        Raises:
            MalformedError: they are not there.
            OSError: they cannot be read.
        """
        ...


def open_archive(path: Path) -> Archive:
    """What a file of ``torch.save`` holds; no numbers are read yet.

    Raises:
        ForeignObjectError: it holds a Python object.
        MalformedError: it is damaged, or no such file.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        is_zip = file.read(4) == b"PK\3\4"
    return _Zip(path) if is_zip else _Legacy(path)


class Tensors:
    """Makes tensors of what an archive stores; each storage is read once."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._read: dict[str, Tensor] = {}

    def tensor(self, stored: StoredTensor) -> Tensor:
        """One of them, on the CPU.

        Raises:
            MalformedError: its numbers are not there, or of a kind that is unknown.
            OSError: they cannot be read.
        """
        key = stored.numbers.key
        if key not in self._read:
            dtype = _dtype(stored.numbers)
            size = stored.numbers.count * dtype.itemsize
            data = self._archive.bytes_of(stored.numbers, size)
            if len(data) != size:
                raise MalformedError("it is cut off: numbers of a tensor are missing")
            self._read[key] = _as_tensor(bytearray(data), dtype)
        return self._read[key].as_strided(stored.shape, stored.strides, stored.offset)


def _dtype(numbers: StoredNumbers) -> torch.dtype:
    if numbers.kind not in _KINDS:
        raise MalformedError(f"its numbers are of a kind not known ({numbers.kind})")
    return _KINDS[numbers.kind]


def _as_tensor(data: bytearray, dtype: torch.dtype) -> Tensor:
    if not data:
        return torch.zeros(0, dtype=dtype)
    if dtype == torch.bool:  # any other byte than 0 and 1 would be no bool
        return torch.frombuffer(data, dtype=torch.uint8) != 0
    return torch.frombuffer(data, dtype=dtype)


def _damaged(error: Exception) -> MalformedError:
    return MalformedError(f"it is cut off or damaged ({error})")


_in_words = partial(told_as, _damaged, but=(MalformedError, OSError))
"""What zipfile raises on bytes that are no zip, in words."""


class _Zip:
    """A file of torch 1.6 and later."""

    def __init__(self, path: Path) -> None:
        size = path.stat().st_size
        _check_list(path, size)
        with _in_words():
            self._file = zipfile.ZipFile(path)  # its list is read once, not a tensor
            self._entries = {item.filename: item for item in self._file.infolist()}
            self._root = self._check(size)
            data = self._bytes(f"{self._root}/data.pkl", PICKLE_BYTES)
            if f"{self._root}/byteorder" in self._entries:
                order = self._bytes(f"{self._root}/byteorder", 16)
                _check_order(is_little=order == b"little")
        self.contents = read_pickle(io.BytesIO(data))

    def bytes_of(self, numbers: StoredNumbers, size: int) -> bytes:
        with _in_words():
            return self._bytes(f"{self._root}/data/{numbers.key}", size)

    def _check(self, size: int) -> str:
        """The folder that all lies in; what is told of the entries must be so."""
        told = sum(item.file_size for item in self._entries.values())
        stored = all(
            item.compress_type == zipfile.ZIP_STORED and not item.flag_bits & 1
            for item in self._entries.values()
        )
        if not stored or told > size:
            raise MalformedError("its numbers are compressed, as torch never does")
        roots = [name.removesuffix("/data.pkl") for name in self._entries]
        roots = [root for root in roots if f"{root}/data.pkl" in self._entries]
        if len(roots) != 1:
            raise MalformedError("it holds no weights")
        if f"{roots[0]}/constants.pkl" in self._entries:
            raise MalformedError("it is a program of TorchScript, which is not run")
        return roots[0]

    def _bytes(self, name: str, most: int) -> bytes:
        entry = self._entries.get(name)
        if entry is None or entry.file_size > most:
            raise MalformedError("it is cut off: numbers of a tensor are missing")
        return self._file.read(entry)


def _check_list(path: Path, size: int) -> None:
    """Looks how long the list of files is, before it is read."""
    tail = min(size, _COMMENT + _END_SIZE + _LOCATOR_SIZE + 56)
    with path.open("rb") as file:
        file.seek(size - tail)
        end = file.read(tail)
    at = end.rfind(_END)
    if at < 0 or len(end) < at + _END_SIZE:
        raise MalformedError("it is cut off or damaged")
    length = int.from_bytes(end[at + 12 : at + 16], "little")
    if length == _BIG:
        length = _long_list(end, at)
    if length > ENTRIES_BYTES:
        raise MalformedError("it holds more files than any network has weights")


def _long_list(end: bytes, at: int) -> int:
    """The same in a zip of more than 4 GB, whose second ending is before the first."""
    start = end.rfind(b"PK\6\6", 0, at)
    if start < 0 or len(end) < start + 48:
        raise MalformedError("it is cut off or damaged")
    return int.from_bytes(end[start + 40 : start + 48], "little")


class _Legacy:
    """A file of torch before 1.6: five pickles, then the numbers of each storage."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            head = io.BytesIO(file.read(PICKLE_BYTES))
        if read_pickle(head).plain != _MAGIC:
            raise MalformedError("it is no file of torch.save")
        read_pickle(head)  # version of the protocol
        system = read_pickle(head).plain
        self.contents, keys = read_pickle(head), read_pickle(head).plain
        told = cast("dict[str, object]", system) if isinstance(system, dict) else {}
        _check_order(is_little=told.get("little_endian", True) is True)
        self._places: dict[str, int] = {}
        at = head.tell()
        for key in typed(keys, list[str]):
            if key not in self.contents.storages:
                raise MalformedError("it does not say where its numbers are")
            numbers = self.contents.storages[key]
            self._places[key] = at
            at += _COUNT + numbers.count * _dtype(numbers).itemsize

    def bytes_of(self, numbers: StoredNumbers, size: int) -> bytes:
        if numbers.key not in self._places:
            raise MalformedError("it does not say where its numbers are")
        with self._path.open("rb") as file:
            file.seek(self._places[numbers.key])
            count = int.from_bytes(file.read(_COUNT), "little")
            return file.read(size) if count == numbers.count else b""


def _check_order(*, is_little: bool) -> None:
    if is_little is not (sys.byteorder == "little"):
        raise MalformedError("it was written by a machine of another byte order")
