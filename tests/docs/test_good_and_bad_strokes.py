"""The table of good and bad strokes is what the program gives."""

import importlib
import re
from pathlib import Path

import pytest
from skimage import data

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "teach-with-strokes.md"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("good_and_bad_strokes")


def told():
    """IoU in the page, by the words of its row."""
    row = re.compile(
        r"^\| (?:\d (?:good|bad))? ?\| (.+?) \|.*\| ([\d.]+) \|$", re.MULTILINE
    )
    return {words: float(iou) for words, iou in row.findall(PAGE.read_text("utf-8"))}


def test_the_page_tells_of_every_stroke_and_of_no_other(script):
    words = [side[0] for pair in script.PAIRS for side in (pair.good, pair.bad)]
    assert list(told()) == ["none", *words]


def test_a_page_keeps_all_but_its_table(script):
    page = f"before\n{script.BEGIN}\nold\n{script.END}\nafter\n"
    made = script.with_table(page, "| new |")
    assert "old" not in made
    assert made.startswith("before\n")
    assert made.endswith("\nafter\n")
    assert script.with_table(made, "| new |") == made
    with pytest.raises(SystemExit, match="needs the lines"):
        script.with_table("no marks", "")


@pytest.mark.slow
def test_strokes_do_what_the_page_says(script):
    before, found = script.measure(data.immunohistochemistry())
    page = told()
    assert before == pytest.approx(page["none"], abs=0.02)
    for pair, (good, bad) in zip(script.PAIRS, found, strict=True):
        assert good.iou == pytest.approx(page[pair.good[0]], abs=0.02)
        assert bad.iou == pytest.approx(page[pair.bad[0]], abs=0.02)
        assert good.iou > bad.iou
        assert bad.painted >= good.painted or bad.right < good.right
