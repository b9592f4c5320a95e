"""Whole slides in DICOM, written here with pydicom, and what is refused."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("wsidicom", reason="DICOM is read by the dicom extra")

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from napari_wsol.errors import ImageError, UnknownNameError, UnreadableImageError
from napari_wsol.images.readers import list_readers, open_slide

if TYPE_CHECKING:
    from pathlib import Path

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
TILE = 64


def write_dicom(
    path: Path,
    pixels: np.ndarray,
    *,
    mm: float = 0.0005,
    series: str = "1.2.3.4",
    flavour: str = "VOLUME",
    kind: str = WHOLE_SLIDE,
) -> None:
    """One instance: (h, w, 3) uint8 or (h, w) uint16, in uncompressed tiles."""
    height, width = pixels.shape[:2]
    deep = pixels.dtype == np.uint16
    colour = pixels.ndim == 3
    item = _header(kind, series)
    item.ImageType = ["DERIVED", "PRIMARY", flavour, "NONE"]
    item.SamplesPerPixel = 3 if colour else 1
    item.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        item.PlanarConfiguration = 0
    item.Rows = item.Columns = TILE
    item.BitsAllocated = item.BitsStored = 16 if deep else 8
    item.HighBit = item.BitsStored - 1
    item.PixelRepresentation = 0
    item.TotalPixelMatrixRows, item.TotalPixelMatrixColumns = height, width
    item.TotalPixelMatrixFocalPlanes = 1
    item.ImagedVolumeWidth, item.ImagedVolumeHeight = width * mm, height * mm
    item.ImagedVolumeDepth = 0.001
    item.DimensionOrganizationType = "TILED_FULL"
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem = 0
    origin.YOffsetInSlideCoordinateSystem = 0
    item.TotalPixelMatrixOriginSequence = Sequence([origin])
    item.ImageOrientationSlide = [0, 1, 0, 1, 0, 0]
    tiles = list(_tiles(pixels))
    item.NumberOfFrames = len(tiles)
    data = b"".join(tile.tobytes() for tile in tiles)
    item.add_new("PixelData", "OW", data + b"\0" * (len(data) % 2))
    item.SharedFunctionalGroupsSequence = Sequence([_measures(mm)])
    item.OpticalPathSequence = Sequence([_light()])
    item.save_as(path, enforce_file_format=True)


def _header(kind: str, series: str) -> Dataset:
    item = Dataset()
    item.file_meta = FileMetaDataset()
    item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    item.SOPClassUID = item.file_meta.MediaStorageSOPClassUID = kind
    item.SOPInstanceUID = generate_uid()
    item.file_meta.MediaStorageSOPInstanceUID = item.SOPInstanceUID
    item.StudyInstanceUID, item.SeriesInstanceUID = "1.2.3", series
    item.FrameOfReferenceUID = "1.2.5"
    item.Modality = "SM"
    item.FocusMethod = "AUTO"
    item.ExtendedDepthOfField = "NO"
    item.SpecimenLabelInImage = "NO"
    item.BurnedInAnnotation = "NO"
    item.VolumetricProperties = "VOLUME"
    item.LossyImageCompression = "00"
    item.ContainerIdentifier = "slide"
    item.AcquisitionDateTime = "20260101000000"
    return item


def _measures(mm: float) -> Dataset:
    measures = Dataset()
    measures.PixelSpacing = [mm, mm]
    measures.SliceThickness = 0.001
    shared = Dataset()
    shared.PixelMeasuresSequence = Sequence([measures])
    return shared


def _light() -> Dataset:
    light = Dataset()
    light.OpticalPathIdentifier = "0"
    light.ICCProfile = b"a profile "
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "111744", "DCM"
    code.CodeMeaning = "Brightfield illumination"
    light.IlluminationTypeCodeSequence = Sequence([code])
    return light


def _tiles(pixels: np.ndarray):
    height, width = pixels.shape[:2]
    for y in range(0, height, TILE):
        for x in range(0, width, TILE):
            part = pixels[y : y + TILE, x : x + TILE]
            below, beyond = TILE - part.shape[0], TILE - part.shape[1]
            pad = ((0, below), (0, beyond), (0, 0))[: part.ndim]
            yield np.pad(part, pad)


@pytest.fixture
def folder(tmp_path, picture):
    """A slide of two levels, a thumbnail and a label, and a note beside them."""
    write_dicom(tmp_path / "b.dcm", picture)
    half = np.ascontiguousarray(picture[::2, ::2][:350, :261])
    write_dicom(tmp_path / "a.dcm", half, mm=0.001)
    small = np.ascontiguousarray(picture[::8, ::8])
    write_dicom(tmp_path / "c.dcm", small, mm=0.004, flavour="THUMBNAIL")
    write_dicom(tmp_path / "d.dcm", picture[:50, :60].copy(), flavour="LABEL")
    (tmp_path / "notes.txt").write_text("of the slide")
    return tmp_path


@pytest.mark.parametrize("chosen", ["", "a.dcm", "b.dcm"])
def test_a_slide_is_found_by_its_folder_or_any_of_its_files(folder, picture, chosen):
    slide = open_slide(folder / chosen)
    assert slide.reader == "wsidicom"
    assert [level.downsample for level in slide.levels] == [(1, 1), (2, 2)]
    assert np.array_equal(slide.read(0, 0, 0, 701, 523), picture)
    half = picture[::2, ::2][:350, :261]
    assert np.array_equal(slide.read(1, 0, 0, 350, 261), half)
    assert slide.mpp == pytest.approx(0.5)
    assert slide.icc_profile == b"a profile "


def test_off_the_grid_and_outside_is_read_too(folder, picture):
    part = open_slide(folder).read(0, -3, 500, 10, 30)
    assert (part[:3] == 255).all()
    assert (part[:, 23:] == 255).all()
    assert np.array_equal(part[3:, :23], picture[:7, 500:])


def test_pictures_beside_the_slide_are_read_when_asked(folder, picture):
    slide = open_slide(folder)
    assert slide.associated == ("thumbnail", "label")
    assert np.array_equal(slide.read_associated("label"), picture[:50, :60])
    assert slide.read_associated("thumbnail").shape == (88, 66, 3)
    with pytest.raises(UnknownNameError, match="label"):
        slide.read_associated("macro")


def test_a_12_bit_slide_is_read_at_its_depth(tmp_path):
    rng = np.random.default_rng(0)
    deep = rng.integers(0, 4096, (100, 130)).astype(np.uint16)
    write_dicom(tmp_path / "a.dcm", deep)
    slide = open_slide(tmp_path / "a.dcm")
    assert "12-bit" in slide.notes[0]
    expected = np.rint(deep * (255 / 4095))
    assert np.array_equal(slide.read(0, 0, 0, 100, 130)[..., 1], expected)


def test_threads_read_the_same_pixels(folder, picture):
    corners = [(y, x) for y in range(0, 600, 67) for x in range(0, 400, 71)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            slide = open_slide(folder)
            parts = list(pool.map(partial(read_square, slide), corners))
            for (y, x), part in zip(corners, parts, strict=True):
                assert np.array_equal(part, picture[y : y + 90, x : x + 90])


def read_square(slide, corner):
    return slide.read(0, *corner, 90, 90)


def test_the_fingerprint_is_of_the_slides_own_files(folder):
    names = sorted(path for path in folder.iterdir() if path.suffix == ".dcm")
    content = b"".join(path.read_bytes() for path in names)
    fingerprint = open_slide(folder).fingerprint()
    assert fingerprint == hashlib.sha256(content).hexdigest()
    assert open_slide(folder / "a.dcm").fingerprint() == fingerprint


def test_two_slides_in_a_folder_are_told_apart(tmp_path, picture):
    write_dicom(tmp_path / "a.dcm", picture)
    other = 255 - picture[:200, :300]
    write_dicom(tmp_path / "b.dcm", other, series="9.9")
    with pytest.raises(ImageError, match="choose one file"):
        open_slide(tmp_path)
    slide = open_slide(tmp_path / "b.dcm")
    assert np.array_equal(slide.read(0, 0, 0, 200, 300), other)


def test_a_mask_in_dicom_is_refused_in_words(tmp_path, picture):
    write_dicom(tmp_path / "a.dcm", picture, kind=SEGMENTATION)
    with pytest.raises(UnreadableImageError, match=r"segmentation.*open the slide"):
        open_slide(tmp_path / "a.dcm")
    with pytest.raises(UnreadableImageError, match=r"segmentation.*open the slide"):
        open_slide(tmp_path)


def test_the_reader_of_slides_reads_no_film(tmp_path, picture):
    write_dicom(tmp_path / "a.dcm", picture, kind="1.2.840.10008.5.1.4.1.1.2")
    with pytest.raises(UnreadableImageError, match=r"CT Image.*without naming a"):
        open_slide(tmp_path / "a.dcm", reader="wsidicom")


def test_a_cut_file_is_told_in_words(tmp_path, picture):
    path = tmp_path / "a.dcm"
    write_dicom(path, picture)
    content = path.read_bytes()
    for keep in (200, 900, 5_000):
        path.write_bytes(content[:keep])
        with pytest.raises(UnreadableImageError, match="again"):
            open_slide(path).read(0, 600, 400, 50, 50)


def test_a_closed_slide_says_so(folder):
    slide = open_slide(folder)
    slide.close()
    slide.close()
    with pytest.raises(UnreadableImageError, match="closed"):
        slide.read(0, 0, 0, 5, 5)


def test_its_readers_are_listed(folder):
    assert list_readers(folder) == ["wsidicom"]
    assert list_readers(folder / "a.dcm")[0] == "wsidicom"
