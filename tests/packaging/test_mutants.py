"""What `make mutants` changes, and what it does not."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = '''\
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    LIMIT = 1


@dataclass(frozen=True)
class Cell:
    """Of 3."""

    size: int | None = 3

    def pairs(self, a, b):
        if a:
            return zip(a, b, strict=True)
        return not b and self.size < 2
'''


@pytest.fixture(scope="module")
def tools():
    pytest.importorskip("mutmut", reason="mutmut is in the dev extra")
    return runpy.run_path(str(ROOT / "tools" / "mutants.py"))


@pytest.fixture
def tree(tmp_path):
    path = tmp_path / "napari_wsol" / "cells" / "cell.py"
    path.parent.mkdir(parents=True)
    path.write_text(PROGRAM)
    (tmp_path / "napari_wsol" / "gui").mkdir()
    (tmp_path / "napari_wsol" / "gui" / "dock.py").write_text(PROGRAM)
    return tmp_path


def test_behaviour_is_changed_in_one_place_at_a_time(tools, tree):
    assert tools["core"](tree) == ["napari_wsol/cells/cell.py"]
    drawn = tools["sample"](tree, tools["core"](tree), 100, 0)
    last = "return not b and self.size < 2"
    assert sorted(item.change for item in drawn) == sorted([
        "size: int | None = 3 → size: int | None = 4",
        "if a: → if not (a):",
        "return zip(a, b, strict=True) → return None",
        f"{last} → return None",
        f"{last} → return b and self.size < 2",
        f"{last} → return not b or self.size < 2",
        f"{last} → return not b and self.size <= 2",
        f"{last} → return not b and self.size < 3",
    ])  # fmt: skip
    assert {item.function for item in drawn} == {"Cell", "Cell.pairs"}
    assert {item.package for item in drawn} == {"cells"}
    for item in drawn:
        before, after = PROGRAM.splitlines(), item.text.splitlines()
        changed = [k for k, pair in enumerate(zip(before, after, strict=True), 1)
                   if pair[0] != pair[1]]  # fmt: skip
        assert changed == [item.lines[0]]


def test_a_seed_draws_the_same_changes(tools, tree):
    paths = tools["core"](tree)
    first = tools["sample"](tree, paths, 4, 1)
    assert first == tools["sample"](tree, paths, 4, 1)
    assert first != tools["sample"](tree, paths, 4, 2)


@pytest.mark.slow
def test_what_is_named_as_equivalent_is_there(tools):
    assert tools["vanished"](ROOT) == []
    assert all(len(why) > 10 for why in tools["equivalent"]().values())
