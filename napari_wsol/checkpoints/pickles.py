"""Rewrites a pickle of protocol 4 or 5 as protocol 2, without running it.

torch's restricted loader reads protocol 2 only, and PYLON's code saves with protocol 4.
The opcodes are taken one by one and written down again; nothing in the file is called
or imported here, and the restricted loader still decides what it lets through.
"""

from __future__ import annotations

import io
import pickletools
import struct
import zipfile
from typing import TYPE_CHECKING, BinaryIO

from napari_wsol.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_STRINGS = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8")
_BYTES = ("SHORT_BINBYTES", "BINBYTES", "BINBYTES8")
_PUTS = ("BINPUT", "LONG_BINPUT", "PUT")
_GETS = ("BINGET", "LONG_BINGET", "GET")
_REFUSED = (
    "ADDITEMS",
    "BYTEARRAY8",
    "EMPTY_SET",
    "FROZENSET",
    "NEWOBJ_EX",
    "NEXT_BUFFER",
    "READONLY_BUFFER",
)
_LEGACY_PICKLES = 5
"""A torch file from before 1.6: magic, version, system, object, storage keys."""


def as_protocol_2(path: Path) -> BinaryIO:
    """A torch file in memory, with its pickles rewritten.

    Raises:
        ModelError: something in it has no form in protocol 2.
    """
    if zipfile.is_zipfile(path):
        return _rewritten_zip(path)
    result = io.BytesIO()
    with path.open("rb") as source:
        for _ in range(_LEGACY_PICKLES):
            result.write(rewrite(source))
        result.write(source.read())
    result.seek(0)
    return result


def _rewritten_zip(path: Path) -> BinaryIO:
    result = io.BytesIO()
    with (
        zipfile.ZipFile(path) as source,
        zipfile.ZipFile(result, "w", zipfile.ZIP_STORED) as target,
    ):
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("/data.pkl"):
                data = rewrite(io.BytesIO(data))
            target.writestr(name, data)
    result.seek(0)
    return result


def rewrite(source: BinaryIO) -> bytes:
    """One pickle, from the present position up to its end, as protocol 2.

    Raises:
        ModelError: it holds something that protocol 2 has not.
    """
    start = source.tell()
    ops = list(pickletools.genops(source))
    end = source.tell()
    source.seek(start)
    data = source.read(end - start)
    return b"".join(_Rewriter(data, start).parts(ops))


class _Rewriter:
    """Goes through opcodes once; strings are written where they are used.

    Protocol 4 names a global by two strings on the stack, which may come out of the
    memo. So strings are never put into the memo, but repeated.
    """

    def __init__(self, data: bytes, start: int) -> None:
        self._data, self._start = data, start
        self._memo: dict[int, str | None] = {}
        self._out: list[bytes] = []
        self._pushed: str | None = None
        self._texts: list[str] = []

    def parts(
        self, ops: Sequence[tuple[pickletools.OpcodeInfo, object, int | None]]
    ) -> Iterator[bytes]:
        ends = [pos for _, _, pos in ops[1:]] + [self._start + len(self._data)]
        for (op, arg, pos), end in zip(ops, ends, strict=True):
            raw = self._data[(pos or 0) - self._start : (end or 0) - self._start]
            self._step(op.name, arg, raw)
        yield from self._out

    def _step(self, name: str, arg: object, raw: bytes) -> None:
        if name in _REFUSED:
            raise ModelError(f"The file uses the pickle opcode {name}.")
        if name == "PROTO":
            self._out.append(b"\x80\x02")
        elif name == "FRAME":
            pass
        elif name in _STRINGS:
            self._push(str(arg))
        elif name in (*_PUTS, "MEMOIZE"):
            self._put(len(self._memo) if name == "MEMOIZE" else int(str(arg)))
        elif name in _GETS:
            self._get(int(str(arg)), raw)
        elif name == "STACK_GLOBAL":
            self._global()
        elif name in _BYTES and isinstance(arg, bytes):
            self._other(_bytes(arg))
        else:
            self._other(raw)

    def _other(self, raw: bytes) -> None:
        self._out.append(raw)
        self._pushed = None
        self._texts.clear()

    def _push(self, text: str) -> None:
        self._out.append(_text(text))
        self._pushed = text
        self._texts.append(text)

    def _put(self, index: int) -> None:
        self._memo[index] = self._pushed
        if self._pushed is None:
            self._out.append(b"r" + struct.pack("<I", index))

    def _get(self, index: int, raw: bytes) -> None:
        text = self._memo.get(index)
        if text is None:
            self._other(raw)
        else:
            self._push(text)

    def _global(self) -> None:
        if len(self._texts) < 2:
            raise ModelError("The file names a Python object in an unusual way.")
        module, name = self._texts[-2:]
        del self._out[-2:]
        self._other(f"c{module}\n{name}\n".encode())


def _text(text: str) -> bytes:
    encoded = text.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _bytes(value: bytes) -> bytes:
    """How protocol 2 writes bytes: a call of the codec that every loader allows."""
    latin = _text(value.decode("latin1"))
    return b"c_codecs\nencode\n" + latin + _text("latin1") + b"\x86R"
