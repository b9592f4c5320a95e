"""``tools/bisect_benchmark.py``, in a small repository whose benchmark is known."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "bisect_benchmark.py"
SECONDS = [1.0, 1.1, 0.9, 1.0, 3.0, 3.1, 2.9]
"""What the benchmark of each commit prints; the fifth made it slow."""

pytestmark = pytest.mark.skipif(
    shutil.which("git") is None or not SCRIPT.exists(), reason="needs git and tools/"
)


def _git(folder: Path, *arguments: str) -> str:
    name = ["-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    command = ["git", *name, *arguments]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def history(tmp_path: Path) -> tuple[Path, list[str]]:
    _git(tmp_path, "init", "--quiet")
    commits = []
    for number, seconds in enumerate(SECONDS):
        # The fourth cannot be measured at all.
        text = "raise SystemExit(1)" if number == 3 else f"print('took {seconds} s')"
        (tmp_path / "bench.py").write_text(text + f"  # {number}\n")
        _git(tmp_path, "add", "bench.py")
        _git(tmp_path, "commit", "--quiet", "-m", f"number {number}")
        commits.append(_git(tmp_path, "rev-parse", "HEAD"))
    return tmp_path, commits


def _bisect(folder: Path, good: str, bad: str) -> subprocess.CompletedProcess[str]:
    figure = ["--figure", r"took ([0-9.]+) s", "--repeat", "1"]
    command = [sys.executable, str(SCRIPT), good, bad, *figure, "--", "bench.py"]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_commit_that_made_it_slow_is_found(history: tuple[Path, list[str]]):
    folder, commits = history
    done = _bisect(folder, commits[0], commits[5])
    # What cannot be measured may be it, too: git names both, and does not guess.
    told = done.stdout + done.stderr
    assert commits[4] in told
    assert commits[2] not in told
    assert _git(folder, "worktree", "list").count("\n") == 0  # nothing is left behind
    assert _git(folder, "log", "-1", "--format=%s") == "number 6"


def test_a_figure_that_became_smaller_is_worse_where_the_ends_say_so(
    history: tuple[Path, list[str]],
):
    folder, _ = history
    _git(folder, "checkout", "--quiet", "-b", "again")
    for number, speed in enumerate((9, 2)):
        (folder / "bench.py").write_text(f"print('took {speed} s')\n")
        _git(folder, "commit", "--quiet", "-am", f"again {number}")
    end = _git(folder, "rev-parse", "HEAD")
    done = _bisect(folder, f"{end}~1", end)
    assert f"{end} is the first bad commit" in done.stdout


def test_ends_that_do_not_differ_are_told(history: tuple[Path, list[str]]):
    folder, commits = history
    done = _bisect(folder, commits[0], commits[0])
    assert done.returncode == 1
    assert "nothing to find" in done.stderr
