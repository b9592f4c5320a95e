"""A tiny set of images for trainings of a few steps, with masks for evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from napari_wsol.learning.recipe import read_recipe

if TYPE_CHECKING:
    from pathlib import Path

    from napari_wsol.learning.recipe import Recipe

SPLITS = {"train": 6, "valpx": 2, "valcl": 4}


def disc(rng: np.random.Generator, striped: bool) -> tuple[np.ndarray, np.ndarray]:
    """A dark disc on a light, noisy ground, (40, 44, 3); and where it is."""
    y, x = np.mgrid[:40, :44]
    cy, cx = rng.integers(14, 26), rng.integers(14, 30)
    mask = (y - cy) ** 2 + (x - cx) ** 2 < 10**2
    image = rng.normal(200, 8, (40, 44, 3))
    image[mask] -= 110
    if striped:
        image[mask & (x % 4 < 2)] += 50
    return image.clip(0, 255).astype(np.uint8), mask


@pytest.fixture(scope="session")
def discs(tmp_path_factory) -> Path:
    """Split folders of plain and striped discs."""
    root = tmp_path_factory.mktemp("discs")
    rng = np.random.default_rng(0)
    for split, count in SPLITS.items():
        (root / split).mkdir()
        lists: dict[str, list[str]] = {
            "image_ids": [],
            "class_labels": [],
            "localization": [],
        }
        for index in range(count):
            image, mask = disc(rng, striped=bool(index % 2))
            name, beside = f"{split}{index}.png", f"mask-{split}{index}.png"
            Image.fromarray(image).save(root / split / name)
            Image.fromarray(mask.astype(np.uint8)).save(root / split / beside)
            lists["image_ids"].append(name)
            lists["class_labels"].append(f"{name},{index % 2}")
            lists["localization"].append(f"{name},{beside}")
        for key, lines in lists.items():
            (root / split / f"{key}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def make_recipe(tmp_path):
    """A recipe for the discs, from the lines that differ."""

    def make(
        *,
        model: str = 'encoder = "mobilenet_v2"\ntaps = ["features.1"]\noffsets = [1.0]',
        heads: str = '["cam"]',
        data: str = "",
        train: str = "",
        more: str = "",
        name: str = "toy",
    ) -> Recipe:
        path = tmp_path / f"{name}.toml"
        path.write_text(
            f'name = "{name}"\n[data]\ntrain = "train"\n'
            f'classes = ["plain", "striped"]\n{data}\n'
            f"[model]\n{model}\nheads = {heads}\n"
            f"[train]\nsteps = 4\nbatch = 2\ncheckpoint_every = 2\n"
            f"{'' if 'crop' in train else 'crop = 32'}\n{train}\n{more}\n",
            encoding="utf-8",
        )
        return read_recipe(path)

    return make
