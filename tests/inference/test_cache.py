"""How the features of an image are kept."""

from __future__ import annotations

import pytest
import torch

from napari_wsol.inference.cache import SMALL_BYTES, EncodedImage, FeatureCache


@pytest.mark.parametrize(
    ("rows", "dtype"), [(1000, torch.float32), (1001, torch.bfloat16)]
)
def test_features_of_more_than_half_a_gb_are_packed(rows, dtype):
    # Two maps: 2 × 40 × 800 and 1 × 64 × 1000 numbers a row.
    channels, columns = (2 * 40, 64), (800, 1000)
    sizes = [(rows, side) for side in columns]
    with torch.device("meta"):  # shapes only
        image = EncodedImage(sizes, channels, (4, 8), (1.5, 3.5))
    assert SMALL_BYTES == 4 * 128_000 * 1000
    assert {item.dtype for item in image.maps} == {dtype}
    assert [tuple(item.shape) for item in image.maps] == [
        (1, 80, rows, 800),
        (1, 64, rows, 1000),
    ]
    assert image.nbytes == 128_000 * rows * dtype.itemsize


def small(side):
    return EncodedImage([(side, side)], [1], (4,), (1.5,))


def test_the_longest_unused_images_go_first():
    cache = FeatureCache(budget_bytes=3 * 400)
    for key in "abc":
        cache.put(key, small(10))
    assert cache.nbytes == 1200
    assert cache.get("a") is not None  # used again
    cache.put("d", small(10))
    assert [cache.get(key) is not None for key in "abcd"] == [True, False, True, True]


def test_one_image_beyond_the_budget_is_kept_alone():
    cache = FeatureCache(budget_bytes=1000)
    cache.put("a", small(10))
    large = small(100)
    cache.put("b", large)
    assert cache.get("a") is None
    assert cache.get("b") is large


def test_what_follows_from_an_image_is_made_once():
    cache, made = FeatureCache(), []

    def make():
        made.append(len(made))
        return made[-1]

    assert [cache.derived(key, int, make) for key in "aabab"] == [0, 0, 1, 0, 1]
    assert cache.derived("c", int, make) == 2  # a was used longer ago than b
    assert cache.derived("b", int, make) == 1
    assert cache.derived("a", int, make) == 3
    assert cache.derived("b", str, lambda: "of another kind") == "of another kind"


def test_derived_things_and_images_are_apart():
    cache = FeatureCache()
    cache.put("a", small(10))
    assert cache.derived("a", str, lambda: "made") == "made"
    assert cache.get("a") is not None
