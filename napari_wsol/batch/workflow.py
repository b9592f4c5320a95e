"""Many slides as a Snakemake workflow: here, or on a cluster.

The workflow only decides which slide is next and where; each job is ``napari-wsol
localize`` or ``features`` of one slide, claimed, resumed and published like any other.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from napari_wsol.batch.results import ResultsFolder, folder_name
from napari_wsol.config import words_of
from napari_wsol.errors import ConfigError, install
from napari_wsol.files import path_from, unwritable, write_whole
from napari_wsol.registry import plugin_files

SNAKEFILE = Path(__file__).with_name("Snakefile")
FOLDER = ".batch"
"""Of the workflow's own files, in the folder of results."""

MISSING = (
    "Batches need Snakemake, which is not installed: {}, here or in an environment of "
    "its own that is on the PATH. Without it, “napari-wsol localize” does the same, "
    "one slide at a time; several may share a folder."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """Slides, what is done with each, and where.

    Attributes:
        slides: files.
        out: folder of the results; all machines must see it under this name.
        model: name or folder.
        options: of the command, for every slide.
        what: that command: "localize" or "features".
        jobs: slides at a time.
        gpus: GPUs in use at a time, one a slide; 0 for processors only.
        threads: processor cores a slide; None shares those of this machine, or takes 8
            on a cluster.
        memory_gb: memory a slide, which a cluster is asked for.
        minutes: time a slide, which a cluster is asked for.
        executor: plugin of Snakemake that starts jobs, such as "slurm"; None for this
            machine, or what the profile says.
        profile: of Snakemake, name or folder.
    """

    slides: tuple[Path, ...]
    out: Path
    model: str
    options: tuple[str, ...] = ()
    what: str = "localize"
    jobs: int = 1
    gpus: int = 0
    threads: int | None = None
    memory_gb: int = 8
    minutes: int = 240
    executor: str | None = None
    profile: str | None = None

    def __post_init__(self) -> None:
        if min(self.jobs, self.memory_gb, self.minutes) < 1 or self.gpus < 0:
            raise ConfigError("Jobs, memory and minutes count from 1, GPUs from 0.")
        if (self.threads or 1) < 1:
            raise ConfigError(f"A slide cannot have {self.threads} cores.")

    @property
    def _results(self) -> ResultsFolder:
        return ResultsFolder(self.out)

    @property
    def is_local(self) -> bool:
        """Whether all jobs run on this machine."""
        return self.executor in (None, "local") and self.profile is None

    @property
    def cores(self) -> int:
        """Of a processor, a slide."""
        if self.threads is not None:
            return self.threads
        return max(1, (os.cpu_count() or 1) // self.jobs) if self.is_local else 8

    def names(self) -> dict[str, str]:
        """The file of each job, by the job's name."""
        found: dict[str, str] = {}
        for path in self.slides:
            file = str(path_from(path).absolute())
            # Other options are another job: its row is not there yet.
            text = json.dumps([file, self._model(), *self.options])
            digest = hashlib.sha256(text.encode()).hexdigest()[:12]
            found[f"{folder_name(path.name)}-{digest}"] = file
        return found

    def localize(self) -> list[str]:
        """What each job runs, but for the slide."""
        command = [sys.executable, "-m", "napari_wsol"]
        command += [*words_of({"--plugin": plugin_files()}), self.what, "--wait"]
        command += ["--model", self._model(), "--out", str(self._results.path)]
        if self.is_local:
            command += ["--gpus", str(self.gpus)]
        return [*command, *self.options]

    def prepare(self) -> Path:
        """Writes what the Snakefile reads.

        Raises:
            ExportError: the folder cannot be written to.
        """
        folder = self._results.path / FOLDER
        config = {
            "slides": self.names(),
            "localize": self.localize(),
            "summary": [
                sys.executable,
                "-m",
                "napari_wsol.batch",
                str(self._results.path),
            ],
            "threads": self.cores,
            "gpu": min(self.gpus, 1),
            "mem_mb": 1000 * self.memory_gb,
            "minutes": self.minutes,
        }
        path = folder / "config.json"
        what = f"“{folder}” cannot be written to"
        with unwritable(what, ". Choose another folder."):
            write_whole(path, json.dumps(config, ensure_ascii=False, indent=2))
        return path

    def command(self) -> list[str]:
        """Snakemake with all its options.

        Raises:
            ConfigError: it is not installed; says what to do.
        """
        folder = self._results.path / FOLDER
        command = [*_snakemake(), "--snakefile", str(SNAKEFILE)]
        command += ["--directory", str(folder)]
        command += ["--configfile", str(folder / "config.json")]
        command += ["--keep-going", "--rerun-incomplete", "--rerun-triggers", "mtime"]
        # Claims keep two runs apart, so a lock that a killed one left is of no use.
        command += ["--nolock", "--resources", f"gpu={max(self.gpus, 1)}"]
        if self.is_local:
            command += ["--cores", str(self.jobs * self.cores)]
        else:
            command += ["--jobs", str(self.jobs)]
        if self.executor is not None:
            command += ["--executor", self.executor]
        if self.profile is not None:
            command += ["--profile", self.profile]
        return command

    def run(self) -> tuple[int, Path]:
        """Runs it to the end.

        Returns:
            Exit status of Snakemake, and the table of all slides.

        Raises:
            ConfigError: Snakemake is not installed.
            ExportError: the folder cannot be written to.
        """
        command = self.command()
        self.prepare()
        # What the jobs say is no result of ours: to standard error.
        status = subprocess.run(command, check=False, stdout=2).returncode  # noqa: S603
        return status, self._results.write_summary()

    def _model(self) -> str:
        """A folder by its whole name: jobs run elsewhere."""
        path = path_from(self.model)
        return str(path.absolute()) if path.exists() else self.model


def _snakemake() -> list[str]:
    if importlib.util.find_spec("snakemake") is not None:
        return [sys.executable, "-m", "snakemake"]
    program = shutil.which("snakemake")
    if program is None:
        raise ConfigError(MISSING.format(install("batch")))
    return [program]
