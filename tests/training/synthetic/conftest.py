"""Images with lesions that only their texture tells from the tissue around them.

Tissue is noise of one band of wavelengths, in all directions alike. A lesion is noise
of longer waves that run in one direction, another one in every lesion. Mean and
variance are the same in both, and a slow change of brightness lies over all, so that
neither brightness nor contrast gives a lesion away. Labels are those of whole images;
masks and boxes are written for measuring only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from napari_wsol.training.recipe import read_recipe
from napari_wsol.training.run import train
from napari_wsol.zoo import load_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_wsol.methods import Model

    Field = npt.NDArray[np.float64]
    Mask = npt.NDArray[np.bool_]

SIDE = 97
"""Pixels: the cells of every stride up to 32 then reach from border to border."""
TISSUE_WAVES, LESION_WAVES = (3.0, 5.5), (6.0, 12.0)
"""Wavelengths in pixels, shortest and longest."""
SPREAD = 0.25
"""Radians by which the waves of a lesion depart from its direction, about."""
RADII = (10, 22)
"""Pixels, smallest and largest half axis of a lesion."""
STAIN = np.array([18.0, 30.0, 14.0])
"""Grey values by which each colour changes with the texture."""
COLOUR = np.array([165.0, 120.0, 155.0])
"""Mean grey values."""
LIGHT, NOISE = 20.0, 3.0
"""Grey values, standard deviations of the slow change and of single pixels."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image and where its lesions are.

    Attributes:
        pixels: (S, S, 3) uint8.
        mask: (S, S) whether a pixel belongs to a lesion.
        boxes: x, y, width and height of each lesion.
    """

    pixels: npt.NDArray[np.uint8]
    mask: Mask
    boxes: tuple[tuple[int, int, int, int], ...]


def waves(
    rng: np.random.Generator,
    side: int,
    lengths: tuple[float, float],
    angle: float | None = None,
) -> Field:
    """(S, S) noise of a band, mean 0 and variance 1; in one direction, if given."""
    fy, fx = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    radius = np.hypot(fy, fx)
    kept = ((radius > 1 / lengths[1]) & (radius < 1 / lengths[0])).astype(float)
    if angle is not None:
        away = np.abs((np.arctan2(fy, fx) - angle + np.pi / 2) % np.pi - np.pi / 2)
        kept *= np.exp(-0.5 * (away / SPREAD) ** 2)
    noise = np.fft.ifft2(np.fft.fft2(rng.normal(size=(side, side))) * kept).real
    return (noise - noise.mean()) / noise.std()


def ellipse(rng: np.random.Generator, side: int) -> Mask:
    """(S, S) one lesion, turned anyhow, wholly within the image."""
    long, short = rng.uniform(*RADII, 2)
    middle = rng.uniform(max(long, short) + 1, side - max(long, short) - 1, 2)
    turn = rng.uniform(0, np.pi)
    y, x = np.mgrid[:side, :side] - middle[:, None, None]
    along, across = (
        x * np.cos(turn) + y * np.sin(turn),
        y * np.cos(turn) - x * np.sin(turn),
    )
    return (along / long) ** 2 + (across / short) ** 2 < 1


def picture(rng: np.random.Generator, side: int, *, lesions: int) -> Picture:
    """Tissue with some lesions that do not touch."""
    texture, mask = waves(rng, side, TISSUE_WAVES), np.zeros((side, side), bool)
    boxes: list[tuple[int, int, int, int]] = []
    for _ in range(lesions):
        found = ellipse(rng, side)
        while (ndimage.binary_dilation(found, iterations=3) & mask).any():
            found = ellipse(rng, side)
        # Independent waves: of weights whose squares add up to 1 the variance is 1.
        share = np.clip(ndimage.gaussian_filter(found.astype(float), 1.0), 0, 1)
        own = waves(rng, side, LESION_WAVES, rng.uniform(0, np.pi))
        texture = texture * np.sqrt(1 - share) + own * np.sqrt(share)
        mask |= found
        rows, columns = np.nonzero(found)
        top, left = int(rows.min()), int(columns.min())
        boxes.append(
            (left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1)
        )
    light = ndimage.gaussian_filter(rng.normal(size=(side, side)), side / 6)
    light *= LIGHT / light.std()
    pixels = COLOUR - STAIN * texture[..., None] + light[..., None]
    pixels += rng.normal(0, NOISE, pixels.shape)
    return Picture(pixels.clip(0, 255).astype(np.uint8), mask, tuple(boxes))


@dataclass(frozen=True, slots=True)
class Planted:
    """A set on disk: training and test images come from different seeds.

    Attributes:
        root: with the splits "train" (labels of whole images, no masks), "test" (masks,
            empty ones of normal images), "lesions" (the test images that have some) and
            "boxes" (the same, with boxes instead of masks). "findings.csv" lists the
            training images with one finding, a lesion, instead of two classes.
        tested: the test images.
    """

    root: Path
    tested: list[Picture]

    @property
    def ill(self) -> list[Picture]:
        """The test images with lesions."""
        return [item for item in self.tested if item.mask.any()]


def draw(seed: int, count: int) -> list[Picture]:
    """As many normal images as with one to three lesions, in turn."""
    rng = np.random.default_rng(seed)
    return [
        picture(rng, SIDE, lesions=index % 2 * int(rng.integers(1, 4)))
        for index in range(count)
    ]


def write_set(root: Path, *, train: int, test: int) -> Planted:
    """Draws and writes a set of so many images."""
    learnt, tested = draw(1, train), draw(2, test)
    _write_split(root / "train", _write_images(root, "train", learnt), learnt)
    labels = (root / "train" / "class_labels.txt").read_text("utf-8")
    (root / "findings.csv").write_text(f"path,lesion\n{labels}", "utf-8")
    names = _write_images(root, "test", tested)
    (root / "masks").mkdir()
    masks = [name.replace("test", "masks") for name in names]
    for name, item in zip(masks, tested, strict=True):
        Image.fromarray(item.mask.astype(np.uint8) * 255).save(root / name)
    pairs = [f"{name},{mask}" for name, mask in zip(names, masks, strict=True)]
    _write_split(root / "test", names, tested, pairs)
    ill = [at for at, item in enumerate(tested) if item.mask.any()]
    boxes = [
        f"{names[at]},{x},{y},{x + w - 1},{y + h - 1}"
        for at in ill
        for x, y, w, h in tested[at].boxes
    ]
    some, shown = [names[at] for at in ill], [tested[at] for at in ill]
    _write_split(root / "lesions", some, shown, [pairs[at] for at in ill])
    _write_split(root / "boxes", some, shown, boxes)
    return Planted(root, tested)


def _write_images(root: Path, folder: str, pictures: list[Picture]) -> list[str]:
    """Their names, from the set's folder."""
    (root / folder).mkdir()
    names = [f"{folder}/{index:03}.png" for index in range(len(pictures))]
    for name, item in zip(names, pictures, strict=True):
        Image.fromarray(item.pixels).save(root / name)
    return names


def _write_split(
    folder: Path, names: list[str], pictures: list[Picture], truth: Sequence[str] = ()
) -> None:
    """The lists of a split folder: images, their classes, and masks or boxes if any."""
    folder.mkdir(exist_ok=True)
    labels = [
        f"{name},{int(item.mask.any())}"
        for name, item in zip(names, pictures, strict=True)
    ]
    lists = {"image_ids": names, "class_labels": labels, "localization": truth}
    for key, lines in lists.items():
        if lines:
            (folder / f"{key}.txt").write_text("\n".join(lines) + "\n", "utf-8")


@pytest.fixture(scope="session")
def few(tmp_path_factory) -> Planted:
    """A set for a quick training."""
    return write_set(tmp_path_factory.mktemp("few"), train=96, test=24)


@pytest.fixture(scope="session")
def planted(tmp_path_factory) -> Planted:
    """A set for trainings that take their time."""
    return write_set(tmp_path_factory.mktemp("planted"), train=240, test=60)


@pytest.fixture(scope="session")
def learn(tmp_path_factory) -> Callable[..., Model]:
    """Trains from random weights, by a recipe, and loads what came out."""

    def run(
        data: Planted,
        name: str,
        model: str,
        *,
        steps: int,
        rates: tuple[float, float] = (1e-3, 1e-3),
        more: str = "",
    ) -> Model:
        findings = "multi_label = true" in model
        classes = '["lesion"]' if findings else '["normal", "lesion"]'
        out = tmp_path_factory.mktemp(name)
        path = out / "recipe.toml"
        path.write_text(
            f'name = "{name}"\n[data]\nclasses = {classes}\n'
            f'train = "{"findings.csv" if findings else "train"}"\n[model]\n{model}\n'
            f"[train]\nsteps = {steps}\nbatch = 16\ncrop = {SIDE}\n"
            f"learning_rate = {rates[0]}\nhead_learning_rate = {rates[1]}\n{more}\n",
            "utf-8",
        )
        card = train(
            read_recipe(path), data.root, out / "run", device="cpu",
            say=lambda *_: None, step=lambda _: None,
        )  # fmt: skip
        return load_model(card.folder, device="cpu")

    return run
