"""The file that finished tiles are appended to, and what a killed run leaves of it."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wsol.slides.tile_log import TileLog

KEY = {"model": "a", "core": 64}


@pytest.fixture
def path(tmp_path):
    """A log of four tiles; the second of them is not finished."""
    log = TileLog(tmp_path / "slide.tiles", 4, KEY)
    for index in (3, 2, 0):
        log.append(index, parts(index))
    log.close()
    return log.path


def parts(index):
    return [np.full((2, index), index, np.float16), np.arange(3, dtype=np.uint8)]


def bytes_of(index):
    return b"".join(part.tobytes() for part in parts(index))


def test_what_was_finished_is_there_again(path):
    log = TileLog(path, 4, KEY)
    assert log.done.tolist() == [0, 2, 3]
    assert len(log) == 3
    assert [index in log for index in range(4)] == [True, False, True, True]
    assert log.size == path.stat().st_size
    for index in (0, 2, 3):
        assert log.read(index) == bytes_of(index)
    with pytest.raises(KeyError):
        log.read(1)
    log.append(1, [])
    assert log.read(1) == b""
    assert log.size == path.stat().st_size
    assert len(log) == 4


def test_a_log_that_was_cut_anywhere_keeps_the_whole_tiles(path):
    whole = path.read_bytes()
    kept = []
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        log = TileLog(path, 4, KEY)
        kept.append(log.done.tolist())
        assert log.size == path.stat().st_size <= max(end, log.size)
        for index in log.done:
            assert log.read(index) == bytes_of(index)
        log.close()
    steps = [now for before, now in zip([None, *kept], kept, strict=False)
             if now != before]  # fmt: skip
    assert steps == [[], [3], [2, 3], [0, 2, 3]]


def test_a_damaged_tile_and_those_after_it_are_made_again(path):
    data = bytearray(path.read_bytes())
    at = bytes(data).index(bytes_of(2))
    data[at] ^= 1
    path.write_bytes(bytes(data))
    assert TileLog(path, 4, KEY).done.tolist() == [3]


def test_a_tile_that_is_finished_twice_counts_once(path):
    log = TileLog(path, 4, KEY)
    log.append(2, parts(5))
    log.close()
    again = TileLog(path, 4, KEY)
    assert len(again) == 3
    assert again.read(2) == bytes_of(5)


@pytest.mark.parametrize("key", [{"model": "b", "core": 64}, {"core": 64}])
def test_tiles_of_something_else_are_forgotten(path, key):
    log = TileLog(path, 4, key)
    assert len(log) == 0
    assert log.done.size == 0
    assert log.size == path.stat().st_size


def test_tiles_of_a_larger_slide_are_forgotten(path):
    assert TileLog(path, 3, KEY).done.tolist() == []
