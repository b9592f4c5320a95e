"""Recipes as the papers give them, to start a training of one's own from.

Each is a TOML file beside this one. Its comments say where the values come from and
what the paper leaves open; what a person has to edit is marked with EDIT.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from napari_wsol.files import encoded, write_new
from napari_wsol.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = ".toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRecipe:
    """A recipe of a paper.

    Attributes:
        name: it is asked for by.
        title: for people.
        summary: what the map of such a model shows, in a sentence.
        citation: of the paper.
        text: the file.
    """

    name: str
    title: str
    summary: str
    citation: str
    text: str


def list_published() -> tuple[PublishedRecipe, ...]:
    """All of them, by name."""
    files = resources.files(__name__).iterdir()
    texts = [item.read_text("utf-8") for item in files if item.name.endswith(SUFFIX)]
    return tuple(sorted(map(_read, texts), key=lambda item: item.name))


def _read(text: str) -> PublishedRecipe:
    values = tomllib.loads(text)
    card = values["card"]
    return PublishedRecipe(
        name=values["name"],
        title=card["title"],
        summary=card["summary"],
        citation=card["citations"][0],
        text=text,
    )


def find_published(name: str) -> PublishedRecipe:
    """One of them.

    Raises:
        UnknownNameError: there is none of that name; names the choices.
    """
    found = {item.name: item for item in list_published()}
    return Registry("published recipe", found)[name]


def write_published(name: str, path: Path) -> None:
    """Writes a copy to edit, all or nothing.

    Raises:
        UnknownNameError: there is no such recipe.
        ExportError: the file is there already, or cannot be written.
    """
    text = encoded(find_published(name).text)
    write_new(path, lambda draft: draft.write_bytes(text))
