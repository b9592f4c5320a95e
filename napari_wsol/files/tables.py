"""Tables for spreadsheets: the one place that reads and writes CSV.

What a spreadsheet would take for a formula is quoted with an apostrophe: a name in a
file must not become a command where somebody opens a table of it. Numbers stay.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from napari_wsol.errors import MalformedError
from napari_wsol.files import encoded, numbered, write_whole
from napari_wsol.files.parsing import VALUES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a cell begins with that a spreadsheet computes, or skips to compute the rest."""
_QUOTED = re.compile(r'"[^"]*"')
_NUMBER = re.compile(r"[+-](\d+\.?\d*|\.\d+)(e[+-]?\d+)?|-(inf|nan)", re.IGNORECASE)


def quoted(value: object) -> object:
    """A cell as it is written: text that would be a formula begins with “'”."""
    is_text = isinstance(value, str) and len(value) > 1 and value.startswith(FORMULA)
    return f"'{value}" if is_text and not _NUMBER.fullmatch(str(value)) else value


def unquoted(text: str) -> str:
    """What was in a cell before :func:`quoted`, for lists that are read again."""
    if not text.startswith("'"):
        return text
    inner = text[1:]
    return inner if quoted(inner) != inner else text


def separator_of(text: str) -> str:
    """What is between the cells of a table, by its first line: “,”, “;” or a tab."""
    head = _QUOTED.sub("", text.partition("\n")[0])
    return max(",;\t", key=head.count)


def parse_table(text: str, separator: str = ",") -> list[tuple[int, list[str]]]:
    """The rows of a table with the number of their (last) line; blank ones left out.

    Cells come without blanks around them, and as they were before :func:`quoted`.

    Raises:
        MalformedError: it is no such table, or has too many cells.
    """
    if text.count(separator) + text.count("\n") > VALUES:
        raise MalformedError(f"it has more than {VALUES} cells")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        rows = [
            (reader.line_num, [unquoted(cell.strip()) for cell in row])
            for row in reader
        ]
    except csv.Error as error:
        raise MalformedError(
            f"line {reader.line_num} is no row of a table ({error})"
        ) from error
    return [(line, row) for line, row in rows if any(row)]


def lines_of(rows: Iterable[Sequence[object]]) -> str:
    """Rows as the lines of a table."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    for row in rows:
        writer.writerow([quoted(value) for value in row])
    return text.getvalue()


def write_table(
    path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """Writes a table, row by row: rows that are made one at a time need no memory.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("wb") as file:
        file.write(encoded(lines_of([columns])))
        for row in rows:
            file.write(encoded(lines_of([row])))


def table_of(
    rows: Sequence[Mapping[str, object]], columns: Sequence[str] = ()
) -> tuple[list[str], str]:
    """Columns and text of a table of rows that may have different ones.

    Args:
        rows: values by column.
        columns: that it begins with, also where no row has them.
    """
    found = list(dict.fromkeys((*columns, *(key for row in rows for key in row))))
    cells = ([row.get(key, "") for key in found] for row in rows)
    return found, lines_of([found, *cells])


class GrowingTable:
    """A new table, which has each row on the disk as soon as it is added.

    Args:
        path: of the table; gets a number where there is one of that name.
        columns: that it begins with.

    Attributes:
        path: where it is.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._columns, self._rows = list(columns), list[Mapping[str, object]]()
        for name in map(path.with_stem, numbered(path.stem)):
            with contextlib.suppress(FileExistsError), name.open("xb") as file:
                file.write(encoded(lines_of([columns])))
                self.path = name
                return

    def add(self, row: Mapping[str, object]) -> None:
        """One more row; the whole table anew where it has columns of its own.

        Raises:
            OSError: it cannot be written; the rows before are there.
        """
        self._rows.append(row)
        if set(row) <= set(self._columns):
            append_row(self.path, self._columns, row)
        else:
            self._columns, text = table_of(self._rows, self._columns)
            write_whole(self.path, text)


def columns_of(path: Path) -> list[str]:
    """The columns of a table; none where there is no such file, or no text in it."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [cell.strip() for cell in next(csv.reader(file), list[str]())]
    except (OSError, ValueError, csv.Error):
        return []


def append_row(path: Path, columns: Sequence[str], row: Mapping[str, object]) -> None:
    """Adds a row to a table that has these columns; it lasts when this returns.

    Raises:
        OSError: it cannot be written.
    """
    line = lines_of([[row.get(key, "") for key in columns]])
    with path.open("ab") as file:  # in one piece: others may add rows as well
        file.write(encoded(line))
        file.flush()
        os.fsync(file.fileno())
