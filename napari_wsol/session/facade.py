"""How a session speaks for its parts: said once there, offered here under one name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from typing import (
    TYPE_CHECKING,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    overload,
)

from psygnal import Signal

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from napari_wsol.session.comparison import Comparison
    from napari_wsol.session.document import Document
    from napari_wsol.session.jobs import SessionJobs
    from napari_wsol.session.maps import Maps
    from napari_wsol.session.other_images import OtherImages
    from napari_wsol.session.state import State

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a session is made of.

    Attributes:
        state: what is worked on.
        others: the other images of the list.
        jobs: what is asked for.
        comparison: what maps are compared with.
    """

    state: State
    others: OtherImages
    jobs: SessionJobs
    comparison: Comparison


class Whole(Protocol):
    """A session."""

    _parts: Parts


def parts_of(session: Whole) -> Parts:
    """What a session is made of."""
    return session._parts  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


class Reads(Generic[T]):
    """An attribute that nobody sets: it is read off the parts of a session.

    Args:
        read: gives it.
    """

    def __init__(self, read: Callable[[Parts], T]) -> None:
        self._read = read

    @overload
    def __get__(self, session: None, owner: type) -> Self: ...

    @overload
    def __get__(self, session: Whole, owner: type) -> T: ...

    def __get__(self, session: Whole | None, owner: type) -> Self | T:
        return self if session is None else self._read(parts_of(session))

    def __set__(self, session: Whole, value: object) -> None:
        raise AttributeError("This is read only: the session changes it by its verbs.")


def shown(read: Callable[[Maps], T]) -> Reads[T]:
    """What is shown of the open image under the loaded model."""
    return Reads(lambda parts: read(parts.state.current.maps))


def known(read: Callable[[Document], T], nothing: T) -> Reads[T]:
    """What the open image knows.

    Args:
        read: asks it.
        nothing: the answer while no image is open.
    """

    def ask(parts: Parts) -> T:
        document = parts.state.current.document
        return nothing if document is None else read(document)

    return Reads(ask)


def _verb(
    method: Callable[Concatenate[S, P], T],
    ask: Callable[[Parts, Callable[[S], T]], T],
) -> Callable[Concatenate[Whole, P], T]:
    """A verb of a part, under its own signature and description.

    Args:
        method: of the part.
        ask: given what a session is made of, asks the part.
    """

    @wraps(method)
    def forward(session: Whole, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return ask(parts_of(session), lambda part: method(part, *args, **kwargs))

    return forward


def of_jobs(
    method: Callable[Concatenate[SessionJobs, P], T],
) -> Callable[Concatenate[Whole, P], T]:
    """A verb that is a job."""
    return _verb(method, lambda parts, asked: asked(parts.jobs))


def of_others(
    method: Callable[Concatenate[OtherImages, P], T],
) -> Callable[Concatenate[Whole, P], T]:
    """A verb of the list of images."""
    return _verb(method, lambda parts, asked: asked(parts.others))


def of_comparison(
    method: Callable[Concatenate[Comparison, P], T],
) -> Callable[Concatenate[Whole, P], T]:
    """A verb of what maps are compared with."""
    return _verb(method, lambda parts, asked: asked(parts.comparison))


def of_all(
    method: Callable[Concatenate[Parts, P], T],
) -> Callable[Concatenate[Whole, P], T]:
    """A verb that needs several parts."""
    return _verb(method, lambda parts, asked: asked(parts))


def of_document(
    method: Callable[Concatenate[Document, P], T],
) -> Callable[Concatenate[Whole, P], T]:
    """A verb of the open image; where it is just opened again, of the new document.

    The verb raises NoImageError while no image is open.
    """
    return _verb(method, lambda parts, asked: parts.state.of_image(asked))


def if_open(
    method: Callable[Concatenate[Document, P], T], nothing: T
) -> Callable[Concatenate[Whole, P], T]:
    """A verb of the open image that has nothing to do while none is open."""

    def ask(parts: Parts, asked: Callable[[Document], T]) -> T:
        state = parts.state
        return nothing if state.current.document is None else state.of_image(asked)

    return _verb(method, ask)


def relay(part: object, session: object) -> None:
    """Whatever a part tells, the session tells under the same name."""

    def told_by(name: str) -> Callable[..., None]:
        # Not the bound emit itself: psygnal would call it to count its arguments.
        return lambda *values: getattr(session, name).emit(*values)

    for name, signal in vars(type(part)).items():
        if isinstance(signal, Signal):
            getattr(part, name).connect(told_by(name))
