"""What users of neighbouring tools asked for: each has a test, two of them here."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.packaging.conftest import Environment

ROOT = Path(__file__).resolve().parents[2]
GUI = ROOT / "napari_wsol" / "gui"
ROW = re.compile(r"^\| (RR\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")

PRIVATE = {
    ("compat.py", "_overlays"): "nothing public tells what a polygon looks like so far",
    ("compat.py", "_is_creating"): "nothing public tells that a shape is being drawn",
    ("layers/heatmaps.py", "_max_vectors_thumbnail"): "the class of Vectors names it",
    ("layers/touch.py", "vispy.app.backends._qt"): "no public name tells the canvas",
}
"""What is not public and is used all the same, and why."""

BASE = """
import json, re
from importlib.metadata import PackageNotFoundError, requires

def wanted(name, seen):
    try:
        lines = requires(name) or ()
    except PackageNotFoundError:
        return
    for line in lines:
        if "extra ==" in line:
            continue
        found = re.match(r"[A-Za-z0-9._-]+", line)[0].lower().replace("_", "-")
        if found not in seen:
            seen.add(found)
            wanted(found, seen)

seen = set()
wanted("napari-wsol", seen)
print(json.dumps(sorted(seen)))
"""


def rows() -> dict[str, list[tuple[str, str]]]:
    """The tests of each requirement, as (file, name)."""
    path = ROOT / "docs" / "requirements.md"
    if not path.exists():
        pytest.skip("this is no checkout, so its documents are not here")
    text = path.read_text("utf-8")
    return {name: TEST.findall(tests) for name, _, tests in ROW.findall(text)}


def collected(path: Path) -> set[str]:
    """Names that pytest collects in a file."""
    tree = ast.parse(path.read_text("utf-8"))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_requirement_has_tests_that_are_there():
    found = rows()
    assert list(found) == [f"RR{number}" for number in range(1, 38)]
    for name, tests in found.items():
        assert tests, f"{name} has no test"
        for file, test in tests:
            assert (ROOT / file).is_file(), f"{name}: there is no {file}"
            assert test in collected(ROOT / file), f"{name}: no {test} in {file}"


def test_the_base_brings_no_qt_and_no_napari(installed: Environment):
    wanted = set(json.loads(installed.python(BASE)))
    assert {"numpy", "torch"} <= wanted
    forbidden = {"pyqt5", "pyqt6", "pyside2", "pyside6", "qtpy", "superqt", "vispy"}
    assert not wanted & {*forbidden, "napari", "magicgui"}


def private_names(tree: ast.AST) -> set[str]:
    """Private modules and attributes of others that a module uses."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(item.name for item in node.names)]
        elif isinstance(node, ast.Import):
            names = [item.name for item in node.names]
        elif isinstance(node, ast.Attribute) and not is_own(node.value):
            names = [node.attr]
        elif isinstance(node, ast.Call) and asks_by_name(node):
            names = [str(node.args[1].value)]
        else:
            continue
        found |= {name for name in names if is_private(name)}
    return found


def is_own(owner: ast.expr) -> bool:
    """Whether an attribute is of the object, or of the class, that asks."""
    is_super = isinstance(owner, ast.Call) and ast.unparse(owner) == "super()"
    return is_super or (isinstance(owner, ast.Name) and owner.id in ("self", "cls"))


def asks_by_name(call: ast.Call) -> bool:
    """``getattr(layer, "_name")`` and its like."""
    is_known = isinstance(call.func, ast.Name) and call.func.id in (
        "getattr",
        "setattr",
    )
    return is_known and len(call.args) > 1 and isinstance(call.args[1], ast.Constant)


def is_private(name: str) -> bool:
    """Of a module or an attribute; ``__init__`` and its like are public."""
    return any(
        part.startswith("_") and not part.endswith("__") for part in name.split(".")
    )


def test_the_window_uses_public_names_of_napari_only():
    found = {
        (path.relative_to(GUI).as_posix(), name)
        for path in sorted(GUI.rglob("*.py"))
        for name in private_names(ast.parse(path.read_text("utf-8")))
    }
    assert found == set(PRIVATE)


@pytest.mark.parametrize(
    "line",
    [
        "viewer.window._qt_viewer.close()",
        "from napari._qt import qt_viewer",
        "import napari._vispy.canvas",
        "getattr(layer, '_slice')",
        "self.layer._data_view = 1",
        "from napari.layers import _base",
    ],
)
def test_private_names_are_found(line):
    assert private_names(ast.parse(line))
    assert not private_names(ast.parse("self._x = super()._y; a.__class__; f(_z)"))
