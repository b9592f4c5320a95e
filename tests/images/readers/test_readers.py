from __future__ import annotations

import hashlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_wsol.errors import ImageError, UnknownNameError, UnreadableImageError
from napari_wsol.images.fingerprint import WHOLE_BYTES, fingerprint_bytes
from napari_wsol.images.readers import list_readers, open_slide


def test_the_content_chooses_the_reader(tmp_path, picture):
    path = tmp_path / "named.png"
    tifffile.imwrite(path, picture, photometric="rgb")
    assert open_slide(path).reader == "tifffile"
    Image.fromarray(picture).save(tmp_path / "named.tif", format="png")
    assert open_slide(tmp_path / "named.tif").reader == "pillow"


def test_a_reader_can_be_forced(tmp_path, picture):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture, photometric="rgb")
    for reader in ("tifffile", "pillow"):
        slide = open_slide(str(path), reader=reader, name="mine")
        assert (slide.reader, slide.name) == (reader, "mine")
        assert np.array_equal(slide.read(0, 0, 0, 701, 523), picture)


def test_the_readers_of_a_file_are_listed_best_first(tmp_path, picture):
    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="rgb")
    assert list_readers(tmp_path / "a.tif")[0] == "tifffile"
    assert "pillow" in list_readers(tmp_path / "a.tif")
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert list_readers(tmp_path / "a.png") == ["pillow"]
    assert set(list_readers()) > set(list_readers(tmp_path / "a.tif"))


def test_an_unknown_reader_names_the_choices(tmp_path):
    with pytest.raises(UnknownNameError, match="pillow, pydicom, tifffile"):
        open_slide(tmp_path / "a.tif", reader="magic")


def test_an_open_slide_is_given_back(picture):
    slide = open_slide(picture)
    assert open_slide(slide) is slide
    with pytest.raises(ImageError, match="open already"):
        open_slide(slide, mpp=0.5)


@pytest.mark.parametrize("mpp", [0, -1, float("nan"), float("inf")])
def test_an_impossible_pixel_size_is_refused(picture, mpp):
    with pytest.raises(ImageError, match="above 0"):
        open_slide(picture, mpp=mpp)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.png", b"", "empty file"),
        ("a.txt", b"hello, this is no image", "is not an image"),
        ("a.dcm", b"\0" * 128 + b"DICM", "DICOM of 1 × 0×0 pixels.*copy it again"),
        ("noname", b"\0" * 128 + b"DICM", "DICOM"),
        ("a.mrxs", b"whatever", "QuPath"),
        ("a.czi", b"whatever", "QuPath"),
        ("a.svs", b"IJrE" * 50, "is not an image"),
    ],
)
def test_other_files_are_refused_in_words(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableImageError, match=says):
        open_slide(tmp_path / name)


def test_folders_are_refused_in_words(tmp_path):
    with pytest.raises(UnreadableImageError, match="folder"):
        open_slide(tmp_path)
    (tmp_path / "zarr.json").write_text("{}")
    with pytest.raises(UnreadableImageError, match="OME-Zarr"):
        open_slide(tmp_path)
    with pytest.raises(UnreadableImageError, match="There is no file"):
        open_slide(tmp_path / "missing.tif")


UM = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}


@pytest.mark.parametrize(
    ("options", "mpp"),
    [
        (UM, 0.5),
        ({"resolution": (50_800, 50_800), "resolutionunit": "INCH"}, 0.5),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),
        ({"resolution": (28.34, 28.34), "resolutionunit": "CENTIMETER"}, None),
        ({"resolution": (20_000, 20_000), "resolutionunit": "NONE"}, None),
        ({}, None),
        ({"description": "Aperio Image Library v1|AppMag = 20|MPP = 0.499"}, 0.499),
        ({"description": "Aperio Image Library v1|MPP = 0.0|AppMag = 20", **UM}, 0.5),
        ({"description": "Aperio Image Library v1|MPP = ...", **UM}, 0.5),
        (
            {
                "imagej": True,
                "resolution": (4, 4),
                "metadata": {"unit": "um"},
                "resolutionunit": "NONE",
            },
            0.25,
        ),
    ],
)
def test_the_pixel_size_of_a_tiff(tmp_path, picture, options, mpp):
    path = tmp_path / "a.tif"
    options = {"photometric": "rgb", "metadata": None, **options}
    tifffile.imwrite(path, picture, **options)
    assert open_slide(path).mpp == pytest.approx(mpp)


@pytest.mark.parametrize(
    ("metadata", "mpp"),
    [
        ({"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}, 0.25),
        ({"PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm"}, 0.25),
        ({"PhysicalSizeX": 0.00025, "PhysicalSizeXUnit": "mm"}, 0.25),
        ({"PhysicalSizeX": 352.8, "PhysicalSizeY": 352.8}, None),
        ({"PhysicalSizeX": 0.2, "PhysicalSizeY": 0.45}, 0.3),
        ({}, None),
    ],
)
def test_the_pixel_size_of_an_ome_tiff(tmp_path, picture, metadata, mpp):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, picture, photometric="rgb", metadata=metadata)
    slide = open_slide(path)
    assert slide.mpp == pytest.approx(mpp)
    if mpp == 0.3:
        assert any("wide" in note for note in slide.notes)


def test_the_fingerprint_of_a_small_file_is_its_sha256(tmp_path, picture):
    for name, save in {
        "a.tif": lambda path: tifffile.imwrite(path, picture, photometric="rgb"),
        "a.png": Image.fromarray(picture).save,
    }.items():
        path = tmp_path / name
        save(path)
        expected = hashlib.sha256(path.read_bytes()).hexdigest()
        assert open_slide(path).fingerprint() == expected
        copy = tmp_path / f"copy of {name}"
        copy.write_bytes(path.read_bytes())
        assert open_slide(copy).fingerprint() == expected


def test_the_fingerprint_of_a_large_file_reads_little_and_sees_changes():
    size = WHOLE_BYTES * 100
    reads: list[int] = []

    def read(salt: int):
        def at(offset: int, count: int) -> bytes:
            reads.append(count)
            return bytes([salt, offset % 251]) * (count // 2)

        return at

    first = fingerprint_bytes(size, read(0), [(1, 2), (3, 4)])
    assert sum(reads) < 8 << 20
    assert first == fingerprint_bytes(size, read(0), [(1, 2), (3, 4)])
    assert first != fingerprint_bytes(size + 1, read(0), [(1, 2), (3, 4)])
    assert first != fingerprint_bytes(size, read(0), [(1, 2), (3, 5)])
    assert first != fingerprint_bytes(size, read(1), [(1, 2), (3, 4)])
