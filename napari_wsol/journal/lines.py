"""Lines of a journal: a checksum, a blank, and plain JSON.

``1c291ca3 {"n":7,"type":"undone","number":3,"time":"…"}`` and a line feed. The checksum
is the CRC-32 of the JSON's bytes as eight hexadecimal digits. So a line that was cut
off or damaged is recognised, whatever stands in it, and the file can still be read by
eye and with any tool that knows JSON. The text is ASCII: no line feed, and no letter
that an encoding could spoil. ``n`` counts the entries of a record from 1; a line that
had to be written again in another file has the same one.

Version 2 keeps the cells of a stroke as packed text. Version 1 kept them as a list of
[row, first, after, value], and had neither ``seconds`` nor ``width``. Old lines are
turned into new ones while they are read; old files are never written again.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

import numpy as np
from msgspec import Meta

from napari_wsol import __version__
from napari_wsol.errors import MalformedError
from napari_wsol.files.parsing import parse_json, typed
from napari_wsol.journal.entries import entry_from
from napari_wsol.journal.image import ImageFacts
from napari_wsol.strokes.stroke import now, packed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_wsol.journal.entries import Entry

FORMAT = "napari-wsol journal"
VERSION = 2

_Cell = Annotated[int, Meta(ge=0, lt=1 << 31)]
_Run = tuple[_Cell, _Cell, _Cell, _Cell]
_CRC = 9
"""Bytes of the checksum and its blank."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a file.

    Attributes:
        version: of the format.
        image: None where the version is newer than ours.
    """

    version: int
    image: ImageFacts | None


def line(values: Mapping[str, object]) -> bytes:
    """A line with its line feed."""
    try:
        text = json.dumps(
            values, allow_nan=False, separators=(",", ":"), default=_plain
        )
    except ValueError:  # a loss that is no number, say
        text = json.dumps(_plain(values), separators=(",", ":"))
    data = text.encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(data), data)


def values_of(raw: bytes) -> dict[str, object] | None:
    """What a line without its line feed says; None where it is damaged."""
    data = raw[_CRC:]
    if raw[:_CRC] != b"%08x " % zlib.crc32(data):
        return None
    try:
        values = parse_json(data)
    except MalformedError:
        return None
    return cast("dict[str, object]", values) if isinstance(values, dict) else None


def header_line(image: ImageFacts) -> bytes:
    """The first line of a file of this version."""
    return line(
        {
            "format": FORMAT,
            "version": VERSION,
            "image": image.to_dict(),
            "software": f"napari-wsol {__version__}",
            "time": now(),
        }
    )


def header_of(raw: bytes) -> Header | None:
    """What a file's first line says; None where it is damaged or not ours."""
    values = values_of(raw)
    if values is None or values.get("format") != FORMAT:
        return None
    version = values.get("version")
    if not isinstance(version, int) or version < 1:
        return None
    if version > VERSION:
        return Header(version, None)
    try:
        image = ImageFacts.from_dict(typed(values.get("image"), dict[str, object]))
    except MalformedError:
        return None
    return Header(version, image)


def entry_line(number: int, entry: Entry) -> bytes:
    """An entry as a line of this version."""
    return line({"n": number, **entry.to_dict()})


def entry_of(values: Mapping[str, object]) -> Entry:
    """The entry that a line of any version holds.

    Raises:
        UnknownNameError: a kind that this version does not know.
        MalformedError: these are not the values of such an entry.
    """
    stroke = values.get("stroke")
    if isinstance(stroke, dict):
        values = {**values, "stroke": _migrated(cast("dict[str, object]", stroke))}
    return entry_from(values)


def _migrated(stroke: dict[str, object]) -> dict[str, object]:
    """A stroke of version 1 as one of version 2, known by its cells."""
    runs = stroke.get("runs")
    if not isinstance(runs, list):
        return stroke
    found = typed(cast("list[object]", runs), list[_Run])
    rows = np.array(found, np.int32).reshape(-1, 4)
    return {"width": 0.0, "seconds": 0.0, **stroke, "runs": packed(rows)}


def _plain(value: object) -> object:
    # Rarely needed, and it imports what writes images.
    from napari_wsol.export.provenance import plain

    return plain(value)
