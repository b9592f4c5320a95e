"""Draws the pictures of the concepts with what they speak of: the program's own maps.

    python tools/figures.py

Writes docs/images/pxap.png and docs/images/thresholds.jpg.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from skimage import data

import napari_wsol as wsol
from napari_wsol import evaluation

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
VALUES = np.array(
    [
        [0.9, 0.8, 0.3, 0.1],
        [0.8, 0.6, 0.2, 0.1],
        [0.3, 0.7, 0.1, 0.0],
        [0.1, 0.2, 0.0, 0.0],
    ]
)


def pxap(path: Path) -> None:
    """A map of 4 × 4 with its reference, and its curve."""
    reference = np.zeros((4, 4), bool)
    reference[:2, :2] = True
    curve = evaluation.pixel_curve([VALUES], [reference])
    figure = Figure((6.4, 2.9), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(VALUES, cmap="inferno", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(VALUES):
        ink = "black" if value > 0.6 else "white"
        left.text(column, row, f"{value:.1f}", ha="center", va="center", color=ink)
    left.add_patch(
        Rectangle((-0.5, -0.5), 2, 2, fill=False, ec="deepskyblue", lw=4, clip_on=False)
    )
    left.set_axis_off()
    right.fill_between(curve.recall, curve.precision, step="pre", alpha=0.25)
    right.step(curve.recall, curve.precision, where="pre")
    right.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.05))
    right.set_title(f"PxAP {curve.pxap:.0f}", fontsize=10)
    figure.savefig(path)


def thresholds(path: Path) -> None:
    """Three maps, cut by value and by share of the area."""
    image = data.immunohistochemistry()
    model = wsol.load_model("glands-mobilenetv2")
    maps = wsol.localize(model, image, ["pixelcam", "pcam", "cam"]).heatmaps
    figure = Figure((7, 4.9), dpi=100, layout="constrained")
    for column, (name, heatmap) in zip(
        figure.subplots(2, 3).T, maps.items(), strict=True
    ):
        values = heatmap.resized(heatmap.image_shape)
        # The share is of what is drawn, so that it is 20 % to the eye too.
        for axes, cut, said in zip(
            column,
            (0.5, float(np.percentile(values, 80))),
            ("value 0.5", "share 20 %"),
            strict=True,
        ):
            axes.imshow(image)
            axes.imshow(values, cmap="inferno", alpha=0.5, vmin=0, vmax=1)
            axes.contour(values, levels=[cut], colors="white", linewidths=1.5)
            marked = f"{np.mean(values >= cut):.0%}".replace("%", " %")
            axes.set_title(f"{name}, {said}: {marked}", fontsize=9)
            axes.set_axis_off()
    figure.savefig(path, pil_kwargs={"quality": 80})


if __name__ == "__main__":
    pxap(IMAGES / "pxap.png")
    thresholds(IMAGES / "thresholds.jpg")
