"""Real files of many scanners and writers; skipped where they are not at hand."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_wsol.errors import ImageError, UnreadableImageError
from napari_wsol.images.readers import open_slide
from napari_wsol.images.resample import read_region, region_shape
from napari_wsol.images.slide import level_arrays
from napari_wsol.images.tissue import tissue_mask

READABLE = {
    "whole/CMU-1-Small-Region.svs": ((2967, 2220), 1, 0.499),
    "whole/ndpi_test3-DAPI-2-387.ndpi": ((4864, 3968), 4, 0.2282),
    "whole/openslide_small.svs": ((16, 16), 1, 0.499),
    "whole/openslide_boxes.tiff": ((250, 300), 4, None),
    "misc_tiff/yb10kx5k.zstd.tiff": ((5000, 10_000), 5, None),
    "misc_tiff/grey10kx5k.tif": ((5000, 10_000), 1, None),
    "derived_cc0/CMU-1-Small-Region.ome.tif": ((2967, 2220), 4, 0.499),
    "derived_cc0/CMU-1-Small-Region_gray16_deflate.tif": ((1501, 1203), 1, 0.499),
    "derived_cc0/CMU-1-Small-Region_nompp.tif": ((2967, 2220), 4, None),
    "derived_cc0/CMU-1-Small-Region_nopyramid.tif": ((2967, 2220), 1, 0.499),
    "derived_cc0/CMU-1-Small-Region_pyramid.tif": ((2967, 2220), 4, 0.499),
}


@pytest.mark.parametrize("name", READABLE)
def test_a_real_slide_reads_as_tifffile_reads_it(shared, name):
    shape, levels, mpp = READABLE[name]
    path = shared / "slides" / name
    slide = open_slide(path)
    assert slide.shape == shape
    assert len(slide.levels) == levels
    assert slide.mpp == (mpp and pytest.approx(mpp, rel=1e-3))
    coarsest = level_arrays(slide)[levels - 1][:3000, :3000]
    with tifffile.TiffFile(path) as tif:
        expected = tif.series[0].levels[-1].asarray()[:3000, :3000]
    if expected.ndim == 2:
        expected = np.repeat(expected[..., None], 3, axis=2)
    if expected.dtype == np.uint16:
        expected = np.rint(expected / 257)
    assert np.array_equal(coarsest, expected)


@pytest.mark.parametrize(
    "name", ["whole/CMU-1-Small-Region.svs", "derived_cc0/CMU-1-Small-Region.ome.tif"]
)
def test_a_real_slide_does_not_depend_on_the_cut(shared, name):
    slide = open_slide(shared / "slides" / name)
    height, width = region_shape(slide.shape, 4.61)
    whole = read_region(slide, 0, 0, height, width, 4.61)
    part = read_region(slide, 201, 143, height - 201, width - 143, 4.61)
    assert np.array_equal(part, whole[201:, 143:])


def test_pictures_beside_are_read_when_asked(shared):
    slide = open_slide(shared / "slides/whole/CMU-1-Small-Region.svs")
    assert slide.associated == ("thumbnail", "label", "macro")
    assert slide.read_associated("thumbnail").shape == (768, 574, 3)
    assert slide.read_associated("label").shape == (463, 387, 3)
    assert slide.read_associated("macro").shape == (431, 1280, 3)


@pytest.mark.parametrize("name", ["broken.svs", "unopenable.tiff", "unreadable.svs"])
def test_a_broken_file_is_told_in_words(shared, name):
    path = shared / "slides/broken" / name

    def open_and_read() -> None:
        open_slide(path).read(0, 0, 0, 16, 16)

    with pytest.raises(UnreadableImageError, match=f"{name}.*(again|choose)"):
        open_and_read()


def test_a_stack_is_told_in_words(shared):
    with pytest.raises(ImageError, match="I = 3"):
        open_slide(shared / "slides/misc_tiff/napari_lazy_dataset.ome.tif")


def test_dicom_and_zarr_are_not_supported_yet(shared):
    slides = shared / "slides"
    for path in [*slides.rglob("*.dcm"), *slides.rglob("*.ome.zarr")]:
        with pytest.raises(UnreadableImageError, match="not supported yet"):
            open_slide(path)


def test_tissue_is_found_on_a_real_slide(shared):
    slide = open_slide(shared / "slides/whole/CMU-1-Small-Region.svs")
    mask = tissue_mask(slide, 16)
    rgb = read_region(slide, 0, 0, *mask.shape, 16)
    assert 0.3 < mask.mean() < 0.95
    assert rgb[~mask].mean() > 215
    assert rgb[mask].mean() < rgb[~mask].mean() - 15
