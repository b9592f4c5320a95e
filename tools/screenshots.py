"""Takes the pictures of the tutorials that the demo does not come by.

    python tools/screenshots.py FOLDER [NAME ...]

``list``, ``slide``, ``verdict``, ``reference`` and ``film``: each is a short story in a
window of its own, driven like the demo, and waits for what it shows. ``make
screenshots`` runs the demo and then this. All tissue is made of scikit-image's colon
glands.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from PIL import Image
from skimage import color, data, filters

from napari_wsol.config import SlideConfig
from napari_wsol.gui.demo.tour import WINDOW, Tour
from napari_wsol.gui.demo.viewer import open_viewer
from napari_wsol.gui.images.reader import read_slides
from napari_wsol.gui.images.samples import FILM
from napari_wsol.gui.layers.marks import our_layers
from napari_wsol.gui.layers.stroke_layer import BACKGROUND_LABEL, FOREGROUND_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from napari_wsol.gui.demo.tour import Line

    Pixels = npt.NDArray[np.uint8]

MISSED: Line = ((0.25, 0.03), (0.35, 0.07))
LUMEN: Line = ((0.86, 0.87), (0.92, 0.875))
"""Strokes on the glands: one where they are missed, one where there are none."""

LARGEST = 250_000
"""Bytes of a picture."""

GLASS = 243
"""Grey of a slide's empty glass."""


class Story(Tour):
    """A window in which one picture is taken."""

    def __init__(self, viewer: Any, widget: Any, folder: Path) -> None:  # noqa: ANN401
        super().__init__(viewer, widget)
        self.viewer, self.widget, self.folder = viewer, widget, folder
        self.session = widget.session

    def open(self, path: Path) -> None:
        """Add an image as ``napari-wsol view`` does."""
        for pixels, options, _ in read_slides(path):
            self.viewer.add_image(pixels, **options)

    def worked_on(self, name: str) -> None:
        """Wait until an image of a list is open and has its maps."""
        layers = self.widget.layers

        def is_there() -> bool:
            is_open = layers.image is not None and layers.image.name == name
            return is_open and self.is_localized()

        self.wait(name, is_there)


def glands(rows: int, columns: int, coarser: int = 1) -> Pixels:
    """Tissue of so many images, mirrored so that they join."""
    image = np.asarray(Image.fromarray(data.immunohistochemistry()).reduce(coarser))
    line = np.concatenate([image, image[:, ::-1]], axis=1)
    block = np.concatenate([line, line[::-1]])
    return np.tile(block, (-(-rows // 2), -(-columns // 2), 1))[
        : rows * len(image), : columns * len(image)
    ]


def turned(line: Line, times: int) -> Line:
    """A stroke on the image that ``np.rot90`` has turned so often."""
    for _ in range(times):
        (top, left), (bottom, right) = line
        line = (1 - left, top), (1 - right, bottom)
    return line


def many(story: Story) -> None:
    """A folder: reviewed, refined, stroked, set aside, untouched."""
    image, widget = data.immunohistochemistry(), story.widget
    pictures = story.folder / "biopsies"
    pictures.mkdir()
    for number in range(6):
        pixels = np.rot90(image if number < 4 else image[:, ::-1], number)
        Image.fromarray(pixels).save(pictures / f"biopsy-{number + 1:02}.png")
    story.wait("the model", lambda: story.session.model is not None)
    widget.image_line.list_button.folder_wanted.emit(pictures, False)
    for number, refines in ((1, True), (2, True), (3, False)):
        story.worked_on(f"biopsy-{number:02}.png")
        story.session.live = False
        widget.correct_panel.tools["foreground"].click()
        story.stroke(turned(MISSED, number - 1), FOREGROUND_LABEL)
        widget.correct_panel.tools["background"].click()
        story.stroke(turned(LUMEN, number - 1), BACKGROUND_LABEL)
        story.wait("the strokes", lambda: sum(story.session.stroke_counts) == 2)
        if refines:
            widget.correct_panel.refine_button.click()
            story.wait("the refined map", lambda: story.session.round_index > 0)
        if number == 1:
            story.wait("the status", lambda: story.session.status == "refined")
            widget.image_list.reviewed_button.click()
            story.wait("the mark", lambda: story.session.status == "reviewed")
        if number < 3:
            widget.image_list.next_button.click()
    widget.image_list.choose(4)
    widget.image_list.aside_button.click()
    widget.image_list.choose(2)


def slide(story: Story) -> None:
    """A slide of which some tiles are there."""
    tissue = glands(14, 14, 2)  # as fine as the model sees it, and just large enough
    side = len(tissue)
    y, x = np.mgrid[:side, :side] / side - 0.5
    turn = np.arctan2(y, x)
    edge = 0.40 + 0.04 * np.sin(3 * turn) + 0.02 * np.sin(7 * turn)
    tissue[np.hypot(y, x) > edge] = GLASS
    path = story.folder / "colon.ome.tif"
    size = {"PhysicalSizeX": 1.24, "PhysicalSizeY": 1.24}
    tifffile.imwrite(
        path, tissue, ome=True, tile=(512, 512), compression="jpeg",
        photometric="rgb", metadata={"axes": "YXS", **size},
    )  # fmt: skip
    del tissue, y, x, turn, edge
    session = story.session
    session.slide_config = SlideConfig(core=512)
    story.open(path)
    reached, taken = threading.Event(), threading.Event()

    def hold(progress: Any) -> None:  # noqa: ANN401
        """The worker stops here, with some tiles, until the picture is taken."""
        if 8 <= progress.done < progress.total and not reached.is_set():
            reached.set()
            taken.wait(60)

    session.slide_moved.connect(hold)
    button = story.widget.localize_panel.localize_button
    story.wait("the slide", story.widget.localize_panel.slide_box.isVisible)
    story.wait("the button", button.isEnabled)
    button.click()
    story.wait("some tiles", reached.is_set)
    story.wait("the veil", lambda: bool(our_layers(story.viewer, "tiles")))
    story.rest()
    story.save(story.folder / "held.png")
    taken.set()
    story.widget.controller.cancel()
    story.wait("the end", lambda: not session.is_busy)


def verdict(story: Story) -> None:
    """Attention MIL: the verdict, and tiles for it beside those against."""
    story.viewer.add_image(glands(2, 2), name="colon", rgb=True)
    story.localize()
    shown = story.widget.compare_panel.verdict
    story.wait("the tiles", lambda: shown.galleries[0].count() > 0)
    story.widget.compare_panel.amount_box.setValue(0.05)  # weak evidence, too
    story.rest()
    story.widget.scroll_area.ensureWidgetVisible(shown)


def reference(story: Story) -> None:
    """Maps side by side with a reference, and their scores."""
    image = data.immunohistochemistry()
    brown = filters.gaussian(color.rgb2hed(image)[..., 2], 3)
    story.viewer.add_image(image, name="colon glands", rgb=True)
    story.localize()
    mask = (brown > filters.threshold_otsu(brown)).astype(np.uint8)
    story.viewer.add_labels(mask, name="brown", visible=False)
    panel, session = story.widget.compare_panel, story.session
    box = panel.reference_box
    story.wait("the layer's name", lambda: box.findText("brown") >= 0)
    box.setCurrentIndex(box.findText("brown"))
    box.activated.emit(box.currentIndex())
    story.wait(
        "the figures",
        lambda: session.reference is not None and bool(session.figures(wait=False)),
    )
    panel.side_by_side.click()


def film(story: Story) -> None:
    """A chest film, and what the dock says of a model of tissue for it."""
    story.open(FILM)
    story.wait("the image", lambda: story.widget.layers.image is not None)
    story.wait("the model", lambda: story.session.model is not None)
    story.wait("the hint", story.widget.localize_panel.likeness_box.isVisible)


STORIES: dict[str, tuple[Callable[[Story], None], str]] = {
    "list": (many, "glands-mobilenetv2"),
    "slide": (slide, "glands-mobilenetv2"),
    "verdict": (verdict, "malignancy-mobilenetv2"),
    "reference": (reference, "glands-mobilenetv2"),
    "film": (film, "glands-mobilenetv2"),
}


def tell(name: str, target: Path) -> None:
    """One story; its picture replaces the one before."""
    what, model = STORIES[name]
    with TemporaryDirectory(ignore_cleanup_errors=True) as place:
        folder = Path(place)
        os.environ["NAPARI_WSOL_HOME"] = str(folder / "home")
        viewer, widget = open_viewer(model=model, journals=folder / "journals")
        try:
            viewer.window.resize(*WINDOW)
            story = Story(viewer, widget, folder)
            what(story)
            held = folder / "held.png"
            if not held.exists():
                story.rest()
                story.save(held)
            keep(held, target)
        finally:
            widget.end()
            viewer.close()


def keep(taken: Path, target: Path) -> None:
    """Writes a picture as JPEG, as well as its size allows."""
    with Image.open(taken) as picture:
        for quality in range(80, 40, -4):
            picture.save(target, quality=quality)
            if target.stat().st_size <= LARGEST:
                return


def main() -> None:
    """Takes the pictures that are asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(STORIES)}")
    options = parser.parse_args()
    for name in options.names or STORIES:
        began, target = time.monotonic(), options.folder / f"{name}.jpg"
        tell(name, target)
        size = target.stat().st_size / 1000
        print(f"{target.name}: {size:.0f} kB, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
