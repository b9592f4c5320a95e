"""The files that a page speaks of: a folder in which its blocks can be run.

A function here makes the files of a page; ``@world("how-to/film.md")`` says of which.
All are synthetic and small, so that a page takes seconds.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from PIL import Image

import napari_wsol as wsol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WORLDS: dict[str, Callable[[Path], None]] = {}
"""What makes the files of a page, by its name."""

SLOW: dict[str, str] = {
    "faq.md": "the whole doctor: ten seconds",
    "how-to/own-data.md": "trainings and their figures: six seconds",
    "how-to/film.md": "several trainings and their figures: ten seconds",
    "tutorials/cluster.md": "slides by workers, bags and verify: ten seconds",
    "reference/data-sets.md": "boxes at a hundred thresholds: half a minute",
    "reference/headless.md": "slides, bags, a journal and a report: half a minute",
}
"""Pages that run as slow tests only, with the reason."""

NOT_RUN: dict[str, str] = {
    "how-to/plugins.md": "tests/test_plugins.py runs it: what is registered stays",
}
"""Pages whose blocks are read and checked, but not run, with the reason."""


def world(page: str) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """Registers what makes the files of a page in the folder that it is given."""

    def keep(make: Callable[[Path], None]) -> Callable[[Path], None]:
        WORLDS[page] = make
        return make

    return keep


def tissue(seed: int = 1, height: int = 256, width: int = 256) -> np.ndarray:
    """(height, width, 3) uint8: pink, noisy tissue on the left two thirds of glass."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), 245, np.uint8)
    right = 2 * width // 3
    texture = rng.integers(-40, 40, (height, right, 3))
    image[:, :right] = np.clip(np.array([190, 90, 150]) + texture, 0, 255)
    rows, columns = np.mgrid[:height, :right]
    for row, column in rng.integers(30, (height - 30, right - 30), (4, 2)):
        gland = np.hypot(rows - row, columns - column)
        image[:, :right][gland < 24] = (120, 60, 140)
        image[:, :right][gland < 12] = (240, 235, 240)
    return image


def slide(path: Path, seed: int = 1, side: int = 1024) -> None:
    """A pyramid of tiles in TIFF with 0.5 µm a pixel, as a scanner writes it."""
    image = tissue(seed, side, side)
    told = {"tile": (256, 256), "photometric": "rgb", "compression": "jpeg"}
    told |= {"resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as file:
        for level, step in enumerate((1, 4)):
            dots = 1e4 / (0.5 * step)
            file.write(
                image[::step, ::step],
                subfiletype=int(level > 0),
                resolution=(dots, dots),
                **told,
            )


@world("reference/python.md")
def python(folder: Path) -> None:
    Image.fromarray(tissue()).save(folder / "tissue.png")


@world("reference/headless.md")
def headless(folder: Path) -> None:
    """Slides, a tile, a folder of images, and a journal with one round in it."""
    (folder / "FOLDER").mkdir()
    (folder / "SLIDES").mkdir()
    slide(folder / "SLIDE.svs")
    for number in (2, 3):
        slide(folder / "SLIDES" / f"{number}.svs", number)
    Image.fromarray(tissue(4)).save(folder / "FOLDER" / "a.png")
    tile = folder / "TILE.png"
    Image.fromarray(tissue(5)).save(tile)
    journals = folder / "journals"
    session = wsol.Session(journals=journals)
    session.open(tile).result()
    session.use("glands-mobilenetv2").result()
    session.localize().result()
    session.brush([(60.0, 20.0), (60.0, 120.0)], 2, 12.0)
    session.brush([(180.0, 200.0), (220.0, 240.0)], 1, 12.0)
    session.finetune().result()
    session.close(wait=True)
    (journal,) = (path for path in journals.iterdir() if path.is_dir())
    journal.rename(folder / "JOURNAL")


@world("reference/data-sets.md")
def data_sets(folder: Path) -> None:
    """Films of two classes with boxes, and a model of them."""
    from fixtures.colours import colour_model
    from fixtures.models import small_card

    from napari_wsol.zoo import save_model

    model = colour_model(("Nodule", "Effusion"), (1.0, 1.0, 1.0), 0.0)
    save_model(model, small_card(model))
    (folder / "FILMS" / "films").mkdir(parents=True)
    labels, boxes = ["path,label"], ["image,class,x,y,w,h"]
    for number in range(4):
        name = f"{number:08}_000.png"
        kind = ("Nodule", "Effusion")[number % 2]
        film = np.full((32, 32), 60, np.uint8)
        film[10:18, 6:14] = 180
        Image.fromarray(film).save(folder / "FILMS" / "films" / name)
        labels.append(f"films/{name},{kind}")
        boxes.append(f"{name},{kind},192,320,256,256")
    (folder / "FILMS" / "labels.csv").write_text("\n".join(labels), "utf-8")
    (folder / "FILMS" / "boxes.csv").write_text("\n".join(boxes), "utf-8")


# ------------------------------------------------- tutorials, how-tos, questions


def textured(shape: tuple[int, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pink tissue with a violet gland, (h, w, 3) uint8; and where the gland is."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    radius = min(shape) / 4
    gland = (y - shape[0] * 0.45) ** 2 + (x - shape[1] * 0.5) ** 2 < radius**2
    image = np.array([215, 150, 190]) + rng.normal(0, 12, (*shape, 1))
    image[gland] -= [90, 90, 60]
    return image.clip(0, 255).astype(np.uint8), gland


def picture(path: Path, shape: tuple[int, int] = (160, 192), seed: int = 0) -> None:
    """A picture of tissue, and beside it ``reference.png`` of its gland."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image, gland = textured(shape, seed)
    Image.fromarray(image).save(path)
    Image.fromarray(gland.astype(np.uint8) * 255).save(path.parent / "reference.png")


def study(folder: Path, count: int = 4) -> None:
    """``labels.csv`` with labels, masks, splits and patients; also as two tables."""
    folder.mkdir(parents=True)
    rows = ["path,label,split,mask,patient"]
    for number in range(count):
        image, gland = textured((96, 112), number)
        label = ("benign", "malignant")[number % 2]
        split = "train" if number < count // 2 else "test"
        Image.fromarray(image).save(folder / f"{number}.png")
        Image.fromarray(gland.astype(np.uint8)).save(folder / f"{number}-mask.png")
        rows.append(f"{number}.png,{label},{split},{number}-mask.png,p{number // 2}")
    head, half = rows[0], 1 + count // 2
    for name, part in (
        ("labels", rows),
        ("train", rows[:half]),
        ("test", [head, *rows[half:]]),
    ):
        (folder / f"{name}.csv").write_text("\n".join(part) + "\n")


RECIPE = """
name = "mine"
[data]
train = "train.csv"
classes = ["benign", "malignant"]
[model]
encoder = "mobilenet_v2"
taps = ["features.1"]
offsets = [1.0]
heads = ["cam"]
[train]
steps = 2
batch = 2
crop = 32
"""


@world("start.md")
def start(folder: Path) -> None:
    picture(folder / "tissue.png")


@world("tutorials/pathologist.md")
def pathologist(folder: Path) -> None:
    slide(folder / "slide.tif", side=384)


@world("tutorials/researcher.md")
def researcher(folder: Path) -> None:
    picture(folder / "tissue.png")
    study(folder / "study")


@world("tutorials/annotator.md")
def annotator(folder: Path) -> None:
    picture(folder / "images" / "a.png")


@world("tutorials/cluster.md")
def cluster(folder: Path) -> None:
    (folder / "slides").mkdir()
    for seed, name in enumerate("ab", 1):
        slide(folder / "slides" / f"{name}.tif", seed, side=384)


@world("how-to/own-model.md")
def own_model(folder: Path) -> None:
    import torch

    from napari_wsol.encoders import build_encoder

    picture(folder / "tissue.png")
    own = build_encoder("resnet18").state_dict() | {"fc.weight": torch.rand(2, 512)}
    torch.save({"model": own, "ema": own}, folder / "own.ckpt")


@world("how-to/own-data.md")
def own_data(folder: Path) -> None:
    study(folder / "study")
    (folder / "mine.toml").write_text(RECIPE, "utf-8")


@world("how-to/foundation-encoder.md")
def foundation_encoder(_folder: Path) -> None:
    """Nothing: weights are not given away."""


@world("how-to/film.md")
def film(folder: Path) -> None:
    pytest.importorskip("pylibjpeg", reason="films are decoded by the dicom extra")
    from fixtures.colours import colour_model
    from fixtures.films import write_film
    from fixtures.models import small_card

    from napari_wsol.zoo import save_model

    model = colour_model(("Cardiomegaly", "Mass"), (1.0, 1.0, 1.0), 0.0)
    save_model(model, replace(small_card(model), name="chest"))
    grey = np.where(textured((128, 128))[1], 180, 60)  # few contours: quick
    stored = grey.astype(np.uint16) * 16
    write_film(folder / "film.dcm", stored, bits=12, PixelSpacing=[0.2, 0.2])
    (folder / "films").mkdir()
    labels, boxes = ["path,label"], ["image,class,x,y,w,h"]
    for number in range(2):
        name, finding = f"{number:08}_000.png", "Cardiomegaly"
        Image.fromarray(grey.astype(np.uint8)).save(folder / "films" / name)
        labels.append(f"{name},{finding}")
        boxes.append(f"{name},{finding},{300 + 40 * number},300,350,350")
    (folder / "films" / "labels.csv").write_text("\n".join(labels) + "\n")
    (folder / "films" / "boxes.csv").write_text("\n".join(boxes) + "\n")


@world("how-to/qupath.md")
def qupath(folder: Path) -> None:
    slide(folder / "slide.tif", side=384)
    shapes = [
        {
            "type": "Feature",
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[x, 120], [x + 70, 120], [x + 70, 190], [x, 120]]],
            },
            "properties": {"classification": {"name": name}},
        }
        for x, name in ((180, "Tumor"), (280, "Normal"))
    ]
    text = json.dumps({"type": "FeatureCollection", "features": shapes})
    (folder / "annotations.geojson").write_text(text)


@world("how-to/publish-numbers.md")
def publish_numbers(folder: Path) -> None:
    picture(folder / "tissue.png")
    study(folder / "study")


@world("faq.md")
def faq(folder: Path) -> None:
    dyes = textured((96, 112))[0].transpose(2, 0, 1)
    about = {"metadata": {"axes": "CYX"}, "photometric": "minisblack"}
    tifffile.imwrite(folder / "dyes.ome.tif", dyes, **about)


@world("reference/environment.md")
@world("concepts/pxap.md")
@world("concepts/thresholds.md")
@world("concepts/what-a-cam-can-say.md")
@world("concepts/why-strokes-have-a-prior.md")
def nothing(_: Path) -> None:
    """These pages bring their own arrays, an image of scikit-image, or need none."""
