"""What is said about this version agrees wherever it is said."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import napari_wsol

ROOT = Path(__file__).resolve().parents[2]


def text(name: str) -> str:
    path = ROOT / name
    if not path.exists():
        pytest.skip(f"this is no checkout, so {name} is not here")
    return path.read_text("utf-8")


def test_the_changelog_and_the_citation_are_of_this_version():
    heads = re.findall(r"^## (.+)$", text("CHANGELOG.md"), re.MULTILINE)
    assert heads[0] == "[Unreleased]"
    assert re.fullmatch(
        rf"\[{re.escape(napari_wsol.__version__)}\] – \d{{4}}-\d\d-\d\d", heads[1]
    )
    cited = yaml.safe_load(text("CITATION.cff"))
    assert cited["version"] == napari_wsol.__version__
    assert str(cited["date-released"]) == heads[1].split(" – ")[1]


def test_no_line_of_the_changelog_stands_there_twice():
    lines = [line for line in text("CHANGELOG.md").splitlines() if len(line) > 40]
    assert len(lines) == len(set(lines))


def test_the_versions_of_python_are_those_that_are_tried():
    """Classifiers, the rows of CI, the search of ``make setup`` and constraints.txt."""
    project = tomllib.loads(text("pyproject.toml"))["project"]
    told = [re.search(r"Python :: (3\.\d+)$", line) for line in project["classifiers"]]
    versions = [found[1] for found in told if found]
    assert project["requires-python"] == f">={versions[0]}"
    matrix = yaml.safe_load(text(".github/workflows/ci.yml"))["jobs"]["test"]
    matrix = matrix["strategy"]["matrix"]
    rows = {*matrix["python"], *(row.get("python") for row in matrix["include"])}
    assert rows - {None} == set(versions)
    names = " ".join(f"python{version}" for version in versions)
    assert f"set -- {names} python3 python" in text("tools/setup.sh")
    assert f"on Python {versions[0]} to {versions[-1]}:" in text("constraints.txt")


def test_all_is_every_extra_that_installs_with_the_constraints():
    extras = tomllib.loads(text("pyproject.toml"))["project"]["optional-dependencies"]
    named = re.fullmatch(r"napari-wsol\[(.+)\]", extras["all"][0])
    assert named is not None
    # One binding of Qt is enough; timm and batch want other versions than those of
    # constraints.txt; the rest is for developers.
    apart = {"pyqt5", "pyside6", "timm", "batch"}
    ours = {"all", "napari", "dev", "test", "docs", "oracles"}
    assert set(named[1].split(",")) == set(extras) - apart - ours
