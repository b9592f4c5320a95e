"""Errors a person can act on: every message says what happened and what to do next.

Each class also inherits the built-in error that a Python user would expect, so that
``except ValueError`` works for those who do not know this package.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from traceback import clear_frames
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

logger = logging.getLogger(__name__)


class WsolError(Exception):
    """Base of all errors that napari-wsol raises on purpose."""


class ImageError(WsolError, ValueError):
    """The pixels cannot be used: wrong shape, no finite value, nothing in them."""


class UnreadableImageError(ImageError, OSError):
    """A file is missing, damaged, or in a format that no reader understands."""


class ImageChangedError(ImageError):
    """The source of an image holds other pixels than when it was opened."""


@dataclass(frozen=True, slots=True)
class Question:
    """Something that only the person knows.

    Attributes:
        key: under which the answer is given.
        text: the question.
        choices: possible answers; empty where any text will do.
        proposed: one of them; the first if empty.
    """

    key: str
    text: str
    choices: tuple[str, ...] = ()
    proposed: str = ""


class StackError(ImageError):
    """An image has several channels or planes, and one of them must be chosen.

    Attributes:
        questions: whose answers say which (``images.readers.stacks.answered``).
    """

    def __init__(self, message: str, questions: tuple[Question, ...]) -> None:
        super().__init__(message)
        self.questions = questions


class OtherSourceError(WsolError, ValueError):
    """What a result was made from is another one by now: image, model or strokes."""


class NoImageError(WsolError, RuntimeError):
    """Something was asked for that needs an open image."""


class NoModelError(WsolError, RuntimeError):
    """Something was asked for that needs a model."""


class UnknownNameError(WsolError, LookupError):
    """A model, method, encoder or class of that name does not exist."""


class MethodUnavailableError(WsolError, ValueError):
    """The loaded model has not what the method reads."""


class ModelError(WsolError, ValueError):
    """A model folder or weight file is damaged or of an unknown kind."""


class UnansweredError(ModelError):
    """A checkpoint does not say all that is needed to rebuild its network.

    Attributes:
        questions: to answer before it can be imported.
    """

    def __init__(self, message: str, questions: tuple[Question, ...]) -> None:
        super().__init__(message)
        self.questions = questions


class NoResultError(WsolError, RuntimeError):
    """Something was asked for that needs heatmaps: localize first."""


class NoScribblesError(WsolError, ValueError):
    """Refining needs strokes, and there are none."""


class ConfigError(WsolError, ValueError):
    """A setting has a value that cannot work."""


class MalformedError(WsolError, ValueError):
    """A text does not say what it should; the message is the reason, without a stop.

    Whoever knows what the text was for says so, and what to do.
    """


class DatasetError(WsolError, ValueError):
    """A data set folder or table is incomplete; names the first bad row."""


class ExportError(WsolError, OSError):
    """A file could not be written; what was there before is untouched."""


class DeviceMemoryError(WsolError, MemoryError):
    """The memory of a graphics card is used up."""


class ClaimLostError(WsolError, RuntimeError):
    """Another worker has taken over what this one worked on."""


class JobCancelledError(WsolError):
    """The job was stopped by the user or superseded by a newer one."""


def choices(kind: str, name: str, names: list[str]) -> UnknownNameError:
    """The error for a name that is not in a closed list, naming the choices."""
    listed = ", ".join(names) if names else "none"
    return UnknownNameError(f"There is no {kind} “{name}”. Choose one of: {listed}.")


def install(extra: str) -> str:
    """The line to type for what an extra brings, by the names of the packages.

    Those are on every index, whether napari-wsol is, or was installed from a clone.

    Args:
        extra: one of pyproject.toml (“slides”).
    """
    from importlib.metadata import PackageNotFoundError

    try:
        return f"pip install {' '.join(_packages(extra))}"
    except PackageNotFoundError:  # run from the source tree, without being installed
        return f'pip install ".[{extra}]" in the folder of napari-wsol'


def _packages(extra: str) -> list[str]:
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    names: list[str] = []
    for wish in map(Requirement, requires("napari-wsol") or ()):
        if wish.marker is None or not wish.marker.evaluate({"extra": extra}):
            continue
        inner = [name for one in sorted(wish.extras) for name in _packages(one)]
        names += inner if wish.name == "napari-wsol" else [wish.name]
    return list(dict.fromkeys(names))


KNOWN: dict[type[Exception], Callable[[], WsolError]] = {}
"""What errors of other libraries are called here; whoever imports a library adds its
own (:mod:`napari_wsol.devices` those of torch)."""


@contextmanager
def in_our_words() -> Generator[None]:
    """An error of another library that is :data:`KNOWN` leaves as one of ours."""
    try:
        yield
    except tuple(KNOWN) as error:
        # Tensors of the calls that failed would fill the memory as long as it is held.
        clear_frames(error.__traceback__)
        raise next(
            KNOWN[kind] for kind in KNOWN if isinstance(error, kind)
        )() from error


@contextmanager
def told_as(
    told: Callable[[Exception], WsolError],
    *,
    but: type[Exception] | tuple[type[Exception], ...] = WsolError,
) -> Generator[None]:
    """Whatever a library raises on the bytes of a file leaves as one of ours.

    They raise anything on bytes that they did not foresee, so that no list of their
    errors is whole.

    Args:
        told: says in words what went wrong.
        but: what leaves as it is: it is in words already.
    """
    try:
        yield
    except but:
        raise
    except Exception as error:
        raise told(error) from error


Failed = Callable[[str, str], None]
"""Called with the name of one thing of many, and with why it cannot be used."""


def ignore_failure(_name: str, _reason: str) -> None:
    """One thing of many that failed, where the result itself says so."""


STOPS = (KeyboardInterrupt, SystemExit, GeneratorExit, JobCancelledError)
"""Somebody wants the whole work to end, not only that on one thing."""

WORDS_LENGTH = 500
"""Of what another library says; some print whole tensors."""


@contextmanager
def one_of_many(failed: Callable[[str], None]) -> Generator[None]:
    """The edge of one thing of many: whatever goes wrong inside, the next one is done.

    Errors of other libraries, and of memory, are no reason to leave the others undone;
    some of them (those of Rust) are not even an ``Exception``.

    Args:
        failed: called with a sentence.
    """
    try:
        with in_our_words():
            yield
    except STOPS:
        raise
    except BaseException as error:
        clear_frames(error.__traceback__)
        logger.info("one of many failed", exc_info=error)
        failed(sentence_of(error))


def sentence_of(error: BaseException) -> str:
    """What went wrong, for the row of a table; never empty."""
    if isinstance(error, WsolError) and str(error):
        return str(error)
    if isinstance(error, MemoryError):
        return (
            "There is not enough memory for it. Close other programs, or take a "
            "machine with more memory."
        )
    words = " ".join(str(error).split())[:WORDS_LENGTH]
    kind = type(error).__name__
    return (
        f"It cannot be used, for a reason that was not foreseen ({kind}: {words}). "
        "Check the file; if it is sound, report this."
    )
