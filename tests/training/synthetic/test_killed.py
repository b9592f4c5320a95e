"""A training that is killed loses nothing but the steps since its last checkpoint.

Killed three times at a random moment and resumed, it ends with the weights, figures and
log of one that ran through.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from napari_wsol.training.run import CHECKPOINT, LOG
from napari_wsol.zoo import read_card

STEPS, EVERY = 45, 4
WAIT_S = 240
DATA = 'validation = ["valcl"]\nlocalization = "valpx"\nclassification = "valcl"'
TRAIN = (
    f"steps = {STEPS}\ncheckpoint_every = {EVERY}\nevaluate_every = 9\n"
    'select = "localization"\ncrop = 32'
)
SEEDS = '[seeds]\ntap = "features.1"\nfraction = 0.2'


@pytest.fixture
def recipe(make_recipe, tmp_path) -> Path:
    """A pixel head, seeds, evaluations and a selection: all that has a state."""
    found = make_recipe(heads='["cam", "pixelcam"]', data=DATA, more=SEEDS)
    path = tmp_path / "killed.toml"
    text = found.text.replace("steps = 4\n", "").replace("checkpoint_every = 2\n", "")
    path.write_text(text.replace("crop = 32", TRAIN))
    return path


def start(recipe: Path, data: Path, out: Path, *more: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "napari_wsol", "train", str(recipe), "--data", str(data),
         "--out", str(out), "--device", "cpu", *more],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def finish(process: subprocess.Popen) -> None:
    _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, said.decode()


def steps_in(log: Path) -> int:
    return log.read_text("utf-8").count('"losses"') if log.exists() else 0


def kill_at(process: subprocess.Popen, out: Path, rng: np.random.Generator) -> int:
    """Kills it at a random moment after its first checkpoint; the steps it had done."""
    wanted, more = int(rng.integers(EVERY, STEPS - 2 * EVERY)), rng.uniform(0, 0.1)
    deadline = time.monotonic() + WAIT_S
    while not (out / CHECKPOINT).exists() or steps_in(out / LOG) < wanted:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(more)
    process.kill()
    process.communicate(timeout=WAIT_S)
    return steps_in(out / LOG)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_training_ends_as_one_that_ran_through(discs, recipe, tmp_path):
    finish(start(recipe, discs, tmp_path / "whole"))
    whole = read_card(tmp_path / "whole" / "toy")
    log = (tmp_path / "whole" / LOG).read_text()
    assert len(log.splitlines()) == STEPS + STEPS // 9
    rng = np.random.default_rng()
    for number in range(3):
        out = tmp_path / f"killed-{number}"
        process = start(recipe, discs, out)
        done = kill_at(process, out, rng)
        assert process.returncode != 0, "it ended before it was killed"
        assert EVERY <= done < STEPS
        assert not (out / "toy").exists()
        finish(start(recipe, discs, out, "--resume"))
        card = read_card(out / "toy")
        assert card.sha256 == whole.sha256, f"killed after step {done}"
        assert card.metrics == whole.metrics
        assert (out / LOG).read_text() == log, f"killed after step {done}"
        rows = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
        assert [row["step"] for row in rows if "losses" in row] == [
            *range(1, STEPS + 1)
        ]
