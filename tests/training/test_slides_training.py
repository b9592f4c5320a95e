"""Training on slides: features are made once, or tiles are sampled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
import torch

from napari_wsol.cross_validation import FoldWatcher, cross_validate
from napari_wsol.data.datasets import load_images
from napari_wsol.data.folds import Grouping
from napari_wsol.encoders import TileEncoder
from napari_wsol.errors import ConfigError
from napari_wsol.evaluation.benchmark import EvaluationConfig
from napari_wsol.training.images_cache import TrainingImages
from napari_wsol.training.recipe import read_recipe
from napari_wsol.training.run import train
from napari_wsol.training.trainer import Trainer
from napari_wsol.zoo import load_model

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("napari_wsol.slides.bag_maker")


def refuse(name: str, reason: str) -> None:
    raise AssertionError(f"{name}: {reason}")


def ignore(*_args) -> None:
    pass


def section(side: int, number: int) -> np.ndarray:
    """(side, side, 3) uint8: a square of tissue on glass, darker in every second."""
    rng = np.random.default_rng(number)
    image = np.full((side, side, 3), 245, np.uint8)
    at, size = side // 4, side // 2
    grain = rng.integers(-30, 30, (size, size, 3)) - 60 * (number % 2)
    tissue = np.clip(np.array([200, 110, 160]) + grain, 0, 255)
    image[at : at + size, at : at + size] = tissue
    return image


def write_slides(root: Path, count: int, side: int) -> Path:
    """Slides in a folder of their own, and their labels: two a patient."""
    (root / "slides").mkdir(parents=True)
    lines = ["slide,label,patient"]
    for number in range(count):
        tifffile.imwrite(
            root / "slides" / f"s{number}.tif",
            section(side, number),
            tile=(128, 128),
            compression="zlib",
            resolution=(40000, 40000),  # 0.25 µm a pixel
            resolutionunit="CENTIMETER",
        )
        label = ("normal", "tumour")[number % 2]
        lines.append(f"s{number},{label},p{number % 2}{number // 4}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def recipe_of(folder: Path, data: str = "", train: str = "", tile: int = 32):
    path = folder / "toy.toml"
    path.write_text(
        'name = "toy"\n[data]\ntrain = "labels.csv"\nvalidation = ["labels.csv"]\n'
        f'classes = ["normal", "tumour"]\n{data}\n'
        '[model]\nencoder = "mobilenet_v2"\ntaps = ["features.1"]\n'
        f"tile = {tile}\nmpp = 0.5\n"
        'heads = ["attention_mil"]\n'
        "[train]\nsteps = 6\nbatch = 2\ncheckpoint_every = 2\ncrop = 32\n"
        f"warmup = 0\n{train}\n",
        encoding="utf-8",
    )
    return read_recipe(path)


FROZEN = {"data": 'features = "features"', "train": "freeze_encoder = true"}


def trained(recipe, data: Path, out: Path, say=ignore):
    train(recipe, data, out, say=say, step=ignore, device="cpu", failed=refuse)
    return load_model(str(out / "toy"), device="cpu")


@pytest.fixture
def encoded(monkeypatch):
    """How many tiles were encoded since."""
    real, seen = TileEncoder.vectors, []

    def vectors(self, tiles):
        seen.append(len(tiles))
        return real(self, tiles)

    monkeypatch.setattr(TileEncoder, "vectors", vectors)
    return seen


def test_features_of_a_frozen_encoder_are_made_once(tmp_path, encoded):
    data, recipe = (
        write_slides(tmp_path / "data", 8, 640),
        recipe_of(tmp_path, **FROZEN),
    )
    model = trained(recipe, data, tmp_path / "one")
    made = sorted((data / "features").rglob("*.h5"))
    assert [path.stem for path in made] == [f"s{number}" for number in range(8)]
    grid = (640 // 2 // 32) ** 2
    encoded_once = sum(encoded)
    assert 0 < encoded_once <= 8 * grid
    encoded.clear()
    again = trained(recipe, data, tmp_path / "two")
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    found = cross_validate(
        recipe,
        data,
        tmp_path / "cv",
        Grouping(),
        folds=2,
        device="cpu",
        config=EvaluationConfig(bootstrap=20),
        watcher=FoldWatcher(say=ignore, step=ignore),
    )
    assert "group_macro_auc" in found.pooled.classification
    # All that is encoded now is the pattern that a saved model is checked with.
    assert sum(encoded) < grid


def test_a_run_that_was_stopped_while_it_made_features_comes_to_the_same(tmp_path):
    recipe = recipe_of(tmp_path, **FROZEN)
    straight = trained(recipe, write_slides(tmp_path / "a", 4, 640), tmp_path / "one")
    data, calls = write_slides(tmp_path / "b", 4, 640), []

    def stop(_done: int, _total: int, text: str) -> None:
        calls.append(text)
        if calls.count("encoding s2") == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(recipe, data, tmp_path / "two", stop)
    assert len(list((data / "features").rglob("*.h5"))) == 2
    again = trained(recipe, data, tmp_path / "two")
    for key, value in straight.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """Two slides too large to be held whole at half a µm a pixel."""
    return write_slides(tmp_path_factory.mktemp("large"), 2, 7200)


def test_tiles_of_a_slide_are_sampled_on_its_tissue(large, tmp_path):
    recipe = recipe_of(tmp_path, train="tiles = 24", tile=128)
    data = load_images(large / "labels.csv", classes=recipe.data.classes)
    images = TrainingImages(data, recipe)
    seen = [images[1].draw(torch.Generator().manual_seed(at)) for at in (0, 0, 1)]
    assert seen[0].shape == (3, 24 * 128, 128)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    # Tissue of this slide is far from white; a tile on its rim may show some glass.
    means = seen[0].reshape(3, 24, -1).mean((0, 2))
    assert float(means.median()) < 0.5
    assert float(means.max()) < 0.955  # glass has 0.961
    assert images._cache.held_bytes < 1_000_000


def test_an_encoder_learns_from_sampled_tiles_and_is_measured_by_bags(large, tmp_path):
    recipe = recipe_of(tmp_path, train="tiles = 24", tile=128)
    data = load_images(large / "labels.csv", classes=recipe.data.classes)
    before = Trainer(recipe, TrainingImages(data, recipe)).model.encoder.state_dict()
    model = trained(recipe, large, tmp_path / "out")
    after = model.encoder.state_dict()
    assert any(not torch.equal(value, after[key]) for key, value in before.items())
    assert model.card.metrics["measured_on"] == "2 images of labels.csv"
    assert "auc_percent" in model.card.metrics
    assert not list(large.rglob("*.h5"))  # its bags were for the measuring only


def test_a_slide_whose_tiles_are_not_counted_is_refused_by_a_sentence(large, tmp_path):
    with pytest.raises(ConfigError, match="too large to be learnt from whole"):
        trained(recipe_of(tmp_path), large, tmp_path / "out")
