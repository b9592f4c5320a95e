"""Finished tiles in one file that only grows, so that a crash loses none of them.

After a header, each tile is a record: its number, the length of its data and their
checksum, then the data. A record that was cut off when the process was killed is cut
away when the file is opened again; everything before it stands. Tiles may come in any
order, and a reader finds each by its place in the file.
"""

from __future__ import annotations

import json
import os
import struct
import threading
import zlib
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.files import unwritable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import numpy.typing as npt

_MAGIC = b"WSOLTILES\0\1\n"
_HEAD = struct.Struct("<QII")
"""Of a record: number of the tile, bytes of data, their CRC-32."""
_LENGTH = struct.Struct("<I")


class TileLog:
    """The finished tiles of one run.

    Any thread may read; one writes at a time.

    Args:
        path: made if it is not there; its folder must be.
        count: how many tiles there are in all.
        key: what the tiles belong to. A file of another key is begun anew: its tiles
            are of another model, slide or cut.

    Raises:
        ExportError: the file cannot be written.
    """

    def __init__(self, path: Path, count: int, key: Mapping[str, object]) -> None:
        self.path, self._file = path, -1
        self._lock = threading.RLock()
        self._starts = np.full(count, -1, np.int64)  # -1: not finished
        self._lengths = np.zeros(count, np.uint32)
        self._done = 0
        text = json.dumps(dict(key), sort_keys=True).encode()
        header = _MAGIC + _LENGTH.pack(len(text)) + text
        with unwritable(f"“{path}” cannot be written", "."):
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
            self._file = os.open(path, flags)
            self._end = self._recover(header)

    def _recover(self, header: bytes) -> int:
        """Finds the whole records, cuts off the rest; the end of the file."""
        size = os.fstat(self._file).st_size
        if self._pread(len(header), 0) != header:
            os.ftruncate(self._file, 0)
            self._pwrite(header, 0)
            return len(header)
        at = len(header)
        while at + _HEAD.size <= size:
            index, length, crc = _HEAD.unpack(self._pread(_HEAD.size, at))
            start = at + _HEAD.size
            if start + length > size or index >= len(self._starts):
                break
            if zlib.crc32(self._pread(length, start)) != crc:
                break
            self._place(index, start, length)
            at = start + length
        os.ftruncate(self._file, at)
        return at

    def _place(self, index: int, start: int, length: int) -> None:
        self._done += self._starts[index] < 0
        self._starts[index], self._lengths[index] = start, length

    def __len__(self) -> int:
        return self._done

    def __contains__(self, index: int) -> bool:
        return bool(self._starts[index] >= 0)

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self._end

    @property
    def done(self) -> npt.NDArray[np.intp]:
        """Numbers of the finished tiles, from low to high."""
        return np.flatnonzero(self._starts >= 0)

    def append(self, index: int, parts: Iterable[npt.NDArray[np.generic]]) -> None:
        """Keeps a tile's data; the arrays are joined as they are.

        Raises:
            ExportError: the disk is full or gone; what was kept before stands.
        """
        data = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
        record = _HEAD.pack(index, len(data), zlib.crc32(data)) + data
        with self._lock:
            to_do = ": make room, then start again; the finished tiles are kept."
            with unwritable(f"{self.path.name} cannot be written", to_do):
                self._pwrite(record, self._end)
            self._place(index, self._end + _HEAD.size, len(data))
            self._end += len(record)

    def read(self, index: int) -> bytes:
        """A tile's data; empty for one that could not be read from the slide.

        Raises:
            KeyError: it is not finished.
        """
        start = int(self._starts[index])
        if start < 0:
            raise KeyError(index)
        return self._pread(int(self._lengths[index]), start)

    def sync(self) -> None:
        """Waits until all is on the disk."""
        os.fsync(self._file)

    def close(self) -> None:
        """Gives the file back; harmless when called again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        # What shows a finished slide reads from it as long as it is shown.
        self.close()

    def _pread(self, length: int, start: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._file, length, start)
        with self._lock:  # Windows
            os.lseek(self._file, start, os.SEEK_SET)
            return os.read(self._file, length)

    def _pwrite(self, data: bytes, start: int) -> None:
        view = memoryview(data)
        while view:
            if hasattr(os, "pwrite"):
                written = os.pwrite(self._file, view, start)
            else:
                os.lseek(self._file, start, os.SEEK_SET)
                written = os.write(self._file, view)
            view, start = view[written:], start + written
