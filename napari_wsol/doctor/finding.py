"""What the doctor finds, and how it asks in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from napari_wsol.errors import WORDS_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable

State = Literal["ok", "warning", "fault"]
_RECORD = "\x1e"
"""Before what a probe says (RFC 7464): others may write to its output, too."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor.

    Names of files, folders, models and plugins stand in “quotation marks” (see
    :func:`quoted`), and what others say in ``said`` alone: they may be private, and a
    bundle tells neither.

    Attributes:
        name: what was looked at.
        state: ok; warning, where something is missing or may go wrong; or fault.
        text: what was found.
        mend: what to do; empty where nothing is.
        said: what another program said.
    """

    name: str
    state: State
    text: str
    mend: str = ""
    said: str = ""

    def __str__(self) -> str:
        told = " ".join(filter(None, (self.text, self.mend)))
        return f"{told} ({self.said})" if self.said else told


def quoted(name: object) -> str:
    """A name that may be private, in quotation marks that it has not itself."""
    return "“" + str(name).replace("“", "'").replace("”", "'") + "”"


def is_fault(findings: Iterable[Finding]) -> bool:
    """Whether something has to be mended before the program works."""
    return any(finding.state == "fault" for finding in findings)


def tell(finding: Finding) -> None:
    """In a probe: says one finding to :func:`asked`."""
    print(_RECORD + json.dumps(asdict(finding)), flush=True)  # noqa: T201 - to a pipe


def asked(module: str, *words: str, seconds: float, broken: Finding) -> list[Finding]:
    """What a module tells, run in a process that may crash or hang.

    Args:
        module: run with ``python -m``.
        words: what it is given.
        seconds: after which it counts as hung.
        broken: told at the end where it crashed, failed or hung.
    """
    command = [sys.executable, "-P", "-m", module, *words]
    own = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(  # noqa: S603 - a module of ours
            command, capture_output=True, timeout=seconds, check=False, env=own
        )
        out, err, ending = done.stdout, done.stderr, f"exit status {done.returncode}"
        failed = done.returncode != 0
    except subprocess.TimeoutExpired as error:
        out, err, failed = error.stdout or b"", error.stderr or b"", True
        ending = f"no answer after {seconds:.0f} s"
    lines = out.decode("utf-8", "replace").split("\n")
    records = (line.partition(_RECORD)[2] for line in lines)
    found = [Finding(**json.loads(record)) for record in records if record]
    if failed:
        words_ = " ".join(err.decode("utf-8", "replace").split())[-WORDS_LENGTH:]
        said = f"{ending}: {words_}"
        found.append(Finding(broken.name, broken.state, broken.text, broken.mend, said))
    return found
