"""What the doctor finds, and how it asks in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import msgspec

from napari_wsol.errors import WORDS_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: of what, how bad, what was found and does mend it, what others said.

    What may be a private name stands in “quotation marks” or in ``said``: a bundle
    tells neither. A warning works, with something missing; a fault has to be mended.
    """

    name: str
    state: Literal["ok", "warning", "fault"]
    text: str
    said: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.text}" + (f" ({self.said})" if self.said else "")


def tell(findings: Iterable[Finding]) -> None:
    """What a process says that was :func:`asked`."""
    for one in findings:
        print(msgspec.json.encode(one).decode(), flush=True)  # noqa: T201


def asked(module: str, broken: Finding, seconds: float = 240) -> Iterator[Finding]:
    """What a module tells, run in a process; ``broken``, too, if it crashed or hung."""
    command = [sys.executable, "-P", "-m", module]
    here = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    said = ""
    try:
        ended = subprocess.run(  # noqa: S603 - a module of ours
            command, capture_output=True, check=True, timeout=seconds, env=here
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        ended, words = error, (error.stderr or b"").decode("utf-8", "replace").split()
        said = f"{error} {' '.join(words)}"[-WORDS_LENGTH:]
    for line in (ended.stdout or b"").splitlines():
        if line.startswith(b'{"name":'):  # plugins print, too
            yield msgspec.json.decode(line, type=Finding)
    if said:
        yield replace(broken, said=said)
