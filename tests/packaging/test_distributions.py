"""What the source distribution and the wheel hold."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _model_files() -> set[str]:
    files = (path for path in (ROOT / "models").rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in files}


def test_wheel_built_from_the_sdist_holds_manifest_and_models(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        manifest = archive.read("napari_wsol/napari.yaml").decode()
    assert manifest == (ROOT / "napari.yaml").read_text(encoding="utf-8")
    assert {f"napari_wsol/{name}" for name in _model_files()} <= names
    assert "napari_wsol/py.typed" in names
    shown = {"icon.svg", "images/chest_film.jpg", "images/chest_film.md"}
    assert {f"napari_wsol/gui/{name}" for name in shown} <= names


def test_wheel_installs_nothing_beside_the_package(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"napari_wsol"}


def test_wheel_has_every_module_of_the_package(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    modules = (ROOT / "napari_wsol").rglob("*.py")
    assert {path.relative_to(ROOT).as_posix() for path in modules} <= names


def test_wheel_has_recipes_templates_and_style(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for kind, least in ((".toml", 8), (".jinja", 3), (".mplstyle", 1)):
        files = set((ROOT / "napari_wsol").rglob(f"*{kind}"))
        assert len(files) >= least
        assert {path.relative_to(ROOT).as_posix() for path in files} <= names


def test_sdist_holds_what_a_build_and_a_test_need(sdist: Path):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "napari.yaml"} <= names
    assert {"Makefile", "constraints.txt", "tools/setup.sh"} <= names
    assert _model_files() <= names
