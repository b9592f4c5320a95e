"""Every folder of the user's comes from one place, and follows the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_wsol import paths
from napari_wsol.journal import JournalLibrary

FOLDERS = (
    paths.data_folder,
    paths.config_folder,
    paths.cache_folder,
    paths.models_folder,
    paths.trainings_folder,
    paths.journals_folder,
    paths.lists_folder,
    paths.features_folder,
    paths.preferences_file,
    paths.known_sizes_file,
    lambda: paths.tiles_folder("f" * 64),
)


@pytest.fixture
def person(tmp_path, monkeypatch) -> Path:
    """Somebody with a home of their own, who works in another folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "person"))
    for name in (paths.HOME, paths.JOURNALS):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "person"


def test_a_tilde_is_the_home_for_every_folder(person, monkeypatch):
    monkeypatch.setenv(paths.HOME, "~/wsol")
    home = person / "wsol"
    assert all(place().is_relative_to(home) for place in FOLDERS)
    assert paths.journals_folder() == home / "journals"
    assert paths.models_folder() == home / "models"
    assert paths.tiles_folder("0123456789abcdef99") == (
        home / "cache" / "slides" / "0123456789abcdef"
    )


def test_journals_can_be_moved_alone(person, monkeypatch):
    monkeypatch.setenv(paths.HOME, "~/wsol")
    monkeypatch.setenv(paths.JOURNALS, "~/strokes/all")
    assert JournalLibrary().folder == person / "strokes" / "all"
    assert paths.lists_folder() == person / "strokes" / "lists"
    assert paths.models_folder() == person / "wsol" / "models"


@pytest.mark.usefixtures("person")
def test_without_a_word_the_systems_own_folders_are_used():
    assert all(place().is_absolute() for place in FOLDERS)
    assert not any(place().is_relative_to(Path.cwd()) for place in FOLDERS)
