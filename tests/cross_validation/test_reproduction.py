"""A paper's figures made again, on a few made-up images of the published layouts."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from napari_wsol.cli.app import app

if TYPE_CHECKING:
    from pathlib import Path


def discs(folder: Path, split: str, count: int, *, masks: bool = True) -> None:
    """A split folder of the field: dark discs on light ground, half of them striped."""
    rng = np.random.default_rng(len(split))
    place = folder / split
    place.mkdir(parents=True)
    lists: dict[str, list[str]] = {"image_ids": [], "class_labels": []}
    for at in range(count):
        y, x = np.mgrid[:60, :64]
        mask = (y - rng.integers(20, 40)) ** 2 + (x - 32) ** 2 < 15**2
        pixels = rng.normal(200, 8, (60, 64, 3))
        pixels[mask] -= 110
        if at % 2:
            pixels[mask & (x % 4 < 2)] += 50
        name, beside = f"{split}/{at}.png", f"{split}/{at}-mask.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name)
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / beside)
        lists["image_ids"].append(name)
        lists["class_labels"].append(f"{name},{at % 2}")
        if masks:
            lists.setdefault("localization", []).append(f"{name},{beside}")
    for key, lines in lists.items():
        (place / f"{key}.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture
def glas(tmp_path) -> Path:
    """Split folders as the authors of PixelCAM have them for GlaS."""
    for split, count in {"train": 6, "valpx": 2, "valcl": 2, "test": 2}.items():
        discs(tmp_path / "data" / "folds" / "fold-0", split, count)
    return tmp_path / "data"


def run(system: str, data: Path, out: Path, *more: str):
    words = ["reproduce", system, "--data", str(data), "--out", str(out), "--quick"]
    return CliRunner().invoke(app, [*words, "--device", "cpu", *more])


def table_of(out: Path) -> dict[tuple[str, ...], dict[str, str]]:
    with (out / "table.csv").open(encoding="utf-8") as file:
        keys = ("model", "images", "figure", "class")
        return {tuple(row[key] for key in keys): row for row in csv.DictReader(file)}


def test_pixelcam_learns_from_cam_and_its_figures_stand_beside_the_printed(
    glas, tmp_path
):
    out = tmp_path / "out"
    done = run("pixelcam-glas", glas, out)
    assert done.exit_code == 0, done.output
    rows = table_of(out)
    assert rows["pixelcam", "test", "pxap", ""]["published"] == "86.6"
