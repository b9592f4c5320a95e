"""One image however it was opened: its file, wherever its pixels are those shown."""

from __future__ import annotations

import imageio.v3 as imageio
import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_wsol.images.readers import Shown, open_slide, reread


def noise(*shape: int, dtype=np.uint8, top: int = 256) -> np.ndarray:
    return np.random.default_rng(0).integers(0, top, shape).astype(dtype)


def png(path, pixels):
    Image.fromarray(pixels).save(path)


def deep_tiff(path, pixels):
    """12 bits that count, in 16, as a camera writes them."""
    info = {"axes": "YX", "SignificantBits": 12}
    tifffile.imwrite(path, pixels, metadata=info, ome=True)


KINDS = {
    "colours.png": (png, noise(60, 50, 3)),
    "transparent.png": (png, noise(60, 50, 4)),
    "grey.png": (png, noise(60, 50)),
    "photo.jpg": (png, noise(60, 50, 3)),
    "deep.png": (png, noise(60, 50, dtype=np.uint16, top=4096)),
    "colours.tif": (tifffile.imwrite, noise(60, 50, 3)),
    "deep.ome.tif": (deep_tiff, noise(60, 50, dtype=np.uint16, top=3000)),
}


@pytest.mark.parametrize("name", KINDS)
def test_what_another_reader_shows_of_a_file_is_the_file(tmp_path, name):
    write, pixels = KINDS[name]
    path = tmp_path / name
    write(path, pixels)
    shown = imageio.imread(path)  # as napari reads it
    file = open_slide(path)
    slide = open_slide(Shown(path, shown), rgb=shown.ndim == 3)
    assert slide.path == path
    assert slide.name == name
    assert slide.fingerprint() == file.fingerprint()
    assert np.array_equal(slide.read(0, 0, 0, 60, 50), file.read(0, 0, 0, 60, 50))
    assert reread(slide) is None
    shown[20:30, 20:30] = shown[:10, :10]  # somebody paints on what is shown
    painted = reread(slide)
    assert painted is not None
    assert painted.path is None
    again = open_slide(Shown(path, shown), rgb=shown.ndim == 3)
    assert again.fingerprint() == painted.fingerprint() != file.fingerprint()


def test_pixels_that_are_not_those_of_the_file_are_an_image_of_their_own(tmp_path):
    path = tmp_path / "a.png"
    png(path, noise(60, 50, 3))
    pixels = noise(60, 50, 3)[::-1].copy()
    for other in (pixels, pixels[:30], noise(60, 50)):
        slide = open_slide(Shown(path, other))
        assert slide.path is None
        assert slide.fingerprint() == open_slide(other).fingerprint()
    for broken in (tmp_path / "gone.png", tmp_path / "empty.png"):
        (tmp_path / "empty.png").touch()
        assert open_slide(Shown(broken, pixels)).shape == (60, 50)


def test_a_file_that_is_overwritten_under_what_is_shown_is_another_image(tmp_path):
    path = tmp_path / "a.png"
    png(path, noise(60, 50, 3))
    slide = open_slide(Shown(path, imageio.imread(path)))
    png(path, noise(60, 50, 3)[::-1].copy())
    now = reread(slide)
    assert now is not None
    assert now.path is None
    assert np.array_equal(now.read(0, 0, 0, 60, 50), noise(60, 50, 3))


def test_levels_that_are_read_lazily_may_be_decoded_by_another_program(tmp_path):
    dask = pytest.importorskip("dask.array")
    path = tmp_path / "slide.tif"
    pixels = np.full((64, 64, 3), 120, np.uint8)
    pixels[::2] += 3
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(32, 32), compression="jpeg")
    read = tifffile.imread(path)
    for rounded, is_file in ((read ^ 1, True), (read + 40, False)):
        slide = open_slide(Shown(path, [dask.from_array(rounded)]), rgb=True)
        assert (slide.path == path) is is_file
