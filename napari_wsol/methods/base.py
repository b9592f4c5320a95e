"""What a localization method is, and the table of methods by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

from napari_wsol.errors import choices

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.methods.model import Model


class Method(ABC):
    """One read-out: from cached features to a map of one class.

    Attributes:
        name: key in the table, used in the API, the CLI and file names.
        title: the name as its paper writes it.
        head: the part of a model that it reads.
        is_probability: whether values are probabilities; otherwise they are an
            unbounded score that the caller normalises per image.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    head: ClassVar[str]
    is_probability: ClassVar[bool]

    @abstractmethod
    def map(self, model: Model, features: Features, target: int) -> Tensor:
        """The map of class ``target``.

        Args:
            model: gives the head.
            features: of a batch of images.
            target: index of the class.

        Returns:
            (N, h, w) float32 on the nominal grid: cell 0 is centred on input pixel
            (s - 1) / 2 for s = ``stride(model)``.
        """

    def stride(self, model: Model) -> int:
        """Network input pixels a cell of the map."""
        return model.encoder.stride

    def unavailable(self, model: Model) -> str | None:
        """Why this model cannot be read out this way, in words; None if it can."""
        if self.head in model.heads:
            return None
        return (
            f"{self.title} needs a part that this model was not trained with. "
            "Choose a model whose card lists it."
        )


_METHODS: dict[str, Method] = {}
_M = TypeVar("_M", bound=type[Method])


def register(cls: _M) -> _M:
    """Puts a method into the table.

    Raises:
        ValueError: the name is taken.
    """
    if cls.name in _METHODS:
        raise ValueError(f"A method named {cls.name!r} exists already.")
    _METHODS[cls.name] = cast("Method", cls())
    return cls


def get_method(name: str) -> Method:
    """The method of that name.

    Raises:
        UnknownNameError: no such method; names the choices.
    """
    if name not in _METHODS:
        raise choices("method", name, list(_METHODS))
    return _METHODS[name]


def list_methods(model: Model | None = None) -> list[str]:
    """Names of all methods, or of those that a model supports."""
    if model is None:
        return list(_METHODS)
    return [name for name, item in _METHODS.items() if item.unavailable(model) is None]


def method_title(name: str) -> str:
    """The name as its paper writes it, e.g. "PixelCAM"."""
    return get_method(name).title


def unavailable(model: Model, name: str) -> str | None:
    """Why a model does not support a method, in words; None if it does."""
    return get_method(name).unavailable(model)
