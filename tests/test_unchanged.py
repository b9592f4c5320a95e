"""Maps, rounds, exports, journals and files are those of the golden file.

But for what ``SINCE`` names: it was made anew, on another machine.

The cases of ``fixtures/unchanged.py`` run in a process of their own, as they did then.
Where this machine computes like the one that the golden file was made on, everything
must be equal to the last bit; elsewhere maps and figures must be equal to what another
order of additions can change, and all else must still be the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow  # half a minute, in a process of its own

TESTS = Path(__file__).parent
MAPS, FIGURES = 3e-4, 1e-3
"""What other arithmetic may change: of block means, of losses and probabilities."""
AGREEMENT = 0.02
"""Of the share of a stroke's pixels on one side of 0.5."""

_WEIGHTS = "malignancy-mobilenetv2 was trained anew"
_MAPS = (
    *("attention_mil", "attention_mil of malignant", "gradcam", "gradcam++"),
    *("hirescam", "mil_evidence", "mil_evidence of malignant", "mil_tile"),
    *("mil_tile of malignant", "occlusion", "scores", "xgradcam"),
)
SINCE = {
    **dict.fromkeys((f"malignancy-mobilenetv2 {name}" for name in _MAPS), _WEIGHTS),
    **dict.fromkeys(
        (
            f"slide malignancy-mobilenetv2 {name}"
            for name in ("attention_mil", "mil_evidence", "mil_tile")
        ),
        _WEIGHTS,
    ),
    "cli malignancy-mobilenetv2": _WEIGHTS,
    **dict.fromkeys(
        ("cli glands-mobilenetv2", "export pcam", "export refined"),
        "tables of regions have a column of evidence",
    ),
}
"""Cases that were made anew elsewhere, and why: equal but for the arithmetic."""


@pytest.fixture(scope="module")
def golden():
    return json.loads((TESTS / "golden" / "unchanged.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def found(golden, tmp_path_factory):
    out = tmp_path_factory.mktemp("unchanged") / "found.json"
    done = subprocess.run(
        [sys.executable, TESTS / "fixtures" / "unchanged.py", out],
        env={**os.environ, "OMP_NUM_THREADS": golden["OMP_NUM_THREADS"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text("utf-8"))


@pytest.fixture(scope="module")
def is_same_arithmetic(golden, found):
    return found["arithmetic"] == golden["arithmetic"]


def differing(one: dict, other: dict) -> dict:
    """Names whose values differ, with both."""
    return {
        name: (one.get(name, "missing"), other.get(name, "missing"))
        for name in one.keys() | other.keys()
        if name not in SINCE and one.get(name, "missing") != other.get(name, "missing")
    }


def test_what_does_not_depend_on_arithmetic_is_the_same(found, golden):
    assert differing(found["plain"], golden["plain"]) == {}


def test_maps_are_the_same(found, golden, is_same_arithmetic):
    if is_same_arithmetic:
        assert differing(found["maps"], golden["maps"]) == {}
    assert found["maps"].keys() == golden["maps"].keys()
    worst = {}
    for name, one in found["maps"].items():
        other = golden["maps"][name]
        for key in ("shape", "scale", "translate", "target"):
            assert one[key] == other[key], name
        worst[name] = np.abs(np.subtract(one["blocks"], other["blocks"])).max()
    assert {name: value for name, value in worst.items() if value > MAPS} == {}


def test_figures_are_the_same(found, golden, is_same_arithmetic):
    if is_same_arithmetic:
        assert differing(found["figures"], golden["figures"]) == {}
    for name, expected in golden["figures"].items():
        figures = found["figures"][name]
        assert figures.keys() == expected.keys(), name
        for key, value in expected.items():
            allowed = AGREEMENT if key.startswith("agreement") else FIGURES
            assert figures[key] == pytest.approx(value, abs=allowed, rel=0.01), name


def test_files_are_the_same(found, golden, is_same_arithmetic):
    if is_same_arithmetic and found["writers"] == golden["writers"]:
        assert differing(found["files"], golden["files"]) == {}
        return
    for name, files in golden["files"].items():
        assert found["files"][name].keys() == files.keys(), name
