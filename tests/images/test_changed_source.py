"""A source that holds other pixels than when it was opened is noticed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_wsol.errors import ImageChangedError
from napari_wsol.images.readers import check_files, open_slide, reread
from napari_wsol.images.tissue import tissue_mask

if TYPE_CHECKING:
    from pathlib import Path


def png(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def tiff(path: Path, pixels: np.ndarray) -> Path:
    tifffile.imwrite(path, pixels, tile=(32, 32), photometric="rgb")
    return path


def ome_zarr(path: Path, pixels: np.ndarray) -> Path:
    group = zarr.open_group(path, mode="a", zarr_format=2)
    if "0" not in group:
        axes = [{"name": name, "type": "space"} for name in "yx"]
        group.attrs["multiscales"] = [
            {
                "version": "0.4",
                "axes": axes,
                "datasets": [
                    {
                        "path": "0",
                        "coordinateTransformations": [
                            {"type": "scale", "scale": [1.0, 1.0]}
                        ],
                    }
                ],
            }
        ]
        group.create_array("0", shape=pixels.shape[:2], chunks=(32, 32), dtype="u1")
    group["0"][...] = pixels[..., 0]
    return path


KINDS = {"a.png": png, "a.tif": tiff, "a.zarr": ome_zarr}


@pytest.fixture
def other(tissue):
    return np.ascontiguousarray(tissue[::-1, ::-1])


@pytest.fixture(params=KINDS)
def kind(request, tmp_path):
    """How a file is written, and where."""
    return KINDS[request.param], tmp_path / request.param


def test_a_file_that_nobody_touched_is_as_it_was_opened(kind, tissue):
    write, path = kind
    slide = open_slide(write(path, tissue))
    assert slide.is_as_opened()
    assert reread(slide) is None
    check_files(slide)


def test_an_overwritten_file_is_opened_anew(kind, tissue, other):
    write, path = kind
    slide = open_slide(write(path, tissue), name="mine", mpp=0.5)
    before = slide.fingerprint()
    write(path, other)
    with pytest.raises(ImageChangedError, match="“mine” has changed"):
        check_files(slide)
    fresh = reread(slide)
    assert fresh is not None
    assert slide.fingerprint() == before != fresh.fingerprint()
    assert (fresh.name, fresh.mpp) == ("mine", 0.5)
    wanted = open_slide(path).read(0, 0, 0, *fresh.shape)
    assert np.array_equal(fresh.read(0, 0, 0, *fresh.shape), wanted)
    assert reread(fresh) is None


def test_a_fingerprint_is_never_of_other_pixels_than_were_opened(kind, tissue, other):
    """It is asked for late: by then the file may be another one."""
    write, path = kind
    slide = open_slide(write(path, tissue))
    write(path, other)
    with pytest.raises(ImageChangedError, match="open it again"):
        slide.fingerprint()


def test_a_file_of_the_same_content_is_the_same_image(tmp_path, tissue):
    path = png(tmp_path / "a.png", tissue)
    slide = open_slide(path)
    slide.fingerprint()
    os.utime(path, ns=(1, 1))
    assert not slide.is_as_opened()
    assert reread(slide) is None
    assert slide.is_as_opened()


def test_a_file_that_is_gone_is_no_other_image(kind, tissue):
    write, path = kind
    slide = open_slide(write(path, tissue))
    slide.fingerprint()
    path.rename(path.with_name("elsewhere"))
    assert reread(slide) is None


def test_an_array_that_is_changed_in_place_is_opened_anew(tissue):
    slide = open_slide(tissue, name="mine", mpp=0.5)
    before = slide.fingerprint()
    tissue[3, 4] += 1
    fresh = reread(slide)
    assert fresh is not None
    assert fresh.fingerprint() != before == slide.fingerprint()
    assert (fresh.name, fresh.mpp) == ("mine", 0.5)
    tissue[3, 4] -= 1
    assert reread(slide) is None


def test_values_of_a_changed_array_are_judged_anew(tissue):
    """16 bits are brought to 8 by what they hold, which is another range now."""
    pixels = tissue[..., 0].astype(np.uint16) * 16
    slide = open_slide(pixels)
    slide.fingerprint()
    pixels //= 16
    fresh = reread(slide)
    assert fresh is not None
    assert fresh.read(0, 0, 0, *fresh.shape).max() > 100


def test_an_array_of_another_shape_is_opened_anew(tmp_path, tissue):
    array = zarr.create_array(
        tmp_path / "plain.zarr", shape=tissue.shape, chunks=tissue.shape, dtype="u1"
    )
    array[...] = tissue
    slide = open_slide(array)
    slide.fingerprint()
    array.resize((64, 80, 3))
    fresh = reread(slide)
    assert fresh is not None
    assert fresh.shape == (64, 80)


def test_a_slide_that_knows_no_source_says_to_open_it_again(tissue):
    slide = open_slide(tissue)
    slide.fingerprint()
    slide.open_again = None
    tissue[0, 0] += 1
    with pytest.raises(ImageChangedError, match="open it again"):
        reread(slide)


def test_an_overview_of_the_image_before_is_none_of_the_new_one(tmp_path):
    """Whoever holds the old slide may ask for its overview after the file changed."""
    path = tmp_path / "a.tif"
    pixels = np.full((4500, 4500), 240, np.uint8)
    pixels[400:2000, 400:2000] = 90
    tifffile.imwrite(path, pixels, tile=(512, 512), compression="zlib")
    slide = open_slide(path)
    new = path.with_suffix(".new")
    tifffile.imwrite(new, pixels[::-1, ::-1], tile=(512, 512))
    new.replace(path)  # as programs save: the old file stays readable
    assert tissue_mask(slide, 16)[50:100, 50:100].all()
    mask = tissue_mask(open_slide(path), 16)
    assert not mask[:140, :140].any()
    assert mask[180:230, 180:230].all()
