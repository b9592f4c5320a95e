"""Reads changed files of some formats in a process of its own, and says what came.

``child.py FOLDER SEED COUNT FORMAT…``: each input gets five seconds of the processor,
after which the system ends the process. The last line of its output is a JSON report.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import sys
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fixtures.memory import peak_mb
from fuzz.formats import FORMATS

from napari_wsol.errors import WsolError

SECONDS = 5.0


@dataclass
class Report:
    """What became of the inputs of a format."""

    read: int = 0
    refused: int = 0
    bad: list[str] = field(default_factory=list)
    peak_mb: float = 0.0


def run(folder: Path, seed: int, count: int, names: list[str]) -> dict[str, Report]:
    """Reads inputs of each format; the one in hand stays in the folder."""
    for name in names:  # what they load belongs to the idle process
        FORMATS[name].warm(folder / "warm" / name)
    idle, reports = peak_mb(), {}
    for name in names:
        made, report = FORMATS[name], Report()
        reports[name] = report
        for index in range(count):
            rng = random.Random(f"{name} {seed} {index}")
            place = folder / name
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            print(name, index, flush=True)
            target = made.write(rng, place)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                made.read(target)
                report.read += 1
            except WsolError:
                report.refused += 1
            except BaseException:  # noqa: BLE001 - this is what is looked for
                report.bad.append(f"{name} {seed} {index}\n{traceback.format_exc()}")
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
        report.peak_mb = peak_mb() - idle
    return reports


if __name__ == "__main__":
    where, seed, count, *names = sys.argv[1:]
    found = run(Path(where), int(seed), int(count), names)
    print(json.dumps({name: asdict(report) for name, report in found.items()}))
