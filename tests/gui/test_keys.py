"""Keys: valid on every system, and no failure where one is not."""

from __future__ import annotations

import logging

import pytest
from app_model.types import OperatingSystem as System
from napari.components import ViewerModel
from napari.utils.key_bindings import coerce_keybinding

from napari_wsol.gui.keys import Key, Keys, is_key

pytestmark = pytest.mark.gui

SYSTEMS = (System.MACOS, System.LINUX, System.WINDOWS)
OF_THE_SYSTEM = {
    System.MACOS: {"Meta-Q", "Meta-W", "Meta-H", "Meta-M", "Meta-Tab", "Meta-Space"},
    System.WINDOWS: {"Alt-F4", "Control-Escape", "Alt-Tab", "Alt-Escape"},
    System.LINUX: {"Alt-F4", "Alt-Tab"},
}
"""What closes, hides or changes windows, or never arrives."""

ELSEWHERE = {
    "Control-Z": "Meta-Z",
    "Control-Shift-Z": "Meta-Shift-Z",
    "Meta-Z": "Control-Z",
    "Meta-Shift-Z": "Control-Shift-Z",
}
"""What is bound on another system in place of a key: macOS has a key more."""


def test_every_key_is_one_on_every_system(bench):
    names = {key.key for key in bench.widget.keys.known}
    assert {"F", "B", "E", "Enter"} <= names
    names |= {ELSEWHERE[name] for name in names if name in ELSEWHERE}
    for name in names:
        assert is_key(name)
        binding = coerce_keybinding(name)
        assert len(binding.parts) == 1
        for system in SYSTEMS:
            assert binding.to_text(system)
            assert name not in OF_THE_SYSTEM[system]


def test_what_is_no_key_is_a_warning_and_the_others_work(caplog):
    viewer, pressed = ViewerModel(), []
    keys = (
        Key("Hyper-Nonsense", "nothing", lambda: pressed.append("nothing")),
        Key("F", "something", lambda: pressed.append("something")),
    )
    with caplog.at_level(logging.WARNING, "napari_wsol"):
        made = Keys(viewer, keys, set())
    assert "Hyper-Nonsense" in caplog.text
    assert [key.key for key in made.taken] == ["Hyper-Nonsense"]
    assert "button works" in caplog.text
    (bound,) = viewer.keymap.values()
    bound(viewer)
    assert pressed == ["something"]
    made.close()
    assert not viewer.keymap
