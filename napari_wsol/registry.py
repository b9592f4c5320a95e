"""Tables of what is chosen by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from napari_wsol.errors import choices

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_U = TypeVar("_U")


class Registry(dict[str, T]):
    """Things of one kind by name, in the order in which they came.

    Asking for a name that is not there raises UnknownNameError, which names the others.
    """

    def __init__(self, kind: str, given: dict[str, T] | None = None) -> None:
        """``kind`` is what messages call one of them; ``given`` are there already."""
        super().__init__(given or {})
        self._kind = kind

    def __missing__(self, name: str) -> T:
        raise choices(self._kind, name, list(self))

    def add(self, name: str, item: T) -> None:
        """Puts one into the table.

        Raises:
            ValueError: the name is taken.
        """
        if name in self:
            raise ValueError(f"The {self._kind} {name!r} exists already.")
        self[name] = item

    def adds(self, name: str) -> Callable[[_U], _U]:
        """A decorator that puts what it stands above into the table.

        Raises:
            ValueError: the name is taken.
        """

        def put(item: _U) -> _U:
            self.add(name, cast("T", item))
            return item

        return put
