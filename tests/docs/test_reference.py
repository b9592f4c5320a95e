"""The pages of reference name all that there is."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from docs.pages import ROOT, text_of

import napari_wsol
from napari_wsol.paths import CACHE, HOME, JOURNALS
from napari_wsol.preferences import VARIABLES

sys.path.insert(0, str(ROOT / "tools"))
hooks = pytest.importorskip("docs_hooks", reason="needs the extra docs")
sys.path.pop(0)

VARIABLE = re.compile(r"(?<!_)NAPARI_WSOL_[A-Z][A-Z_]*[A-Z]")


def test_every_command_has_its_section_with_its_options():
    made = hooks.MADE["commands"]()
    for name, command in hooks.commands():
        assert f"\n## {name}\n" in f"\n{made}"
        section = f"{made}\n## ".split(f"## {name}\n")[1].split("\n## ")[0]
        for option in command.params:
            if not option.hidden and option.name != "help":
                assert option.opts[0] in section, f"{name} {option.opts[0]}"


def test_every_variable_that_is_read_is_explained():
    read = {
        name
        for path in [*ROOT.glob("napari_wsol/**/*.py"), *ROOT.glob("t*s/**/*.py")]
        for name in VARIABLE.findall(path.read_text("utf-8"))
    }
    assert {HOME, JOURNALS, CACHE} <= read
    # Those that are put together: of markers in conftest.py, and of preferences.
    made = {"NAPARI_WSOL_TIMM", "NAPARI_WSOL_ORACLES", *VARIABLES.values()}
    assert read | made == set(VARIABLE.findall(text_of("reference/environment.md")))


@pytest.mark.gui
def test_the_keys_are_those_that_the_window_binds(make_napari_viewer):
    from napari_wsol.gui.dock import WsolWidget

    viewer = make_napari_viewer()
    dock = WsolWidget(viewer)
    viewer.window.add_dock_widget(dock)
    known = [(key.key, key.words, key.reach) for key in dock.keys.known]
    assert [(key.key, key.words, key.reach) for key in hooks.bound()] == known
    assert {reach for *_, reach in known} <= set(hooks.REACHES)
    dock.end()


def test_every_public_name_and_verb_is_there():
    made = hooks.MADE["public"]() + hooks.MADE["session"]()
    for name in napari_wsol.__all__:
        assert f"heading: {name}\n" in made
    verbs = [name for name in vars(napari_wsol.Session) if not name.startswith("_")]
    assert len(verbs) > 100
    for name in verbs:
        assert f"`{name}`" in made or f"heading: Session.{name}\n" in made, name


def test_every_entry_of_a_record_is_explained(tmp_path, small_model):
    session = napari_wsol.Session(journals=False)
    session.open(np.full((64, 64, 3), 128, np.uint8)).result()
    session.use(small_model).result()
    session.localize().result()
    session.brush([(20.0, 8.0), (20.0, 50.0)], 2, 6.0)
    session.brush([(50.0, 8.0), (50.0, 50.0)], 1, 6.0)
    session.finetune().result()
    session.export(tmp_path).result()
    session.close(wait=True)
    table = text_of("reference/formats.md").partition("## Provenance")[2]
    rows = [line for line in table.split("\n## ")[0].splitlines() if "| `" in line]
    for record in map(Path, tmp_path.glob("*_provenance.json")):
        for place, entries in parts_of(json.loads(record.read_text("utf-8"))):
            (row, *_) = [row for row in rows if f"`{place}" in row] or [""]
            assert row, f"no row for {place}"
            missing = [
                name
                for name in entries
                if not any(f"`{name}`" in row or f".{name}`" in row for row in rows)
            ]
            assert not missing, f"{place}: {missing}"


def parts_of(told: dict) -> list[tuple[str, list[str]]]:
    """What a record says at its top, of image and map, and how it came about."""
    came = told["provenance"]
    named = ("image", "heatmap", "mask")
    return [
        *((name, []) for name in told if name != "provenance"),
        *((name, [*told[name]]) for name in named),
        *((f"provenance.{name}", []) for name in came),
        *(
            (f"provenance.{name}", [*came[name]])
            for name in ("image", "model", "refinement", "made")
            if came[name]
        ),
    ]
