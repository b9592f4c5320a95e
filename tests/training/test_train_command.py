"""``napari-wsol train`` as a person uses it."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import typer
from typer.testing import CliRunner

from napari_wsol.cli import app
from napari_wsol.cli.options import numbers
from napari_wsol.cli.train import View, watched
from napari_wsol.errors import ConfigError, ImageError
from napari_wsol.training.run import Evaluation
from napari_wsol.training.trainer import TrainStep
from napari_wsol.zoo import read_card


def arguments(tmp_path, discs, *more: str) -> list[str]:
    given = ["train", str(tmp_path / "toy.toml"), "--data", str(discs)]
    return [*given, "--out", str(tmp_path / "out"), "--device", "cpu", *more]


def test_a_recipe_is_trained(discs, make_recipe, tmp_path):
    make_recipe(data='validation = ["valcl"]')
    done = CliRunner().invoke(app, arguments(tmp_path, discs))
    assert done.exit_code == 0, done.output
    assert "accuracy_percent" in done.output
    assert (tmp_path / "out" / "toy" / "card.toml").is_file()


def test_images_that_cannot_be_used_are_left_out_and_told(discs, make_recipe, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(discs, data)
    for name in ("train/train1.png", "valcl/valcl2.png", "valcl/mask-valcl3.png"):
        (data / name).write_bytes(b"nothing")
    make_recipe(data='validation = ["valcl"]')
    done = CliRunner().invoke(app, arguments(tmp_path, data))
    assert done.exit_code == 1
    assert "toy is in" in done.output
    card = read_card(tmp_path / "out" / "toy")
    assert card.metrics["measured_on"] == "2 images of valcl"
    for name in ("train1.png", "valcl2.png", "valcl3.png"):
        assert f"{name}: " in done.output
        assert f"{name}: " in card.limits[-1]
    assert card.limits[-1].startswith("Images that could not be used were left out:")


def test_where_no_image_can_be_used_nothing_is_trained(discs, make_recipe, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(discs, data)
    for path in (data / "train").glob("train*.png"):
        path.write_bytes(b"nothing")
    make_recipe()
    done = CliRunner().invoke(app, arguments(tmp_path, data))
    assert isinstance(done.exception, ImageError)
    assert not (tmp_path / "out" / "toy").exists()


def test_several_seeds_are_trained(discs, make_recipe, tmp_path):
    make_recipe(data='validation = ["valcl"]')
    done = CliRunner().invoke(app, arguments(tmp_path, discs, "--seeds", "0,1"))
    assert done.exit_code == 0, done.output
    assert "accuracy_percent" in done.output
    assert "±" in done.output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["seeds"] == [0, 1]


def test_seeds_are_numbers():
    assert numbers("--seeds", None) == ()
    assert numbers("--seeds", "3, 1") == (3, 1)
    for wrong in ("a", "1;2", "", "-1"):
        with pytest.raises(ConfigError, match="--seeds takes numbers"):
            numbers("--seeds", wrong)


def test_a_request_to_stop_waits_for_the_end_of_the_step():
    view = View()
    step = TrainStep(step=1, steps=2, epoch=0, losses={"cam": 0.5}, accuracy=None)
    before = signal.getsignal(signal.SIGINT)
    with watched(view, "Again."):
        view.step(step)
        signal.raise_signal(signal.SIGINT)
        assert view.is_stopping
        with pytest.raises(KeyboardInterrupt):
            view.step(step)
        with pytest.raises(KeyboardInterrupt):  # the second request does not wait
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_what_was_stopped_says_how_to_go_on(capsys):
    with pytest.raises(typer.Exit), watched(View(), "Again."):
        raise KeyboardInterrupt
    assert "Stopped. Again." in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_go_on(discs, make_recipe, tmp_path):
    recipe = make_recipe()
    path = tmp_path / "toy.toml"
    path.write_text(recipe.text.replace("steps = 4", "steps = 100000"))
    log = tmp_path / "out" / "metrics.jsonl"
    with subprocess.Popen(
        [sys.executable, "-m", "napari_wsol", *arguments(tmp_path, discs)],
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
    ) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not log.exists():
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopped. Go on with: napari-wsol train" in said
    assert "--resume" in said
    assert (tmp_path / "out" / "checkpoint.pt").is_file()


def test_steps_and_evaluations_are_told_with_the_name_of_the_training(capsys, caplog):
    view = View()
    view.restart("fold 2 of 5")
    with caplog.at_level(logging.INFO, "napari_wsol"):
        view.step(
            TrainStep(step=2, steps=9, epoch=1, losses={"cam": 0.25}, accuracy=0.75)
        )
    said = "fold 2 of 5: epoch 1, loss cam 0.25, accuracy 0.75, step 2/9"
    assert said in caplog.messages
    values = {"loss": 0.5, "localization": 61.25}
    view.evaluated(Evaluation(step=2, values=values, best=True))
    told = (
        "fold 2 of 5: after step 2: loss 0.5000, localization 61.2 %, the best so far"
    )
    assert told in " ".join(capsys.readouterr().err.split())
