"""How long an image is expected to take, before anybody has waited for it.

The time is a figure of the image, the model and the kind of machine, not a measurement:
what the layers compute and write a pixel, times the pixels of all windows, at what one
core of an ordinary processor does in a second, times all cores but the one that is left
to the window. Measured rates were not taken. On a machine that is busy they were six
times lower than on the same machine at rest, so the same image would have opened in one
way today and in another tomorrow. The figure is right within a factor of about two,
which is enough to choose between a bar and maps that come in bit by bit; *Estimate*
times the tiles themselves.

An image is *gradual* when it is expected to take longer than ten seconds, or is large
(:mod:`~napari_wsol.slides.large`). That decides how it comes in, and nothing else: one
that can be held whole is held whole all the same, with the same features, maps, rounds
and refits as if it had come at once (:mod:`~napari_wsol.slides.held_image`).

A graphics card reads in seconds whatever can be held whole, so nothing but large images
is gradual there.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import nn

from napari_wsol.encoders import VectorEncoder
from napari_wsol.inference.encode import least_side, tile_grid
from napari_wsol.methods import evaluating
from napari_wsol.slides.large import is_large

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_wsol.images.tiling import Tile
    from napari_wsol.inference.view import ModelView
    from napari_wsol.methods import Model

GRADUAL_SECONDS = 10.0
"""Whoever waits longer than this wants to see something meanwhile."""

OPERATIONS_A_SECOND = 4e10
"""Multiplications and additions of one core."""
VALUES_A_SECOND = 5e8
"""Of the outputs of layers, written and read again by one core."""

_SIDE = 64
"""Network pixels a side, at least, of what the layers are counted on."""

_known: WeakKeyDictionary[Model, float] = WeakKeyDictionary()
_counting = threading.Lock()


def is_gradual(view: ModelView) -> bool:
    """Whether the maps of an image come in tile by tile, so that one can look at once.

    The same for an image, a model and a machine, whatever else runs there.
    """
    if view.model.in_one_piece:
        return False
    if is_large(view.slide, view.model, view.mpp, view.config.image_bytes):
        return True
    grid = tile_grid(view.geometry(), view.model, view.config)
    return is_long(grid, view.model)


def is_long(tiles: Iterable[Tile], model: Model) -> bool:
    """Whether nobody should wait for some tiles without seeing anything."""
    return expected_seconds(tiles, model) > GRADUAL_SECONDS


def expected_seconds(tiles: Iterable[Tile], model: Model) -> float:
    """How long a processor takes for some tiles; 0 where a graphics card does it."""
    if model.device.type != "cpu":
        return 0.0
    pixels = sum(item.window_height * item.window_width for item in tiles)
    cores = max(1, (os.cpu_count() or 2) - 1)
    return pixels * seconds_a_pixel(model) / cores


def seconds_a_pixel(model: Model) -> float:
    """Seconds of one core for a pixel of the input of a model's encoder.

    Counted on one small input when it is first asked, which is the only time that the
    network runs for it; 0 where every image is seen at one size, or none.
    """
    if model.in_one_piece or isinstance(model.encoder, VectorEncoder):
        return 0.0
    with _counting:
        if model not in _known:
            _known[model] = _counted(model)
        return _known[model]


def _counted(model: Model) -> float:
    encoder = model.encoder
    side = least_side(_SIDE, encoder)
    operations = values = 0

    def count(layer: nn.Module, _inputs: object, output: object) -> None:
        nonlocal operations, values
        if not isinstance(output, torch.Tensor):
            return
        values += output.numel()
        weight = getattr(layer, "weight", None)
        if isinstance(layer, nn.Conv2d | nn.Linear) and weight is not None:
            operations += 2 * output.numel() * weight[0].numel()

    leaves = [item for item in encoder.modules() if not any(item.children())]
    handles = [item.register_forward_hook(count) for item in leaves]
    try:
        with evaluating(model), torch.inference_mode():
            channels = model.preprocessing.channels
            encoder(torch.zeros(1, channels, side, side, device=model.device))
    finally:
        for handle in handles:
            handle.remove()
    taken = operations / OPERATIONS_A_SECOND + values / VALUES_A_SECOND
    return taken / side**2
