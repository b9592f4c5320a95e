"""What a localization method is, and the table of methods by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

from typing_extensions import override

from napari_wsol.errors import ConfigError
from napari_wsol.methods.heads import Head
from napari_wsol.registry import Registry, plugins

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.jobs import Progress
    from napari_wsol.methods.model import Model


@dataclass(frozen=True)
class NetworkInput:
    """The image itself, for read-outs that run the encoder again.

    Attributes:
        pixels: gives (N, C, H, W), what the network saw, on its device.
        report: called with (done, total, message).
        check: called often; raises to stop.
    """

    pixels: Callable[[], Tensor]
    report: Progress
    check: Callable[[], None]


class Method(ABC):
    """One read-out: from cached features to a map of one class.

    Attributes:
        name: key in the table, used in the API, the CLI and file names.
        title: the name as its paper writes it.
        is_probability: whether values are probabilities; otherwise they are an
            unbounded score that the caller normalises per image.
        reads_layers: whether it can be read at any layer of the encoder.
        reruns: whether it runs the encoder again on the image.
        slow: whether it takes so long that it is run only when asked for by name.
        from_zero: whether 0 of its score means "nothing": it is then divided by its
            maximum instead of min–max normalised, and a constant map stays visible.
        rectified: whether it keeps only what speaks for a class (a ReLU at its end).
        for_all_classes: whether its map is the same for every class.
        signed: whether its score is below 0 where something speaks against a class: 0
            is then drawn at one half, and the largest of either sign at 1 or 0.
        pools_tiles: whether it weighs the tiles of an image by their vectors.
        follows_verdict: whether it is read off weights that give the image's verdict.
        note: what a reader of its maps must know, a sentence; empty if nothing.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    is_probability: ClassVar[bool] = False
    reads_layers: ClassVar[bool] = False
    reruns: ClassVar[bool] = False
    slow: ClassVar[bool] = False
    from_zero: ClassVar[bool] = False
    rectified: ClassVar[bool] = False
    for_all_classes: ClassVar[bool] = False
    signed: ClassVar[bool] = False
    pools_tiles: ClassVar[bool] = False
    follows_verdict: ClassVar[bool] = True
    note: ClassVar[str] = ""

    def __init__(self, layer: str | None = None) -> None:
        self.layer = layer

    @property
    def key(self) -> str:
        """Name and, where one was chosen, layer: "layercam@layer3"."""
        return self.name if self.layer is None else f"{self.name}@{self.layer}"

    @abstractmethod
    def map(
        self,
        model: Model,
        features: Features,
        target: int,
    ) -> Tensor:
        """The map of class ``target``.

        Args:
            model: gives heads and encoder.
            features: of a batch of images; the model's taps and what ``taps`` names.
            target: index of the class.

        Returns:
            (N, h, w) float32 on the nominal grid: cell 0 is centred on input pixel
            (s - 1) / 2 for s = ``stride(model, features)``.
        """

    def bias(self, model: Model, features: Features, target: int) -> float | None:
        """Where its map adds up to the logit of one image: the rest of it; else None.

        Args:
            model: as for :meth:`map`; ``features`` of one image and ``target`` too.
            features: see there.
            target: see there.
        """
        del model, features, target
        return None

    def taps(self, model: Model) -> tuple[str, ...]:
        """Maps of the encoder that it reads beside the model's own taps."""
        place = self.place(model)
        return () if place is None else (place,)

    def place(self, model: Model) -> str | None:
        """The layer that is read, if another than the deepest tap may be."""
        del model
        return self.layer

    def index(self, model: Model, features: Features) -> int:
        """Which of the features' maps is read."""
        place = self.place(model)
        return len(features.maps) - 1 if place is None else features.names.index(place)

    def stride(self, model: Model, features: Features) -> float:
        """Network input pixels a cell of the map."""
        return features.strides[self.index(model, features)]

    def reads_cells(self, model: Model) -> bool:
        """Whether its map can be made tile by tile: a cell needs its surroundings only.

        Args:
            model: one that it is available for.
        """
        del model
        return False

    @abstractmethod
    def unavailable(self, model: Model) -> str | None:
        """Why this model cannot be read out this way, in words; None if it can."""


class HeadMethod(Method):
    """A read-out of the head of its name: that head's map of a class as it is."""

    @override
    def map(
        self,
        model: Model,
        features: Features,
        target: int,
    ) -> Tensor:
        head = model.head(Head, self.name)
        values = head.class_maps(features)[:, target]
        if self.is_probability:
            values = values.sigmoid()
        return features.straight(values, head.map_index(features))

    @override
    def stride(self, model: Model, features: Features) -> float:
        return features.strides[model.head(Head, self.name).map_index(features)]

    @override
    def reads_cells(self, model: Model) -> bool:
        return model.head(Head, self.name).reads_cells

    @override
    def unavailable(self, model: Model) -> str | None:
        if self.name in model.heads:
            return None
        return model.encoder.lacks.get(self.name) or (
            f"{self.title} needs a part that this model was not trained with. "
            "Choose a model whose card lists it."
        )


class TapMethod(Method):
    """A read-out of a map that the encoder itself makes, whatever the class.

    Attributes:
        tap: its name among the encoder's layers; channels are averaged.
        lacks: why an encoder has no such map, a sentence.
    """

    tap: ClassVar[str]
    lacks: ClassVar[str]
    follows_verdict: ClassVar[bool] = False

    @override
    def taps(self, model: Model) -> tuple[str, ...]:
        del model
        return (self.tap,)

    @override
    def map(
        self,
        model: Model,
        features: Features,
        target: int,
    ) -> Tensor:
        del model, target
        index = features.names.index(self.tap)
        return features.straight(features.maps[index].float().mean(1), index)

    @override
    def stride(self, model: Model, features: Features) -> float:
        del model
        return features.strides[features.names.index(self.tap)]

    @override
    def unavailable(self, model: Model) -> str | None:
        return None if self.tap in model.encoder.layers else self.lacks


_METHODS: Registry[Method] = Registry("method")
_M = TypeVar("_M", bound=type[Method])


def register(cls: _M) -> _M:
    """Puts a method into the table.

    Raises:
        ValueError: the name is taken.
        TypeError: it is no Method, or has no title.
    """
    if not issubclass(cls, Method) or not getattr(cls, "title", ""):
        raise TypeError(f"{cls.__name__} is no Method with a title.")
    _METHODS.add(cls.name, cast("Method", cls()))
    return cls


def get_method(name: str) -> Method:
    """The method of that name.

    Args:
        name: of the table; "NAME@LAYER" for a read-out at another layer of the
            encoder than the last.

    Raises:
        UnknownNameError: no such method; names the choices.
        ConfigError: the method cannot be read at a layer of one's choice.
    """
    plugins()
    base, at, layer = name.partition("@")
    method = _METHODS[base]
    if not at:
        return method
    if not method.reads_layers:
        raise ConfigError(
            f"{method.title} reads one layer only: leave “@{layer}” out. Layers can "
            "be chosen for "
            f"{', '.join(key for key, item in _METHODS.items() if item.reads_layers)}."
        )
    return type(method)(layer)


def list_methods(model: Model | None = None) -> list[str]:
    """Names of all methods, or of those that a model supports."""
    plugins()
    if model is None:
        return list(_METHODS)
    return [name for name, item in _METHODS.items() if item.unavailable(model) is None]


def own_methods(model: Model) -> list[str]:
    """Names of the methods that a model was built for: those of its own heads.

    Read-outs that take any classifier are not among them, unless it has no map of its
    own: then it is Grad-CAM. An encoder without heads has Eigen-CAM. Of a model that
    pools tiles they are attention, single tiles and, last, evidence.
    """
    here = list_methods(model)
    own = [name for name in here if name in model.heads or get_method(name).pools_tiles]
    own.sort(key=lambda name: get_method(name).signed)  # evidence is the last word
    return own or ["eigencam" if model.classifier is None else "gradcam"]


def default_methods(model: Model) -> list[str]:
    """Names of the methods whose maps are made where nobody says which.

    Those of the model's card; of a model that pools tiles also evidence and single
    tiles, which cards from before there were such maps do not name.
    """
    own = own_methods(model)
    told = list(model.card.methods) if model.card else own
    if not any(get_method(name).pools_tiles for name in told):
        return told
    tiles = [name for name in own if get_method(name).pools_tiles]
    return list(dict.fromkeys([*told, *tiles]))


def method_title(name: str) -> str:
    """The name as its paper writes it, e.g. "PixelCAM"; with the layer, if chosen."""
    method = get_method(name)
    at = f" at {method.layer}" if method.layer else ""
    return f"{method.title}{at}"


def unavailable(model: Model, name: str) -> str | None:
    """Why a model does not support a method, in words; None if it does."""
    return get_method(name).unavailable(model)
