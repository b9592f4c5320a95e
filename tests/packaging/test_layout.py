"""Rules of the source tree that no linter of Python knows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
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
