"""Any network from an image to logits as a model, with all read-outs of a classifier.

Hooks take the maps of its layers while it runs; gradients come from running it again.
A map lies as published code draws it, stretched over the input.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from math import isqrt
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn
from typing_extensions import override

from napari_wsol.devices import choose_device
from napari_wsol.encoders import Encoder, nominal_offset
from napari_wsol.errors import ConfigError, WsolError
from napari_wsol.images.preprocessing import Preprocessing
from napari_wsol.methods.card import Card
from napari_wsol.methods.heads import Head
from napari_wsol.methods.model import Model, digest_of, evaluating
from napari_wsol.methods.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_wsol.encoders import Features

Layer = str | nn.Module | None
LOGITS = "logits"
SIDE = 224
"""Of the input on which a network without a size is tried, and twice that."""
MOST_PREFIX = 8
"""Tokens (class, registers) that may go before those of the patches."""


def wrap(
    module: nn.Module,
    layer: Layer = None,
    classes: Sequence[str] = (),
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    size: int | None = None,
    channels: int = 3,
    multi_label: bool = False,
    device: str | None = None,
) -> Model:
    """A network as a model for ``localize`` and ``Session.use``; it is not copied.

    Args:
        module: from (N, ``channels``, H, W) float32 to logits (N, K), or (N, 1) for two
            classes; of a dict or tuple the entry "logits" or "out", or the only one.
        layer: a module in it or its dotted name; by default the last one that gives a
            map on which the logits depend. Maps are (N, C, h, w), (N, h, w, C), or
            tokens (N, T, C) of a square.
        classes: names, in the order of the logits.
        mean: of each channel on the scale [0, 1]; ImageNet's by default, like ``std``.
        std: of each channel.
        size: side that images are stretched to; their own if None, mirrored up to
            whole cells.
        channels: 3, or 1 for grey.
        multi_label: whether an image may show several classes.
        device: that it is moved to, if any.

    Raises:
        ConfigError: it cannot be wrapped like this; says what to give.
    """
    weights = next(module.parameters(), None)
    if weights is None or weights.dtype != torch.float32:
        raise ConfigError("A network is wrapped with float32 weights: module.float().")
    if isinstance(classes, str) or not 0 < len(classes) == len({*classes}):
        raise ConfigError('Name each class once: wrap(…, classes=["no", "yes"]).')
    if device is not None:
        module.to(choose_device(device))
    given = {"mean": mean, "std": std}
    named: Any = {key: tuple(map(float, item)) for key, item in given.items() if item}
    how = Preprocessing(channels=channels, size=size, **named)
    with evaluating(module), torch.inference_mode(mode=False):
        encoder = Wrapped(module, layer, len(classes), how)
        head = WrappedHead(encoder)
    sha = digest_of(module)
    origin = f"wrapped in Python: {type(module).__name__}, sha256 of weights {sha}"
    spec = ModelSpec(
        encoder=origin,
        classes=tuple(classes),
        heads=(),
        multi_label=multi_label,
        preprocessing=how,
    )
    model = Model(spec, encoder)
    model.heads["cam" if head.has_maps else LOGITS] = head
    methods = ("cam", "gradcam") if head.has_maps else ("gradcam",)
    model.card = Card(
        name=f"{type(module).__name__}-{sha[:8]}",
        title=f"{type(module).__name__} (wrapped)",
        summary=f"A network of your own, read at {encoder.taps[-1]}.",
        spec=spec,
        methods=methods,
        primary=methods[0],
        origin=origin,
        limits=("Not for diagnosis.",),
        sha256=sha,
    )
    return model


class WrappedHead(Head):
    """The logits as the network gives them; class maps where CAM is exact."""

    def __init__(self, encoder: Wrapped) -> None:
        super().__init__()
        self.linear = encoder.behind_a_mean()
        self.has_maps = self.linear is not None

    @override
    def forward(self, features: Features) -> Tensor:
        return features.maps[features.names.index(LOGITS)].flatten(1)

    @override
    def class_maps(self, features: Features) -> Tensor:
        weight = cast("nn.Linear", self.linear).weight
        rows = weight if len(weight) > 1 else torch.cat([-weight, weight])
        return torch.einsum("kc,nchw->nkhw", rows, features.last)


class Wrapped(Encoder):
    """A network of any code. Its taps: "logits", of one cell, and the chosen layer."""

    in_one_piece: ClassVar[bool] = True
    one_cell: ClassVar[tuple[str, ...]] = (LOGITS,)
    lacks: ClassVar[Mapping[str, str]] = {
        "cam": "CAM needs logits that are a linear layer of the mean of this layer's "
        "map, and this network's are not. Choose Grad-CAM.",
        "folder": "A network that was wrapped in Python cannot be saved as a model: its "
        "code is not in its weights. Keep your script, and export maps and masks.",
    }

    def __init__(
        self, module: nn.Module, layer: Layer, classes: int, how: Preprocessing
    ) -> None:
        super().__init__()
        self.module, self._side, self._classes = module, how.size or SIDE, classes
        parts = dict(module.named_modules())
        if isinstance(layer, nn.Module):
            layer = next((name for name, item in parts.items() if item is layer), "")
        device = next(module.parameters()).device
        self._x = torch.randn(2, how.channels, self._side, self._side, device=device)
        shapes = self._shapes(self._x)
        twice = shapes if how.size else self._shapes(self._x.repeat(1, 1, 2, 2))
        self._layouts: dict[str, tuple[str, int, int]] = {}
        for name in shapes:
            is_last = isinstance(parts[name], nn.LayerNorm | nn.Linear)
            found, more = (
                _layout(one.get(name, ()), is_last) for one in (shapes, twice)
            )
            if how.size and found:
                self._layouts[name] = found
            elif (
                found and more and 2 * found[2] == more[2] and not self._side % found[2]
            ):
                # At any size only what fills its input, and grows with it, has a place.
                self._layouts[name] = (*more[:2], found[2])
        some = ", ".join([*self._layouts][-12:]) or "none"
        if layer is not None and layer not in self._layouts:
            near = ", ".join(difflib.get_close_matches(layer, shapes, 5, 0.3)) or "none"
            raise ConfigError(
                f"“{layer}” gives {shapes[layer] or 'no tensor'} for 2 images: no map "
                "(N, C, h, w) or (N, h, w, C), and no square of tokens (N, T, C), that "
                f"fills the input. Give size=…, or a layer of {some}."
                if layer in shapes
                else f"The network runs no layer “{layer}”; near are {near}. "
                f"Maps are given by {some}."
            )
        wanted = reversed(self._layouts) if layer is None else [layer]
        if not any(self._is_read(name) or name == layer for name in wanted):
            raise ConfigError("The logits depend on no layer's map: name one as layer.")

    def _shapes(self, x: Tensor) -> dict[str, tuple[int, ...]]:
        """What each module gives, in the order in which they end."""
        shapes: dict[str, tuple[int, ...]] = {}

        def look(name: str, output: object) -> object:
            shapes.pop(name, None)
            shapes[name] = tuple(getattr(output, "shape", ()))
            return output

        with torch.no_grad():
            self._hooked(x, [name for name, _ in self.module.named_modules()][1:], look)
        return shapes

    def _hooked(
        self, x: Tensor, names: Iterable[str], look: Callable[[str, Any], object]
    ) -> Tensor:
        """(N, K) logits; ``look`` sees what each layer gives, and may change it."""
        handles = [
            self.module.get_submodule(name).register_forward_hook(
                lambda _module, _inputs, output, name=name: look(name, output)
            )
            for name in names
        ]
        try:
            return _logits(self.module(x), len(x), self._classes)
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            if isinstance(error, WsolError | torch.OutOfMemoryError):
                raise
            raise ConfigError(
                f"The wrapped network does not take {tuple(x.shape)}: {error}. Give "
                "the input that it was made for: wrap(…, size=…, channels=…)."
            ) from error
        finally:
            for handle in handles:
                handle.remove()

    def _is_read(self, layer: str) -> bool:
        """Chooses a layer; says whether the logits depend on its map."""
        every = {LOGITS: self._classes, **{k: v[1] for k, v in self._layouts.items()}}
        every[layer] = every.pop(layer)  # the last is the deepest to whoever reads it
        self.choose((LOGITS, layer), every)
        with torch.enable_grad():
            leaf, found = self.trace(self._x[:1].clone().requires_grad_(), layer)
            if not (total := found.maps[0].sum()).requires_grad:
                return False
            slope = torch.autograd.grad(total, leaf, allow_unused=True)[0]
        return slope is not None and bool(slope.any())

    @override
    def places(self) -> dict[str, tuple[int, float, int]]:
        sides = {LOGITS: 1} | {name: item[2] for name, item in self._layouts.items()}
        strides = {name: max(1, round(self._side / n)) for name, n in sides.items()}
        return {name: (item, nominal_offset(item), 0) for name, item in strides.items()}

    def behind_a_mean(self) -> nn.Linear | None:
        """The linear layer whose logits of the map's mean are the network's."""
        with torch.no_grad():
            logits, values = self(self._x).maps
            mean = values.mean((-2, -1))
            shape = (logits.shape[1], mean.shape[1])
            for item in self.module.modules():
                is_it = isinstance(item, nn.Linear) and item.weight.shape == shape
                if is_it and torch.allclose(item(mean), logits.flatten(1), 1e-4, 1e-4):
                    return cast("nn.Linear", item)
        return None

    @property
    @override
    def readable_layers(self) -> tuple[str, ...]:
        return tuple(name for name in self.layers if name != LOGITS)

    @override
    def forward(self, x: Tensor) -> Features:
        return self.gather(self._run(x))

    @override
    def trace(self, x: Tensor, layer: str) -> tuple[Tensor, Features]:
        with self.also((layer,)):
            found = self._run(x, layer)
        return found[layer], self.gather(found)

    def _run(self, x: Tensor, leaf: str | None = None) -> dict[str, Tensor]:
        """The taps' maps by name; in-place layers behind them show, as in any hook."""
        found: dict[str, Tensor] = {}

        def look(name: str, output: Tensor) -> Tensor:
            order, _, side = self._layouts[name]
            rows, columns = (round(n * side / self._side) for n in x.shape[-2:])
            before, values = output[:, :0], output
            if order == "NTC":
                before, tokens = output.tensor_split((-rows * columns,), 1)
                values = tokens.unflatten(1, (rows, columns))
            values = values if order == "NCHW" else values.movedim(-1, 1)
            if name == leaf:  # what lies before it needs no gradient
                values = values.detach().requires_grad_().clone()
                output = values if order == "NCHW" else values.movedim(1, -1)
                if order == "NTC":
                    output = torch.cat([before, output.flatten(1, 2)], 1)
            found[name] = values
            return output

        logits = self._hooked(x, self.map_taps, look)
        return {LOGITS: logits[..., None, None], **found}


def _layout(shape: tuple[int, ...], is_last: bool) -> tuple[str, int, int] | None:
    """Order of axes, channels and side of an output's map for two square images.

    Where channels are as many as rows, ``is_last`` says whether they come last.
    """
    match shape:
        case (2, a, rows, columns) if rows == columns > 1 and not (
            is_last and a == rows
        ):
            return "NCHW", a, rows
        case (2, rows, columns, channels) if rows == columns > 1:
            return "NHWC", channels, rows
        case (2, tokens, channels) if tokens - isqrt(tokens) ** 2 <= MOST_PREFIX:
            return ("NTC", channels, isqrt(tokens)) if tokens > 3 else None
        case _:
            return None


def _logits(output: object, count: int, classes: int) -> Tensor:
    """(N, K) in what a network gives; K is 1 where two classes have one logit."""
    parts: Iterable[object] = [output]
    if isinstance(output, Mapping):
        table = cast("Mapping[str, object]", output)
        named = [table[key] for key in (LOGITS, "out") if key in table]
        parts = named[:1] or table.values()
    elif isinstance(output, tuple | list):
        parts = [getattr(output, LOGITS)] if hasattr(output, LOGITS) else output
    fits = {count * classes, count} if classes == 2 else {count * classes}
    parts = [item if isinstance(item, Tensor) else torch.empty(0) for item in parts]
    found = [item for item in parts if item.numel() in fits]
    if len(found) != 1:
        raise ConfigError(
            f"For {classes} classes a network gives logits {(count, classes)}, or one "
            f"for two; this one gives {', '.join(str(tuple(i.shape)) for i in parts)}. "
            "Name its classes, or wrap a module that returns the logits alone."
        )
    return found[0].reshape(count, -1)
