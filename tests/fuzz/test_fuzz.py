"""Whatever bytes a file has, it is read or refused in words, soon and in little memory.

25 inputs a format by default; ``NAPARI_WSOL_FUZZ=5000 pytest tests/fuzz`` (or
``make fuzz``) tries more, ``NAPARI_WSOL_FUZZ_SEED`` others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.formats import FORMATS

COUNT = int(os.environ.get("NAPARI_WSOL_FUZZ", "25"))
SEED = int(os.environ.get("NAPARI_WSOL_FUZZ_SEED", "0"))
PEAK_MB = 1024
GROUPS = sorted({made.group for made in FORMATS.values()})


@pytest.mark.timeout(300 + 12 * COUNT)
@pytest.mark.parametrize("group", GROUPS)
def test_any_bytes_are_read_or_refused(group, tmp_path):
    names = [name for name, made in FORMATS.items() if made.group == group]
    tests = Path(__file__).parents[1]
    paths = [str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.child", tmp_path, str(SEED), str(COUNT), *names],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "NAPARI_WSOL_HOME": str(tmp_path / "home"),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    last = lines[-1] if lines else "nothing"
    assert done.returncode == 0, f"died or hung at {last}\n{done.stderr[-4000:]}"
    reports = json.loads(last)
    print(f"\n{'format':24}{'read':>8}{'refused':>8}{'other':>8}{'MB':>8}")
    for name, report in reports.items():
        other, peak = len(report["bad"]), report["peak_mb"]
        print(f"{name:24}{report['read']:8}{report['refused']:8}{other:8}{peak:8.0f}")
    bad = [text for report in reports.values() for text in report["bad"]]
    assert not bad, f"{len(bad)} others, the first:\n" + "\n".join(bad[:3])
    assert max(report["peak_mb"] for report in reports.values()) <= PEAK_MB
