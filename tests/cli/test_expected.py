"""The command line as people expect it: nothing cut, JSON, errors at once, groups."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.table import Table
from typer.testing import CliRunner

from napari_wsol.cli import app, console
from napari_wsol.cli.console import Listing, PlainConsole, emit, mode
from napari_wsol.cli.installed import method_names, model_names, system_names
from napari_wsol.methods import list_methods
from napari_wsol.preferences import VARIABLES, keep, stored
from napari_wsol.zoo import list_models

BUNDLED = "glands-mobilenetv2"
LONG = "a-model-with-a-name-of-which-nobody-wants-to-lose-a-letter"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "home"))
    for name in VARIABLES.values():
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


def run(*arguments):
    return CliRunner().invoke(app, [str(item) for item in arguments])


def told(*arguments):
    """What a command says with --json, which stands behind it."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


# Nothing is cut


def shown(width: int) -> str:
    """A wide table as a terminal of that width shows it."""
    table = Listing("name", "what it finds", "where")
    table.add_row(LONG, "glands, in a few words", f"/some/where/far/away/{LONG}")
    terminal = PlainConsole()
    terminal._force_terminal = True
    terminal.width = width
    with terminal.capture() as caught:
        terminal.print(table)
    return caught.get()


@pytest.mark.parametrize("width", [20, 80, 300])
def test_names_and_paths_are_whole_at_any_width(width):
    text = shown(width)
    assert LONG in text
    assert f"/some/where/far/away/{LONG}" in text
    assert "…" not in text
    assert ("┃" in text) == (width == 300)


def test_off_a_terminal_each_row_is_a_line_with_tabs():
    lines = run("models", "list").stdout.splitlines()
    assert lines[0] == "name\twhat it finds\tmethods\tlicence\twhere"
    assert {len(line.split("\t")) for line in lines[:-1]} == {5}
    assert lines[1].split("\t")[0] == BUNDLED
    assert not {*"│┃━…"} & {*"".join(lines)}


def test_no_command_builds_a_table_of_its_own():
    for path in Path(console.__file__).parent.glob("*.py"):
        if path.name != "console.py":
            assert "rich.table" not in path.read_text("utf-8"), path
    assert issubclass(Listing, Table)


# JSON


def test_json_has_no_paths_infinities_or_own_types(capsys, monkeypatch):
    monkeypatch.setattr(mode, "json", True)
    values = {
        "path": Path("a"),
        "nan": float("nan"),
        "one": np.float32(0.5),
        "many": np.arange(2),
        "third": 1 / 3,
        "µ": ("x",),
    }
    emit(values)
    raw = capsys.readouterr().out
    assert raw.isascii()
    wanted = {"path": "a", "nan": None, "one": 0.5, "many": [0, 1], "third": 1 / 3}
    assert json.loads(raw) == {**wanted, "µ": ["x"]}


def test_listings_as_json_have_stable_keys():
    (card, *_) = told("models", "list")
    keys = {"name", "title", "methods", "license", "folder", "bundled"}
    assert {*card} == keys
    assert {"name", "folder", "spec", "metrics"} <= {*told("models", "show", BUNDLED)}
    assert {"title", "license"} <= {*told("models", "presets")["uni"]}
    assert {"name", "summary", "citation"} <= {*told("recipes", "list")[0]}
    assert told("recipes", "show", "cam")["name"] == "cam"
    assert told("journal", "list") == []
    assert {*told("cache", "show")} == {"folder", "bytes", "slides"}
    assert told("cache", "clear") == {"bytes": 0}
    assert told("plugins") == []


def test_results_as_json_say_what_was_written(tmp_path, tissue):
    path, out = tmp_path / "a.png", tmp_path / "out"
    Image.fromarray(tissue).save(path)
    what = ("localize", path, tmp_path / "none.png", "--out", out, "--model", BUNDLED)
    result = run("--json", *what, "--method", "cam", "--format", "png")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert {*found} == {"summary", "images", "left"}
    assert found["images"][0]["status"] == "ok"
    assert "none.png" in result.stderr
    checked = told("verify", out, "--images", path)
    assert {*checked} == {"same", "files"}
    assert checked["same"] is True


def test_an_error_leaves_standard_output_empty():
    result = run("--json", "models", "show", "none")
    assert result.exit_code == 1
    assert result.stdout == ""


def test_quiet_says_errors_and_results_only(tmp_path):
    path, out = tmp_path / "a.png", tmp_path / "out"
    what = ("localize", path, "--model", BUNDLED, "--out", out, "--format", "png")
    Image.fromarray(np.full((40, 40, 3), 200, np.uint8)).save(path)
    assert "a.png:" in run(*what).stderr  # a note: it is unlike the training images
    quiet = run(*what, "-q")
    assert quiet.stderr == ""
    assert "1 of 1 images" in quiet.stdout


# Preferences


def test_config_lists_sets_and_forgets(home, monkeypatch):
    every = told("config", "list")
    assert every["device"] == {"value": "auto", "source": "default"}
    assert told("config", "set", "memory_bytes", "6e9") == {
        "memory_bytes": 6_000_000_000
    }
    run("config", "set", "model", BUNDLED)
    run("config", "set", "journals", home / "mine")
    assert stored()["journals"] == str(home / "mine")
    assert run("config", "get", "model").stdout.strip() == BUNDLED
    file = told("config", "path")["path"]
    assert told("config", "get", "memory_bytes")["source"] == file
    monkeypatch.setenv("NAPARI_WSOL_DEVICE", "cpu")
    assert "counts more" in run("config", "set", "device", "cuda").stderr
    run("config", "unset", "model")
    assert "model" not in stored()


@pytest.mark.parametrize(
    ("name", "value"),
    [("device", "gpu"), ("look", "x"), ("memory_bytes", "much"), ("model", "none")],
)
def test_config_refuses_what_cannot_be(name, value):
    assert run("config", "set", name, value).exit_code in (1, 2)
    assert stored() == {}


def test_a_model_that_is_a_folder_is_kept_by_its_whole_path(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert told("config", "set", "model", "mine") == {"model": str(tmp_path / "mine")}
    for name in ("model", "journals"):
        assert run("config", "set", name, "").exit_code == 2
    (tmp_path / "mine").rmdir()
    gone = run("localize", __file__, "--out", tmp_path / "out")
    assert gone.exit_code == 2
    assert "/mine”, which config says, is not there." in "".join(
        gone.stderr.split("\n")
    )


def test_the_preferred_model_is_taken(tmp_path, tissue):
    path, out = tmp_path / "a.png", tmp_path / "out"
    Image.fromarray(tissue).save(path)
    missing = run("localize", path, "--out", out)
    assert missing.exit_code == 2
    assert "config set model" in " ".join(missing.stderr.split())
    keep(model=BUNDLED, device="cpu")
    told("localize", path, "--out", out, "--method", "cam", "--format", "png")
    (record,) = out.glob("*provenance.json")
    assert json.loads(record.read_text())["provenance"]["model"]["name"] == BUNDLED


# Help and completion


def test_commands_and_options_are_in_groups():
    text = run("--help").stdout
    places = [text.index(f"{x}:\n") for x in ("Look", "Run", "Learn", "Measure")]
    assert places == sorted(places)
    assert text.index("Manage:\n") < text.index("Options:\n")
    for words in ("--json", "--quiet", "--verbose", "--install-completion"):
        assert words in text
    grouped = run("evaluate", "--help").stdout
    assert grouped.index("--data") < grouped.index("Prior and groups:\n")
    assert max(map(len, grouped.splitlines())) <= 80


COMPLETED = """
import os, sys
from napari_wsol.cli import app
for line in ("localize --model gl", "localize --method grad", "recipes show pixel",
             "config set mem", "config set ", "--plugin ", "--json models "):
    words = ["napari-wsol", *line.split(" ")]
    os.environ.update(
        _NAPARI_WSOL_COMPLETE="complete_bash",
        COMP_WORDS=" ".join(words),
        COMP_CWORD=str(len(words) - 1),
    )
    try:
        app(prog_name="napari-wsol")
    except SystemExit:
        print("torch" in sys.modules)
"""


def test_names_are_completed_without_torch():
    done = subprocess.run(
        [sys.executable, "-c", COMPLETED], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    shown = [part.split() for part in done.stdout.split("False\n")]
    assert shown[0] == [BUNDLED]
    assert "gradcam++" in shown[1]
    assert "pixelcam" in shown[2]
    assert shown[3] == ["memory_bytes"]
    assert len(shown) == 8
    assert "import" in shown[6]
    assert len(shown[4]) == len(VARIABLES)


def test_names_that_are_told_without_torch_are_all():
    assert sorted(method_names()) == sorted(list_methods())
    assert model_names() == [card.name for card in list_models()]
    assert "pcam-nih14" in system_names()


# Errors at once


WITHOUT_TORCH = [
    ("--version",),
    ("--help",),
    ("models", "list"),
    ("recipes", "list"),
    ("journal", "list"),
    ("config", "list"),
    ("localize", "none.png", "--model", BUNDLED, "--out", "OUT"),
    ("localize", "HERE", "--model", "none", "--out", "OUT"),
    ("localize", "HERE", "--out", "OUT"),
    ("localize", "HERE", "--model", BUNDLED, "--method", "none", "--out", "OUT"),
    ("localize", "HERE", "--model", BUNDLED, "--device", "gpu", "--out", "OUT"),
    ("localize", "HERE", "--model", BUNDLED, "--format", "none", "--out", "OUT"),
    ("localize", "HERE", "--model", BUNDLED, "--out", "HERE"),
    ("batch", "HERE", "--model", "none", "--out", "OUT"),
    ("features", "none.svs", "--model", BUNDLED, "--out", "OUT"),
    ("evaluate", "none", "--data", "none"),
    ("evaluate", BUNDLED, "--data", "none"),
    ("train", "none.toml", "--data", "none", "--out", "OUT"),
    ("train", "HERE", "--data", "none", "--out", "OUT"),
    ("crossvalidate", "none.toml", "--data", "none", "--out", "OUT"),
    ("reproduce", "none", "--data", "none"),
    ("models", "show", "none"),
    ("models", "import", "none.pt"),
    ("recipes", "show", "none"),
    ("journal", "show", "none"),
    ("replay", "none", "--out", "OUT"),
    ("report", "none", "--out", "OUT"),
    ("verify", "none"),
    ("features", "HERE", "--preset", "none", "--out", "OUT"),
    ("models", "import", "HERE", "--preset", "none"),
    ("train", "HERE", "--data", "HERE", "--out", "OUT", "--seeds", "a"),
    ("view", "none.svs"),
]

PROBE = """
import json, sys
from napari_wsol.cli import main
for line in json.load(sys.stdin):
    sys.argv = ["napari-wsol", *line]
    try:
        main()
    except SystemExit as left:
        assert left.code or line[0][0] == "-" or line[1] == "list", line
    assert "torch" not in sys.modules, line
"""


def test_what_can_be_known_is_told_without_torch(tmp_path):
    names = {"OUT": str(tmp_path / "out"), "HERE": __file__}
    lines = [[names.get(word, word) for word in line] for line in WITHOUT_TORCH]
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert "Traceback" not in done.stderr


# The end


def test_what_was_not_foreseen_is_one_sentence_and_told_whole_when_asked():
    code = (
        "import sys; from napari_wsol.cli import main\n"
        "cli = sys.modules['napari_wsol.cli.app']\n"
        "def broken():\n    raise RuntimeError('a broken part')\n"
        "cli.plugins = broken\n"
        "main()"
    )
    for more, lines in (([], 2), (["--verbose"], None)):
        done = subprocess.run(
            [sys.executable, "-c", code, "plugins", *more],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "a broken part" in done.stderr
        assert ("Traceback" in done.stderr) == (lines is None)
        assert lines in (None, len(done.stderr.strip().splitlines()))


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals and pipes")
def test_ctrl_c_is_one_line_and_a_closed_pipe_is_silent():
    code = (
        "import signal, sys, time; from napari_wsol.cli import main\n"
        "cli = sys.modules['napari_wsol.cli.app']\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def slow():\n    print('now', flush=True); time.sleep(60)\n"
        "cli.plugins = slow\n"
        "main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "plugins"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.strip() == "Stopped."
    command = f"{sys.executable} -m napari_wsol recipes show pixelcam | head -n 1"
    piped = subprocess.run(
        command, shell=True, capture_output=True, text=True, check=False
    )
    assert len(piped.stdout.splitlines()) == 1
    assert piped.stderr == ""
    command = f"{sys.executable} -m napari_wsol config list --json | true"
    unread = subprocess.run(command, shell=True, stderr=subprocess.PIPE, check=False)
    assert unread.stderr == b""
