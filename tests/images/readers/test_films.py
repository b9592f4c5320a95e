"""Films in DICOM: grey as pydicom has it, colours, sizes, names; what is refused."""

from __future__ import annotations

import hashlib
import itertools
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("pydicom", reason="films are read by the dicom extra")
pytest.importorskip("pylibjpeg", reason="films are decoded by the dicom extra")

import pydicom
from fixtures.films import SYNTAXES, voi_table, write_film
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence

from napari_wsol.errors import ImageError, UnreadableImageError
from napari_wsol.images.readers import (
    list_readers,
    open_slide,
    stack_questions,
    told_name,
    told_path,
)
from napari_wsol.images.readers.stacks import answered

DEPTHS = (8, 10, 12, 16)


def stored(bits: int, *, signed: bool) -> np.ndarray:
    """(40, 61) values over the whole range of the bits."""
    rng = np.random.default_rng(bits)
    low = -(1 << bits - 1) if signed else 0
    values = rng.integers(low, low + (1 << bits), (40, 61))
    values[0, :2] = low, low + (1 << bits) - 1
    size = 8 if bits == 8 else 16
    return values.astype(f"{'i' if signed else 'u'}{size // 8}")


def seen(bits: int, *, signed: bool, how: str) -> dict[str, object]:
    """Elements of a window or table, and the range of its result."""
    low = -(1 << bits - 1) if signed else 0
    middle = low + (1 << bits - 1)
    if how == "window":
        return {"WindowCenter": middle + 7, "WindowWidth": (1 << bits - 1) + 3}
    if how == "table":
        curve = np.linspace(0, 1, 1 << bits - 1) ** 0.5 * 4095
        first = middle - (1 << bits - 2)
        # pydicom itself has no tables from below 0 on of films of 8 bits
        return {"VOILUTSequence": voi_table(1 << bits - 1, first, 12, np.rint(curve))}
    return {}


def expected(path, bits: int, *, signed: bool, how: str, kind: str) -> np.ndarray:
    """Grey by pydicom's functions on all pixels, spread over the range they give."""
    film = pydicom.dcmread(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shown = apply_voi_lut(apply_modality_lut(film.pixel_array, film), film)
    low = -(1 << bits - 1) if signed else 0
    ends = (0, 4095) if how == "table" else (low, low + (1 << bits) - 1)
    grey = (shown.astype(float) - ends[0]) / (ends[1] - ends[0]) * 255
    return 255 - grey if kind == "MONOCHROME1" else grey


@pytest.mark.parametrize("coding", SYNTAXES)
@pytest.mark.parametrize("how", ["window", "table", "neither"])
def test_grey_is_that_of_pydicom(tmp_path, coding, how):
    path = tmp_path / "film.dcm"
    for kind, bits, signed in itertools.product(
        ("MONOCHROME1", "MONOCHROME2"), DEPTHS, (False, True)
    ):
        pixels = stored(bits, signed=signed)
        elements = seen(bits, signed=signed, how=how)
        write_film(path, pixels, bits=bits, kind=kind, coding=coding, **elements)
        # The file holds what was meant, whoever coded it.
        assert np.array_equal(pydicom.dcmread(path).pixel_array, pixels)
        wanted = expected(path, bits, signed=signed, how=how, kind=kind)
        slide = open_slide(path)
        found = slide.read(0, 0, 0, 40, 61)
        assert slide.reader == "pydicom"
        off = np.abs(found.astype(float) - wanted[..., None])
        assert off.max() <= 1, (kind, bits, signed, off.max())


def opened(path, pixels, **how):
    """(h, w, 3) as it is shown, and the slide."""
    write_film(path, pixels, **how)
    slide = open_slide(path)
    return slide.read(0, 0, 0, *slide.shape), slide


RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


@pytest.mark.parametrize("slope", [2.0, 0.5, -1.0])
def test_a_window_is_of_rescaled_values(tmp_path, slope):
    how = {"RescaleSlope": slope, "RescaleIntercept": -1000}
    window = {"WindowCenter": 40, "WindowWidth": 400}
    found, slide = opened(tmp_path / "ct", RAMP, bits=12, **how, **window)
    values = RAMP * slope - 1000
    # PS3.3 C.11.2.1.2.1, black below and white above whatever the slope is
    wanted = np.clip((values - 39.5) / 399 + 0.5, 0, 1) * 255
    assert np.abs(found[..., 0] - wanted).max() <= 1
    assert "Shown by its window, centre 40 and width 400." in slide.notes


def test_a_sigmoid_is_one(tmp_path):
    how = {"WindowCenter": 2000, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"}
    found, _ = opened(tmp_path / "a.dcm", RAMP, bits=12, **how)
    wanted = 255 / (1 + np.exp(-4 * (RAMP - 2000.0) / 900))
    assert np.abs(found[..., 0] - wanted).max() <= 1


def test_a_table_of_8_bits_may_have_more_values_than_those_reach(tmp_path):
    table = voi_table(4096, 0, 8, np.arange(4096) // 16)
    found, _ = opened(tmp_path / "a.dcm", RAMP, bits=12, VOILUTSequence=table)
    assert np.array_equal(found[..., 0], RAMP // 16)


def test_a_modality_table_of_12_bits_comes_before_the_window(tmp_path):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 12])
    item.add_new("LUTData", "OW", np.arange(4096)[::-1].astype("<u2").tobytes())
    item.ModalityLUTType = "US"
    table = {"ModalityLUTSequence": Sequence([item])}
    found, _ = opened(tmp_path / "a.dcm", RAMP, bits=12, **table)
    assert np.abs(found[..., 0] - (4095.0 - RAMP) / 4095 * 255).max() <= 1
    window = {"WindowCenter": 1000, "WindowWidth": 500}
    found, _ = opened(tmp_path / "b.dcm", RAMP, bits=12, **table, **window)
    wanted = np.clip((4095.0 - RAMP - 999.5) / 499 + 0.5, 0, 1) * 255
    assert np.abs(found[..., 0] - wanted).max() <= 1


def test_the_first_of_several_windows_is_shown_and_another_can_be(tmp_path):
    path = tmp_path / "a.dcm"
    how = {"WindowCenter": [500, 3000], "WindowWidth": [400, 1000]}
    first, slide = opened(path, RAMP, bits=12, **how)
    assert "Plane 0 (window, centre 500 and width 400) of 2 on window is shown." in (
        slide.notes
    )
    questions = stack_questions(path)
    assert [item.text for item in questions] == ["Which window?"]
    pick = answered({"window": questions[0].choices[1]})
    other = open_slide(path, plane=pick.plane)
    assert (
        np.abs(first[..., 0] - np.clip((RAMP - 499.5) / 399 + 0.5, 0, 1) * 255).max()
        <= 1
    )
    second = other.read(0, 0, 0, 64, 64)[..., 0]
    assert np.abs(second - np.clip((RAMP - 2999.5) / 999 + 0.5, 0, 1) * 255).max() <= 1
    # Other pixels are another image; the first window is the image, however chosen.
    assert other.fingerprint() != slide.fingerprint()
    assert open_slide(path, plane=0).fingerprint() == slide.fingerprint()
    with pytest.raises(ImageError, match=r"0 to 1"):
        open_slide(path, plane=2)


def test_a_film_of_several_pictures_is_refused(tmp_path):
    path = tmp_path / "a.dcm"
    write_film(path, np.stack([RAMP, RAMP[::-1]]), bits=12, frames=2)
    with pytest.raises(UnreadableImageError, match=r"2 × 64×64 .* one picture"):
        open_slide(path)


def test_a_window_without_width_is_not_used_and_that_is_said(tmp_path):
    how = {"WindowCenter": 0, "WindowWidth": 0}
    found, slide = opened(tmp_path / "a.dcm", RAMP, bits=12, **how)
    assert np.abs(found[..., 0] - RAMP / 4095 * 255).max() <= 1
    assert any("no window" in note for note in slide.notes)


def test_values_that_fill_little_of_16_bits_are_not_left_black(tmp_path):
    found, slide = opened(tmp_path / "a.dcm", RAMP)
    assert np.abs(found[..., 0] - RAMP / 4095 * 255).max() <= 1
    assert "Shown by its values, no window: uint16 taken as 12-bit." in slide.notes
    found, _ = opened(tmp_path / "b.dcm", RAMP.astype(np.int16) - 1024)
    assert (found.min(), found.max()) == (0, 255)


@pytest.mark.parametrize("coding", SYNTAXES)
def test_colours_are_those_of_the_file(tmp_path, coding, picture):
    pixels = np.ascontiguousarray(picture[:90, :70])
    found, slide = opened(tmp_path / "a.dcm", pixels, kind="RGB", coding=coding)
    assert np.array_equal(found, pixels)
    assert slide.notes[0] == "Read as Y×X×RGB."


def test_ycbcr_becomes_rgb(tmp_path, picture):
    from pydicom.pixels import convert_color_space

    pixels = convert_color_space(picture[:90, :70], "RGB", "YBR_FULL")
    found, _ = opened(tmp_path / "a.dcm", pixels, kind="YBR_FULL")
    assert np.array_equal(found, convert_color_space(pixels, "YBR_FULL", "RGB"))


def test_a_palette_becomes_colours(tmp_path):
    index = np.arange(48 * 64, dtype=np.uint8).reshape(48, 64) % 200
    shades = np.arange(256)[:, None] * [257, 128, 1]
    colours = {}
    for number, name in enumerate(("Red", "Green", "Blue")):
        key = f"{name}PaletteColorLookupTable"
        colours[f"{key}Descriptor"] = [256, 0, 16]
        colours[f"{key}Data"] = shades[:, number].astype("<u2").tobytes()
    found, _ = opened(tmp_path / "a.dcm", index, kind="PALETTE COLOR", **colours)
    assert np.abs(found - shades[index] / 257).max() <= 0.5


@pytest.mark.parametrize(
    ("spacing", "mpp", "says"),
    [
        ({"ImagerPixelSpacing": [0.143, 0.143]}, 143, "ImagerPixelSpacing.*detector"),
        ({"PixelSpacing": [0.7, 0.7]}, 700, "700 µm a pixel: PixelSpacing"),
        (
            {"PixelSpacing": [0.1, 0.1], "ImagerPixelSpacing": [0.12, 0.12]},
            100,
            "100 µm a pixel: PixelSpacing",
        ),
        ({"PixelSpacing": [0.2, 0.1]}, 141.42, "100 µm wide and 200 µm high"),
        ({"PixelSpacing": [0, 0]}, None, "does not say"),
        ({}, None, "does not say"),
    ],
)
def test_the_pixel_size_is_told_with_where_it_comes_from(tmp_path, spacing, mpp, says):
    _, slide = opened(tmp_path / "a.dcm", RAMP, bits=12, **spacing)
    assert slide.mpp == (None if mpp is None else pytest.approx(mpp, rel=1e-4))
    assert re.search(says, " ".join(slide.notes))


def test_real_numbers_are_spread_over_the_range_that_they_have(tmp_path):
    path = tmp_path / "a.dcm"
    film = write_film(path, RAMP.astype(np.uint32))
    del film.PixelData, film.BitsStored, film.HighBit, film.PixelRepresentation
    film.FloatPixelData = (RAMP / 4095).astype("<f4").tobytes()
    film.save_as(path, enforce_file_format=True)
    found = open_slide(path).read(0, 0, 0, 64, 64)
    assert np.abs(found[..., 0] - RAMP / 4095 * 255).max() <= 1


def test_burnt_in_text_is_warned_of(tmp_path):
    for value, expected_count in (("YES", 1), ("NO", 0)):
        _, slide = opened(tmp_path / "a.dcm", RAMP, bits=12, BurnedInAnnotation=value)
        assert sum("burnt" in note for note in slide.notes) == expected_count


def test_a_film_is_called_by_its_content(tmp_path):
    path = tmp_path / "MUELLER^ANNA.dcm"
    _, slide = opened(path, RAMP, bits=12)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert slide.name == f"film-{digest[:12]}" == told_name(path)
    assert slide.fingerprint() == digest
    assert (slide.path, told_path(slide)) == (path, None)
    assert open_slide(path, name="first").name == "first"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(UnreadableImageError) as told:
        open_slide(path)
    assert "MUELLER" not in str(told.value)


def test_a_film_needs_no_ending(tmp_path):
    found, _ = opened(tmp_path / "IM000001", RAMP, bits=12)
    assert found.shape == (64, 64, 3)
    assert list_readers(tmp_path / "IM000001") == ["pydicom"]


def test_more_pixels_than_the_file_holds_are_refused(tmp_path):
    path = tmp_path / "a.dcm"
    for coding in SYNTAXES:
        write_film(path, RAMP, bits=12, coding=coding)
        film = pydicom.dcmread(path)
        film.Rows = film.Columns = 60_000
        film.save_as(path)
        with pytest.raises(UnreadableImageError, match="100 million"):
            open_slide(path)
        film.Rows = film.Columns = 9_000
        film.save_as(path)
        with pytest.raises(UnreadableImageError, match="damaged"):
            open_slide(path)


@pytest.mark.parametrize("coding", ["JPEG-LS", "JPEG 2000"])
def test_a_picture_larger_than_the_header_tells_is_not_decoded(tmp_path, coding):
    path = tmp_path / "a.dcm"
    write_film(path, np.zeros((2000, 2000), np.uint16), bits=12, coding=coding)
    film = pydicom.dcmread(path)
    film.Rows = film.Columns = 64
    film.save_as(path)
    with pytest.raises(UnreadableImageError, match="2000×2000 pixels in a tile"):
        open_slide(path)


def test_a_file_that_is_deflated_as_a_whole_is_refused(tmp_path):
    path = tmp_path / "a.dcm"
    film = write_film(path, RAMP, bits=12)
    film.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    film.save_as(path, enforce_file_format=True)
    with pytest.raises(UnreadableImageError, match="deflated"):
        open_slide(path)


def test_dicom_without_pixels_is_refused(tmp_path):
    path = tmp_path / "a.dcm"
    film = write_film(path, RAMP, bits=12)
    del film.PixelData
    film.save_as(path, enforce_file_format=True)
    with pytest.raises(UnreadableImageError, match="no pixel data"):
        open_slide(path)


def test_pydicom_is_imported_for_dicom_alone(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", RAMP)
    write_film(tmp_path / "b.dcm", RAMP, bits=12)
    code = (
        "import sys; from napari_wsol import open_slide\n"
        "for path in sys.argv[1:]: open_slide(path); print('pydicom' in sys.modules)"
    )
    paths = [tmp_path / "a.tif", tmp_path / "b.dcm"]
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "True"]
