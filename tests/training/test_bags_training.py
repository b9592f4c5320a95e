"""Training, measuring and cross-validation on bags of vectors, and on slides."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from fixtures.bags import grid_corners, planted, write_h5
from typer.testing import CliRunner

from napari_wsol.cli import app
from napari_wsol.data.datasets import load_images
from napari_wsol.errors import ImageError
from napari_wsol.evaluation.classification import roc_auc
from napari_wsol.images.bags import open_bag
from napari_wsol.inference.bags import read_of_bag
from napari_wsol.training.batches import sampler_of
from napari_wsol.training.images_cache import TrainingImages, load_training_images
from napari_wsol.training.recipe import read_recipe
from napari_wsol.training.run import train, train_seeds
from napari_wsol.training.trainer import Trainer
from napari_wsol.zoo import load_model

if TYPE_CHECKING:
    from pathlib import Path

WIDTH, TILES, LESION = 16, 64, 8
HEADS = 'heads = ["attention_mil"]'


def ignore(*_args) -> None:
    pass


def bags(folder: Path, count: int, first: int = 0) -> dict[str, np.ndarray]:
    """Bags of two classes in turn, every second with a lesion; where that lies."""
    found = {}
    for at in range(first, first + count):
        lesion = LESION * (at % 2)
        vectors, of_lesion = planted(TILES, WIDTH, lesion, at)
        write_h5(folder / f"s{at}.h5", vectors, grid_corners(8, 8), encoder="uni")
        found[f"s{at}"] = of_lesion
    return found


@pytest.fixture
def slides(tmp_path) -> Path:
    """A folder of bags with labels, two slides a patient."""
    root = tmp_path / "data"
    bags(root / "bags", 24)
    for name, part in {"labels": range(16), "test": range(16, 24)}.items():
        rows = [
            f"s{at},{('normal', 'tumour')[at % 2]},p{at % 2}{at // 4}" for at in part
        ]
        text = "\n".join(["slide,label,patient", *rows])
        (root / f"{name}.csv").write_text(text + "\n", encoding="utf-8")
    return root


def recipe_of(folder: Path, **parts: str):
    """A recipe for these bags, from the lines that differ."""
    path = folder / "toy.toml"
    path.write_text(
        'name = "toy"\n[data]\ntrain = "labels.csv"\nvalidation = ["test.csv"]\n'
        f'classes = ["normal", "tumour"]\n{parts.get("data", "")}\n'
        f'[model]\nencoder = "vectors:{WIDTH}"\n'
        f"{parts.get('model', HEADS)}\n"
        "[train]\nbatch = 4\ncheckpoint_every = 5\nwarmup = 0\n"
        f"{parts.get('train', 'steps = 12')}\n{parts.get('more', '')}\n",
        encoding="utf-8",
    )
    return read_recipe(path)


def trained(recipe, data: Path, out: Path, **how):
    return train(recipe, data, out, say=ignore, step=ignore, device="cpu", **how)


@pytest.mark.parametrize(
    "head",
    [
        "attention_mil",
        *(pytest.param(x, marks=pytest.mark.slow) for x in ("clam_sb", "additive_mil")),
    ],
)
def test_evidence_finds_the_planted_lesion_in_slides_that_were_not_learnt(
    slides, tmp_path, head
):
    how = "steps = 150\nhead_learning_rate = 5e-3"
    recipe = recipe_of(tmp_path, model=f'heads = ["{head}"]', train=how)
    card = trained(recipe, slides, tmp_path / "out")
    assert card.metrics["auc_percent"] == 100.0
    model = load_model(str(tmp_path / "out" / "toy"), device="cpu")
    areas = []
    for name, of_lesion in bags(tmp_path / "unseen", 12, first=100).items():
        if of_lesion.any():
            bag = open_bag(tmp_path / "unseen" / f"{name}.h5")
            reading, _ = read_of_bag(model, bag)
            evidence = reading.values("mil_evidence", model, 1).numpy()
            areas.append(roc_auc(evidence, of_lesion))
    assert len(areas) == 6
    assert np.mean(areas) >= 0.97


def test_what_is_trained_shows_evidence_and_knows_whose_vectors_it_reads(
    slides, tmp_path
):
    trained(recipe_of(tmp_path), slides, tmp_path / "out")
    model = load_model(str(tmp_path / "out" / "toy"), device="cpu")
    assert model.card.methods == ("attention_mil", "mil_tile", "mil_evidence")
    assert model.card.primary == "mil_evidence"
    assert model.spec.extractor == "uni"
    vectors, _ = planted(9, WIDTH, 1, 0)
    write_h5(tmp_path / "x.h5", vectors, grid_corners(3, 3), encoder="conch")
    other = open_bag(tmp_path / "x.h5")
    with pytest.raises(ImageError, match="made by conch, and not by uni"):
        read_of_bag(model, other)


def test_a_killed_training_goes_on_to_the_same_weights(slides, tmp_path):
    recipe = recipe_of(tmp_path, train="steps = 12\ntiles = 20\nbalanced = true")
    trained(recipe, slides, tmp_path / "straight")

    def stop(progress) -> None:
        if progress.step == 7:
            raise KeyboardInterrupt

    out = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        train(recipe, slides, out, say=ignore, step=stop, device="cpu")
    trained(recipe, slides, out, resume=True)
    every = [
        load_model(str(place / "toy"), device="cpu").state_dict()
        for place in (tmp_path / "straight", out)
    ]
    for key, value in every[0].items():
        assert torch.equal(value, every[1][key]), key


def test_a_step_sees_a_random_part_of_each_bag(slides, tmp_path):
    recipe = recipe_of(tmp_path, train="steps = 4\ntiles = 20")
    data = load_images(slides / "labels.csv", classes=recipe.data.classes)
    images = load_training_images(data, recipe, ignore)
    trainer = Trainer(recipe, images)
    batches = trainer._batches
    first, again, later = (batches.of_step(at) for at in (0, 0, 1))
    assert [tuple(item.shape) for item in first.pixels] == [(20, WIDTH)] * 4
    for one, other in zip(first.pixels, again.pixels, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(first.pixels[0], later.pixels[0])
    whole = torch.from_numpy(open_bag(data.samples[int(first.order[0])].path).vectors())
    rows = {tuple(row) for row in whole.tolist()}
    drawn = [tuple(row) for row in first.pixels[0].tolist()]
    assert len(set(drawn)) == 20
    assert rows.issuperset(drawn)


def test_without_a_cap_all_tiles_are_seen_and_a_small_budget_reads_the_same(
    slides, tmp_path
):
    recipe = recipe_of(tmp_path)
    data = load_images(slides / "labels.csv", classes=recipe.data.classes)
    draw = TrainingImages(data, recipe)[3].draw
    whole = torch.from_numpy(open_bag(data.samples[3].path).vectors())
    assert torch.equal(draw(torch.Generator().manual_seed(0)), whole)
    # A bag of 2.5 MB against a budget of one: only what a step sees is read.
    rng = np.random.default_rng(0)
    write_h5(slides / "bags" / "s0.h5", rng.random((2500, 250)), grid_corners(50, 50))
    capped = replace(recipe, train=replace(recipe.train, tiles=30))
    seen = []
    for megabytes in (1, 100):
        of = replace(capped, data=replace(recipe.data, cache_mb=megabytes))
        images = TrainingImages(data, of)
        seen.append(images[0].draw(torch.Generator().manual_seed(5)))
        assert (images._cache.held_bytes == 0) is (megabytes == 1)
    assert torch.equal(*seen)


def test_balanced_sampling_shows_a_rare_class_as_often(tmp_path):
    labels = torch.tensor([[1.0, 0.0]] * 27 + [[0.0, 1.0]] * 3)
    for sampling in ("batch", "epoch"):
        how = f'steps = 4\nbalanced = true\nsampling = "{sampling}"'
        sampler = sampler_of(recipe_of(tmp_path, train=how), labels)
        numbers = [torch.Generator().manual_seed(step) for step in range(400)]
        drawn = torch.cat([sampler.order(at, own) for at, own in enumerate(numbers)])
        share = float(labels[drawn, 1].mean())
        assert 0.45 < share < 0.55
    plain = sampler_of(recipe_of(tmp_path), labels)
    assert plain.weights is None


def test_the_order_of_an_epoch_of_many_slides_costs_no_step_anything(tmp_path):
    labels = torch.eye(2)[torch.arange(100_000) % 2]
    how = 'epochs = 1\nbalanced = true\nsampling = "epoch"'
    sampler = sampler_of(recipe_of(tmp_path, train=how), labels)
    began = time.perf_counter()
    for step in range(400):
        sampler.order(step, torch.Generator())
    assert time.perf_counter() - began < 4


@pytest.mark.parametrize(
    ("about", "width", "words"),
    [({}, 12, "have 12 values"), ({"encoder": "virchow"}, WIDTH, "made by virchow")],
)
def test_a_bag_of_another_network_is_refused_by_a_sentence(
    slides, tmp_path, about, width, words
):
    vectors = np.ones((TILES, width), np.float32)
    write_h5(slides / "bags" / "s3.h5", vectors, grid_corners(8, 8), **about)
    recipe = recipe_of(tmp_path, model=f'{HEADS}\nextractor = "uni"')
    with pytest.raises(ImageError, match=words):
        trained(recipe, slides, tmp_path / "out")


def test_a_model_of_vectors_does_not_read_pictures(discs, tmp_path):
    recipe = recipe_of(tmp_path)
    data = load_images(discs / "train", classes=("plain", "striped"))
    images = TrainingImages(data, recipe)
    with pytest.raises(ImageError, match=r"train0\.png.*reads vectors"):
        Trainer(recipe, images)


def test_a_damaged_bag_is_left_out_and_told(slides, tmp_path):
    (slides / "bags" / "s5.h5").write_bytes(b"no HDF5")
    told = {}
    card = trained(
        recipe_of(tmp_path), slides, tmp_path / "out", failed=told.setdefault
    )
    assert list(told) == ["s5"]
    assert "s5" in card.limits[-1]


def test_seeds_are_summarised_with_the_area_under_the_curve(slides, tmp_path):
    summary = train_seeds(
        recipe_of(tmp_path),
        slides,
        tmp_path / "out",
        [0, 1],
        say=ignore,
        step=ignore,
        device="cpu",
    )
    figures = summary["figures"]
    for name in ("auc_percent", "auc_percent_by_patient", "accuracy_percent"):
        assert len(figures[name]["values"]) == 2


def run(*words: object):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done


@pytest.mark.slow
def test_evaluate_and_crossvalidate_on_bags(slides, tmp_path):
    """Two bags a patient: patients are never on both sides, and judged as wholes."""
    recipe_of(tmp_path, train="steps = 100\nhead_learning_rate = 5e-3")
    recipe, out = tmp_path / "toy.toml", tmp_path / "out"
    run("train", recipe, "--data", slides, "--out", out, "--device", "cpu")
    run(
        "evaluate",
        out / "toy",
        "--data",
        slides,
        "--split",
        "test",
        "--out",
        tmp_path / "e.json",
        "--device",
        "cpu",
    )
    found = json.loads((tmp_path / "e.json").read_text())
    assert found["kind"] == "labels"
    for name in ("macro_auc", "group_macro_auc", "accuracy"):
        figure = found["classification"][name]
        assert figure["low"] <= figure["value"] <= figure["high"]
    run(
        "crossvalidate",
        recipe,
        "--data",
        slides,
        "--split",
        "labels",
        "--out",
        tmp_path / "cv",
        "--folds",
        2,
        "--device",
        "cpu",
    )
    folds = json.loads((tmp_path / "cv" / "cross_validation.json").read_text())["folds"]
    patients = [set(fold["held_out"].values()) for fold in folds]
    assert patients[0] | patients[1] == {f"p{a}{b}" for a in (0, 1) for b in range(4)}
    assert not patients[0] & patients[1]


MEMORY = """
import sys
from pathlib import Path
from fixtures.memory import peak_mb
from napari_wsol.training.recipe import read_recipe
from napari_wsol.training.run import train

root = Path(sys.argv[1])
how = {"say": lambda *_: None, "step": lambda _: None, "device": "cpu"}
train(read_recipe(root / "toy.toml"), root, root / "out", **how)
print(peak_mb())
"""


@pytest.mark.slow
def test_memory_is_flat_in_the_number_of_slides(tmp_path):
    """Bags of 20 MB each, 3 and 12 of them, with a budget of 30."""
    peaks = []
    rng = np.random.default_rng(0)
    vectors = rng.random((10_000, 512), np.float32)
    for count in (3, 12):
        root = tmp_path / str(count)
        lines = ["slide,label"]
        for at in range(count):
            write_h5(root / f"s{at}.h5", vectors, grid_corners(100, 100))
            lines.append(f"s{at},{('normal', 'tumour')[at % 2]}")
        (root / "labels.csv").write_text("\n".join(lines) + "\n")
        recipe_of(root, data="cache_mb = 30", train="steps = 12")
        path = root / "toy.toml"
        text = (
            path.read_text()
            .replace(f":{WIDTH}", ":512")
            .replace("test.csv", "labels.csv")
        )
        path.write_text(text.replace("batch = 4", "batch = 1"))
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, str(root)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert done.returncode == 0, done.stderr
        peaks.append(float(done.stdout))
    assert peaks[1] - peaks[0] < 60  # 180 MB more lie on the disk
