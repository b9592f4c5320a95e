"""OpenSlide as a reader of TIFF, of MRXS, and where nothing else can read."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

pytest.importorskip("openslide", reason="it is in the slides extra")

from napari_wsol.errors import ImageError, UnknownNameError, UnreadableImageError
from napari_wsol.images.readers import list_readers, open_slide
from napari_wsol.images.readers.openslide_slide import OpenSlideSlide

if TYPE_CHECKING:
    from pathlib import Path

APERIO = "Aperio Image Library v11\r\n523x701 [0,0 523x701] (64x64)"
TILED = {"photometric": "rgb", "tile": (64, 64), "metadata": None}


def write(path: Path, picture: np.ndarray, **options) -> Path:
    tifffile.imwrite(path, picture, **{**TILED, **options})
    return path


def test_it_reads_what_our_own_reader_reads(tmp_path, picture):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(picture, resolution=(20_000, 20_000), resolutionunit=3, **TILED)
        tif.write(picture[::4, ::4], subfiletype=1, **TILED)
    slide, own = open_slide(path, reader="openslide"), open_slide(path)
    assert (slide.reader, own.reader) == ("openslide", "tifffile")
    assert slide.levels == own.levels
    assert slide.mpp == own.mpp == pytest.approx(0.5)
    assert slide.fingerprint() == own.fingerprint()
    assert np.array_equal(slide.read(0, 0, 0, 701, 523), picture)
    part = slide.read(0, -3, 500, 10, 40)
    assert np.array_equal(part, own.read(0, -3, 500, 10, 40))
    assert list_readers(path) == ["tifffile", "openslide", "pillow"]


def test_pixels_do_not_depend_on_the_cut(tmp_path, picture):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(picture, **TILED)
        tif.write(picture[:700:3, :520:3], subfiletype=1, **TILED)
    slide = open_slide(path, reader="openslide")
    whole = slide.read(1, 0, 0, 234, 174)
    assert np.array_equal(slide.read(1, 67, 45, 100, 100), whole[67:167, 45:145])


def test_transparent_parts_are_white(tmp_path, picture):
    alpha = np.full((701, 523, 1), 255, np.uint8)
    alpha[:100] = 0
    pixels = np.concatenate([picture, alpha], axis=2)
    path = write(tmp_path / "a.tif", pixels, extrasamples=["unassalpha"])
    slide = open_slide(path, reader="openslide")
    assert (slide.read(0, 0, 0, 100, 523) == 255).all()
    assert np.array_equal(slide.read(0, 100, 0, 601, 523), picture[100:])


@pytest.mark.parametrize(
    ("told", "mpp", "is_guess"),
    [
        ("|AppMag = 20|MPP = 0.499", 0.499, False),
        ("|AppMag = 40", 0.25, True),
        ("|MPP = 352.8", None, False),
        ("|AppMag = 0", None, False),
    ],
)
def test_the_pixel_size_or_a_guess(tmp_path, picture, told, mpp, is_guess):
    path = write(tmp_path / "a.svs", picture, description=APERIO + told)
    for reader in ("openslide", "tifffile"):
        slide = open_slide(path, reader=reader)
        assert slide.mpp == (mpp and pytest.approx(mpp))
        assert any("is a guess" in note for note in slide.notes) == is_guess


def test_pictures_beside_the_slide_are_read_when_asked(tmp_path, picture):
    path = tmp_path / "a.svs"
    with tifffile.TiffWriter(path) as tif:
        tif.write(picture, description=APERIO, **TILED)
        small = {"photometric": "rgb", "metadata": None, "rowsperstrip": 16}
        tif.write(picture[:88, :66], description=APERIO, **small)
        label = {**small, "description": "Aperio\r\nlabel 60x50"}
        tif.write(picture[:50, :60], subfiletype=1, **label)
    slide = open_slide(path, reader="openslide")
    assert set(slide.associated) == {"thumbnail", "label"}
    assert np.array_equal(slide.read_associated("label"), picture[:50, :60])
    with pytest.raises(UnknownNameError, match="label"):
        slide.read_associated("macro")


def test_threads_read_and_one_closes(tmp_path, picture):
    slide = open_slide(write(tmp_path / "a.tif", picture), reader="openslide")
    corners = [(y, x) for y in range(0, 600, 37) for x in range(0, 400, 41)]

    def read(at):
        try:
            return slide.read(0, *at, 90, 110)
        except UnreadableImageError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        parts = [pool.submit(read, at) for at in corners]
        parts[30].result()
        slide.close()
        found = [part.result() for part in parts]
    for (y, x), part in zip(corners, found, strict=True):
        good = not isinstance(part, str)
        assert np.array_equal(part, picture[y : y + 90, x : x + 110]) or (
            not good and "closed" in part
        )


def test_a_damaged_tile_does_not_take_the_others_along(tmp_path, picture):
    path = write(tmp_path / "a.tif", picture, compression="deflate", tile=(128, 128))
    with tifffile.TiffFile(path) as tif:
        start, size = (
            tif.pages[0].dataoffsets[-1],
            tif.pages[0].databytecounts[-1],
        )
    content = bytearray(path.read_bytes())
    content[start : start + size] = b"\xff" * size
    path.write_bytes(content)
    slide = open_slide(path, reader="openslide")
    with pytest.raises(UnreadableImageError, match="again"):
        slide.read(0, 690, 515, 5, 5)
    assert np.array_equal(slide.read(0, 0, 0, 100, 100), picture[:100, :100])


def test_what_it_cannot_read_is_told_in_words(tmp_path, picture):
    path = tmp_path / "strips.tif"
    tifffile.imwrite(path, picture, photometric="rgb")
    with pytest.raises(UnreadableImageError, match="no format that OpenSlide reads"):
        open_slide(path, reader="openslide")
    assert "openslide" not in list_readers(path)
    with pytest.raises(ImageError, match="only 4"):
        open_slide(write(tmp_path / "tiny.tif", picture[:4, :50]), reader="openslide")


def test_tiles_that_overlap_are_left_to_openslide(tmp_path, picture):
    """OpenSlide refuses this one, for lack of metadata; ours shows it and says so."""
    xmp = (700, "B", 8, b"<iScan/>", True)
    path = write(
        tmp_path / "a.bif",
        picture,
        software="Ventana ScanOutputManager",
        extratags=[xmp],
    )
    slide = open_slide(path)
    assert np.array_equal(slide.read(0, 0, 0, 701, 523), picture)
    assert slide.reader == "tifffile"
    assert any("overlap" in note for note in slide.notes)


def test_where_it_is_not_installed_the_way_to_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openslide", None)
    (tmp_path / "a.mrxs").write_bytes(b"\xff\xd8\xff picture of a slide")
    with pytest.raises(UnreadableImageError, match="pip install openslide-bin open"):
        open_slide(tmp_path / "a.mrxs")
    with pytest.raises(UnreadableImageError, match=r"pip install"):
        OpenSlideSlide(tmp_path / "a.mrxs")
