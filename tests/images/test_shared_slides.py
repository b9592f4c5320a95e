"""Real files of many scanners and writers; skipped where they are not at hand."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import zarr

from napari_wsol.errors import ImageError, UnreadableImageError
from napari_wsol.images.level_arrays import level_arrays
from napari_wsol.images.readers import list_readers, open_slide
from napari_wsol.images.resample import read_region, region_shape
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


CMU_DICOM = "derived_cc0/CMU-1-Small-Region_dicom"
DICOM = {
    CMU_DICOM: ((2967, 2220), ("thumbnail", "label", "macro")),
    "dicom_wsi/openslide_boxes": ((16, 16), ("thumbnail",)),
    "dicom_wsi/openslide_boxes/boxes_1.dcm": ((16, 16), ("thumbnail",)),
    "dicom_wsi/highdicom/highdicom_sm_image.dcm": ((50, 50), ()),
    "dicom_seg/sm_image_control.dcm": ((50, 50), ()),
    "dicom_seg/sm_image_dots.dcm": ((50, 50), ()),
}


@pytest.mark.parametrize("name", DICOM)
def test_a_slide_in_dicom_is_read(shared, name):
    pytest.importorskip("wsidicom", reason="DICOM is read by the dicom extra")
    shape, beside = DICOM[name]
    slide = open_slide(shared / "slides" / name)
    assert (slide.reader, slide.shape, slide.associated) == ("wsidicom", shape, beside)
    assert slide.mpp == pytest.approx(0.499, rel=1e-3)
    pixels = slide.read(0, 0, 0, *shape)
    assert 100 < pixels.mean() < 255
    for picture in beside:
        assert slide.read_associated(picture).mean() > 0


def test_a_slide_in_dicom_has_the_pixels_of_its_source(shared):
    pytest.importorskip("wsidicom", reason="DICOM is read by the dicom extra")
    own = open_slide(shared / "slides/whole/CMU-1-Small-Region.svs")
    files = sorted((shared / "slides" / CMU_DICOM).iterdir())
    for path in (shared / "slides" / CMU_DICOM, *files):
        slide = open_slide(path)
        part = slide.read(0, 1000, 900, 700, 600)
        assert np.array_equal(part, own.read(0, 1000, 900, 700, 600))


def test_a_segmentation_in_dicom_is_no_image(shared):
    pytest.importorskip("wsidicom", reason="DICOM is read by the dicom extra")
    files = [
        path
        for path in (shared / "slides/dicom_seg").glob("*.dcm")
        if not path.name.startswith("sm_")
    ]
    assert len(files) == 4
    for path in files:
        with pytest.raises(UnreadableImageError, match="segmentation"):
            open_slide(path)
    with pytest.raises(ImageError, match="several slides"):
        open_slide(shared / "slides/dicom_seg")


def test_an_ome_zarr_has_the_pixels_that_zarr_gives(shared):
    path = shared / "slides/derived_cc0/CMU-1-Small-Region.ome.zarr"
    slide = open_slide(path)
    assert [level.downsample for level in slide.levels] == [(1, 1), (2, 2), (4, 4)]
    assert slide.mpp == pytest.approx(0.998)
    for level, size in enumerate(slide.levels):
        stored = np.asarray(zarr.open_array(path / str(level), mode="r"))
        pixels = slide.read(level, 0, 0, size.height, size.width)
        assert np.array_equal(pixels, np.moveaxis(stored, 0, -1))


@pytest.mark.parametrize("name", READABLE)
def test_openslide_reads_the_same_pixels_or_is_not_offered(shared, name):
    pytest.importorskip("openslide", reason="it is in the slides extra")
    path = shared / "slides" / name
    own = open_slide(path)
    if "openslide" not in list_readers(path):
        with pytest.raises(UnreadableImageError, match="OpenSlide"):
            open_slide(path, reader="openslide")
        return
    slide = open_slide(path, reader="openslide")
    assert (slide.shape, slide.mpp) == (own.shape, own.mpp and pytest.approx(own.mpp))
    if "gray16" in name:
        return  # It makes 8 bits of 16 in its own way.
    height, width = min(700, own.shape[0]), min(600, own.shape[1])
    part = slide.read(0, 0, 0, height, width)
    assert np.array_equal(part, own.read(0, 0, 0, height, width))


def test_every_file_is_read_or_refused_in_a_sentence(shared):
    slides = shared / "slides"
    files = [path for path in slides.rglob("*") if path.is_file()]
    images = [path for path in files if ".ome.zarr" not in str(path)]
    assert len(images) > 25
    for path in [*images, *slides.rglob("*.ome.zarr")]:
        sentence = what_is_wrong(path)
        assert not sentence or (path.name in sentence and sentence.endswith("."))


def what_is_wrong(path):
    """Why a file cannot be opened or read; empty where it can."""
    try:
        pixels = open_slide(path).read(0, 0, 0, 64, 64)
    except ImageError as error:
        return str(error)
    return "" if pixels.shape == (64, 64, 3) else "wrong shape"


def test_tissue_is_found_on_a_real_slide(shared):
    slide = open_slide(shared / "slides/whole/CMU-1-Small-Region.svs")
    mask = tissue_mask(slide, 16)
    rgb = read_region(slide, 0, 0, *mask.shape, 16)
    assert 0.3 < mask.mean() < 0.95
    assert rgb[~mask].mean() > 215
    assert rgb[mask].mean() < rgb[~mask].mean() - 15
