"""What there is by name, told without torch: for completion, and errors at once."""

from __future__ import annotations

import re
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path

from msgspec import Struct

from napari_wsol.errors import MalformedError, choices
from napari_wsol.files import path_from
from napari_wsol.files.parsing import parse_toml, read_text, typed
from napari_wsol.paths import (
    CARD,
    bundled_folder,
    installed_folders,
    journals_folder,
    unknown_model,
)
from napari_wsol.registry import GROUPS, plugin_files

PACKAGE = Path(__file__).parents[1]


class Listed(Struct):
    """What a list says of a model; reading all of its card needs torch."""

    name: str
    title: str
    methods: tuple[str, ...] = ()
    license: str = ""
    folder: str = ""
    bundled: bool = False


def models() -> list[Listed]:
    """Those whose card can be read: bundled ones first, then the user's own."""
    found: list[Listed] = []
    for folder in installed_folders():
        with suppress(OSError, MalformedError):
            card = typed(parse_toml(read_text(folder / CARD)), Listed)
            card.folder, card.bundled = str(folder), folder.parent == bundled_folder()
            found.append(card)
    return found


def model_names() -> list[str]:
    """Names of the installed models."""
    return [card.name for card in models()]


def checked_model(name: str) -> str:
    """The name of an installed model, or a path that is there.

    Raises:
        UnknownNameError: names the choices.
    """
    if not path_from(name).exists() and name not in (names := model_names()):
        raise unknown_model(name, names)
    return name


def method_names() -> list[str]:
    """Names of the methods of this package, as their files give them."""
    files = sorted((PACKAGE / "methods").glob("*.py"))
    pattern = re.compile(r'^    name: ClassVar\[str\] = "(.+)"$', re.MULTILINE)
    return [name for file in files for name in pattern.findall(file.read_text("utf-8"))]


def check_methods(names: list[str] | None) -> list[str] | None:
    """Refuses a method of no known name, where no plugin could have it.

    Raises:
        UnknownNameError: names the choices.
    """
    has_plugins = plugin_files() or any(entry_points(group=group) for group in GROUPS)
    known = [] if has_plugins else method_names()
    for name in names or ():
        if known and name.partition("@")[0] not in known:
            raise choices("method", name, known)
    return names


def journal_names() -> list[str]:
    """Names of the folders of journals."""
    folder = journals_folder()
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []
