"""What there is by name, told without torch: for completion, and errors at once."""

from __future__ import annotations

import re
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from napari_wsol.errors import MalformedError, choices
from napari_wsol.files import path_from
from napari_wsol.files.parsing import parse_toml, read_text, typed
from napari_wsol.paths import CARD, bundled_folder, installed_folders, unknown_model
from napari_wsol.registry import GROUPS, plugin_files

if TYPE_CHECKING:
    from collections.abc import Callable

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


def is_model(name: str) -> bool:
    """Whether it is the name of an installed model, or a path that is there."""
    return path_from(name).exists() or name in model_names()


def checked_model(name: str) -> str:
    """A name of which :func:`is_model` is true.

    Raises:
        UnknownNameError: it is not; names the choices.
    """
    if not is_model(name):
        raise unknown_model(name, model_names())
    return name


def method_names() -> list[str]:
    """Names of the methods of this package, as its files give them."""
    texts = (path.read_text("utf-8") for path in sorted(PACKAGE.glob("methods/*.py")))
    return re.findall(r'\n    name: ClassVar\[str\] = "(.+)"\n', "".join(texts))


def checked_methods(names: list[str] | None) -> list[str] | None:
    """Names of methods, none of which is unknown; plugins may have others.

    Raises:
        UnknownNameError: there is no such method; names the choices.
    """
    others = [*plugin_files(), *(x for key in GROUPS for x in entry_points(group=key))]
    known = method_names()
    for name in names or ():
        if name.partition("@")[0] not in known and not others:
            raise choices("method", name, known)
    return names


def system_names() -> list[str]:
    """Names of the papers that can be reproduced."""
    return list(parse_toml(read_text(PACKAGE / "cross_validation" / "systems.toml")))


def preset_names() -> list[str]:
    """Names of the foundation encoders."""
    rows = parse_toml(read_text(PACKAGE / "encoders" / "presets.toml"))
    return [name for name in rows if name != "names"]


def reader_names() -> list[str]:
    """Names of the readers of images."""
    from napari_wsol.images.readers import list_readers

    return list_readers()


def one_of(kind: str, names: Callable[[], list[str]]) -> Callable[[Any], Any]:
    """What refuses a name that is given and not in a list; it names the choices."""

    def check(name: str | None) -> str | None:
        if name is not None and name not in names():
            raise choices(kind, name, names())
        return name

    return check
