"""Rules of the source tree that no linter of Python knows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "napari_wsol"
MOST_MODULES, MOST_PACKAGES = 10, 22
# Somebody's home or a folder of one machine, where a path from the root begins.
_START = r"(?<![\w.~$}/-])"
_PLACES = [
    r"/(?:home|Users|root|work|scratch)/\w",
    r"[A-Z]:\\+Users\\+\w",
    re.escape(f"{ROOT}{os.sep}"),
    re.escape(f"{Path.home()}{os.sep}"),
]
MACHINE_PATH = re.compile(f"{_START}(?:{'|'.join(_PLACES)})")


def _tracked_files() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is not a clone, so which files are tracked is not known")
    # safe.directory: a clone may belong to another user than the one who tests it.
    git = ["git", "-c", f"safe.directory={ROOT.as_posix()}"]
    done = subprocess.run(
        [*git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in done.stdout.split("\0") if name]


def _text(path: Path) -> str:
    """The text of a file; empty for links, folders and binary files."""
    if path.is_symlink() or not path.is_file():
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def test_few_modules_lie_beside_the_packages():
    """Whoever opens the folder sees the parts of the house, not its furniture."""
    modules = [path.name for path in PACKAGE.glob("*.py")]
    packages = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    assert len(modules) <= MOST_MODULES, modules
    assert len(packages) <= MOST_PACKAGES, packages


def test_no_tracked_file_names_a_path_of_a_machine():
    named = {
        f"{path.relative_to(ROOT).as_posix()}:{number}": line.strip()
        for path in _tracked_files()
        for number, line in enumerate(_text(path).splitlines(), start=1)
        if MACHINE_PATH.search(line)
    }
    assert named == {}


def test_the_manifest_of_editable_installs_is_a_link_to_the_one_at_the_root():
    link = ROOT / "napari_wsol" / "napari.yaml"
    if not link.is_symlink() and os.name == "nt":
        pytest.skip("git wrote the link as a text file (core.symlinks is false)")
    assert link.readlink() == Path("..", "napari.yaml")


def test_imports_point_downwards():
    pytest.importorskip("importlinter", reason="import-linter is in the dev extra")
    command = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    assert command is not None
    done = subprocess.run(
        [command, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_modules_import_each_other():
    """No circle of any length, imports for type checkers included."""
    grimp = pytest.importorskip("grimp", reason="grimp comes with import-linter")
    graph = grimp.build_graph("napari_wsol", cache_dir=None)
    arrows = {
        name: graph.find_modules_directly_imported_by(name) for name in graph.modules
    }
    assert circles(arrows) == []


def circles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """Sets of modules that reach each other (Tarjan 1972), without those of one.

    Args:
        arrows: what each module imports.
    """
    met: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        met[name] = lowest[name] = len(met)
        path.append(name)
        for other in sorted(arrows[name]):
            if other not in met:
                visit(other)
            if other in path:
                lowest[name] = min(lowest[name], lowest[other])
        if lowest[name] == met[name]:
            circle = path[path.index(name) :]
            del path[-len(circle) :]
            if len(circle) > 1:
                found.append(sorted(circle))

    for name in sorted(arrows):
        if name not in met:
            visit(name)
    return found


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    ring = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}}
    assert circles(ring) == [["d", "e"], ["a", "b", "c"]]
