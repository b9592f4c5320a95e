"""Tables for papers and spreadsheets: CSV, Markdown, LaTeX."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_wsol.errors import ConfigError
from napari_wsol.files.tables import lines_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Table = tuple[str, list[str], list[list[str]]]
    """Title of the first column, of the others, and rows that start with their name."""

_SPECIAL = {**{sign: rf"\{sign}" for sign in "&%$#_{}"}, "\\": r"\textbackslash{}"}
_SPECIAL |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def markdown_lines(tables: Iterable[Table]) -> list[str]:
    """Tables as lines of Markdown, an empty one after each."""
    lines: list[str] = []
    for title, names, rows in tables:
        lines += [f"| {title} | " + " | ".join(names) + " |"]
        lines += ["|---|" + "---|" * len(names)]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        lines += [""]
    return lines


def table_text(
    columns: Sequence[str], rows: Sequence[Sequence[object]], kind: str
) -> str:
    """A table as a file's content.

    Args:
        columns: their titles.
        rows: cells; None for an empty one. Numbers have all their digits in CSV, and
            three of a share elsewhere.
        kind: ".csv", ".md" or ".tex" (needs the package booktabs).

    Raises:
        ConfigError: another kind.
    """
    if kind == ".csv":
        return lines_of([columns, *(["" if x is None else x for x in r] for r in rows)])
    shown = [[_shown(cell) for cell in row] for row in rows]
    if kind == ".md":
        escaped = [[cell.replace("|", r"\|") for cell in row] for row in shown]
        return "\n".join(markdown_lines([(columns[0], list(columns[1:]), escaped)]))
    if kind != ".tex":
        raise ConfigError(f"A table's name ends in .csv, .md or .tex, not “{kind}”.")
    lines = [
        " & ".join(re.sub(r"[\\&%$#_{}~^]", lambda m: _SPECIAL[m[0]], x) for x in row)
        for row in (columns, *shown)
    ]
    aligned = f"\\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}"
    body = [f"{line} \\\\" for line in lines]
    ends = [r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join([aligned, r"\toprule", body[0], r"\midrule", *body[1:], *ends])


def _shown(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:.3f}" if abs(cell) <= 1 else f"{cell:.1f}"
    return "–" if cell is None else " ".join(str(cell).split())
