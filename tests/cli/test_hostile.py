"""Names and images that want to bring the command line down."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from fixtures.models import small_card
from PIL import Image
from typer.testing import CliRunner

from napari_wsol.cli import app
from napari_wsol.cli.console import PlainConsole
from napari_wsol.errors import WsolError
from napari_wsol.files import encoded
from napari_wsol.files.tables import unquoted
from napari_wsol.zoo import save_model

posix = pytest.mark.skipif(os.name != "posix", reason="names and signals of POSIX")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, small_model):
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "home"))
    save_model(small_model, small_card(small_model))


def save(path, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 255, (64, 72, 3)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, format="PNG")
    return path


def run(*arguments):
    return CliRunner().invoke(app, [str(item) for item in arguments])


def shell(*arguments, encoding="utf-8"):
    return subprocess.run(
        [sys.executable, "-m", "napari_wsol", *map(os.fsencode, arguments)],
        capture_output=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": encoding},
    )


def rows_of(out, name="summary.csv"):
    with (out / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


HOSTILE = [
    "a[/red].png",
    "[bold]b.png",
    "=1+cmd|c.png",
    "@sum d.png",
    ":smile:e.png",
    "f\x1b[2J.png",
    "g\nh.png",
    os.fsdecode(b"caf\xe9.png"),
]


@posix
@pytest.mark.parametrize(
    ("encoding", "how"),
    [("utf-8", ()), pytest.param("ascii", ("--resume",), marks=pytest.mark.slow)],
)
def test_images_of_any_name_are_localized(tmp_path, encoding, how):
    paths = [save(tmp_path / "in" / name, at) for at, name in enumerate(HOSTILE)]
    bad = tmp_path / "in" / "[bad].png"
    bad.write_bytes(b"nothing")
    out = tmp_path / "out"
    done = shell(
        "localize", *paths, bad, "--model", "small", "--out", out, *how,
        encoding=encoding,
    )  # fmt: skip
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"[bad].png" in done.stderr
    assert b"8 of 9 images localized" in done.stdout
    rows = {row["image"].removeprefix("'"): row for row in rows_of(out)}
    wanted = {encoded(Path(name).name).decode() for name in HOSTILE}
    assert set(rows) == {*wanted, "[bad].png"}
    for name in wanted:
        assert rows[name]["status"] == "ok"
        assert rows[name]["path"].endswith(f"/{name}")
        for item in unquoted(rows[name]["output"]).split("; "):
            assert (out / item).exists()
    written = (out / "summary.csv").read_text("utf-8")
    assert "'=1+cmd" in written
    assert "'@sum" in written


def test_markup_in_a_checkpoints_name_is_shown(tmp_path):
    (tmp_path / "a[").mkdir()
    for name in ("a[/red].pt", "b[bold].pt"):
        (tmp_path / name).write_bytes(b"nothing")
    result = run("models", "import", tmp_path / "a[/red].pt", tmp_path / "b[bold].pt")
    assert result.exit_code == 1
    assert "a[/red].pt" in result.output
    assert "b[bold].pt" in result.output
    assert "no weight file" in result.output


def test_what_to_install_is_named_in_whole():
    code = (
        "import sys; sys.modules['napari'] = None; sys.argv = ['napari-wsol', 'demo']\n"
        "from napari_wsol.cli import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "pip install magicgui napari pyqt6 qtpy superqt" in " ".join(
        done.stderr.split()
    )


WORD = "[/red]:x:"
LINES = [
    ("localize", WORD, "--model", WORD, "--out", "OUT"),
    ("localize", WORD, "--model", "small", "--out", "OUT", "--method", WORD),
    ("localize", WORD, "--model", "small", "--out", "OUT", "--target", WORD),
    ("localize", WORD, "--model", "small", "--out", "OUT", "--reader", WORD),
    ("batch", WORD, "--model", WORD, "--out", "OUT", "--reader", WORD),
    ("train", WORD, "--data", WORD, "--out", "OUT"),
    ("train", WORD, "--data", WORD, "--out", "OUT", "--seeds", WORD),
    ("crossvalidate", WORD, "--data", WORD, "--out", "OUT", "--group-pattern", "."),
    ("reproduce", WORD, "--data", WORD, "--out", "OUT"),
    ("evaluate", WORD, "--data", WORD, "--out", "OUT/m.json"),
    ("replay", WORD, "--out", "OUT"),
    ("view", WORD),
    ("journal", "show", WORD),
    ("journal", "export", WORD, "--out", "OUT/a.geojson"),
    ("models", "show", WORD),
    ("models", "verify", WORD),
    ("models", "import", WORD),
    ("models", "import", __file__, "--answer", WORD),
    ("recipes", "show", WORD),
    ("recipes", "write", WORD, "OUT/a.toml"),
    (WORD,),
    ("models", WORD),
    ("localize", "--" + WORD),
]


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_hostile_words_are_shown_as_they_are(tmp_path, line):
    words = [word.replace("OUT", str(tmp_path / "out")) for word in line]
    result = run(*words)
    assert result.exit_code in (1, 2)
    if not isinstance(result.exception, SystemExit):
        assert isinstance(result.exception, WsolError)
    told = result.output + str(result.exception)
    assert "".join(WORD.split()) in "".join(told.split())


def test_nothing_on_the_console_is_markup_or_a_command():
    text = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = PlainConsole()
    console.file = text
    console.print("[bold]a[/red] :smile: \x1b[2J \u03c3 \udce9\x9b")
    text.flush()
    written = text.buffer.getvalue().decode("ascii")
    assert written == "[bold]a[/red] :smile: \\x1b[2J \\u03c3 \\udce9\\x9b\n"


# ------------------------------------------------------------------------ one bad image


class PanicError(BaseException):
    """As what Rust code raises: it is no Exception."""


KINDS = [MemoryError(), RuntimeError("odd"), RecursionError(), PanicError("panic")]


@pytest.mark.parametrize("error", KINDS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("how", [(), ("--resume",)], ids=["flat", "folders"])
def test_no_error_of_one_image_stops_the_others(tmp_path, monkeypatch, error, how):
    paths = [save(tmp_path / f"{name}.png") for name in ("a", "bad", "c")]
    real = PIL.Image.open

    def fake(file, *rest, **more):
        if "bad" in str(getattr(file, "name", file)):
            raise error
        return real(file, *rest, **more)

    monkeypatch.setattr(PIL.Image, "open", fake)
    out = tmp_path / "out"
    result = run("localize", *paths, "--model", "small", "--out", out, *how)
    assert result.exit_code == 1
    rows = {row["image"]: row for row in rows_of(out)}
    assert [rows[f"{name}.png"]["status"] for name in "ac"] == ["ok", "ok"]
    assert rows["bad.png"]["status"] not in ("", "ok")
    assert rows["bad.png"]["path"] == str(paths[1])


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit(3)])
def test_who_wants_all_to_end_is_obeyed(tmp_path, monkeypatch, error):
    paths = [save(tmp_path / f"{name}.png") for name in ("a", "bad", "c")]
    real = PIL.Image.open

    def fake(file, *rest, **more):
        if "bad" in str(getattr(file, "name", file)):
            raise error
        return real(file, *rest, **more)

    out = tmp_path / "out"
    arguments = ("--model", "small", "--out", out, "--resume")
    monkeypatch.setattr("napari_wsol.batch.job.KEPT_PIXELS", 0)
    monkeypatch.setattr(PIL.Image, "open", fake)
    result = run("localize", *paths, *arguments)
    assert result.exit_code == (3 if error is not KeyboardInterrupt else 130)
    if error is KeyboardInterrupt:
        assert [row["image"] for row in rows_of(out)] == ["a.png"]


# A shell that runs the tests in the background has Ctrl+C ignored.
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from napari_wsol.cli import main
main()
"""


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@posix
@pytest.mark.parametrize(
    ("sent", "how"),
    [
        (signal.SIGKILL, ()),
        pytest.param(signal.SIGINT, (), marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, ("--resume",), marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, (), marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, ("--resume",), marks=pytest.mark.slow),
    ],
)
def test_the_table_has_every_row_when_the_run_is_stopped(tmp_path, sent, how):
    paths = [save(tmp_path / f"{number}.png", number) for number in range(60)]
    out = tmp_path / "out"
    process = start("localize", *paths, "--model", "small", "--out", out, *how)
    table = out / "summary.csv"
    while process.poll() is None and (
        not table.exists() or table.read_bytes().count(b"\n") < 4
    ):
        time.sleep(0.01)
    process.send_signal(sent)
    said, _ = process.communicate(timeout=60)
    if sent == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130, said
        assert "Stopped. What is finished is kept" in said
    rows = rows_of(out)
    assert 3 <= len(rows) < 60
    for row in rows:
        assert row["status"] == "ok"
        assert Path(row["path"]) in paths
        assert all((out / item).exists() for item in row["output"].split("; "))
    if how:
        done = run("localize", *paths[:6], "--model", "small", "--out", out, *how)
        assert done.exit_code == 0
        images = [row["image"] for row in rows_of(out)]
        assert len(images) == len(set(images)) >= len(rows)


def test_only_the_command_itself_is_refused_by_a_bad_out(tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        for line in (
            ("localize", "a.png", "--model", "none", "--out", out),
            ("batch", "a.png", "--model", "none", "--out", out),
            ("train", "none.toml", "--data", "none", "--out", out),
            ("crossvalidate", "none.toml", "--data", "none", "--out", out),
            ("reproduce", "pylon-nih14", "--data", "none", "--out", out),
            ("replay", "none", "--out", out),
            ("evaluate", "small", "--data", "none", "--out", out / "m.json"),
        ):
            result = run(*line)
            assert result.exit_code == 1
            assert "is, or lies in, a file. Choose a folder." in str(result.exception)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("command", ["localize", "evaluate", "batch"])
def test_a_home_that_nobody_has_is_a_name_like_others(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    image = save(tmp_path / "a.png")
    out = ("--out", "~nobody-here/out")
    result = run(command, image, "--model", "small", *out)
    assert "home directory" not in result.output
    assert not isinstance(result.exception, RuntimeError)


def test_a_folder_that_can_be_made_is_not_made_for_nothing(tmp_path):
    out = tmp_path / "new" / "out"
    result = run("localize", "a.png", "--model", "none", "--out", out)
    assert "There is no model" in str(result.exception)
    assert not out.parent.exists()


def test_a_folder_is_its_images_but_not_what_was_exported_there(tmp_path):
    folder = tmp_path / "images"
    for name in ("b2.png", "b10.png", "a.png"):
        save(folder / name)
    save(folder / "a_mask.png")
    save(folder / "deeper" / "c.png")
    arguments = ("localize", folder, "--model", "small", "--out", folder)
    for number in ("", "-2"):
        done = run(*arguments)
        assert done.exit_code == 0, done.output
        rows = rows_of(folder, f"summary{number}.csv")
        assert [row["image"] for row in rows] == ["a.png", "b2.png", "b10.png"]
    (tmp_path / "empty").mkdir()
    result = run(
        "localize", tmp_path / "empty", folder / "a.png", "--model", "small", "--out",
        tmp_path / "out",
    )  # fmt: skip
    assert result.exit_code == 1
    rows = rows_of(tmp_path / "out")
    assert [row["status"] == "ok" for row in rows] == [False, True]


def test_a_zarr_folder_stays_one_image(tmp_path):
    import zarr

    group = zarr.open_group(tmp_path / "pyramid", mode="w", zarr_format=2)
    group.create_array("0", data=np.zeros((64, 64), np.uint8))
    save(tmp_path / "pyramid" / "preview.png")
    from napari_wsol.worklist.files import images_given

    assert images_given([tmp_path / "pyramid"]) == [tmp_path / "pyramid"]


# ------------------------------------------------------------------------ many models


def test_one_bad_model_does_not_hide_the_others(tmp_path):
    models = tmp_path / "home" / "models"
    (models / "a[red]").mkdir()
    (models / "a[red]" / "card.toml").write_text("name = [")
    (models / "z").mkdir()
    (models / "z" / "card.toml").write_text("[]")
    result = run("models", "verify")
    assert result.exit_code == 1
    assert "small: ok" in result.output
    assert "a[red]: " in result.output
    assert "z: " in result.output
    assert "glands-mobilenetv2: ok" in result.output


def test_many_checkpoints_are_imported_one_by_one(tmp_path, golden):
    good = tmp_path / "weights.pt"
    torch.save(golden("amil_bag_2x2").state(), good)
    bad = tmp_path / "bad.pt"
    bad.write_bytes(b"nothing")
    unanswered = tmp_path / "pre.pth"
    torch.save(golden("pcam_vgg19_bn_PCAM").state("backbone.classifier"), unanswered)
    result = run(
        "models",
        "import",
        bad,
        unanswered,
        good,
        "--answer",
        "classes=benign,malignant",
    )
    assert result.exit_code == 1
    assert "no weight file" in result.output
    assert "pre.pth: " in result.output
    assert "attention_mil" in result.output
    named = run("models", "import", bad, good, "--name", "x")
    assert named.exit_code == 2


def test_the_row_of_a_name_that_is_no_utf8_is_read_again(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    save(tmp_path / name)
    out = tmp_path / "out"
    arguments = ("localize", tmp_path / name, "--model", "small", "--out", out)
    assert run(*arguments, "--resume").exit_code == 0
    (row,) = out.glob("*/row.json")
    assert json.loads(row.read_text("utf-8"))["image"] == name
    stamp = row.stat().st_mtime_ns
    assert run(*arguments, "--resume").exit_code == 0
    assert row.stat().st_mtime_ns == stamp
