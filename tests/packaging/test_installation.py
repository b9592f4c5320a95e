"""Both ways to install: napari finds the plugin, its commands can be loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.packaging.conftest import Environment

COMMANDS = {
    "napari-wsol.widget",
    "napari-wsol.doctor",
    "napari-wsol.compare_maps",
    "napari-wsol.draw_strokes",
    "napari-wsol.localize_image",
    "napari-wsol.save_heatmap",
    "napari-wsol.open_slide",
    "napari-wsol.sample_chest_film",
    "napari-wsol.sample_immunohistochemistry",
}

FIND = """
import importlib.util, json
from importlib.metadata import version
from npe2 import PluginManager

def ours(contributions):
    return [c.command for c in contributions if c.command.startswith("napari-wsol.")]

manager = PluginManager()
manager.discover()
manifest = manager.get_manifest("napari-wsol")
print(json.dumps({
    "package": importlib.util.find_spec("napari_wsol").origin,
    "commands": [command.id for command in manifest.contributions.commands],
    "widgets": ours(manager.iter_widgets()),
    "samples": [s.command for _, all in manager.iter_sample_data() for s in all],
    "readers of a slide": ours(manager.iter_compatible_readers("a.svs")),
    "readers of any TIFF": ours(manager.iter_compatible_readers("a.tif")),
    "versions": [manifest.package_version, version("napari-wsol")],
}))
"""

LOAD = """
import json, sys
from npe2 import PluginManager
manager = PluginManager()
manager.discover()
manager.activate("napari-wsol")
commands = manager.get_manifest("napari-wsol").contributions.commands
loaded = {c.id: callable(manager.commands.get(c.id)) for c in commands}
print(json.dumps([loaded, "torch" in sys.modules]))
"""

LIST = """
import json, sys
import npe2
before = set(sys.modules)
import napari_wsol
manager = npe2.PluginManager()
manager.register(npe2.PluginManifest.from_distribution("napari-wsol"))
names = [widget.display_name for widget in manager.iter_widgets()]
print(json.dumps([names, sorted(set(sys.modules) - before)]))
"""

MODELS = """
import json, napari_wsol
cards = [card for card in napari_wsol.list_models() if card.bundled]
print(json.dumps({card.name: str(card.folder) for card in cards}))
"""

HELP = """
import sys
from importlib.metadata import entry_points
(script,) = entry_points(group="console_scripts", name="napari-wsol")
sys.argv = ["napari-wsol", "--help"]
sys.exit(script.load()())
"""


@pytest.fixture(scope="session")
def found(installed: Environment) -> dict[str, Any]:
    """What npe2 finds of the plugin."""
    return json.loads(installed.python(FIND))


def test_npe2_finds_the_manifest(installed: Environment, found: dict[str, Any]):
    # Were this the checkout that the tests run from, nothing here would mean anything.
    assert Path(found["package"]).parent.samefile(installed.package)
    assert set(found["commands"]) == COMMANDS
    assert found["widgets"] == ["napari-wsol.widget"]
    assert {name for name in COMMANDS if ".sample_" in name} <= set(found["samples"])
    assert found["versions"][0] == found["versions"][1]


def test_slides_are_claimed_and_plain_images_are_not(found: dict[str, Any]):
    assert found["readers of a slide"] == ["napari-wsol.open_slide"]
    assert found["readers of any TIFF"] == []


def test_every_command_can_be_loaded_without_torch(installed: Environment):
    pytest.importorskip("napari", reason="the commands need the napari extra")
    loaded, has_torch = json.loads(installed.python(LOAD))
    assert loaded == dict.fromkeys(COMMANDS, True)
    assert not has_torch


def test_widgets_are_listed_without_torch_and_qt(installed: Environment):
    names, modules = json.loads(installed.python(LIST))
    assert names == ["Weakly-supervised localization"]
    assert not {"torch", "qtpy", "napari"} & set(modules)


def test_bundled_models_are_found(installed: Environment):
    folders = {
        path.parent.name for path in installed.project.glob("models/*/card.toml")
    }
    cards = json.loads(installed.python(MODELS))
    assert set(cards) == folders
    home = installed.project if installed.editable else installed.package
    assert all(Path(cards[name]).samefile(home / "models" / name) for name in folders)


def test_command_line_is_installed(installed: Environment):
    assert "napari-wsol" in installed.python(HELP)
