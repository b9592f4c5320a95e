"""Find the commit since which a figure of a benchmark is worse.

    python tools/bisect_benchmark.py GOOD BAD --figure 'ratio to localizing: (.*)' \
        -- benchmarks/refine.py --rounds 3

Both ends are measured first: which way is worse, and where the line lies, half way
between them, follows from that. Then ``git bisect`` halves what is between, in a work
tree of its own: yours is not touched. Each commit is imported with the environment of
this Python; one on which the benchmark fails is skipped.

A figure that is a ratio within one run can be trusted on a machine that does other
things; for seconds raise ``--repeat``, whose median counts.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

DONE = "is the first bad commit"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What is run, and which figure of it counts.

    Attributes:
        command: script, relative to the checkout, and its arguments.
        figure: regular expression whose first group is a number; its last match counts.
        repeat: runs a commit.
    """

    command: list[str]
    figure: re.Pattern[str]
    repeat: int

    def runs(self, checkout: Path) -> list[float]:
        """The figure of each run, in order of size.

        Raises:
            RuntimeError: the script fails, or does not print the figure.
        """
        return sorted(self._once(checkout) for _ in range(self.repeat))

    def _once(self, checkout: Path) -> float:
        done = subprocess.run(
            [sys.executable, *self.command],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            capture_output=True,
            text=True,
            check=False,
        )
        found = self.figure.findall(done.stdout)
        if done.returncode or not found:
            why = done.stderr.strip() or "it printed no such figure:\n" + done.stdout
            raise RuntimeError(f"{' '.join(self.command)} failed: {why}")
        return float(found[-1])


def git(checkout: Path, *arguments: str) -> str:
    """What git prints; where it fails its own words end the script."""
    done = subprocess.run(
        ["git", *arguments], cwd=checkout, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {done.stderr or done.stdout}")
    return done.stdout


def measured(checkout: Path, commit: str, benchmark: Benchmark) -> list[float]:
    """The figures of one end, told."""
    git(checkout, "checkout", "--quiet", "--detach", commit)
    runs = benchmark.runs(checkout)
    print(f"{commit}: {' '.join(f'{value:g}' for value in runs)}", flush=True)
    return runs


def between(good: list[float], bad: list[float]) -> float:
    """The figure half way between both ends.

    Raises:
        SystemExit: the runs of the ends overlap, so no commit could be judged.
    """
    if max(good) >= min(bad) and max(bad) >= min(good):
        raise SystemExit(
            "Both ends give the same figures: nothing to find between them. On a "
            "machine that does other things a larger --repeat may tell them apart."
        )
    return (statistics.median(good) + statistics.median(bad)) / 2


def first_bad(checkout: Path, ends: tuple[str, str], benchmark: Benchmark) -> str:
    """What git says of the first commit beyond the line.

    Args:
        checkout: a work tree that may be moved.
        ends: a good and a bad commit.
        benchmark: what is measured.
    """
    good, bad = (measured(checkout, end, benchmark) for end in ends)
    line = between(good, bad)
    grows = statistics.median(bad) > statistics.median(good)
    told = git(checkout, "bisect", "start", ends[1], ends[0])
    while DONE not in told:
        commit = git(checkout, "log", "-1", "--format=%h %s").strip()
        try:
            found = statistics.median(benchmark.runs(checkout))
        except RuntimeError as error:
            verdict, shown = "skip", str(error).splitlines()[-1]
        else:
            verdict, shown = "bad" if (found > line) == grows else "good", f"{found:g}"
        print(f"{commit}: {shown}, {verdict}", flush=True)
        told = git(checkout, "bisect", verdict)
    return told


def main() -> None:
    """Prints the figures of each commit that was tried, and the first bad one."""
    own, script = sys.argv[1:], []
    if "--" in own:
        own, script = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("good", help="a commit that was as quick as it should be")
    parser.add_argument("bad", help="a later one that is not")
    parser.add_argument("--figure", required=True, type=re.compile)
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args(own)
    if not script:
        parser.error("after -- comes the benchmark: -- benchmarks/refine.py")
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "checkout")
        git(here, "worktree", "add", "--quiet", "--detach", str(tree), asked.bad)
        try:
            benchmark = Benchmark(script, asked.figure, asked.repeat)
            print(first_bad(tree, (asked.good, asked.bad), benchmark))
        except RuntimeError as error:
            raise SystemExit(str(error)) from error
        finally:
            git(here, "worktree", "remove", "--force", str(tree))


if __name__ == "__main__":
    main()
