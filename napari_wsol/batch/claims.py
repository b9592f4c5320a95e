"""Who works on what, among processes that share nothing but a folder.

A worker claims a piece of work by creating a file that must not exist yet, which only
one of several can do, on network disks too. While it works a thread touches the file. A
claim that nobody has touched for a while belongs to a worker that is gone: it was
killed, or its machine was. It is taken over by creating the file with the next number,
which again only one can do; nobody ever removes another one's file, so that no claim
can be removed by mistake. The highest number holds.

A worker that was only asleep finds the higher number, or sees how long it slept, and
stops (:class:`~napari_wsol.errors.ClaimLostError`). Results are renamed into place when
they are complete, so what such a worker did meanwhile harms nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsol.errors import ClaimLostError, MalformedError
from napari_wsol.files import PART, time_in, unwritable
from napari_wsol.files.parsing import parse_json, typed

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Self

STALE_SECONDS = 300.0
"""A claim that was not touched for so long is free. Network disks show a change to
other machines a minute late at worst."""
BEATS = 10
"""How often a claim is touched in that time."""
_NOBODY = ("another machine", 0, 0.0)
"""A claim that is just being passed on."""
_TRIES = 5
_NAME = re.compile(r"claim\.[1-9][0-9]{0,8}")
_BYTES = 4096
"""A claim has some 200; what has more is none."""
_BEGINNING = b'{"host": '
GPU_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a claim.

    Attributes:
        host: name of the machine.
        pid: number of the process.
        age: seconds since the claim was touched.
    """

    host: str
    pid: int
    age: float

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Claim:
    """A piece of work that is ours until it is released.

    Use :func:`take`. As a context manager it is released at the end.
    """

    def __init__(self, path: Path, token: str, stale_seconds: float) -> None:
        self.path = path
        self._token, self._stale = token, stale_seconds
        self._lost = False
        self._ended = threading.Event()
        self._touched = time.time()
        self._thread = threading.Thread(target=self._beat, name="claim", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @property
    def is_lost(self) -> bool:
        """Whether another worker may have taken over."""
        # Asleep for so long, the thread may not have run yet either.
        slept = time.time() - self._touched >= self._stale
        return self._lost or (slept and not self._ended.is_set())

    def check(self) -> None:
        """Called often while working.

        Raises:
            ClaimLostError: another worker may have taken over.
        """
        if self.is_lost:
            raise ClaimLostError(
                "Another worker has taken this over, because this one did not move for "
                f"{self._stale:.0f} seconds. What it finished is kept."
            )

    def release(self) -> None:
        """Gives the work back; harmless when called again, or when it is lost."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._thread.join()
        if not self._lost and _token(self.path) == self._token:
            with contextlib.suppress(OSError):
                self.path.unlink()

    def _beat(self) -> None:
        while not self._ended.wait(self._stale / BEATS):
            if self.is_lost or not self._touch():
                self._lost = True
                return

    def _touch(self) -> bool:
        """Says that we are alive; False where the claim is no longer ours."""
        folder, number = self.path.parent, _number(self.path)
        try:
            if (_newest(folder) or (0, self.path))[0] > number:
                return False
            os.utime(self.path)
        except FileNotFoundError:
            return False
        except OSError:
            return True  # the disk is away for a moment; is_lost knows for how long
        self._touched = time.time()
        return True


def take(folder: Path, stale_seconds: float = STALE_SECONDS) -> Claim | Holder:
    """Claims the work that a folder stands for.

    Args:
        folder: made if it is not there; holds the claim's files.
        stale_seconds: after which an untouched claim is free.

    Returns:
        The claim; or who holds it.

    Raises:
        ExportError: the folder cannot be written to.
    """
    what = f"“{folder}” cannot be written to"
    with unwritable(what, ". Choose another folder for the results."):
        for _ in range(_TRIES):
            # Whoever has finished the work removes the folder with all that is in it.
            with contextlib.suppress(FileNotFoundError):
                folder.mkdir(parents=True, exist_ok=True)
                return _take(folder, stale_seconds)
    return Holder(*_NOBODY)


def _take(folder: Path, stale_seconds: float) -> Claim | Holder:
    found = _newest(folder)
    if found is None:
        return _create(folder, 1, stale_seconds) or _holder_of(folder)
    number, path = found
    holder, token = _read(path), _token(path)
    if holder is None or token is None:  # released this moment
        return _holder_of(folder)
    if holder.age < stale_seconds and not (_is_dead(path) or _is_odd(path)):
        return holder
    claim = _create(folder, number + 1, stale_seconds)
    if claim is None:  # somebody else was quicker
        return _holder_of(folder)
    # The stale claim must be the one that was looked at: had its owner come back
    # and released it, another worker may have begun from the start meanwhile.
    if _token(path) != token:
        claim.release()
        return _holder_of(folder)
    return claim


def _create(folder: Path, number: int, stale_seconds: float) -> Claim | None:
    """Ours, or None where the file exists."""
    token = uuid.uuid4().hex
    path = folder / f"claim.{number}"
    # Complete before it has its name: a reader never finds half of it.
    draft = folder / f".claim.{token[:12]}{PART}"
    about = {  # what begins otherwise is none of ours
        "host": platform.node(),
        "pid": os.getpid(),
        "token": token,
        "system": _system(),
    }
    draft.write_text(json.dumps(about), "utf-8")
    try:
        os.link(draft, path)
    except FileExistsError:
        return None
    except OSError:  # a disk without links: create it exclusively, then fill it
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(json.dumps(about))
        except FileExistsError:
            return None
    finally:
        draft.unlink(missing_ok=True)
    return Claim(path, token, stale_seconds)


def _newest(folder: Path) -> tuple[int, Path] | None:
    """The claim with the highest number; what else lies there is none of ours."""
    found = [
        (_number(path), path)
        for path in folder.glob("claim.*")
        if _NAME.fullmatch(path.name)
    ]
    return max(found, default=None)


def _number(path: Path) -> int:
    return int(path.suffix[1:])


def _holder_of(folder: Path) -> Holder:
    """Who holds it now; a nameless one where it is being passed on."""
    found = _newest(folder)
    holder = None if found is None else _read(found[1])
    return holder or Holder(*_NOBODY)


def _about(path: Path) -> dict[str, object] | None:
    """What a claim says; None where it is gone, empty where it says nothing."""
    try:
        data = _content(path)
    except OSError:
        return None
    try:
        return typed(parse_json(data), dict[str, object])
    except MalformedError:
        return {}


def _token(path: Path) -> str | None:
    about = _about(path)
    return None if about is None else str(about.get("token", ""))


def _is_odd(path: Path) -> bool:
    """Whether no worker has written this, nor is about to: it keeps nobody away."""
    try:
        data = _content(path)
    except OSError:
        return False
    # While it is being filled it is empty, or the beginning of one.
    is_begun = not data or (len(data) < _BYTES and data.startswith(_BEGINNING))
    return not is_begun


def _content(path: Path) -> bytes:
    """What could be a claim's; of what is no file, nothing that could."""
    if path.exists() and not path.is_file():
        return b"-"
    with path.open("rb") as file:
        return file.read(_BYTES)


def _read(path: Path) -> Holder | None:
    about = _about(path)
    if about is None:
        return None
    try:
        age = time_in(path.parent) - path.stat().st_mtime
    except OSError:
        return None
    pid = about.get("pid")
    return Holder(
        str(about.get("host", "another machine")),
        pid if isinstance(pid, int) else 0,
        max(0.0, age),
    )


def _system() -> str:
    """Tells this running system from any other in which a pid means something else."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        space = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return ""
    return f"{platform.node()}/{boot}/{space}"


def _is_dead(path: Path) -> bool:
    """Whether the holder is known to be gone: it ran here, and runs no more."""
    about = _about(path) or {}
    system, pid = _system(), about.get("pid")
    if not system or about.get("system") != system or not isinstance(pid, int):
        return False
    return not Path(f"/proc/{pid}").exists()


@contextlib.contextmanager
def free_gpu(folder: Path, count: int) -> Generator[str]:
    """The device that this worker may use, until it ends; waits for one.

    Args:
        folder: that the workers share.
        count: GPUs of this machine; 0 for its processor, 1 for whatever there is.
    """
    if count < 2:
        yield "auto" if count else "cpu"
        return
    while True:
        for index in range(count):
            claim = take(folder / f"gpu-{platform.node()}-{index}")
            if isinstance(claim, Claim):
                with claim:
                    yield f"cuda:{index}"
                return
        time.sleep(GPU_POLL_SECONDS)
