"""The recipe for conda says what ``pyproject.toml`` says."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
NAMES = {
    "matplotlib": "matplotlib-base",
    "torch": "pytorch",
    "typing-extensions": "typing_extensions",
}
"""What has another name there."""


@pytest.fixture(scope="module")
def recipe() -> dict[str, Any]:
    path = ROOT / "conda" / "recipe.yaml"
    return yaml.safe_load(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def as_conda(wishes: list[str]) -> set[str]:
    pairs = (wish.split(">=") for wish in wishes)
    return {f"{NAMES.get(name, name)} >={version}" for name, version in pairs}


def test_it_needs_what_the_package_needs(recipe, project):
    told = recipe["requirements"]
    python = f"python {project['project']['requires-python']}"
    extras = project["project"]["optional-dependencies"]
    run = {python, *as_conda(project["project"]["dependencies"])}
    assert set(told["run"]) == run
    assert set(told["run_constraints"]) == as_conda(extras["napari"])
    build = as_conda(project["build-system"]["requires"])
    assert set(told["host"]) == {python, "pip", *build}


def test_it_is_of_this_package_and_free(recipe, project):
    about = project["project"]
    text = (ROOT / "napari_wsol" / "__init__.py").read_text("utf-8")
    assert f'__version__ = "{recipe["context"]["version"]}"' in text
    assert recipe["package"]["name"] == about["name"]
    assert recipe["about"]["summary"] == about["description"]
    assert recipe["about"]["license"] == "BSD-3-Clause"
    assert "dist/free/" in recipe["source"]["path"]
    scripts = {f"{name} = {target}" for name, target in about["scripts"].items()}
    assert set(recipe["build"]["python"]["entry_points"]) == scripts
