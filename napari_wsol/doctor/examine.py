"""All that the doctor looks at, in the order in which it is told."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from napari_wsol.doctor import folders, system
from napari_wsol.doctor.finding import Finding
from napari_wsol.errors import one_of_many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Check(Protocol):
    """Looks at one thing; a fast one leaves out what takes seconds."""

    def __call__(self, *, fast: bool) -> Iterator[Finding]: ...


CHECKS: tuple[Check, ...] = (
    system.python,
    system.versions,
    system.clock,
    folders.space,
    folders.rights,
    system.readers,
    system.window,
    system.torch,
)
"""In the order in which they are told."""


def examinations(*, fast: bool = False) -> list[Callable[[], list[Finding]]]:
    """A call for each check: none fails, whatever is broken; for any thread.

    Args:
        fast: leave out OpenGL, and whether models compute what they did.
    """
    return [partial(_examined, check, fast) for check in CHECKS]


def _examined(check: Check, fast: bool) -> list[Finding]:
    found: list[Finding] = []

    def failed(reason: str) -> None:
        name = getattr(check, "__name__", "doctor")
        text = "This could not be looked at."
        found.append(Finding(name, "fault", text, "Report this.", reason))

    with one_of_many(failed):
        found.extend(check(fast=fast))
    return found
