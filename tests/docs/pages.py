"""The pages of the documentation, and what stands fenced on them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_BLOCK = re.compile(
    r"(?:<!-- not run: (?P<why>[^>]+?) -->\s*)?"
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block; ``why`` is the reason for which it is not run."""

    page: str
    line: int
    language: str
    text: str
    why: str | None

    def commands(self) -> list[str]:
        """Its lines, each with those that a backslash joins to it."""
        lines = re.sub(r"\\\n\s*", "", self.text).splitlines()
        return [line for line in lines if line.strip() and not line.startswith("#")]


def pages() -> list[str]:
    """Names of all pages, below ``docs/``; ``README.md`` is that of the project."""
    found = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
    return ["README.md", *found]


def text_of(page: str) -> str:
    return ((ROOT if page == "README.md" else DOCS) / page).read_text("utf-8")


def blocks(page: str) -> list[Block]:
    """The blocks of a page, in order."""
    text = text_of(page)
    return [
        Block(
            page,
            text.count("\n", 0, match.start("language")) + 1,
            match["language"],
            dedent(match["text"]),
            match["why"],
        )
        for match in _BLOCK.finditer(text)
    ]


def words_of(command: str) -> list[str]:
    """A line of a shell as its words, without what follows ``#``."""
    return shlex.split(command, comments=True)
