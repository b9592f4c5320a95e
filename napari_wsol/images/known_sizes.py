"""Pixel sizes that a person gave: asked for once, and remembered for that slide.

One small JSON file for the user, by the fingerprint of the slide, so that a copy in
another folder is known too.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from napari_wsol.errors import MalformedError
from napari_wsol.files import unwritable, write_kept
from napari_wsol.files.parsing import Count, Positive, read_json
from napari_wsol.images.pixel_size import PixelSize
from napari_wsol.paths import known_sizes_file

if TYPE_CHECKING:
    from pathlib import Path

    from napari_wsol.images.slide import Slide

_VERSION = 1


@dataclass(frozen=True, slots=True)
class _Known:
    """What was said of one slide."""

    shape: tuple[Count, Count]
    mpp: Positive
    said: str


@dataclass(frozen=True, slots=True)
class _KnownSizes:
    """The file: what was said, by fingerprint."""

    slides: dict[str, _Known]
    version: int = _VERSION


def recall(slide: Slide) -> PixelSize:
    """What a person said of this slide, with a note on when.

    Costs nothing where nothing was said of a slide of this shape: only then the
    fingerprint is taken.

    Returns:
        None as ``mpp`` where nothing is known; a note where the file was damaged.
    """
    known, notes = _load()
    if not any(one.shape == slide.shape for one in known.values()):
        return PixelSize(None, notes)
    found = known.get(slide.fingerprint())
    if found is None:
        return PixelSize(None, notes)
    note = f"{found.mpp:.4g} µm a pixel, as you said on {found.said}."
    return PixelSize(found.mpp, (*notes, note))


def remember(slide: Slide, mpp: float | None) -> None:
    """Keeps the pixel size of a slide, or forgets it where it is None.

    Raises:
        ExportError: the file cannot be written.
    """
    known, _ = _load()
    fingerprint = slide.fingerprint()
    if mpp is None and fingerprint not in known:
        return
    known.pop(fingerprint, None)
    if mpp is not None:
        today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
        known[fingerprint] = _Known(slide.shape, mpp, today)
    what = f"The pixel size could not be kept in {known_sizes_file()}"
    to_do = ": it holds while this image is open. Check that you may write there."
    with unwritable(what, to_do):
        _save(known)


def _load() -> tuple[dict[str, _Known], tuple[str, ...]]:
    """What is kept, and a note where it could not be read."""
    path = known_sizes_file()
    try:
        return read_json(path, _KnownSizes).slides, ()
    except FileNotFoundError:
        return {}, ()
    except (OSError, MalformedError) as error:
        return {}, (_put_aside(path, error),)


def _put_aside(path: Path, error: Exception) -> str:
    """Keeps a damaged file under another name, and says so."""
    bad = path.with_suffix(".json.bad")
    try:
        path.replace(bad)
    except OSError:
        return f"The pixel sizes that you gave could not be read ({error})."
    return (
        f"The pixel sizes that you gave could not be read ({error}); the file is kept "
        f"as {bad}. Give them again where they are missing."
    )


def _save(known: dict[str, _Known]) -> None:
    write_kept(known_sizes_file(), json.dumps(asdict(_KnownSizes(known)), indent=1))
