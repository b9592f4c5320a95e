"""The FAQ quotes the program, and not what it said once."""

import re

import pytest
from docs.pages import ROOT, text_of

QUOTED = re.compile(r"“([^“”]*(?:“[^“”]*”[^“”]*)*)”")
CHANGING = re.compile(r"…|“[^”]*”|\d[\d.]*|[()]")
"""What stands for a name or number; the words between are the program's own."""


@pytest.fixture(scope="module")
def said() -> str:
    """All texts of the program, pieces that belong together in one."""
    files = (ROOT / "napari_wsol").rglob("*.py")
    source = "\n".join(path.read_text("utf-8") for path in files)
    return re.sub(r'"\s*\n\s*f?"', "", source)


def test_sentences_are_those_of_the_program(said):
    text = " ".join(text_of("faq.md").split())
    pieces = [
        piece.strip(" .:,+")
        for quoted in QUOTED.findall(text)
        for piece in CHANGING.split(quoted)
    ]
    long = [piece for piece in pieces if len(piece) > 14]
    assert len(long) > 30
    unknown = [piece for piece in long if piece not in said]
    assert not unknown


def test_a_stranger_finds_answers_in_one_page_each():
    toc = pytest.importorskip("markdown.extensions.toc", reason="the extra docs")
    table = text_of("faq.md").partition("## Find it")[2].partition("\n## ")[0]
    row = re.compile(r"^\| .*\? \| \[[^]]+\]\(([^)#]*)#?(.*)\) \|$", re.MULTILINE)
    rows = row.findall(table)
    assert 20 <= len(rows) == table.count("? |") <= 30
    for page, anchor in rows:
        titles = re.findall(r"^#+ (.+)$", text_of(page or "faq.md"), re.MULTILINE)
        anchors = {"", *(toc.slugify(title, "-") for title in titles)}
        assert anchor in anchors, f"{page}#{anchor}"
