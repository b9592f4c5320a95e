"""The number by which an image is recognised, computed once more by hand."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from napari_wsol.images.fingerprint import (
    WHOLE_BYTES,
    fingerprint_bytes,
    fingerprint_files,
)


class Bytes:
    """Many bytes that need no memory, and which of them were read."""

    def __init__(self):
        self.read = []

    def __call__(self, start, size):
        self.read.append((start, start + size))
        return self.at(start, size)

    @staticmethod
    def at(start, size):
        return (np.arange(start, start + size) % 251).astype(np.uint8).tobytes()


@pytest.mark.parametrize(
    "parts", [[b"abc"], [b"abc", b"d"], [b"ab", b"", b"c", b""], [b"", b"x"], [b""]]
)
def test_files_count_as_one_file(tmp_path, parts):
    paths = [tmp_path / str(index) for index in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        path.write_bytes(part)
    joined = hashlib.sha256(b"".join(parts)).hexdigest()
    assert fingerprint_files(paths) == joined


def test_every_byte_counts_up_to_64_mb():
    source = Bytes()
    fingerprint_bytes(WHOLE_BYTES, source, [(1, 2)])
    ends = [0, *(end for _, end in source.read)]
    assert [start for start, _ in source.read] == ends[:-1]
    assert ends[-1] == WHOLE_BYTES == 64 * 2**20


def test_of_more_the_size_the_start_the_tables_and_64_samples_count():
    size, source = WHOLE_BYTES + 1, Bytes()
    found = fingerprint_bytes(size, source, [(1, 2**40), (3,)])
    digest = hashlib.sha256(size.to_bytes(8, "little") + Bytes.at(0, 2**20))
    for number in (1, 2**40, 3):
        digest.update(number.to_bytes(8, "little"))
    for index in range(64):
        digest.update(Bytes.at((size - 2**16) * index // 63, 2**16))
    assert found == digest.hexdigest()
    assert source.read[-1] == (size - 2**16, size)


def test_samples_of_several_files_are_those_of_the_whole(tmp_path):
    sizes = (WHOLE_BYTES // 2 + 5, 70_000, WHOLE_BYTES // 2)
    paths, start = [], 0
    for size in sizes:
        paths.append(tmp_path / str(size))
        paths[-1].write_bytes(Bytes.at(start, size))
        start += size
    assert fingerprint_files(paths) == fingerprint_bytes(sum(sizes), Bytes.at)
