"""A recipe tried on patients that it has not seen, on generated discs."""

import csv
import json
import re
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from napari_wsol.cli import app
from napari_wsol.cross_validation import FoldWatcher, cross_validate
from napari_wsol.data.datasets import load_images
from napari_wsol.data.folds import Grouping
from napari_wsol.errors import ConfigError, DatasetError, ModelError
from napari_wsol.evaluation import pxap
from napari_wsol.evaluation.benchmark import EvaluationConfig
from napari_wsol.inference.whole_image import localize
from napari_wsol.training.recipe import read_recipe
from napari_wsol.training.run import train
from napari_wsol.zoo import load_model, read_card

GRID = (224, 224)
SPLITS = 'validation = ["valpx", "valcl"]'
opened: list[str] | None = None
"""Files that were opened since somebody listens; None while nobody does."""


def _listen(event: str, arguments: tuple) -> None:
    if opened is not None and event == "open":
        opened.append(str(arguments[0]))


sys.addaudithook(_listen)  # there is no way to take it away again


@pytest.fixture
def listening():
    global opened  # noqa: PLW0603 - what the hook, which stays, looks at
    opened = []
    yield opened
    opened = None


@pytest.fixture
def patients(tmp_path) -> Grouping:
    """Twelve discs of four patients, each with one plain and two striped, or so."""
    counts = {"train": 6, "valpx": 2, "valcl": 4}
    names = [f"{split}{at}" for split, count in counts.items() for at in range(count)]
    rows = [f"{name},p{at // 3}" for at, name in enumerate(names)]
    table = tmp_path / "patients.csv"
    table.write_text("\n".join(["image,patient", *rows]) + "\n")
    return Grouping(table=table, column="patient")


def ignore(*_args) -> None:
    pass


def run(recipe, discs, out, patients, *, folds=2, resume=False, init=None, **watched):
    calls = {"say": ignore, "step": ignore, **watched}
    return cross_validate(
        recipe,
        discs,
        out,
        patients,
        folds=folds,
        init=init,
        resume=resume,
        device="cpu",
        config=EvaluationConfig(bootstrap=20),
        watcher=FoldWatcher(**calls),
    )


def of_masks(files: list[str]) -> set[str]:
    found = (re.search(r"mask-(\w+)\.png", name) for name in files)
    return {match[1] for match in found if match}


def test_no_patient_is_shared_and_no_mask_is_opened_in_training(
    discs, make_recipe, patients, tmp_path, listening
):
    recipe = make_recipe(data=SPLITS)
    seen = {"trained": set(), "measured": []}

    def step(_step) -> None:
        seen["trained"] |= of_masks(listening)

    def measured(fold) -> None:
        seen["measured"].append(of_masks(listening))
        listening.clear()
        assert {f"{name}.png" for name in seen["measured"][-1]} == set(fold.held_out)

    found = run(recipe, discs, tmp_path / "out", patients, step=step, measured=measured)
    assert seen["trained"] == set()
    assert len(set.union(*seen["measured"])) == 12
    groups = [set(fold.held_out.values()) for fold in found.folds]
    assert not groups[0] & groups[1]
    for fold in found.folds:
        folder = tmp_path / "out" / f"fold-{fold.number}"
        lists = {}
        for name in ("train", "held_out"):
            with (folder / f"{name}.csv").open(encoding="utf-8") as file:
                lists[name] = {row["path"] for row in csv.DictReader(file)}
        assert len(lists["train"]) == fold.learnt
        assert not lists["train"] & lists["held_out"]
        assert {path.split("/")[1] for path in lists["held_out"]} == set(fold.held_out)
        assert len(lists["train"] | lists["held_out"]) == 12


def test_pooled_figures_are_those_of_every_image_under_its_folds_model(
    discs, make_recipe, patients, tmp_path
):
    recipe = make_recipe(data=SPLITS)
    out = tmp_path / "out"
    found = run(recipe, discs, out, patients)
    samples = {
        item.id: item
        for name in ("train", "valpx", "valcl")
        for item in load_images(discs / name, classes=recipe.data.classes).samples
    }
    scores, masks, right = [], [], []
    for fold in found.folds:
        model = load_model(out / fold.model, device="cpu")
        rightly = []
        for name in fold.held_out:
            sample = samples[name]
            truth = recipe.data.classes[sample.labels.index(1)]
            result = localize(model, sample.path, target=truth)
            scores.append(result.heatmaps["cam"].resized(GRID))
            mask = Image.open(sample.path.with_name(f"mask-{name}"))
            masks.append(np.asarray(mask.resize(GRID, Image.Resampling.NEAREST)) > 0)
            rightly.append(max(result.scores, key=result.scores.get) == truth)
        value = fold.report.classification["accuracy"].value
        assert value == pytest.approx(100 * np.mean(rightly))
        right += rightly
    (item,) = found.pooled.methods
    assert item.figures["pxap"].value == pytest.approx(pxap(scores, masks), abs=1e-6)
    accuracy = found.pooled.classification["accuracy"]
    assert accuracy.value == pytest.approx(100 * np.mean(right))
    assert accuracy.low <= accuracy.value <= accuracy.high
    by_group = found.accuracy_by_group
    assert by_group.value == pytest.approx(accuracy.value)
    assert by_group.high - by_group.low > 0
    values = [fold.report.methods[0].figures["pxap"].value for fold in found.folds]
    spread = found.spread["cam"]["pxap"]
    assert spread["mean"] == pytest.approx(np.mean(values), abs=1e-4)
    assert spread["std"] == pytest.approx(np.std(values, ddof=1), abs=1e-4)
    stored = json.loads((out / "cross_validation.json").read_text("utf-8"))
    assert stored["pooled"]["methods"][0]["figures"]["pxap"]["value"] == pytest.approx(
        item.figures["pxap"].value
    )
    assert stored["splits"] == ["train", "valpx", "valcl"]
    assert str(tmp_path) not in json.dumps(stored)
    text = (out / "cross_validation.md").read_text("utf-8")
    assert f"| PxAP (%) | {values[0]:.1f} | {values[1]:.1f} | " in text
    assert "was not chosen again" in text


def test_a_fold_can_be_repeated_from_its_list(discs, make_recipe, patients, tmp_path):
    """Its table, put beside the images, gives the same weights."""
    run(make_recipe(data=SPLITS), discs, tmp_path / "out", patients)
    folder = tmp_path / "out" / "fold-2"
    recipe = read_recipe(folder / "toy" / "recipe.toml")
    table = discs / "train.csv"
    table.write_text((folder / "train.csv").read_text("utf-8"), "utf-8")
    try:
        again = train(recipe, discs, tmp_path / "again", say=ignore, step=ignore)
    finally:
        table.unlink()
    card = read_card(folder / "toy")
    assert again.sha256 == card.sha256
    assert card.title.endswith("fold 2 of 2")
    assert card.metrics == {}


def test_what_was_stopped_goes_on_to_the_same_figures(
    discs, make_recipe, patients, tmp_path
):
    recipe = make_recipe(data=SPLITS)
    whole, out = tmp_path / "whole", tmp_path / "out"
    run(recipe, discs, whole, patients)
    folds, steps = [], []

    def step(progress) -> None:
        steps.append((folds[-1], progress.step))
        if steps[-1] == (2, 3) and len(steps) < 8:
            raise KeyboardInterrupt

    def begun(fold, _folds) -> None:
        folds.append(fold)

    with pytest.raises(KeyboardInterrupt):
        run(recipe, discs, out, patients, step=step, begun=begun)
    assert not (out / "cross_validation.json").exists()
    with pytest.raises(ConfigError, match="unfinished cross-validation"):
        run(recipe, discs, out, patients)
    with pytest.raises(ConfigError, match="another entry “held_out”"):
        run(recipe, discs, out, patients, folds=3, resume=True)
    other = make_recipe(data=SPLITS, train="warmup = 1", name="toy")
    with pytest.raises(ConfigError, match="another entry “settings_sha256”"):
        run(other, discs, out, patients, resume=True)
    run(recipe, discs, out, patients, resume=True, step=step, begun=begun)
    assert steps == [(fold, at) for fold in (1, 2) for at in (1, 2, 3, 4)]
    name = "cross_validation.json"
    assert (out / name).read_text("utf-8") == (whole / name).read_text("utf-8")
    with pytest.raises(ConfigError, match="finished cross-validation"):
        run(recipe, discs, out, patients, resume=True)


def test_images_of_several_classes_or_none(discs, make_recipe, tmp_path):
    recipe = make_recipe(
        model='encoder = "mobilenet_v2"\ntaps = ["features.1"]\noffsets = [1.0]\n'
        "multi_label = true",
        heads='["pcam"]',
    )
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    lines = ["path,plain,striped"]
    for at, flags in enumerate(("1,1", "0,0", "1,0", "0,1", "1,1", "0,0")):
        Image.open(discs / "train" / f"train{at}.png").save(folder / f"{at}.png")
        lines.append(f"{at}.png,{flags}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    out, grouping = tmp_path / "out", Grouping(pattern=r"^\d")
    found = run(recipe, folder.parent, out, grouping)
    assert found.pooled.kind == "labels"
    assert found.accuracy_by_group is None
    assert set(found.spread) == {"classification", "auc"}
    assert "ROC AUC striped" in found.to_markdown()
    known = {item.id: item.labels for item in load_images(folder).samples}
    for fold in found.folds:
        table = out / f"fold-{fold.number}" / "held_out.csv"
        given = load_images(table, root=folder.parent, classes=recipe.data.classes)
        labels = {item.path.name: item.labels for item in given.samples}
        assert labels == {name: known[name] for name in fold.held_out}


def test_recipes_that_look_at_other_images_are_refused(
    discs, make_recipe, patients, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    selects = make_recipe(
        data='localization = "valpx"',
        train='select = "localization"\nevaluate_every = 2',
    )
    with pytest.raises(ConfigError, match="selects its weights by localization"):
        run(selects, discs, out, patients)
    lowers = make_recipe(
        data='classification = "valcl"',
        train='schedule = "plateau"\nevaluate_every = 2',
    )
    with pytest.raises(ConfigError, match="lowers its rates by evaluations"):
        run(lowers, discs, out, patients)
    with pytest.raises(DatasetError, match=r"4 groups .* too few for 5 folds"):
        run(make_recipe(data=SPLITS), discs, out, patients, folds=5)
    with pytest.raises(ConfigError, match="no cross-validation in"):
        run(make_recipe(data=SPLITS), discs, out, patients, resume=True)
    with pytest.raises(ModelError, match="no initial weights"):
        run(make_recipe(data=SPLITS), discs, out, patients, init=tmp_path / "no.pt")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="in one process"):
        run(make_recipe(data=SPLITS), discs, out, patients)
    assert not out.exists()


def test_the_command(discs, make_recipe, tmp_path):
    make_recipe(data=SPLITS)
    out = tmp_path / "out"
    words = ["crossvalidate", tmp_path / "toy.toml", "--data", discs, "--out", out]
    words += ["--folds", 2, "--device", "cpu", "--split", "train", "--split", "valcl"]
    given = [str(word) for word in words]
    refused = CliRunner().invoke(app, given)
    assert isinstance(refused.exception, ConfigError)
    done = CliRunner().invoke(app, [*given, "--group-pattern", r"^\w+?\d"])
    assert done.exit_code == 0, done.output
    assert "10 images of 10 groups in 2 folds" in done.output
    assert "PxAP (%)" in done.output
    stored = json.loads((out / "cross_validation.json").read_text("utf-8"))
    assert stored["grouping"] == {"pattern": r"^\w+?\d"}
    assert sorted(
        path.name for path in out.iterdir() if not path.name.startswith("fold-")
    ) == ["cross_validation.json", "cross_validation.md", "folds.json"]
