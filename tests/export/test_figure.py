"""Figures as a journal would look at them: size, fonts, scale bar, the same bytes."""

import io
import re
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pypdf import PdfReader

from napari_wsol.config import FigureConfig
from napari_wsol.errors import ConfigError
from napari_wsol.export.figure import Panel, Sheet, panels_of
from napari_wsol.images.heatmap import Heatmap
from napari_wsol.images.readers import open_slide

MM = 72 / 25.4
"""Points of a PDF."""


def panels(side, count=3, **changes):
    rows, columns = np.mgrid[:side, :side] / side
    image = np.full((side, side, 3), 200, np.uint8)
    scores = np.exp(-((rows - 0.5) ** 2 + (columns - 0.5) ** 2) / 0.05)
    first = Panel(image=image, title="Image é µ 中文 $x_1$\n2", pixel_um=0.5)
    one = Panel(
        image=image,
        scores=scores.astype(np.float32),
        reference=scores > 0.7,
        title="PixelCAM",
        caption=("PxAP 86.5 · IoU 0.71", "threshold 0.50"),
        **changes,
    )
    return [first, *[one] * (count - 1)]


def drawn(kind, config=None, **changes):
    config = config or FigureConfig(dpi=100)
    sheet = Sheet(3, config)
    return sheet.drawn(panels(sheet.panel, **changes), kind)


@pytest.mark.parametrize("width", [85.0, 180.0])
def test_a_pdf_has_the_width_in_mm_and_its_fonts(width):
    page = PdfReader(io.BytesIO(drawn(".pdf", FigureConfig(width_mm=width)))).pages[0]
    assert float(page.mediabox.width) / MM == pytest.approx(width, abs=0.1)
    fonts = [font.get_object() for font in page["/Resources"]["/Font"].values()]
    files = []
    for font in fonts:
        inner = font
        if font["/Subtype"] == "/Type0":
            inner = font["/DescendantFonts"][0].get_object()
            assert inner["/Subtype"] == "/CIDFontType2"  # TrueType, whatever letters
        else:
            assert font["/Subtype"] == "/TrueType"
        files.append(inner["/FontDescriptor"].get_object()["/FontFile2"].get_object())
    assert len(files) >= 2  # titles, and bold letters
    assert all(len(file.get_data()) > 1000 for file in files)
    text = page.extract_text()
    for words in ("PixelCAM", "PxAP 86.5 · IoU 0.71", "Image é µ", "evidence"):
        assert words in text
    assert ("中文 $x_1$ 2" in text) == (width > 100)  # else it is cut, with dots


@pytest.mark.parametrize("kind", [".pdf", ".svg", ".png"])
def test_the_same_panels_give_the_same_bytes_on_any_thread(kind):
    found = [drawn(kind)]
    threads = [
        threading.Thread(target=lambda: found.append(drawn(kind))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[1:] == found[:1] * 2
    assert "matplotlib.pyplot" not in sys.modules or "napari" in sys.modules


def test_a_style_of_the_users_changes_no_figure():
    import matplotlib as mpl

    before = drawn(".png")
    with mpl.rc_context({"text.color": "red", "savefig.bbox": "tight"}):
        assert drawn(".png") == before
        assert mpl.rcParams["text.color"] == "red"


@pytest.mark.parametrize(
    ("um", "told"), [(0.5, "50 µm"), (20.0, "2 mm"), (1e-2, "1 µm")]
)
def test_the_scale_bar_is_as_long_as_it_says(um, told):
    config = FigureConfig(dpi=200, width_mm=180)
    sheet = Sheet(3, config)
    first, *rest = panels(sheet.panel)
    content = sheet.drawn([replace(first, pixel_um=um), *rest], ".svg").decode()
    assert told in content
    group = content[content.index('id="scale"') :]
    path = re.search(r'd="M (\S+) \S+ *\n? *L (\S+)', group)
    points = abs(float(path[2]) - float(path[1]))
    pixels = points / 72 * config.dpi
    number, unit = told.split()
    length_um = float(number) * (1000 if unit == "mm" else 1)
    assert pixels * um == pytest.approx(length_um, rel=0.005)
    assert pixels < 0.3 * sheet.panel


def test_a_png_has_the_pixels_of_its_width_and_images_are_not_resampled():
    config = FigureConfig(dpi=150, letters=False, colour_bar=False)
    sheet = Sheet(3, config)
    noise = np.random.default_rng(0).integers(0, 255, (sheet.panel, sheet.panel, 3))
    noise = noise.astype(np.uint8)
    content = sheet.drawn([Panel(image=noise)] * 3, ".png")
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.width == round(180 / 25.4 * 150)
        assert picture.info["dpi"][0] == pytest.approx(150, abs=0.1)
        pixels = np.asarray(picture)[..., :3]
    top = np.flatnonzero((pixels[:, : sheet.panel] != 255).any((1, 2)))[0]
    seen = pixels[top : top + sheet.panel, : sheet.panel]
    assert np.array_equal(seen, noise)


def test_the_contour_lies_where_the_map_is_cut():
    config = FigureConfig(dpi=150, letters=False)
    sheet = Sheet(1, config)
    scores = np.tile(np.linspace(0, 1, sheet.panel, dtype=np.float32), (sheet.panel, 1))
    image = np.full((*scores.shape, 3), 200, np.uint8)
    content = sheet.drawn([Panel(image=image, scores=scores, cut=0.25)], ".png")
    with Image.open(io.BytesIO(content)) as picture:
        pixels = np.asarray(picture)[..., :3].astype(int)
    blue = np.abs(pixels - (0x56, 0xB4, 0xE9)).max(-1) < 60
    columns = np.flatnonzero(blue.sum(0) > sheet.panel / 2)
    assert columns.mean() == pytest.approx(0.25 * sheet.panel, abs=2)


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(ConfigError, match="12 panels beside each other do not fit"):
        Sheet(12, FigureConfig(width_mm=85, columns=12))
    with pytest.raises(ConfigError, match=r"\.pdf, \.svg or \.png"):
        drawn(".docx")
    with pytest.raises(ConfigError, match="Width"):
        FigureConfig(width_mm=1000)


def test_the_view_shows_its_part_of_image_map_and_reference():
    image = np.zeros((100, 200, 3), np.uint8)
    image[20:60, 100:180] = 255
    slide = open_slide(image, name="half")
    heatmap = Heatmap(
        values=(image[::2, ::2, 0] / 255).astype(np.float32),
        scale=(2.0, 2.0), translate=(0.5, 0.5), image_shape=(100, 200),
        method="cam", target="x", is_probability=True,
    )  # fmt: skip
    area = image[..., 0] > 0
    first, one = panels_of(
        slide, [heatmap], 80, area, mpp=0.5, box=(20.0, 100.0, 60.0, 180.0)
    )
    assert first.image.shape == (40, 80, 3)
    assert first.image.min() == 255
    assert one.reference.all()
    assert one.scores.mean() > 0.95
    assert first.pixel_um == pytest.approx(0.5)
    whole, _ = panels_of(slide, [heatmap], 50, area)
    assert whole.image.shape == (25, 50, 3)
    assert whole.reference.sum() == pytest.approx(10 * 20, abs=12)
    with pytest.raises(ConfigError, match="Nothing of the image is seen"):
        panels_of(slide, [heatmap], 50, box=(300.0, 0.0, 400.0, 50.0))
