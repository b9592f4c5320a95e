"""What stands on the pages works: each command and each block of Python, in order.

A page's blocks share one folder, with the files of ``worlds.py``, and one namespace.
Every ``napari-wsol`` line, also on a page that is not run, is held against the real
options.
"""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from docs.pages import ROOT, blocks, pages, words_of
from docs.worlds import NOT_RUN, SLOW, WORLDS
from typer.main import get_command
from typer.testing import CliRunner

import napari_wsol
from napari_wsol.cli import app

if TYPE_CHECKING:
    from docs.pages import Block

WINDOW = {"demo", "view"}
"""Commands that open a window: tests of the window do."""

ANYWHERE = {"--json", "--quiet", "-q", "--verbose", "-v"}
"""Options that may stand behind a command, too, as ``--plugin`` may."""

ALL = [block for page in pages() for block in blocks(page)]
RUN = [block for block in ALL if block.language in {"sh", "python"} and not block.why]
OWN = {block.page for block in RUN if block.language == "python"} | {
    block.page
    for block in RUN
    for line in block.commands()
    if line.startswith("napari-wsol")
}
"""Pages with something to run."""


def test_every_page_with_blocks_has_a_world_or_a_reason():
    without = OWN - set(WORLDS) - set(NOT_RUN)
    assert not without, f"tests/docs/worlds.py does not name {sorted(without)}"
    assert (set(WORLDS) | set(NOT_RUN) | set(SLOW)) <= set(pages())
    assert not set(WORLDS) & set(NOT_RUN)
    assert set(SLOW) <= set(WORLDS)


@pytest.mark.parametrize("page", pages())
def test_commands_are_those_of_the_program(page):
    for block in blocks(page):
        if block.language in {"sh", "text", ""}:
            for line in block.commands():
                if line.startswith("napari-wsol "):
                    check_command(block, line)


def check_command(block: Block, line: str) -> None:
    """A command and its options exist, and nothing that is needed is missing."""
    place = f"{block.page}:{block.line}: {line}"
    words = [word for word in words_of(line)[1:] if word not in ANYWHERE]
    while "--plugin" in words:
        at = words.index("--plugin")
        del words[at : at + 2]
    name, command, context = "napari-wsol", get_command(app), None
    while True:
        context = command.context_class(command, info_name=name, parent=context)
        try:
            values, rest, _ = command.make_parser(context).parse_args(list(words))
        except Exception as error:  # noqa: BLE001 - of typer's own click
            pytest.fail(f"{place}: {error}")
        if not getattr(command, "commands", None):
            break
        if not rest or values.get("help"):
            return
        name, words = rest[0], rest[1:]
        assert name in command.commands, f"{place}: there is no command {name}"
        command = command.commands[name]
    if not values.get("help"):
        needed = {option.name for option in command.params if option.required}
        given = {name for name, value in values.items() if value not in (None, ())}
        assert needed <= given, f"{place}: {needed - given} is missing"


def test_other_lines_of_a_shell_are_targets_of_make_or_have_a_reason():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for block in RUN:
        for line in block.commands() if block.language == "sh" else ():
            if line.startswith("napari-wsol "):
                continue
            words = words_of(line)
            known = words[0] == "make" and words[1] in targets
            assert known, f"{block.page}:{block.line}: why is “{line}” not run?"


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if page in SLOW else [])
        for page in sorted(OWN & set(WORLDS))
    ],
)
def test_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "home"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    WORLDS[page](folder)
    names: dict[str, object] = {"__name__": "__main__"}
    try:
        for block in RUN:
            if block.page == page:
                run(block, names)
    finally:
        for value in names.values():
            if isinstance(value, napari_wsol.Session):
                value.close()


def run(block: Block, names: dict[str, object]) -> None:
    place = f"{block.page}:{block.line}"
    if block.language == "python":
        exec(compile(block.text, place, "exec"), names)
        return
    for line in block.commands():
        words = words_of(line)
        if words[0] == "napari-wsol" and words[1] not in WINDOW:
            words = [found for word in words[1:] for found in spread(word)]
            result = CliRunner().invoke(app, words, catch_exceptions=False)
            assert result.exit_code == 0, f"{place}: {line}\n{result.output}"


def spread(word: str) -> list[str]:
    """A word of a shell as the files that it stands for."""
    if not set("*?") & set(word) or not Path(word).parent.exists():
        return [word]
    return sorted(glob.glob(word)) or [word]  # noqa: PTH207 - as a shell does
