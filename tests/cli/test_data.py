"""What the commands say of the data, and when."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from napari_wsol.cli import app

RECIPE = """
name = "x"
[data]
train = "train"
classes = ["benign", "malignant"]
"""

SCRIPT = """
import sys
from pathlib import Path
from typer.testing import CliRunner
from napari_wsol.cli import app
recipe, data, table = sys.argv[1:]
for words in (
    ["train", recipe, "--data", data, "--out", "out"],
    ["crossvalidate", recipe, "--data", data, "--out", "out"],
    ["evaluate", "glands-mobilenetv2", "--data", data],
    ["evaluate", "glands-mobilenetv2", "--data", table],
):
    result = CliRunner().invoke(app, words)
    print(type(result.exception).__name__, result.exception)
print("torch" in sys.modules)
"""


@pytest.fixture
def glas(tmp_path):
    """The original folder of GlaS: four images."""
    folder = tmp_path / "Warwick QU Dataset (Released 2016_07_08)"
    folder.mkdir()
    rows = ["name,patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)"]
    rng = np.random.default_rng(0)
    for at, name in enumerate(("train_1", "train_2", "testA_1", "testB_1")):
        pixels = rng.integers(60, 200, (96, 112, 3)).astype(np.uint8)
        mask = np.zeros((96, 112), np.uint8)
        mask[10:40, 20:50], mask[60:80, 60:90] = 1, 2
        Image.fromarray(pixels).save(folder / f"{name}.bmp")
        Image.fromarray(mask).save(folder / f"{name}_anno.bmp")
        rows.append(f"{name},{at}, {'benign' if at % 2 else 'malignant'}, x")
    (folder / "Grade.csv").write_text("\n".join(rows))
    return folder


def test_faults_in_tables_are_told_before_torch_is_loaded(glas, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    grades = glas / "Grade.csv"
    grades.write_text(grades.read_text().replace("train_2,1, benign", "train_2,1, x"))
    table = tmp_path / "mine.csv"
    table.write_text("path;label\na.png;benign\n")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, recipe, glas, table],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    *faults, torch = done.stdout.splitlines()
    assert torch == "False"
    for fault in faults[:3]:
        assert fault.startswith("DatasetError Line 3 of “Grade.csv”: “x” is none")
    assert faults[3].startswith("DatasetError The first file listed, “a.png”")


@pytest.mark.slow
def test_evaluate_measures_a_published_folder_and_says_what_it_is(glas, tmp_path):
    out = tmp_path / "metrics.json"
    words = ["evaluate", "glands-mobilenetv2", "--data", str(glas.parent), "--split"]
    words += ["test", "--method", "pixelcam", "--bootstrap", "10", "--out", str(out)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "test: This is GlaS: 2 images of 2 patients, masks of 2." in result.output
    stored = json.loads(out.read_text("utf-8"))
    assert stored["images"] == stored["references"] == 2
    assert stored["kind"] == "masks"
