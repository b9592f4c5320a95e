"""Options of a training, a few steps each."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_wsol.data.datasets import load_images
from napari_wsol.errors import ConfigError, DatasetError, ImageError, ModelError
from napari_wsol.evaluation.classification import roc_auc
from napari_wsol.training.config import TrainConfig
from napari_wsol.training.images_cache import load_training_images
from napari_wsol.training.optimizing import rate
from napari_wsol.training.recipe import dump_recipe, read_recipe, with_seed
from napari_wsol.training.run import train, train_seeds
from napari_wsol.training.summary import summarize
from napari_wsol.training.trainer import Trainer
from napari_wsol.zoo import load_model

SELECT = 'localization = "valpx"\nclassification = "valcl"'
PIXELS = '["cam", "pixelcam"]'
EIGEN = '[seeds]\ntap = "features.1"\nfraction = 0.2'
MIL = """encoder = "amil_cnn"
tile = 28
options = { attention_mil = { gated = true, hidden = 8 } }"""


def ignore(*_args) -> None:
    pass


def trainer_of(recipe, data, **more) -> Trainer:
    images = load_images(data / "train", classes=recipe.data.classes)
    return Trainer(recipe, load_training_images(images, recipe, ignore), **more)


def run(recipe, data, out, **more):
    return train(
        recipe, data, out, say=ignore, device="cpu", **{"step": ignore, **more}
    )


def stop_at(number: int):
    def step(progress) -> None:
        if progress.step == number:
            raise KeyboardInterrupt

    return step


OPTIONS = {
    "adam, step": 'optimizer = "adam"\nschedule = "step"\nstep_epochs = 1\nwarmup = 0',
    "sgd, constant": 'optimizer = "sgd"\nnesterov = true\nschedule = "constant"',
    "low precision": 'amp = "bfloat16"',
    "plateau": 'schedule = "plateau"\nwarmup = 0\nevaluate_every = 1\n'
    "plateau_patience = 0\nstep_factor = 0.5",
    "selection": 'evaluate_every = 1\nselect = "localization"\npatience = 3',
}


@pytest.mark.parametrize("name", list(OPTIONS))
def test_a_stopped_training_resumes_to_the_same_weights(
    name, discs, make_recipe, tmp_path
):
    recipe = make_recipe(train=OPTIONS[name], data=SELECT)
    whole = run(recipe, discs, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(recipe, discs, tmp_path / "part", step=stop_at(3))
    resumed = run(recipe, discs, tmp_path / "part", resume=True)
    assert resumed.sha256 == whole.sha256
    logs = [
        (tmp_path / part / "metrics.jsonl").read_text() for part in ("whole", "part")
    ]
    assert logs[0] == logs[1]


def test_a_training_that_is_killed_leaves_a_log_that_fits_its_checkpoint(
    discs, make_recipe, tmp_path
):
    recipe = make_recipe()
    with pytest.raises(KeyboardInterrupt):
        run(recipe, discs, tmp_path, step=stop_at(2))
    log = tmp_path / "metrics.jsonl"
    kept = log.read_text()
    log.write_text(kept + '{"step": 3, "losses": {}}\n{"step": 4, "lo')
    run(recipe, discs, tmp_path, resume=True)
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]


def test_a_checkpoint_of_other_initial_weights_is_refused(discs, make_recipe, tmp_path):
    recipe = make_recipe()
    with pytest.raises(KeyboardInterrupt):
        run(recipe, discs, tmp_path, step=stop_at(2))
    other = trainer_of(recipe, discs).model.encoder.state_dict()
    torch.save({key: value * 1 + 0.5 for key, value in other.items()}, tmp_path / "w")
    with pytest.raises(ModelError, match="--init"):
        run(recipe, discs, tmp_path, resume=True, init=tmp_path / "w")
    with pytest.raises(ModelError, match="another seed"):
        run(replace(recipe, train=replace(recipe.train, seed=1)), discs, tmp_path,
            resume=True)  # fmt: skip


def test_the_best_weights_are_taken_and_of_equal_ones_the_latest(discs, make_recipe):
    recipe = make_recipe(
        data=SELECT,
        train='evaluate_every = 1\nselect = "classification"\npatience = 2',
    )
    trainer = trainer_of(recipe, discs)
    scores = iter([50.0, 75.0, 75.0, 60.0])
    kept = {}
    for progress in trainer.run():
        trainer.judge(next(scores))
        kept[progress.step] = {k: v.clone() for k, v in trainer.average.items()}
    # Two evaluations in a row were no better than the second.
    assert (trainer.step, trainer.stopped) == (4, True)
    assert trainer.best.step == 3
    found = trainer.finished_model().state_dict()
    assert all(torch.equal(found[key], kept[3][key]) for key in found)


def test_evaluations_are_logged_and_stop_a_training_that_gets_no_better(
    discs, make_recipe, tmp_path
):
    recipe = make_recipe(
        data=SELECT,
        train='evaluate_every = 2\nselect = "classification"\npatience = 1\n'
        "learning_rate = 1e-9\nhead_learning_rate = 1e-9",
    )
    recipe = replace(recipe, train=replace(recipe.train, steps=9))
    seen = []
    card = run(recipe, discs, tmp_path, evaluated=seen.append)
    assert [item.step for item in seen] == [2, 4]
    assert set(seen[0].values) == {"localization", "classification", "loss"}
    log = (tmp_path / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in log if "evaluation" in line]
    assert [row["step"] for row in rows] == [2, 4]
    assert rows[0]["evaluation"] == seen[0].values
    assert card.metrics["selected_step"] == 4
    assert card.metrics["selected_by"] == "classification"


def test_only_masks_of_the_selection_split_are_opened(discs, make_recipe, tmp_path):
    opened: list[str] = []
    watching = [True]

    def hook(event: str, arguments: tuple) -> None:
        if (
            watching[0]
            and event == "open"
            and isinstance(arguments[0], str | os.PathLike)
        ):
            opened.append(Path(os.fspath(arguments[0])).name)

    sys.addaudithook(hook)  # for the rest of this process: it cannot be removed
    recipe = make_recipe(
        heads=PIXELS,
        data=SELECT,
        train='evaluate_every = 2\nselect = "localization"',
        more=EIGEN,
    )
    run(recipe, discs, tmp_path)
    watching[0] = False
    masks = {name for name in opened if name.startswith("mask-")}
    assert masks == {"mask-valpx0.png", "mask-valpx1.png"}
    assert "train0.png" in opened
    lists = [name for name in opened if name == "localization.txt"]
    assert len(lists) == 2  # once an evaluation, for valpx alone


def test_several_seeds_make_a_summary(discs, make_recipe, tmp_path):
    recipe = make_recipe(data='validation = ["valcl"]', train="")
    summary = train_seeds(
        recipe, discs, tmp_path, [0, 3], say=ignore, step=ignore, device="cpu"
    )
    assert summary["seeds"] == [0, 3]
    figure = summary["figures"]["accuracy_percent"]
    assert figure["mean"] == pytest.approx(np.mean(figure["values"]))
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    made = read_recipe(tmp_path / "seed-3" / "toy" / "recipe.toml")
    assert made.train.seed == 3
    # Finished seeds are not trained again.
    again = train_seeds(
        recipe, discs, tmp_path, [0, 3], resume=True, say=ignore,
        step=stop_at(1), device="cpu",
    )  # fmt: skip
    assert again == summary
    with pytest.raises(ConfigError, match="different seeds"):
        train_seeds(recipe, discs, tmp_path, [1, 1], say=ignore, step=ignore)


def test_the_spread_is_that_of_a_sample():
    found = summarize({0: {"a": 1.0, "b": {"c": 2}}, 1: {"a": 3.0, "d": 1.0}})
    assert list(found["figures"]) == ["a"]
    assert found["figures"]["a"]["std"] == pytest.approx(2**0.5, abs=1e-4)


def test_a_recipe_written_reads_back_the_same(make_recipe, tmp_path):
    recipe = make_recipe(
        heads=PIXELS,
        data=SELECT,
        more=f"{EIGEN}\n[losses.cam]\nsmoothing = 0.1\n[card]\nlimits = ['a']",
    )
    path = tmp_path / "again.toml"
    path.write_text(dump_recipe(recipe), "utf-8")
    assert replace(read_recipe(path), text=recipe.text) == recipe
    assert with_seed(recipe, recipe.train.seed) is recipe


def test_schedules():
    config = TrainConfig(schedule="step", step_epochs=2, warmup=2, floor=1e-5)
    rates = [rate(1e-3, config, step, step // 2) for step in range(12)]
    expected = [5e-4, 1e-3, 1e-3, 1e-3, 1e-4, 1e-4, 1e-4, 1e-4, 1e-5, 1e-5, 1e-5, 1e-5]
    assert rates == pytest.approx(expected)
    assert rate(0.1, TrainConfig(schedule="constant"), 50, 3) == 0.1
    cosine = [rate(1.0, TrainConfig(steps=20), step, 0) for step in (9, 10, 20)]
    assert cosine == pytest.approx([1.0, 1.0, 0.1])


def test_published_groups_learn_at_their_rates(discs, make_recipe):
    recipe = make_recipe(train='groups = "published"\nwarmup = 0')
    (group,) = trainer_of(recipe, discs).optimizer.param_groups
    assert group["peak"] == 1e-4
    by_heads = trainer_of(make_recipe(), discs).optimizer.param_groups
    assert [item["peak"] for item in by_heads] == [1e-4, 1e-3]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('optimizer = "lion"', "adamw, adam, sgd"),
        ('schedule = "poly"', "cosine, step, drops"),
        ('amp = "yes"', "off, cuda, bfloat16"),
        ("nesterov = true", "for sgd"),
        ('select = "localization"', "evaluate_every"),
        ("patience = 2", "Patience"),
        ("evaluate_every = 2", "name a split"),
        ('select = "localization"\nevaluate_every = 2', "name a split"),
        ("clip = -1", "clipped"),
        ("learning_rate = 0", "above 0"),
    ],
)
def test_options_that_cannot_be_are_refused(make_recipe, lines, words):
    with pytest.raises(ConfigError, match=words):
        make_recipe(train=lines)


def test_weights_are_not_selected_on_the_training_images(make_recipe):
    with pytest.raises(ConfigError, match="another split"):
        make_recipe(data='localization = "train"')


def test_a_loss_that_is_no_number_stops_the_training(discs, make_recipe):
    recipe = make_recipe()
    trainer = trainer_of(recipe, discs)
    with torch.no_grad():
        trainer.model.heads["cam"].fc.weight.fill_(float("nan"))
    with pytest.raises(ConfigError, match="not a number"):
        list(trainer.run())


def test_a_damaged_image_is_named_before_training(make_recipe, tmp_path):
    for label in ("plain", "striped"):
        (tmp_path / "train" / label).mkdir(parents=True)
        (tmp_path / "train" / label / f"{label}.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match="plain"):
        run(make_recipe(), tmp_path, tmp_path / "out")


def test_images_are_decoded_again_when_the_budget_is_small(discs, make_recipe):
    recipe = make_recipe(data="cache_mb = 1")
    images = load_images(discs / "train", classes=recipe.data.classes)
    kept = load_training_images(images, recipe, ignore)
    assert 0 < kept._cache.held_bytes <= 1_000_000
    assert len(kept) == 6
    assert torch.equal(kept[2].pixels, kept[2:3][0].pixels)
    assert kept[2].pixels.shape == (40, 44, 3)


def test_bags_of_tiles_are_learnt_from(discs, make_recipe, tmp_path):
    recipe = make_recipe(model=MIL, heads='["attention_mil"]')
    card = run(recipe, discs, tmp_path)
    model = load_model(card.folder, device="cpu")
    start = trainer_of(recipe, discs).model.state_dict()
    changed = [k for k, v in model.state_dict().items() if not torch.equal(v, start[k])]
    assert any(key.startswith("encoder.") for key in changed)
    assert any(key.startswith("heads.") for key in changed)


def test_images_of_several_labels_are_learnt_from(discs, make_recipe, tmp_path):
    table = "path,plain,striped\n" + "".join(
        f"train/train{i}.png,{int(i % 2 == 0)},{int(i < 3)}\n" for i in range(6)
    )
    (tmp_path / "some.csv").write_text(table)
    (tmp_path / "train").symlink_to(discs / "train")
    recipe = make_recipe(
        model='encoder = "mobilenet_v2"\ntaps = ["features.1"]\noffsets = [1.0]\n'
        "multi_label = true",
        heads='["pcam"]',
        data='validation = ["some.csv"]',
    )
    recipe = replace(recipe, data=replace(recipe.data, train="some.csv", validation=()))
    card = run(recipe, tmp_path, tmp_path / "out")
    assert card.primary == "pcam"
    single = make_recipe(heads='["pcam"]', name="single")
    single = replace(single, data=recipe.data)
    with pytest.raises(DatasetError, match="classes, but one is wanted"):
        run(single, tmp_path, tmp_path / "other")


def test_areas_under_curves():
    positive = np.array([False, True, False, True])
    assert roc_auc(np.array([0.1, 0.4, 0.35, 0.8]), positive) == 1.0
    assert roc_auc(np.array([0.1, 0.4, 0.4, 0.8]), positive) == pytest.approx(0.875)


RANKED = """
import sys
from pathlib import Path
from napari_wsol.training.recipe import read_recipe
from napari_wsol.training.run import train

def ignore(*_):
    pass

train(read_recipe(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]),
      say=ignore, step=ignore, device="auto")
"""


@pytest.mark.slow
def test_two_processes_learn_like_one_with_twice_the_batch(
    discs, make_recipe, tmp_path
):
    """The network has no batch norm, whose statistics each process has for itself."""
    one = make_recipe(
        model=MIL,
        heads='["attention_mil"]',
        name="one",
        train="",
    )
    one = replace(one, train=replace(one.train, batch=4))
    run(one, discs, tmp_path / "one")
    make_recipe(model=MIL, heads='["attention_mil"]', name="two")
    script = tmp_path / "ranked.py"
    script.write_text(RANKED)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
         "--master-port", "29617", str(script), str(tmp_path / "two.toml"),
         str(discs), str(tmp_path / "two")],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
                          "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    losses = [
        [
            json.loads(line)["losses"]["attention_mil"]
            for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        ]
        for name in ("one", "two")
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert (tmp_path / "two" / "two" / "weights.safetensors").is_file()
