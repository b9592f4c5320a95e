"""What is packed: looked at before it is unpacked, and unpacked within bounds."""

from __future__ import annotations

import gzip
import io
import zipfile
from functools import partial
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, cast

from napari_wsol.errors import MalformedError, told_as
from napari_wsol.files import read_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

GZIP, ZIP = b"\x1f\x8b", b"PK\3\4"
"""What such files begin with."""

LIST_BYTES = 1 << 20
"""Of the list of files in a zip of which one is wanted: 10,000 of them."""

_END, _END_SIZE, _LOCATOR_SIZE = b"PK\5\6", 22, 20
_COMMENT = 1 << 16
_BIG = 0xFFFFFFFF
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Others are unpacked by Python without a bound."""

damaged = partial(
    told_as, lambda error: MalformedError(f"it is cut off or damaged ({error})")
)
"""What the libraries raise on bytes that are no archive, in words."""


def read_unpacked(path: Path, most: int, endings: Sequence[str]) -> bytes:
    """A file, or what a gzip file or a zip of one file holds.

    Args:
        path: of the file; its content tells what it is, not its name.
        most: bytes, packed and unpacked.
        endings: of the file that is wanted, where a zip holds others too.

    Raises:
        OSError: it cannot be read, or is no file.
        MalformedError: it is larger, damaged, or a zip of several such files.
    """
    data = read_whole(path, most)
    if data.startswith(GZIP):
        with damaged(but=MalformedError), gzip.open(io.BytesIO(data)) as file:
            return _bounded(cast("IO[bytes]", file), most)
    if not data.startswith(ZIP):
        return data
    if list_bytes(io.BytesIO(data), len(data)) > LIST_BYTES:
        raise MalformedError("it is a zip of too many files")
    with damaged(but=MalformedError), zipfile.ZipFile(io.BytesIO(data)) as archive:
        entry = _wanted(archive.infolist(), tuple(endings))
        if entry.compress_type not in _PLAIN or entry.flag_bits & 1:
            raise MalformedError("it is packed in a way that is not read: unpack it")
        with archive.open(entry) as file:
            return _bounded(file, most)


def list_bytes(file: IO[bytes], size: int) -> int:
    """How long the list of files of a zip is, before it is read.

    Args:
        file: the zip.
        size: its bytes.

    Raises:
        MalformedError: there is none.
    """
    file.seek(size - min(size, _COMMENT + _END_SIZE + _LOCATOR_SIZE + 56))
    end = file.read()
    at = end.rfind(_END)
    if at < 0 or len(end) < at + _END_SIZE:
        raise MalformedError("it is cut off or damaged")
    length = int.from_bytes(end[at + 12 : at + 16], "little")
    return _long_list(end, at) if length == _BIG else length


def _long_list(end: bytes, at: int) -> int:
    """The same in a zip of more than 4 GB, whose second ending is before the first."""
    start = end.rfind(b"PK\6\6", 0, at)
    if start < 0 or len(end) < start + 48:
        raise MalformedError("it is cut off or damaged")
    return int.from_bytes(end[start + 40 : start + 48], "little")


def _wanted(every: list[zipfile.ZipInfo], endings: tuple[str, ...]) -> zipfile.ZipInfo:
    """The only file, or the only one that ends as it should."""
    files: dict[str, zipfile.ZipInfo] = {}
    for item in every:
        path = PurePosixPath(item.filename)
        # macOS adds hidden ones.
        is_hidden = path.name.startswith(".") or "__MACOSX" in path.parts
        if not (item.is_dir() or is_hidden):
            files[str(path)] = item
    names = [name for name in files if name.lower().endswith(endings)] or list(files)
    if len(names) != 1:
        listed = ", ".join(names[:3]) or "none"
        raise MalformedError(
            f"it is a zip of {len(names)} files ({listed}): unpack it and take one"
        )
    return files[names[0]]


def _bounded(file: IO[bytes], most: int) -> bytes:
    data = file.read(most + 1)
    if len(data) > most:
        raise MalformedError(f"unpacked it is larger than the {most >> 20} MB read")
    return data
