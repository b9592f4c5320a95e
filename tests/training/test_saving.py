"""What trains can be saved; and where the weights are when the saving fails."""

import resource
import signal
import sys
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from napari_wsol.cli import app
from napari_wsol.cross_validation import FoldWatcher, cross_validate
from napari_wsol.data.folds import Grouping
from napari_wsol.errors import ConfigError, ExportError
from napari_wsol.paths import models_folder, trainings_folder
from napari_wsol.training.job import run_training
from napari_wsol.training.run import CHECKPOINT, train
from napari_wsol.zoo import load_model, read_card, verify

TILES = 'encoder = "mobilenet_v2"\ntaps = ["features.3"]\ntile = 224'


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "home"))


@pytest.fixture
def slabs(tmp_path):
    """Two splits of images of 256 pixels, dark ones and bright ones."""
    root = tmp_path / "slabs"
    rng = np.random.default_rng(0)
    for split in ("train", "held"):
        for index in range(4):
            kind = ("plain", "striped")[index % 2]
            path = root / split / kind / f"{split}{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = rng.integers(0, 90, (256, 256, 3)) + 150 * (index % 2)
            Image.fromarray(image.astype(np.uint8)).save(path)
    return root


def quiet(*_):
    """Nobody is told."""


def trained(recipe, data, out, step=quiet, **how):
    return train(recipe, data, out, device="cpu", say=quiet, step=step, **how)


def test_attention_over_tiles_of_224_pixels_is_trained_saved_and_evaluated(
    slabs, make_recipe, tmp_path
):
    make_recipe(model=TILES, heads='["attention_mil"]')
    common = ["--data", str(slabs), "--device", "cpu"]
    given = ["train", str(tmp_path / "toy.toml"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*given, *common])
    assert done.exit_code == 0, done.output
    folder = tmp_path / "out" / "toy"
    verify(read_card(folder))
    model = load_model(folder, device="cpu")
    assert model.spec.tile == 224
    held = ["evaluate", str(folder), "--split", "held", "--bootstrap", "0"]
    done = CliRunner().invoke(
        app, [*held, *common, "--out", str(tmp_path / "found.json")]
    )
    assert done.exit_code == 0, done.output
    assert "toy: 4 images" in done.output


@pytest.mark.parametrize("resume", [False, True])
def test_what_cannot_be_saved_is_not_trained(discs, make_recipe, tmp_path, resume):
    recipe = make_recipe(more="[card]\nlicence = 3")
    out, steps = tmp_path / "new" / "out", []
    if resume:
        out.mkdir(parents=True)
        (out / CHECKPOINT).write_bytes(b"any")
    with pytest.raises(ConfigError, match="licence"):
        trained(recipe, discs, out, steps.append, resume=resume)
    assert steps == []
    assert resume or not out.parent.exists()


def test_no_fold_is_begun_where_the_model_cannot_be_saved(discs, make_recipe, tmp_path):
    recipe = make_recipe(more="[card]\nlicence = 3")
    grouping, watcher = Grouping(pattern="(.*)"), FoldWatcher(say=quiet, step=quiet)
    with pytest.raises(ConfigError, match="licence"):
        cross_validate(recipe, discs, tmp_path / "out", grouping, watcher=watcher)
    assert not (tmp_path / "out").exists()


@contextmanager
def full_disk():
    """No file can have more than some kilobytes, for a while."""
    if sys.platform == "win32":
        pytest.skip("the size of files can be limited on Unix alone")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:  # before anything is told: pytest's own output may be a long file
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_is_full_stops_the_training_before_it_begins(
    discs, make_recipe, tmp_path
):
    recipe, out = make_recipe(), tmp_path / "new" / "out"
    with full_disk(), pytest.raises(ExportError, match="could not be saved"):
        trained(recipe, discs, out)
    assert not out.parent.exists()


def test_where_no_disk_has_room_the_checkpoint_keeps_the_weights(
    discs, make_recipe, tmp_path
):
    recipe, out = make_recipe(), tmp_path / "out"
    with ExitStack() as stack:

        def step(progress):
            if progress.step == progress.steps:
                stack.enter_context(full_disk())

        with pytest.raises(ExportError, match="could not be saved") as caught:
            trained(recipe, discs, out, step)
    assert str(out / CHECKPOINT) in str(caught.value)
    assert "--resume" in str(caught.value)
    assert not (out / "toy").exists()
    assert [path.name for path in out.glob(".*")] == []
    steps = []
    card = trained(recipe, discs, out, steps.append, resume=True)
    assert steps == []
    verify(card)


@pytest.mark.usefixtures("home")
def test_a_name_that_was_taken_meanwhile_loses_no_weights(discs, make_recipe, tmp_path):
    recipe, out = make_recipe(), tmp_path / "out"

    def step(_progress):
        (out / "toy").mkdir(exist_ok=True)
        (out / "toy" / "theirs").touch()

    with pytest.raises(ExportError, match="are kept") as caught:
        trained(recipe, discs, out, step)
    kept = models_folder() / "toy"
    assert str(kept) in str(caught.value)
    assert load_model("toy", device="cpu").card.folder == kept
    verify(read_card(kept))
    assert [path.name for path in (out / "toy").iterdir()] == ["theirs"]


@pytest.mark.usefixtures("home")
def test_a_training_of_the_window_that_was_not_installed_is_installed_later(
    discs, make_recipe, tmp_path
):
    make_recipe()
    taken, steps = models_folder() / "toy", []

    def step(progress):
        steps.append(progress)
        taken.mkdir(parents=True, exist_ok=True)

    def run(**how):
        told, toy = {"report": quiet, "step": step, "evaluated": quiet}, "toy.toml"
        return run_training(
            tmp_path / toy, discs, None, {"device": "cpu", **how}, **told
        )

    work = trainings_folder() / "toy" / "toy"
    with pytest.raises(ExportError, match="The finished model is in") as caught:
        run()
    assert str(work) in str(caught.value)
    verify(read_card(work))
    taken.rmdir()
    done = len(steps)
    card = run(resume=True)
    assert (card.folder, len(steps)) == (taken, done)
    verify(card)
    assert not work.parent.exists()
