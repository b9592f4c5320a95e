"""An export that is killed at any step is there as a whole, or not at all."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import sys
import threading

import pytest

from napari_wsol.export.files import exported_in
from napari_wsol.files import clear_drafts

EXPORT = """
import numpy as np
from napari_wsol.config import ExportConfig
from napari_wsol.export import export_heatmap
from napari_wsol.images.heatmap import Heatmap
from napari_wsol.images.readers import open_slide

values = np.zeros((8, 8), np.float32)
values[2:5, 3:7] = 1
heatmap = Heatmap(
    values=values, scale=(4.0, 4.0), translate=(1.5, 1.5), image_shape=(32, 32),
    method="cam", target="bright", is_probability=True,
)
slide = open_slide(np.full((32, 32, 3), 200, np.uint8), name="colon")

def export(folder):
    formats = FORMATS
    export_heatmap(folder, heatmap, slide, ExportConfig(formats=formats), {})

def before(folder):
    pass

def work(folder):
    export(folder)
"""
PLAIN = EXPORT.replace("FORMATS", '("png", "geojson", "csv")')
ALL = EXPORT.replace("FORMATS", '("png", "tiff", "geojson", "csv", "zarr")')


def check(folder):
    """Whoever trusts the records alone finds whole files alone."""
    for record in folder.glob("*_provenance*.json"):
        for item in json.loads(record.read_text("utf-8"))["files"]:
            data = (folder / item["name"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == item["sha256"]
    return exported_in(folder)


def check_cleared(folder):
    """What the next export leaves: nothing but whole sets."""
    clear_drafts(folder)
    assert frozenset(folder.iterdir()) == check(folder)


def test_killed_at_every_step(killed_everywhere):
    folders = killed_everywhere(PLAIN)
    assert len(folders) > 20
    for folder in folders:
        check(folder)
        check_cleared(folder)
    counts = [len(list(folder.iterdir())) for folder in folders]
    assert set(counts) == {0, 4}
    assert counts == sorted(counts)


@pytest.mark.slow
def test_killed_at_every_step_of_every_format(killed_everywhere):
    for folder in killed_everywhere(ALL):
        check(folder)
        check_cleared(folder)


def test_killed_at_any_moment_the_next_one_clears_up(tmp_path):
    code = ALL + "\nimport sys; from pathlib import Path\nfolder = Path(sys.argv[1])\n"
    code += "print('ready', flush=True)\nwhile True: export(folder)\n"
    moments = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout.readline() == "ready\n"
        threading.Timer(moments.uniform(0.0, 0.6), process.kill).start()
        assert process.wait() == -signal.SIGKILL
        process.stdout.close()
        check(tmp_path)
    check_cleared(tmp_path)


def test_whose_record_names_what_is_not_there_is_no_set(tmp_path):
    (tmp_path / "a_cam_b_provenance.json").write_text(
        '{"files": [{"name": "mask.png"}]}'
    )
    (tmp_path / "b_cam_b_provenance.json").write_text("[1]")
    (tmp_path / "c_cam_b_provenance.json").write_text('{"files": [{"name": ""}]}')
    assert exported_in(tmp_path) == frozenset()
    (tmp_path / "mask.png").touch()
    assert len(exported_in(tmp_path)) == 2
