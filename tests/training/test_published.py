"""Recipes of the papers: they read, come back the same, and train."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from fixtures.bags import grid_corners, write_h5
from PIL import Image
from typer.testing import CliRunner

from napari_wsol.cli import app
from napari_wsol.errors import ExportError, UnknownNameError
from napari_wsol.images.published import (
    PIXELCAM_PREPROCESSING,
    PYLON_PREPROCESSING,
    pcam_preprocessing,
)
from napari_wsol.methods import Model
from napari_wsol.methods.card import Card
from napari_wsol.training.published import (
    find_published,
    list_published,
    write_published,
)
from napari_wsol.training.recipe import dump_recipe, read_recipe
from napari_wsol.training.run import train
from napari_wsol.zoo import save_model

if TYPE_CHECKING:
    from pathlib import Path

    from napari_wsol.training.recipe import Recipe

NAMES = [item.name for item in list_published()]
SMALL = {
    "wsol_resnet50": "wsol_resnet18",
    "resnet50": "resnet18",
    "resnet34": "resnet18",
    "deit_sat_small": "deit_sat_tiny",
}
"""Smaller encoders with the same layers."""

LIKE_OTHERS = ("pcam-nih14", "sat")
"""Recipes that go no other way than another one does."""


def ignore(*_args) -> None:
    pass


@pytest.fixture
def read(tmp_path):
    """A recipe as it is shipped."""

    def find(name: str) -> Recipe:
        path = tmp_path / f"{name}.toml"
        write_published(name, path)
        return read_recipe(path)

    return find


def smaller(recipe: Recipe) -> Recipe:
    """With few pixels, a small encoder and two steps; all else as published."""
    model, how = recipe.model, recipe.model.preprocessing
    size = None if how is None or "deit" in model.encoder else 64
    if size is not None:
        model = replace(model, preprocessing=replace(how, size=size))
    model = replace(model, encoder=SMALL.get(model.encoder, model.encoder))
    if recipe.train.freeze_encoder:  # of slides: one tile of each image
        model = replace(model, tile=48)
        recipe = replace(recipe, data=replace(recipe.data, mpp=model.mpp))
    fewer = {"epochs": 1, "batch": min(2, recipe.train.batch)}
    crop = size or recipe.train.crop
    changed = replace(
        recipe, model=model, train=replace(recipe.train, crop=crop, **fewer)
    )
    return replace(changed, text=dump_recipe(changed))


@pytest.fixture
def images(tmp_path):
    """Four random images a split, with the labels and masks that a recipe wants."""

    def make(recipe: Recipe) -> Path:
        root, rng = tmp_path / "images", np.random.default_rng(0)
        own = recipe.data
        for split in {own.train, *own.validation, own.localization, own.classification}:
            if split:
                _write(root, split, recipe, rng)
        return root

    return make


def _write(root: Path, split: str, recipe: Recipe, rng: np.random.Generator) -> None:
    table = split.endswith(".csv")
    folder = root if table else root / split
    folder.mkdir(parents=True, exist_ok=True)
    names, rows = [], []
    for index in range(4):
        name, mask = f"{split}-{index}.png", f"{split}-mask{index}.png"
        Image.fromarray(rng.integers(0, 255, (70, 62, 3), np.uint8)).save(folder / name)
        Image.fromarray(rng.integers(0, 2, (70, 62), np.uint8) * 255).save(
            folder / mask
        )
        names.append(name)
        rows.append((name, mask, index % 2))
    if recipe.data.features and recipe.model.tile is None:
        width, lines = int(recipe.model.encoder.partition(":")[2]), ["slide,label"]
        for at in range(4):
            stem = f"{split.partition('.')[0]}{at}"
            vectors = rng.random((20, width), np.float32)
            write_h5(root / "features" / f"{stem}.h5", vectors, grid_corners(5, 4))
            lines.append(f"{stem},{recipe.data.classes[at % 2]}")
        (root / split).write_text("\n".join(lines) + "\n")
        return
    if table:
        classes = recipe.data.classes
        lines = [f"path,{','.join(classes)}"] + [
            f"{name},{','.join(str((label + at) % 2) for at in range(len(classes)))}"
            for name, _, label in rows
        ]
        (root / split).write_text("\n".join(lines) + "\n")
        return
    (folder / "image_ids.txt").write_text("".join(f"{name}\n" for name in names))
    (folder / "class_labels.txt").write_text(
        "".join(f"{name},{label}\n" for name, _, label in rows)
    )
    (folder / "localization.txt").write_text(
        "".join(f"{name},{mask}\n" for name, mask, _ in rows)
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_published_recipe_comes_back_the_same(name, read, tmp_path):
    recipe = read(name)
    assert recipe.name == name
    again = tmp_path / "again.toml"
    again.write_text(dump_recipe(recipe), "utf-8")
    assert replace(read_recipe(again), text=recipe.text) == recipe
    with torch.device("meta"):  # as large as published: no memory is taken
        Model(recipe.model)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(x, marks=[pytest.mark.slow] if x in LIKE_OTHERS else [])
        for x in NAMES
    ],
)
def test_a_published_recipe_trains(name, read, images, tmp_path):
    recipe = smaller(read(name))
    if recipe.seeds is not None:
        first = smaller(read(recipe.seeds.model))
        torch.manual_seed(0)
        card = Card(
            name=first.name, title="", summary="", spec=first.model,
            methods=first.model.heads, primary=first.model.heads[0],
        )  # fmt: skip
        teacher = save_model(Model(first.model), card, tmp_path / "first").folder
        seeds = replace(recipe.seeds, model=str(teacher))
        recipe = replace(recipe, seeds=seeds)
    steps, seen = [], []
    out = tmp_path / "out"
    card = train(
        recipe, images(recipe), out, device="cpu",
        say=ignore, step=steps.append, evaluated=seen.append,
    )  # fmt: skip
    enhanced = 2 if recipe.data.enhance else 0  # every other shows one of those classes
    assert len(steps) == (4 + enhanced) // recipe.train.batch
    assert set(steps[0].losses) == set(recipe.model.heads)
    assert len(seen) == bool(recipe.train.evaluate_epochs)
    assert (card.folder / "recipe.toml").read_text("utf-8") == recipe.text


def test_images_are_prepared_as_published(read):
    wanted = {"cam": PIXELCAM_PREPROCESSING, "pylon": PYLON_PREPROCESSING}
    for name, how in wanted.items():
        assert read(name).model.preprocessing == how
    config = {
        "long_side": 512, "use_equalizeHist": True, "gaussian_blur": 3,
        "border_pad": "pixel_mean", "pixel_mean": 128.0, "pixel_std": 64.0,
    }  # fmt: skip
    found = read("pcam-chexpert").model.preprocessing
    assert found == pcam_preprocessing(config)


def test_only_two_names_of_models_are_to_be_found_by_the_person(read):
    assert {read(name).seeds.model for name in ("pixelcam", "pixelcam-sat")} == {
        "cam",
        "sat",
    }


def test_the_command_lists_shows_and_writes(tmp_path):
    def run(*words: str):
        return CliRunner().invoke(app, ["recipes", *words])

    listed = run("list")
    assert listed.exit_code == 0
    assert all(name in listed.output for name in NAMES)
    assert run("show", "pylon").output == find_published("pylon").text
    path = tmp_path / "mine.toml"
    written = run("write", "pylon", str(path))
    assert written.exit_code == 0, written.output
    assert "# EDIT" in written.output
    assert path.read_text("utf-8") == find_published("pylon").text
    path.write_text("mine")
    again = run("write", "pylon", str(path))
    assert isinstance(again.exception, ExportError)
    assert path.read_text() == "mine"
    assert isinstance(run("show", "unet").exception, UnknownNameError)


def test_train_says_what_to_edit(read, tmp_path):
    read("pylon")
    where = ["--data", str(tmp_path), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["train", str(tmp_path / "pylon.toml"), *where])
    assert "no “train.csv”" in str(done.exception)
    assert "Edit [data] of the recipe" in str(done.exception)
    assert not (tmp_path / "out").exists()
