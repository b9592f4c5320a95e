"""What a person chose once for all images: read by commands and window alike.

What is given to a command or a window counts most, then the environment variable, then
the file, then the default; this module knows the last three.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

from napari_wsol.config import InferenceConfig, Option, check, listed_settings
from napari_wsol.errors import ConfigError, MalformedError, choices
from napari_wsol.files import unwritable, write_kept
from napari_wsol.files.parsing import read_json, typed
from napari_wsol.paths import preferences_file, stored_preferences

if TYPE_CHECKING:
    from collections.abc import Mapping

LOOKS = {"over": "over each other", "beside": "side by side"}
SHARED = listed_settings(InferenceConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """What a person prefers for all images.

    Attributes:
        device: where networks run: auto, cpu, cuda, cuda:1, mps.
        memory_bytes: budget of all that is kept of images, beside program and network.
        journals: folder of the journals of strokes; lists lie beside it.
        model: name or folder of the model that is taken where none is named.
        look: how the window shows several maps at start: over each other or beside.
    """

    device: Annotated[str, SHARED["device"].option] = "auto"
    memory_bytes: Annotated[int, SHARED["memory_bytes"].option] = 4_000_000_000
    journals: Annotated[str, Option("journals", empty="the usual folder")] = ""
    model: Annotated[str, Option("model", empty="none")] = ""
    look: Annotated[str, Option("look", choices=LOOKS)] = "over"

    def __post_init__(self) -> None:
        check(self)


DEFAULTS: Mapping[str, object] = asdict(Preferences())
VARIABLES = {
    name: f"NAPARI_WSOL_{name.removesuffix('_bytes').upper()}" for name in DEFAULTS
}
"""Environment variables that count more than the file; that of memory is in GB."""


def preferences() -> Preferences:
    """What counts; a value that cannot be is passed over: the defaults are safe."""
    return _checked({**stored(), **_environment()})


def stored() -> dict[str, object]:
    """What the file says, as far as it can be."""
    return _allowed(stored_preferences())


def source_of(name: str) -> str:
    """Where the value of a name is from: its variable, the file's path or “default”.

    Raises:
        UnknownNameError: there is no such preference; names the choices.
    """
    _known(name)
    if name in _environment():
        return VARIABLES[name]
    return str(preferences_file()) if name in stored() else "default"


def passed_over() -> list[str]:
    """What was chosen and cannot be: variables, names in the file, or all of it."""
    said, own = _environment(), stored()
    bad = [x for name, x in VARIABLES.items() if os.environ.get(x) and name not in said]
    try:
        kept = read_json(preferences_file(), dict[str, object])
    except FileNotFoundError:
        return bad
    except (OSError, MalformedError):
        return [*bad, f"“{preferences_file()}”"]
    return bad + [name for name in DEFAULTS if name in kept and name not in own]


def keep(**changes: object) -> None:
    """Remembers preferences; None forgets one, so that the default holds again.

    Raises:
        ConfigError: a value that is not allowed.
        ExportError: the file cannot be written.
        UnknownNameError: there is no such preference; names the choices.
    """
    for name in changes:
        _known(name)
    _checked({name: value for name, value in changes.items() if value is not None})
    kept = {**stored_preferences(), **changes}
    kept = {name: value for name, value in kept.items() if value is not None}
    what = f"{', '.join(changes)} could not be kept in “{preferences_file()}”"
    with unwritable(what, ". Check that you may write there."):
        write_kept(preferences_file(), json.dumps(kept, indent=1))


def _known(name: str) -> None:
    if name not in DEFAULTS:
        raise choices("preference", name, list(DEFAULTS))


def _checked(values: Mapping[str, object]) -> Preferences:
    try:
        return typed(values, Preferences)
    except MalformedError as error:  # of another type, or what a check says
        raise ConfigError(str(error)) from error


def _allowed(values: Mapping[str, object]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name in DEFAULTS.keys() & values.keys():
        with suppress(ConfigError):
            _checked({name: values[name]})
            found[name] = values[name]
    return found


def _environment() -> dict[str, object]:
    said = {name: os.environ.get(key, "") for name, key in VARIABLES.items()}
    given: dict[str, object] = {name: text for name, text in said.items() if text}
    with suppress(ValueError, OverflowError):
        given["memory_bytes"] = round(float(said["memory_bytes"]) * 1e9)
    return _allowed(given)
