"""The sha256 by which an image is recognised, and the sign that a file is another."""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

FileStates = tuple[tuple[str, int, int, int], ...]
"""Name, size, time of the last change (ns) and inode of each file."""

WHOLE_BYTES = 64 << 20
"""Up to this size every byte counts; above it, samples do."""

_HEAD_BYTES = 1 << 20
_SAMPLES = 64
_SAMPLE_BYTES = 64 << 10
_CHUNK = 8 << 20


def fingerprint_bytes(
    size: int,
    read: Callable[[int, int], bytes],
    tables: Iterable[tuple[int, ...]] = (),
) -> str:
    """The sha256 (hex) of something of ``size`` bytes.

    Up to 64 MB it is the sha256 of the bytes, as ``sha256sum`` gives for a file. Above,
    of: the size (8 bytes, little-endian), the first MB, the tile tables, and 64 samples
    of 64 kB spread evenly from the start to the very end. Reading a slide of many GB
    would take minutes; a changed scan changes its tile table.

    Args:
        size: bytes.
        read: ``read(offset, size)`` gives bytes.
        tables: tile offsets and byte counts, only used above 64 MB.
    """
    digest = hashlib.sha256()
    if size <= WHOLE_BYTES:
        for start in range(0, size, _CHUNK):
            digest.update(read(start, min(_CHUNK, size - start)))
        return digest.hexdigest()
    digest.update(size.to_bytes(8, "little"))
    digest.update(read(0, _HEAD_BYTES))
    for table in tables:
        digest.update(np.asarray(table, dtype="<u8").tobytes())
    for index in range(_SAMPLES):
        start = (size - _SAMPLE_BYTES) * index // (_SAMPLES - 1)
        digest.update(read(start, _SAMPLE_BYTES))
    return digest.hexdigest()


def fingerprint_files(
    paths: Sequence[Path], tables: Iterable[tuple[int, ...]] = ()
) -> str:
    """The sha256 (hex) of files one after the other, as of one file.

    Args:
        paths: at least one, in an order that does not change.
        tables: as in :func:`fingerprint_bytes`.
    """
    ends = list(accumulate(path.stat().st_size for path in paths))

    def read(start: int, size: int) -> bytes:
        parts: list[bytes] = []
        index = bisect_right(ends, start)
        while size > 0 and index < len(paths):
            with paths[index].open("rb") as file:
                file.seek(start - (ends[index] - file.seek(0, os.SEEK_END)))
                parts.append(file.read(size))
            start, size = ends[index], size - len(parts[-1])
            index += 1
        return b"".join(parts)

    return fingerprint_bytes(ends[-1], read, tables)


def neutral_name(path: Path) -> str:
    """What a film is called, as its file may be called like the patient."""
    return f"film-{fingerprint_files([path])[:12]}"


def file_states(paths: Iterable[Path]) -> FileStates | None:
    """What differs once one of the files was overwritten; nothing of them is read.

    Returns:
        None where one is gone: that says nothing of the pixels that it held.
    """
    try:
        stats = [(str(path.absolute()), path.stat()) for path in paths]
    except OSError:
        return None
    return tuple(
        (name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in stats
    )


def fingerprint_part(whole: str, part: str) -> str:
    """The sha256 (hex) of one channel or plane of a file; of the file where all is."""
    return hashlib.sha256(f"{whole} {part}".encode()).hexdigest() if part else whole
