"""Methods and encoders of others: files that a person names, and packages."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures.models import small_card
from PIL import Image
from typer.testing import CliRunner

from napari_wsol.batch.workflow import Workflow
from napari_wsol.cli import app
from napari_wsol.encoders import list_encoders
from napari_wsol.errors import ModelError
from napari_wsol.methods import Model
from napari_wsol.zoo import load_model, read_card, save_model, verify

ROOT = Path(__file__).parents[1]
EMPTY = ROOT / "tests" / "example_plugin" / "wsol_example" / "__init__.py"


@pytest.fixture
def snippets(tmp_path) -> tuple[Path, Path]:
    """The method and the encoder of the documentation, as files."""
    text = (ROOT / "docs" / "how-to" / "plugins.md").read_text("utf-8")
    method, encoder = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    paths = tmp_path / "my_method.py", tmp_path / "my_encoder.py"
    for path, code in zip(paths, (method, encoder), strict=True):
        path.write_text(code, "utf-8")
    return paths


@pytest.fixture
def zoo(tmp_path, monkeypatch, small_model) -> None:
    """The user's folder, with a small model in it."""
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "home"))
    save_model(small_model, small_card(small_model))


def shell(*command, site: Path, files=()):
    """A program in a process of its own, where the example package is installed."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(site)))}
    env["NAPARI_WSOL_PLUGINS"] = os.pathsep.join(map(str, files))
    words = [sys.executable, *map(str, command)]
    return subprocess.run(words, env=env, capture_output=True, text=True, check=False)


def test_plugins_are_listed_and_one_that_fails_is_told_and_left_out(
    example_site, snippets
):
    bad = snippets[0].with_name("bad.py")
    bad.write_text("from nowhere import nothing")
    command = ("--plugin", bad, "plugins", f"--plugin={snippets[0]}")
    done = shell("-m", "napari_wsol", *command, site=example_site)
    assert done.returncode == 0, done.stderr
    package = "wsol-example 1.2"
    told = done.stdout.splitlines()
    assert f"example-cam (napari_wsol.methods, {package}): method example-cam" in told
    assert f"example-bare (napari_wsol.methods, {package}): method example-bare" in told
    no = f"example-untitled (napari_wsol.methods, {package}): left out, TypeError: "
    assert f"{no}Untitled is no Method with a title." in told
    one = f"example-named (napari_wsol.encoders, {package}): encoder example-named"
    assert one in told
    of = f"example-encoder (napari_wsol.encoders, {package})"
    assert f"{of}: encoder example-tiny" in told
    broken = f"example-broken (napari_wsol.methods, {package}): left out, ValueError: "
    assert f"{broken}The encoder 'resnet18' exists already." in told
    (mine,) = (line for line in told if line.startswith("my_method.py (file, "))
    assert re.search(r"my_method.py, sha256 \w{64}\): method mycam$", mine)
    assert "bad.py (file, bad.py, sha256 " in done.stderr
    assert "left out, ModuleNotFoundError: No module named 'nowhere'" in done.stderr


ONCE = """
import sys, threading
import napari_wsol
assert "torch" not in sys.modules and "times" not in sys.modules
from napari_wsol.encoders import build_encoder, list_encoders
from napari_wsol.methods import get_method, list_methods
found = []
threads = [
    threading.Thread(target=lambda: found.append(tuple(list_methods())))
    for _ in range(8)
]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert len(found) == 8 and len(set(found)) == 1, found
assert found[0].count("mycam") == 1 and get_method("mycam").title == "MyCAM"
assert "example-half" not in list_encoders() and "resnet18" in list_encoders()
assert build_encoder("two-convs").channels == (32,)
assert sys.modules["times"] == 1, "it ran once, whatever its path is called"
"""


def test_each_is_loaded_once_when_it_is_first_asked_for(example_site, snippets):
    with snippets[0].open("a") as file:
        file.write(
            "\nm = __import__('sys').modules\nm['times'] = m.get('times', 0) + 1"
        )
    again = Path(os.path.relpath(snippets[0]))
    done = shell("-c", ONCE, site=example_site, files=(*snippets, again))
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("zoo", "example")
def test_a_method_of_others_localizes_and_its_origin_is_recorded(tmp_path, tissue):
    Image.fromarray(tissue).save(tmp_path / "tissue.png")
    given = ["localize", str(tmp_path / "tissue.png"), "--model", "small"]
    given += ["--method", "example-cam", "--method", "gradcam"]
    given += ["--plugin", str(EMPTY)]
    done = CliRunner().invoke(app, [*given, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    found = {}
    for path in (tmp_path / "out").rglob("*.json"):
        told = json.loads(path.read_text("utf-8")).get("provenance", {})
        if told:
            found[told["method"]] = told["plugins"]
    assert found == {"example-cam": ["wsol-example 1.2"], "gradcam": []}


def test_what_is_trained_with_an_encoder_of_others_says_where_it_is_from(
    only_plugins, snippets, discs, make_recipe, tmp_path
):
    only_plugins(*snippets)
    make_recipe(model='encoder = "two-convs"')
    recipe, out = str(tmp_path / "toy.toml"), tmp_path / "out"
    given = ["train", recipe, "--data", str(discs), "--device", "cpu"]
    done = CliRunner().invoke(app, [*given, "--out", str(out)])
    assert done.exit_code == 0, done.output
    card = read_card(out / "toy")
    (told,) = card.plugins
    assert re.fullmatch(r"my_encoder.py, sha256 \w{64}", told)
    verify(card)
    only_plugins()
    with pytest.raises(ModelError, match=f"no encoder “two-convs”.*came with {told}"):
        load_model(out / "toy", device="cpu")


HEAD = """
from napari_wsol.methods import HeadMethod, register, register_head
from napari_wsol.methods.cam import GapHead
register_head("their-head")(type("TheirHead", (GapHead,), {}))

@register
class Theirs(HeadMethod):
    name, title = "their-head", "Theirs"
"""


def test_a_card_with_a_head_that_is_not_there_says_what_it_came_with(
    only_plugins, small_model, tmp_path
):
    file = tmp_path / "their_head.py"
    file.write_text(HEAD)
    only_plugins(file)
    spec = replace(small_model.spec, heads=("their-head",), options={})
    model = Model(spec)
    card = save_model(model, small_card(model, spec.heads), tmp_path)
    only_plugins()
    with pytest.raises(ModelError, match=f"its .*{card.plugins[0]}"):
        read_card(card.folder)


def test_other_processes_get_the_same_files(snippets, monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_WSOL_PLUGINS", os.pathsep.join(map(str, snippets)))
    words = Workflow(slides=(), out=tmp_path, model="small").localize()
    options = ["--plugin", str(snippets[0]), "--plugin", str(snippets[1])]
    at = words.index("localize")
    assert words[at - 4 : at] == options


def test_one_that_fails_half_way_leaves_nothing(only_plugins, snippets):
    with snippets[1].open("a") as file:
        file.write("\nraise SystemExit(3)")
    (plugin,) = only_plugins(snippets[1])
    assert plugin.problem == "SystemExit: 3"
    assert "two-convs" not in list_encoders()
    (plugin,) = only_plugins(snippets[1].with_name("missing.py"))
    assert plugin.problem.startswith("FileNotFoundError")
    syntax = snippets[1].with_name("syntax.py")
    syntax.write_text("def")
    (plugin,) = only_plugins(syntax)
    assert plugin.problem.startswith("SyntaxError")
    bare = snippets[1].with_name("bare.py")
    code = "@register\nclass Bare:\n    name = 'bare'\n"
    bare.write_text(f"from napari_wsol.methods import register\n{code}")
    (plugin,) = only_plugins(bare)
    assert plugin.problem == "TypeError: Bare is no Method with a title."
