"""What the doctor finds, and how it asks in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

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


END = b"that is all"


def tell(findings: Iterable[Finding]) -> None:
    """What a process says that was :func:`asked`, whatever plugins print meanwhile."""
    with os.fdopen(os.dup(1), "wb", 0) as out:
        os.dup2(2, 1)
        for one in findings:
            out.write(b"\n" + json.dumps(asdict(one)).encode())
        out.write(b"\n" + END)


def asked(words: str, broken: Finding, seconds: float = 240) -> Iterator[Finding]:
    """What a module tells, run in a process; ``broken``, too, where it did not end."""
    command = [sys.executable, "-P", "-m", *words.split()]
    here = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        ended = subprocess.run(  # noqa: S603 - a module of ours
            command,
            input=b"",
            capture_output=True,
            check=True,
            timeout=seconds,
            env=here,
        )
        told = "" if ended.stdout.endswith(END) else "it ended too early"
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        ended, told = error, str(error)
    lines = (ended.stdout or b"").splitlines()
    yield from (Finding(**json.loads(x)) for x in lines if x.startswith(b'{"name":'))
    if told:
        last = (ended.stderr or b"").decode("utf-8", "replace").split()
        yield replace(broken, said=f"{told} {' '.join(last)[-WORDS_LENGTH:]}")
