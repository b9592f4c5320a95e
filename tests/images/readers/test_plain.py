from __future__ import annotations

import imagecodecs
import numpy as np
import PIL
import pytest
from packaging.version import Version
from PIL import Image

from napari_wsol.errors import UnreadableImageError
from napari_wsol.images.readers import open_slide
from napari_wsol.images.readers.pixels import to_rgb8

EXIF_ORIENTATION = 0x0112


def whole(slide):
    return slide.read(0, 0, 0, *slide.shape)


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "webp"])
def test_lossless_files_keep_their_pixels(tmp_path, picture, suffix):
    path = tmp_path / f"a.{suffix}"
    small = picture[:60, :50] // 64 * 64
    image = Image.fromarray(small)
    if suffix == "gif":
        image = image.quantize(64)
        small = np.array(image.convert("RGB"))
    image.save(path, **({"lossless": True} if suffix == "webp" else {}))
    slide = open_slide(path)
    assert slide.reader == "pillow"
    assert slide.name == path.name
    assert np.array_equal(whole(slide), small)


def test_a_jpeg_is_close_to_its_source(tmp_path, picture):
    path = tmp_path / "a.jpg"
    smooth = np.array(Image.fromarray(picture).resize((60, 80)))
    Image.fromarray(smooth).save(path, quality=95)
    assert abs(whole(open_slide(path)).astype(int) - smooth).mean() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_stands_upright(tmp_path, picture, orientation):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    path = tmp_path / "a.png"
    Image.fromarray(picture[:60, :50]).save(path, exif=exif)
    turned = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: a[::-1].swapaxes(0, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: a[:, ::-1].swapaxes(0, 1),
    }[orientation]
    assert np.array_equal(whole(open_slide(path)), turned(picture[:60, :50]))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_16_bit_png_is_read_at_its_depth(tmp_path, picture, channels):
    # 12 bits in 16: cut to its high byte, the image would be black.
    deep = picture[:60, :50, :1].astype(np.uint16) * 16
    if channels > 1:
        deep = np.repeat(deep, 3, axis=2)
    if channels == 4:
        deep = np.concatenate([deep, np.full((60, 50, 1), 65535, np.uint16)], axis=2)
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(deep.squeeze()))
    slide = open_slide(path)
    assert np.array_equal(whole(slide), to_rgb8(deep))
    assert "12-bit" in slide.notes[0]


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "F", "I"]
)
def test_every_mode_is_read(tmp_path, picture, mode):
    if mode == "YCbCr" and Version(PIL.__version__) < Version("13"):
        pytest.skip("earlier ones say that such TIFF is cut off")
    path = tmp_path / ("a.tif" if mode in ("F", "I", "YCbCr", "CMYK") else "a.png")
    image = Image.fromarray(picture[:60, :50]).convert(mode)
    image.save(path)
    slide = open_slide(path, reader="pillow")
    assert whole(slide).shape == (60, 50, 3)
    expected = np.array(Image.fromarray(picture[:60, :50]).convert("L"), int)
    if mode in ("L", "F", "I"):
        assert abs(whole(slide)[..., 0] - expected).max() <= 1


def test_a_transparent_palette_lies_on_white(tmp_path):
    image = Image.new("P", (20, 20), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((3, 4), 1)
    image.save(tmp_path / "a.png", transparency=0)
    pixels = whole(open_slide(tmp_path / "a.png"))
    assert pixels[4, 3].tolist() == [40, 50, 60]
    assert pixels[0, 0].tolist() == [255, 255, 255]


def test_the_first_of_several_pictures_is_shown(tmp_path):
    frames = [Image.new("L", (20, 20), value) for value in (10, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    slide = open_slide(tmp_path / "a.gif")
    assert any("2 pictures" in note for note in slide.notes)
    assert whole(slide).max() < 60


@pytest.mark.parametrize("dpi", [72, 96, 300, 600, 1])
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_a_print_resolution_is_not_believed(tmp_path, picture, dpi, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(picture[:60, :50]).save(path, dpi=(dpi, dpi))
    slide = open_slide(path)
    assert slide.mpp is None
    assert any("give the pixel size" in note for note in slide.notes)
    assert open_slide(path, mpp=0.25).mpp == 0.25


@pytest.mark.parametrize("keep", [20, 60, 3_000])
def test_a_cut_file_is_refused(tmp_path, picture, keep):
    path = tmp_path / "a.png"
    Image.fromarray(picture[:60, :50]).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UnreadableImageError, match=r"again|choose"):
        open_slide(path)


def test_an_image_too_large_for_its_format_is_refused(tmp_path):
    path = tmp_path / "a.png"
    Image.new("1", (20_000, 20_000)).save(path)
    with pytest.raises(UnreadableImageError, match="pyramidal TIFF"):
        open_slide(path)
