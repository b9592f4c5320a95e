"""Tables for papers and spreadsheets: CSV, Markdown, LaTeX."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsol.errors import ConfigError
from napari_wsol.files.tables import lines_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TEX = str.maketrans(
    {sign: rf"\{sign}" for sign in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\~{}", "^": r"\^{}"}
)


def markdown_lines(
    tables: Iterable[tuple[str, list[str], list[list[str]]]],
) -> list[str]:
    """Tables as lines of Markdown, an empty one after each."""
    lines: list[str] = []
    for title, names, rows in tables:
        lines += [f"| {title} | " + " | ".join(names) + " |"]
        lines += ["|---|" + "---|" * len(names)]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        lines += [""]
    return lines


def table_text(rows: Sequence[Sequence[object]], kind: str) -> str:
    """A table, its titles first, as .csv, .md or .tex (with booktabs).

    Numbers have all their digits in CSV, and three of a share elsewhere. Raises a
    ConfigError for another kind.
    """
    if kind == ".csv":
        return lines_of([["" if x is None else x for x in row] for row in rows])
    first, *rest = ([_shown(cell) for cell in row] for row in rows)
    if kind == ".md":
        cells = [[cell.replace("|", r"\|") for cell in row] for row in rest]
        return "\n".join(markdown_lines([(first[0], first[1:], cells)]))
    if kind != ".tex":
        raise ConfigError(f"A table ends in .csv, .md or .tex, not in “{kind}”.")
    escaped = ([cell.translate(_TEX) for cell in row] for row in (first, *rest))
    head, *body = (" & ".join(row) + r" \\" for row in escaped)
    begin = rf"\begin{{tabular}}{{l{'r' * (len(first) - 1)}}}"
    lines = [begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule"]
    return "\n".join([*lines, r"\end{tabular}", ""])


def _shown(cell: object) -> str:
    if isinstance(cell, float):
        is_tiny = 0 < abs(cell) < 0.01  # an area in mm²
        return f"{cell:.{3 if abs(cell) <= 1 else 1}{'g' if is_tiny else 'f'}}"
    return "–" if cell is None else " ".join(str(cell).split())
