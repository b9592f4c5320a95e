"""What is dropped is a slide or not: told quickly, by what it holds."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_wsol.images.readers import is_slide

PIXELS = np.zeros((256, 256, 3), np.uint8)


def levels(path, count: int, **how):
    with tifffile.TiffWriter(path, **how) as tif:
        for level in range(count):
            options = {"subfiletype": 1} if level else {}
            tif.write(PIXELS[:: 2**level, :: 2**level], photometric="rgb", **options)


def test_pyramids_are_slides_whatever_they_are_called(tmp_path):
    for name, how in (("a.tif", {}), ("a.bin", {"bigtiff": True})):
        levels(tmp_path / name, 3, **how)
        assert is_slide(tmp_path / name)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tif:
        tif.write(PIXELS, subifds=1, metadata={"axes": "YXS"})
        tif.write(PIXELS[::2, ::2], subfiletype=1)
    assert is_slide(tmp_path / "a.ome.tif")
    (tmp_path / "a.SVS").touch()  # it says itself what is wrong with it
    assert is_slide(tmp_path / "a.SVS")
    for name, text in (("a.zarr", '{"multiscales": []}'), ("b.zarr", "{}")):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".zattrs").write_text(text)
        assert is_slide(tmp_path / name) is (name == "a.zarr")


@pytest.mark.parametrize("kind", ["flat", "stack", "planes", "png", "bad", "none"])
def test_other_images_are_none(tmp_path, kind):
    path = tmp_path / "a.tif"
    if kind == "flat":
        levels(path, 1)
    elif kind == "stack":
        tifffile.imwrite(path, np.zeros((5, 64, 64), np.uint8))
    elif kind == "planes":  # a pyramid of them
        with tifffile.TiffWriter(path) as tif:
            planes = np.zeros((5, 64, 64), np.uint8)
            tif.write(planes, subifds=1, metadata={"axes": "ZYX"})
            tif.write(planes[:, ::2, ::2], subfiletype=1)
    elif kind == "png":
        Image.fromarray(PIXELS).save(path, format="PNG")
    elif kind == "bad":
        levels(path, 2)
        path.write_bytes(path.read_bytes()[:-200])
        with path.open("r+b") as file:
            file.seek(4)
            file.write(b"\xff\xff\xff\x7f")
    assert not is_slide(path)
