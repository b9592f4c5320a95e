"""Draws docs/images/layers.svg from the layers that import-linter keeps.

    python tools/layers.py

Whoever changes the rows in pyproject.toml runs it again; a test compares the picture.
Every contract of layers is a column: the rows from top to bottom, what stands beside
each other in a row does not import each other. Needs the standard library alone.
"""

from __future__ import annotations

import re
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "layers.svg"

WIDTH, ROW, GAP, MARGIN, TITLE = 640, 34, 10, 16, 30
FONT = "font-family='sans-serif' font-size='13'"
INK, LINE, FILL, PAPER = "#1b2733", "#5b7c99", "#e4eef6", "#ffffff"


def contracts(text: str) -> list[tuple[str, list[list[str]]]]:
    """Title and rows of each contract of layers.

    Args:
        text: of pyproject.toml.
    """
    found: list[tuple[str, list[list[str]]]] = []
    for item in tomllib.loads(text)["tool"]["importlinter"]["contracts"]:
        if item["type"] == "layers":
            title = ", ".join(item.get("containers", [])) or item["name"]
            found.append((title, [names(row) for row in item["layers"]]))
    return found


def names(row: str) -> list[str]:
    """Modules of one row; those in brackets may be missing."""
    return [part.strip(" ()") for part in re.split(r"[|:]", row)]


def picture(text: str) -> str:
    """The drawing, as SVG.

    Args:
        text: of pyproject.toml.
    """
    columns = contracts(text)
    most = max(len(rows) for _, rows in columns)
    width = MARGIN + len(columns) * (WIDTH + MARGIN)
    height = 2 * MARGIN + TITLE + most * (ROW + GAP) + TITLE
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' "
        f"viewBox='0 0 {width} {height}'>",
        f"<rect width='{width}' height='{height}' fill='{PAPER}'/>",
    ]
    for place, (title, rows) in enumerate(columns):
        left = MARGIN + place * (WIDTH + MARGIN)
        lines += column(title, rows, left)
    words = "A row may import the rows below it; boxes of one row never each other."
    lines += [label(words, MARGIN, height - MARGIN, anchor="start"), "</svg>", ""]
    return "\n".join(lines)


def column(title: str, rows: list[list[str]], left: int) -> list[str]:
    """One contract."""
    lines = [label(title, left, MARGIN + 14, anchor="start", weight="bold")]
    for number, row in enumerate(rows):
        top = MARGIN + TITLE + number * (ROW + GAP)
        side = (WIDTH - (len(row) - 1) * GAP) / len(row)
        for place, name in enumerate(row):
            x = left + place * (side + GAP)
            lines.append(
                f"<rect x='{x:.1f}' y='{top}' width='{side:.1f}' height='{ROW}' "
                f"rx='5' fill='{FILL}' stroke='{LINE}'/>"
            )
            lines.append(label(name, x + side / 2, top + ROW / 2 + 5))
    return lines


def label(
    text: str, x: float, y: float, anchor: str = "middle", weight: str = "normal"
) -> str:
    """A line of text."""
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' {FONT} font-weight='{weight}' "
        f"text-anchor='{anchor}' fill='{INK}'>{escape(text)}</text>"
    )


def main() -> None:
    """Writes the picture."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    PICTURE.write_text(picture(text), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
