"""Where the program keeps what is the user's: the only place that computes a folder.

``NAPARI_WSOL_HOME`` moves everything into one folder, ``NAPARI_WSOL_JOURNALS`` the
journals alone, as the preference “journals” does; ``NAPARI_WSOL_CACHE`` what can be
computed again. A ``~`` in any of them is the user's home.
"""

from __future__ import annotations

import os
from collections.abc import Mapping  # noqa: TC003 - what the file is checked against
from pathlib import Path

import platformdirs

from napari_wsol.errors import MalformedError, UnknownNameError
from napari_wsol.files import path_from
from napari_wsol.files.parsing import read_json

APPLICATION = "napari-wsol"
HOME, JOURNALS = "NAPARI_WSOL_HOME", "NAPARI_WSOL_JOURNALS"
CACHE = "NAPARI_WSOL_CACHE"
CARD = "card.toml"
"""What makes a folder a model."""


def data_folder() -> Path:
    """What a person made and cannot make again: models, journals, trainings."""
    return _home() or platformdirs.user_data_path(APPLICATION, appauthor=False)


def config_folder() -> Path:
    """What a person chose once: preferences, pixel sizes."""
    return _home() or platformdirs.user_config_path(APPLICATION, appauthor=False)


def cache_folder() -> Path:
    """What can be computed again: features and finished tiles of slides."""
    home = _home()
    if home is not None:
        return _named(CACHE) or home / "cache"
    return _named(CACHE) or platformdirs.user_cache_path(APPLICATION, appauthor=False)


def models_folder() -> Path:
    """The user's own models; a model folder that is put there is installed."""
    return data_folder() / "models"


def bundled_folder() -> Path:
    """Models that came with the package."""
    inside = Path(__file__).parent / "models"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "models"


def installed_folders() -> list[Path]:
    """Folders of all installed models, damaged ones too, in the order of the list."""
    parents = (bundled_folder(), models_folder())
    return [
        path
        for folder in parents
        if folder.is_dir()
        for path in sorted(folder.iterdir())
        if (path / CARD).is_file()
    ]


NO_MODEL = (
    "No model is installed. “napari-wsol models import FILE” makes one of a "
    "checkpoint, “napari-wsol train” teaches one."
)
"""For builds that come without models (tools/free.py)."""


def unknown_model(name: str | Path, names: list[str]) -> UnknownNameError:
    """The error for a model that is not installed, naming those that are."""
    installed = f"Installed: {', '.join(names)}." if names else NO_MODEL
    return UnknownNameError(
        f"There is no model “{name}”. {installed} "
        f"Your own models belong in {models_folder()}."
    )


def trainings_folder() -> Path:
    """Trainings that are not finished."""
    return data_folder() / "trainings"


def journals_folder() -> Path:
    """The journals of all images."""
    chosen = _named(JOURNALS)
    if chosen is None and isinstance(said := stored_preferences().get("journals"), str):
        chosen = path_from(said) if said else None
    return chosen or data_folder() / "journals"


def lists_folder() -> Path:
    """Lists of images that are remembered; beside the journals."""
    return journals_folder().parent / "lists"


def features_folder() -> Path:
    """Features of the tiles of slides."""
    return cache_folder() / "features"


def tiles_folder(fingerprint: str) -> Path:
    """Finished tiles of the slide of this fingerprint."""
    return cache_folder() / "slides" / fingerprint[:16]


def preferences_file() -> Path:
    """What a person prefers for all images."""
    return config_folder() / "preferences.json"


def stored_preferences() -> Mapping[str, object]:
    """What the file of preferences says, unchecked; nothing where it cannot be read."""
    try:
        return read_json(preferences_file(), dict[str, object])
    except (OSError, MalformedError):
        return {}


def known_sizes_file() -> Path:
    """Pixel sizes that a person gave."""
    return config_folder() / "known-sizes.json"


def _home() -> Path | None:
    return _named(HOME)


def _named(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return path_from(value) if value else None
