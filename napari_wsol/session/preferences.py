"""What a person chose once for all images: so far, how much memory may be used."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from napari_wsol.config import InferenceConfig
from napari_wsol.errors import ConfigError, MalformedError
from napari_wsol.files import write_kept
from napari_wsol.files.parsing import read_json
from napari_wsol.paths import preferences_file

if TYPE_CHECKING:
    from collections.abc import Mapping

MEMORY = "memory_bytes"


def memory_bytes() -> int:
    """The budget: ``NAPARI_WSOL_MEMORY`` (in GB), else what was chosen, else 4 GB.

    A value that cannot be is passed over: the default is safe.
    """
    said = os.environ.get("NAPARI_WSOL_MEMORY", "")
    stored = _read().get(MEMORY)
    for value in (_gigabytes(said), stored):
        if isinstance(value, int):
            try:
                return InferenceConfig(memory_bytes=value).memory_bytes
            except ConfigError:
                continue
    return InferenceConfig().memory_bytes


def keep_memory_bytes(value: int) -> None:
    """Remembers the memory budget.

    Raises:
        ConfigError: it is too small, or the file cannot be written.
    """
    chosen = InferenceConfig(memory_bytes=value).memory_bytes
    try:
        _write({**_read(), MEMORY: chosen})
    except OSError as error:
        raise ConfigError(
            f"The memory budget could not be kept in {preferences_file()} "
            f"({error.strerror or error}): it holds until you close the window. "
            "Check that you may write there."
        ) from error


def _gigabytes(text: str) -> int | None:
    try:
        return round(float(text) * 1e9)
    except (ValueError, OverflowError):
        return None


def _read() -> Mapping[str, object]:
    try:
        return read_json(preferences_file(), dict[str, object])
    except (OSError, MalformedError):
        return {}


def _write(values: Mapping[str, object]) -> None:
    write_kept(preferences_file(), json.dumps(dict(values), indent=1))
