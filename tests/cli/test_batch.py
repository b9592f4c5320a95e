"""``batch``: Snakemake runs one job a slide, here or on a cluster."""

import csv
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fixtures.models import small_card
from PIL import Image
from typer.testing import CliRunner

from napari_wsol.batch.claims import free_gpu
from napari_wsol.batch.workflow import SNAKEFILE, Workflow
from napari_wsol.cli import app
from napari_wsol.errors import ConfigError
from napari_wsol.zoo import save_model

HAS_SNAKEMAKE = importlib.util.find_spec("snakemake") is not None
needs_snakemake = pytest.mark.skipif(
    not HAS_SNAKEMAKE or os.name != "posix",
    reason="needs Snakemake (the extra “batch”) and a POSIX shell",
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, small_model):
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    save_model(small_model, small_card(small_model))


@pytest.fixture
def images(tmp_path):
    """Two images, one of a name with a space and a quote."""
    paths = [tmp_path / "one.png", tmp_path / "patient's two.png"]
    for seed, path in enumerate(paths):
        rng = np.random.default_rng(seed)
        Image.fromarray(rng.integers(0, 255, (90, 80, 3)).astype(np.uint8)).save(path)
    return paths


def batch(*arguments):
    """The command as a shell runs it: its jobs write to standard output as well."""
    return subprocess.run(
        [sys.executable, "-m", "napari_wsol", "batch", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def rows_of(out):
    with (out / "summary.csv").open(newline="", encoding="utf-8") as file:
        return {row["image"]: row for row in csv.DictReader(file)}


@needs_snakemake
@pytest.mark.slow
def test_one_job_a_slide_resumed_and_never_twice(tmp_path, images):
    out, missing = tmp_path / "out", tmp_path / "missing.svs"
    arguments = (*images, missing, "--model", "small", "--out", out, "--gpus", 0)
    first = batch(*arguments, "--jobs", 2)
    assert first.returncode == 1, first.stderr
    rows = rows_of(out)
    assert rows["one.png"]["status"] == rows["patient's two.png"]["status"] == "ok"
    assert rows["missing.svs"]["status"] != "ok"
    assert (out / "patient's two" / "row.json").is_file()
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("*/row.json")}
    shutil.copy(images[0], missing)  # it comes late, and is an image after all
    second = batch(*arguments)
    assert second.returncode == 0, second.stderr
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert {row["status"] for row in rows_of(out).values()} == {"ok"}
    third = batch(*arguments)
    assert third.returncode == 0
    assert "Nothing to be done" in third.stderr


@needs_snakemake
def test_the_workflow_asks_for_what_a_slide_needs(tmp_path, images):
    out = tmp_path / "out"
    workflow = Workflow(
        slides=tuple(images),
        out=out,
        model="small",
        jobs=2,
        gpus=1,
        threads=1,
        options=("--method", "cam"),
    )
    workflow.prepare()
    done = subprocess.run(
        [*workflow.command(), "--dry-run", "--printshellcmds"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "gpu=1" in said
    assert "mem_mb=8000" in said
    commands = [shlex.split(line) for line in said.splitlines() if " --row " in line]
    assert sorted(words[-1] for words in commands) == sorted(map(str, images))
    assert all(words[words.index("--method") + 1] == "cam" for words in commands)
    assert all(words[words.index("--model") + 1] == "small" for words in commands)


@pytest.mark.skipif(HAS_SNAKEMAKE or os.name != "posix", reason="needs a program")
@pytest.mark.slow
def test_what_jobs_say_is_not_in_the_json(tmp_path, images, monkeypatch):
    program = tmp_path / "snakemake"
    program.write_text("#!/bin/sh\necho 1 of 1 images\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    out = ("--out", tmp_path / "out", "--gpus", "0", "--json")
    done = batch(*images, "--model", "small", *out)
    assert json.loads(done.stdout)["images"] == []
    assert "1 of 1 images" in done.stderr


def test_a_cluster_gets_its_executor_and_a_profile(tmp_path, images, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / "snakemake"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    workflow = Workflow(
        slides=tuple(images),
        out=tmp_path / "out",
        model="small",
        jobs=50,
        gpus=8,
        executor="slurm",
        profile="ours",
    )
    words = workflow.command()
    assert words[words.index("--executor") + 1] == "slurm"
    assert words[words.index("--profile") + 1] == "ours"
    assert words[words.index("--jobs") + 1] == "50"
    assert words[words.index("--resources") + 1] == "gpu=8"
    assert "--cores" not in words
    assert "--gpus" not in workflow.localize()  # the cluster gives each job its own
    config = json.loads(workflow.prepare().read_text("utf-8"))
    assert (config["gpu"], config["threads"], config["mem_mb"]) == (1, 8, 8000)
    assert all(Path(path).is_absolute() for path in config["slides"].values())


def test_other_options_are_other_jobs(tmp_path, images):
    def jobs(**how):
        workflow = Workflow(slides=tuple(images), out=tmp_path, model="small", **how)
        return set(workflow.names())

    assert len(jobs()) == 2
    assert not jobs() & jobs(options=("--method", "pcam"))
    assert jobs() == jobs(gpus=3, jobs=7)


@pytest.mark.skipif(HAS_SNAKEMAKE, reason="Snakemake is installed")
def test_without_snakemake_it_says_what_to_do(tmp_path, images, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="pip install snakemake, here"):
        Workflow(slides=tuple(images), out=tmp_path, model="small").command()


def test_the_workflow_is_part_of_the_package(images, tmp_path):
    assert SNAKEFILE.is_file()
    assert "rule localize:" in SNAKEFILE.read_text("utf-8")
    done = CliRunner().invoke(
        app,
        [
            "batch",
            str(images[0]),
            "--model",
            "small",
            "--out",
            str(tmp_path),
            "--jobs",
            "0",
        ],
    )
    assert done.exit_code == 2


def test_each_worker_gets_a_gpu_of_its_own(tmp_path):
    with free_gpu(tmp_path, 0) as device:
        assert device == "cpu"
    with free_gpu(tmp_path, 1) as device:
        assert device == "auto"
    with free_gpu(tmp_path, 3) as first, free_gpu(tmp_path, 3) as second:
        assert (first, second) == ("cuda:0", "cuda:1")
    with free_gpu(tmp_path, 3) as again:
        assert again == "cuda:0"
