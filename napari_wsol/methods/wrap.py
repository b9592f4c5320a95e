"""Any network from an image to logits as a model, with all read-outs of a classifier.

Hooks take the maps of its layers while it runs; gradients come from running it again.
A map lies as published code draws it, stretched over the input.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import partial
from math import isqrt, prod
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import nn
from typing_extensions import override

from napari_wsol.devices import choose_device
from napari_wsol.encoders.base import Encoder, nominal_places
from napari_wsol.errors import ConfigError, WsolError
from napari_wsol.images.preprocessing import Preprocessing
from napari_wsol.methods.card import Card
from napari_wsol.methods.heads import Head
from napari_wsol.methods.model import Model, digest_of, evaluating
from napari_wsol.methods.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

    from napari_wsol.encoders import Features

LOGITS = "logits"
SIDE = 224
"""Of the input on which a network that takes any size is tried."""
SIZES = "give the input that it was made for, wrap(…, size=…), or another layer."
MOST_PREFIX = 8
"""Tokens (class, registers) that may go before those of the patches."""


def wrap(
    module: nn.Module,
    layer: str | nn.Module | None = None,
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
        module: from (N, channels, H, W) float32 to logits (N, K), or (N, 1) for two
            classes; in a dict or tuple as "logits", "out", or the only ones.
        layer: a module in it, or its dotted name, that gives (N, C, h, w), (N, h, w, C)
            or tokens (N, T, C) of a square; by default the last that the logits read.
        classes: names, in the order of the logits.
        mean: of each channel on the scale [0, 1]; ImageNet's by default, like ``std``.
        std: of each channel.
        size: side that images are stretched to; None: theirs, up to whole cells.
        channels: 3, or 1 for grey.
        multi_label: whether an image may show several classes.
        device: that it is moved to, if any.

    Raises:
        ConfigError: it cannot be wrapped like this; says what to give.
    """
    module = getattr(module, "_orig_mod", module)  # hooks do not see compiled layers
    if isinstance(module, torch.jit.ScriptModule):
        raise ConfigError("TorchScript hides its layers: wrap the network before it.")
    if {item.dtype for item in module.parameters()} != {torch.float32}:
        raise ConfigError("A network is wrapped with float32 weights: module.float().")
    if isinstance(classes, str) or not 0 < len(classes) == len({*classes}):
        raise ConfigError('Name each class once: wrap(…, classes=["no", "yes"]).')
    if device is not None:
        module.to(choose_device(device))
    given = {"mean": mean, "std": std}
    named: Any = {key: tuple(map(float, item)) for key, item in given.items() if item}
    how = Preprocessing(channels=channels, size=size, **named)
    if max(how.mean) > 1:
        raise ConfigError("mean and std are on the scale 0 to 1: divide them by 255.")
    with evaluating(module), torch.inference_mode(mode=False), torch.no_grad():
        encoder = Wrapped(module, layer, len(classes), how)
        head = WrappedHead(encoder)
    kind, sha = type(module).__name__, digest_of(module)
    spec = ModelSpec(
        encoder=f"wrapped in Python: {kind}, sha256 of weights {sha}",
        classes=tuple(classes),
        heads=(),
        multi_label=multi_label or len(classes) == 1,
        preprocessing=how,
    )
    model = Model(spec, encoder)
    methods = ("cam", "gradcam") if head.has_maps else ("gradcam",)
    model.heads["cam" if head.has_maps else LOGITS] = head
    model.card = Card(
        name=f"{kind}-{sha[:8]}",
        title=f"{kind} (wrapped)",
        summary=f"A network of your own, read at {encoder.taps[-1]}.",
        spec=spec,
        methods=methods,
        primary=methods[0],
        origin=spec.encoder,
        sha256=sha,
    )
    return model


class WrappedHead(Head):
    """The logits as the network gives them; class maps where CAM is exact."""

    def __init__(self, encoder: Wrapped) -> None:
        super().__init__()
        logits, mean = (item.mean((-2, -1)) for item in encoder(encoder.probe).maps)
        same = partial(torch.allclose, logits, rtol=1e-4, atol=1e-4)
        shape = (logits.shape[1], mean.shape[1])
        layers = [k for k in encoder.module.modules() if isinstance(k, nn.Linear)]
        fit = (k for k in layers if k.weight.shape == shape and same(k(mean)))
        self.linear, self.classes = next(fit, None), encoder.classes
        self.has_maps = self.linear is not None

    @override
    def forward(self, features: Features) -> Tensor:
        return features.maps[features.names.index(LOGITS)].flatten(1)

    @override
    def class_maps(self, features: Features) -> Tensor:
        weight = cast("nn.Linear", self.linear).weight
        rows = weight if len(weight) == self.classes else torch.cat([-weight, weight])
        return torch.einsum("kc,nchw->nkhw", rows, features.last)


class Wrapped(Encoder):
    """A network of any code. Its taps: "logits", of one cell, and the chosen layer."""

    in_one_piece: ClassVar[bool] = True
    one_cell: ClassVar[tuple[str, ...]] = (LOGITS,)
    lacks: ClassVar[Mapping[str, str]] = {
        "cam": "CAM needs logits that are a linear layer of the mean of this layer's "
        "map, and this network's are not. Choose Grad-CAM.",
        "folder": "A network wrapped in Python cannot be saved as a model: its code is "
        "not in its weights. Keep your script, and export maps and masks.",
    }

    def __init__(
        self, module: nn.Module, layer: object, classes: int, how: Preprocessing
    ) -> None:
        super().__init__()
        self.module, self._side, self.classes = module, how.size or SIDE, classes
        named = cast("Iterable[tuple[str, nn.Module]]", module.named_modules())
        parts = dict(named)
        shape = (2, how.channels, self._side, self._side)
        probe = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        self.probe = probe.to(next(module.parameters()).device)
        shapes: dict[str, tuple[int, ...]] = {}

        def look(name: str, output: object) -> None:
            shapes.pop(name, None)  # in the order in which they end
            shapes[name] = tuple(getattr(output, "shape", ()))

        self._hooked(self.probe, [name for name in parts if name], look)
        tried = {name: _layout(shape, parts[name]) for name, shape in shapes.items()}
        self._layouts = {
            name: found
            for name, found in tried.items()
            # At any size only what fills its input has a place.
            if found and (how.size or self._side % found[2] == 0)
        }
        wanted = [key for key, item in parts.items() if layer in (key, item)]
        if layer is not None and not self._layouts.keys() & wanted:
            name = wanted[0] if wanted else str(layer)
            near = ", ".join(difflib.get_close_matches(name, self._layouts, 9, 0.3))
            raise ConfigError(
                f"No map is given by “{name}”, for two images {shapes.get(name, ())}: "
                "that is (N, C, h, w), (N, h, w, C) or a square of tokens (N, T, C), "
                f"and fills the input. Give size=…, or a layer like {near or 'others'}."
            )
        names = [k for k in self._layouts if not isinstance(parts[k], nn.Linear)]  # qkv
        if not any(map(self._is_read, wanted or reversed(names))) and not wanted:
            raise ConfigError("The logits depend on no layer's map: name one as layer.")

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
            return _logits(self.module(x), len(x), self.classes)
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            if isinstance(error, WsolError | torch.OutOfMemoryError):
                raise
            raise ConfigError(
                f"The network does not take {tuple(x.shape)} ({error}): {SIZES}"
            ) from error
        finally:
            for handle in handles:
                handle.remove()

    def _is_read(self, layer: str) -> bool:
        """Chooses a layer; says whether the logits depend on its map."""
        every = {LOGITS: self.classes, **{k: v[1] for k, v in self._layouts.items()}}
        every[layer] = every.pop(layer)  # the last is the deepest to whoever reads it
        self.choose((LOGITS, layer), every)
        with torch.enable_grad():
            leaf, found = self.trace(self.probe[:1].clone().requires_grad_(), layer)
            if not (total := found.maps[0].sum()).requires_grad:
                return False
            (slope,) = torch.autograd.grad(total, leaf, allow_unused=True)
        slope = cast("Tensor | None", slope)
        return slope is not None and bool(slope.any())

    @override
    def places(self) -> dict[str, tuple[int, float, int]]:
        sides = {LOGITS: 1} | {name: item[2] for name, item in self._layouts.items()}
        rounded = {name: max(1, round(self._side / n)) for name, n in sides.items()}
        return nominal_places(rounded)

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
            is_last, _, side = self._layouts[name]
            rows, columns = (round(n * side / self._side) for n in x.shape[-2:])
            values, before = output, output[:, :0]
            if is_last:
                tokens = output.flatten(1, -2)
                before, values = tokens.tensor_split((-rows * columns,), 1)
                values = values.reshape(len(x), rows, columns, -1).movedim(-1, 1)
            if values.shape[-2:] != (rows, columns):
                return output  # of a layer that runs several times the last map counts
            if name == leaf:  # what lies before it needs no gradient
                values = values.detach().requires_grad_().clone()
                last = (
                    torch.cat([before, values.flatten(2).mT], 1) if is_last else values
                )
                output = last.reshape(output.shape)
            found[name] = values
            return output

        logits = self._hooked(x, self.map_taps, look)
        for name in {*self.map_taps} - {*found}:
            raise ConfigError(f"The map of {name} does not fill its input: {SIZES}")
        return {LOGITS: logits[..., None, None], **found}


def _layout(shape: tuple[int, ...], module: nn.Module) -> tuple[bool, int, int] | None:
    """Whether channels are last, how many, and the side of two square images' maps."""
    if len(shape) not in (3, 4) or shape[0] != 2 or "Adaptive" in type(module).__name__:
        return None
    tokens = prod(shape[1:-1])
    side, channels, is_last = isqrt(tokens), shape[-1], True
    doubt = shape[1] == shape[-1] and isinstance(module, nn.LayerNorm | nn.Linear)
    if len(shape) == 4 and shape[2] == shape[3] and not doubt:
        side, channels, is_last = shape[2], shape[1], False
    elif tokens - side**2 > MOST_PREFIX:
        return None
    return (is_last, channels, side) if side > 1 else None


def _logits(given: object, count: int, classes: int) -> Tensor:
    """(N, K) in what a network gives; K is 1 where two classes have one logit."""
    output: Any = given
    if isinstance(given, Mapping):
        table = cast("Mapping[str, object]", given)
        output = table.get(LOGITS, table.get("out", [*table.values()]))
    output = getattr(output, LOGITS, output)
    parts: list[Any] = [*output] if isinstance(output, tuple | list) else [output]
    shapes = [tuple(getattr(item, "shape", ())) for item in parts]
    fits = (count * classes, count if classes == 2 else count * classes)
    rows = zip(parts, shapes, strict=True)
    found = [item for item, of in rows if of[:1] == (count,) and prod(of) in fits]
    if len(found) != 1:
        raise ConfigError(
            f"For {classes} classes a network gives logits {(count, classes)}, or one "
            f"for two; this one gives {', '.join(map(str, shapes))}. Name its classes, "
            "or wrap a module that returns the logits alone."
        )
    return found[0].reshape(count, -1)
