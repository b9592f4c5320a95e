from __future__ import annotations

import numpy as np
import pytest

from napari_wsol.errors import ImageError
from napari_wsol.images.geometry import build_levels
from napari_wsol.images.level_arrays import LevelArray, level_arrays
from napari_wsol.images.readers import open_slide

KEYS = [
    ...,
    5,
    -1,
    (3, 4),
    (3, 4, 1),
    (slice(10, 20), slice(5, 400)),
    (slice(10, 20), slice(5, 400), slice(None)),
    (slice(None, None, 7), slice(500, 100, -3), slice(None, None, -1)),
    (slice(-30, None), ..., 0),
    (slice(30, 10), slice(None)),
    (np.int64(8), slice(np.int64(2), np.int64(9))),
    (..., slice(0, 2)),
    (slice(0, 5000), slice(0, 5000)),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_a_level_is_indexed_like_an_array(picture, key):
    (level,) = level_arrays(open_slide(picture))
    assert np.array_equal(level[key], picture[key])


def test_a_level_has_what_napari_asks_of_an_array(picture):
    (level,) = level_arrays(open_slide(picture))
    assert (level.shape, level.ndim, level.dtype) == (picture.shape, 3, np.uint8)
    assert (level.size, level.nbytes, len(level)) == (picture.size, picture.size, 701)
    assert np.array_equal(np.asarray(level), picture)
    assert np.asarray(level, np.float32).dtype == np.float32


@pytest.mark.parametrize(
    "key", [701, (0, 523), (0, 0, 3), (0, 0, 0, 0), "a", (..., ...)]
)
def test_a_wrong_index_is_an_index_error(picture, key):
    (level,) = level_arrays(open_slide(picture))
    with pytest.raises(IndexError):
        level[key]


def test_more_than_memory_holds_is_refused():
    level = LevelArray((100_000, 100_000), lambda *_: np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(ImageError, match="coarser level"):
        np.asarray(level)


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([(2967, 2220), (1483, 1110), (741, 555), (370, 277)], [1, 2, 4, 8]),
        ([(2967, 2220), (1484, 1110)], [1, 2]),
        ([(1000, 1000), (621, 621)], [1, 1000 / 621]),
    ],
)
def test_the_factor_of_a_rounded_level_is_whole(shapes, expected):
    assert [level.downsample for level in build_levels(shapes)] == [
        pytest.approx((factor, factor)) for factor in expected
    ]


def test_a_large_slide_without_pyramid_gets_computed_levels():
    wide = np.zeros((64, 20_000), np.uint8)
    wide[:, 8_000:] = 200
    levels = level_arrays(open_slide(wide))
    assert [level.shape for level in levels] == [
        (64, 20_000, 3),
        (16, 5_000, 3),
        (4, 1_250, 3),
    ]
    assert levels[1][8, 1_900].tolist() == [0, 0, 0]
    assert levels[1][8, 2_100].tolist() == [200, 200, 200]
    assert (levels[2][:, :499] == 0).all()
    assert (levels[2][:, 501:] == 200).all()


def test_the_first_channel_of_colours_is_shown_alone():
    colours = np.zeros((16, 16, 3), np.uint8)
    colours[..., 0], colours[..., 1] = 100, 20
    assert open_slide(colours, channel=0).read(0, 0, 0, 1, 1).tolist() == [[[100] * 3]]
