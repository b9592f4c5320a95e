"""Reads the files of a journal, and says in words what was wrong with them.

Nothing is written here, and nothing that a file holds makes it fail:

- What follows the last sound line of a file is its tail: cut off when the program was
  killed or the machine stopped. All before it counts.
- A damaged line between sound ones is left out, and named. The sound ones after it
  count: a stroke holds all the cells that it changed, so that it needs no other one,
  and what is taken back or brought again is put right by
  :class:`~napari_wsol.journal.replayed.Replayed`. To drop them would lose hours for one
  bit.
- A file whose first line is damaged, or of a newer version, makes the whole journal one
  that must not be written to. Sound lines below a damaged first line are read all the
  same. Of a journal of a newer version nothing is used: part of it would show a state
  that never was, and the newer program still reads it all.
- A file without a single whole line was just being begun; it is passed over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_wsol.errors import MalformedError, UnknownNameError
from napari_wsol.files import read_whole
from napari_wsol.journal.entries import StrokeMade
from napari_wsol.journal.lines import VERSION, entry_of, header_of, values_of

if TYPE_CHECKING:
    from pathlib import Path

    from napari_wsol.journal.entries import Entry
    from napari_wsol.journal.image import ImageFacts
    from napari_wsol.journal.lines import Header

FILE_BYTES = 128 << 20
"""Of a file that is read: they are sealed at 4 MB, after the stroke in hand."""

STROKES_BYTES = 512 << 20
"""Of the cells of all strokes: a day's work has some MB."""

_NAME = re.compile(r"journal-(\d{4,})\.jsonl")


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of a journal.

    Attributes:
        path: of the file.
        size: its bytes.
        good: bytes up to the end of the last sound line.
        version: of its format; 0 where it has no sound first line.
    """

    path: Path
    size: int
    good: int
    version: int


@dataclass(slots=True)
class Record:
    """What the files of one folder say.

    Attributes:
        folder: of the journal.
        image: what the first sound header says; None where there is none.
        entries: in the order in which they were written.
        notes: what was damaged or migrated, in sentences.
        last_number: the highest number of an entry.
        segments: the files, in order.
        is_writable: whether new entries may be added to this folder.
        is_newer: whether it is of a version that we cannot read.
    """

    folder: Path
    image: ImageFacts | None = None
    entries: list[Entry] = field(default_factory=list["Entry"])
    notes: list[str] = field(default_factory=list[str])
    last_number: int = 0
    segments: list[Segment] = field(default_factory=list[Segment])
    is_writable: bool = True
    is_newer: bool = False
    _room: int = STROKES_BYTES

    def take(self, entry: Entry) -> None:
        """Adds an entry.

        Raises:
            MalformedError: with it, the strokes would not fit into memory.
        """
        if isinstance(entry, StrokeMade):
            if entry.stroke.runs.nbytes > self._room:
                raise MalformedError("there are more cells than a person can paint")
            self._room -= entry.stroke.runs.nbytes
        self.entries.append(entry)

    @property
    def last_time(self) -> str:
        """When the last entry was made; empty where there is none."""
        return self.entries[-1].time if self.entries else ""

    @property
    def stamp(self) -> tuple[tuple[str, int], ...]:
        """Names and sizes of the files: the same as long as nobody writes."""
        return tuple((item.path.name, item.size) for item in self.segments)


def segment_path(folder: Path, number: int) -> Path:
    """The file with this number."""
    return folder / f"journal-{number:04d}.jsonl"


def segment_number(path: Path) -> int:
    """The number of a file."""
    found = _NAME.fullmatch(path.name)
    return int(found[1]) if found else 0


def segment_paths(folder: Path) -> list[Path]:
    """The files of a folder, in order; none where it cannot be looked at."""
    try:
        names = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    except OSError:
        return []
    return sorted(names, key=segment_number)


def stamp_of(folder: Path) -> tuple[tuple[str, int], ...]:
    """What :attr:`Record.stamp` would be now."""
    sizes: list[tuple[str, int]] = []
    for path in segment_paths(folder):
        try:
            sizes.append((path.name, path.stat().st_size))
        except OSError:
            sizes.append((path.name, 0))
    return tuple(sizes)


def read_record(folder: Path) -> Record:
    """Reads all files of a folder; never fails because of what they hold."""
    record = Record(folder)
    seen: set[tuple[int, bytes]] = set()
    paths = segment_paths(folder)
    for path in paths:
        _read_segment(record, path, seen, is_last=path == paths[-1])
    if record.is_newer:
        record.entries.clear()
    old = {item.version for item in record.segments if 0 < item.version < VERSION}
    if old and not record.is_newer:
        record.notes.append(
            f"This journal was begun in version {min(old)} of the format. It was read "
            f"as such and stays as it is; what is new is written in version {VERSION}."
        )
    return record


def _read_segment(
    record: Record, path: Path, seen: set[tuple[int, bytes]], *, is_last: bool
) -> None:
    try:
        data = read_whole(path, FILE_BYTES)
    except (OSError, MalformedError) as error:
        record.is_writable = False
        why = error.strerror if isinstance(error, OSError) else error
        record.notes.append(
            f"{path.name} cannot be read ({why}) and is left as it is. What "
            "is new is written to another folder."
        )
        record.segments.append(Segment(path, 0, 0, 0))
        return
    if b"\n" not in data:
        record.segments.append(Segment(path, len(data), 0, 0))
        if data:
            record.notes.append(
                f"{path.name} was just being begun and holds no entry yet."
            )
        return
    *lines, rest = data.split(b"\n")
    header = header_of(lines[0])
    _take_header(record, path, header)
    good = _read_lines(record, path, lines, seen, header)
    tail = len(data) - good
    if tail and header is not None and header.image is not None:
        what = "was cut off" if rest and tail == len(rest) else "is damaged"
        kept = "It is set aside and " if is_last else "It "
        record.notes.append(
            f"The end of {path.name} {what}: {tail} bytes cannot be read. {kept}is "
            f"left out; the {len(record.entries)} entries before it are there."
        )
    version = 0 if header is None else header.version
    record.segments.append(Segment(path, len(data), good, version))


def _take_header(record: Record, path: Path, header: Header | None) -> None:
    if header is None:
        record.is_writable = False
        record.notes.append(
            f"The first line of {path.name} cannot be read. The journal is left as it "
            "is; what is new, and what could be read, is written to another folder."
        )
    elif header.image is None:
        record.is_writable, record.is_newer = False, True
        record.notes.append(
            f"{path.name} is of version {header.version} of the format, and this "
            f"program knows version {VERSION}. The journal is left as it is; update "
            "napari-wsol to go on with it. What is new is written to another folder."
        )
    elif record.image is None:
        record.image = header.image
    elif record.image.fingerprint != header.image.fingerprint:
        record.is_writable = False
        record.notes.append(
            f"{path.name} belongs to another image. The journal is left as it is; "
            "what is new is written to another folder."
        )


def _read_lines(
    record: Record,
    path: Path,
    lines: list[bytes],
    seen: set[tuple[int, bytes]],
    header: Header | None,
) -> int:
    """Takes the sound lines after the first; where the last of them ends."""
    if header is not None and header.image is None:
        return sum(len(raw) + 1 for raw in lines)
    at = len(lines[0]) + 1
    good = at if header is not None else 0
    bad: list[int] = []  # since the last sound one
    for place, raw in enumerate(lines[1:], start=2):
        at += len(raw) + 1
        values = values_of(raw)
        if values is None:
            bad.append(place)
            continue
        record.notes.extend(_named(path, bad))
        good, bad = at, []
        number = values.get("n")
        number = number if isinstance(number, int) else 0
        # A line that was written again after a failure, as nobody knew whether the
        # first one had reached the disk.
        if number and (number, raw[:8]) in seen:
            continue
        seen.add((number, raw[:8]))
        record.last_number = max(record.last_number, number)
        try:
            record.take(entry_of(values))
        except UnknownNameError:
            record.notes.append(
                f"Line {place} of {path.name} is of a kind that this program does not "
                f"know (“{values.get('type')}”) and is left out."
            )
        except MalformedError as error:
            record.notes.append(
                f"Line {place} of {path.name} has values that cannot be ({error}) and "
                "is left out; the lines after it count."
            )
    return good


def _named(path: Path, bad: list[int]) -> list[str]:
    if not bad:
        return []
    which = "Line " if len(bad) == 1 else "Lines "
    which += ", ".join(map(str, bad))
    verb = "is" if len(bad) == 1 else "are"
    return [
        f"{which} of {path.name} {verb} damaged and left out; the lines after that "
        "count."
    ]
