"""From an image to features, once: read, bring to the network's size, encode."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_wsol.config import InferenceConfig
from napari_wsol.encoders import Features, TileEncoder, nominal_offset, preprocess
from napari_wsol.errors import ImageError
from napari_wsol.images.pixel_size import LIMITS_UM
from napari_wsol.images.preprocessing import fitted_shape, prepare, read_whole, to_grey
from napari_wsol.images.resample import read_region, region_shape
from napari_wsol.images.tiling import TileGrid, round_up
from napari_wsol.inference.augmentation import AS_IT_IS
from napari_wsol.inference.cache import EncodedImage
from napari_wsol.jobs import ignore_progress
from napari_wsol.methods import evaluating

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    import numpy.typing as npt
    from torch import Tensor, nn

    from napari_wsol.encoders import Encoder
    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.slide import Slide
    from napari_wsol.images.tiling import Tile
    from napari_wsol.inference.augmentation import Augmentation
    from napari_wsol.inference.cache import FeatureCache
    from napari_wsol.jobs import Progress
    from napari_wsol.methods import Model

LARGEST_PIECE = 12_000_000
"""Pixels of the network's input that go through at once."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """How the network sees an image.

    Attributes:
        downsample: level-0 pixels a pixel of the network's input, (y, x).
        shape: rows and columns of the network's input that show the image.
        origin: network pixels left out above and to the left, (y, x).
        note: what had to be assumed, a sentence; empty if nothing.
        padded: rows and columns of the network's input once it is filled up to whole
            cells, or to its fixed size; (0, 0) where that is not asked.
        mirrored: whether rows, and whether columns of that input run the other way.
    """

    downsample: tuple[float, float]
    shape: tuple[int, int]
    origin: tuple[int, int] = (0, 0)
    note: str = ""
    padded: tuple[int, int] = (0, 0)
    mirrored: tuple[bool, bool] = (False, False)

    def place(
        self, stride: tuple[float, float]
    ) -> tuple[tuple[float, float], tuple[float, float]]:
        """Scale and translate, in level-0 pixels, of a map on the nominal grid.

        Args:
            stride: network pixels a cell, (y, x).
        """
        scale = (stride[0] * self.downsample[0], stride[1] * self.downsample[1])
        start = (
            self.origin[0] * self.downsample[0],
            self.origin[1] * self.downsample[1],
        )
        return scale, (
            start[0] + (scale[0] - 1) / 2,
            start[1] + (scale[1] - 1) / 2,
        )

    def edges(
        self, axis: int, start: int, step: int, count: int
    ) -> npt.NDArray[np.float64]:
        """(count + 1,) borders, in level-0 pixels, of pieces of the network's input.

        Args:
            axis: 0 for rows, 1 for columns.
            start: network pixel at which the first begins.
            step: network pixels a piece; the last may be cut.
            count: how many.
        """
        at = np.minimum(start + np.arange(count + 1) * step, self.shape[axis])
        return (at + self.origin[axis]) * self.downsample[axis]


def geometry(
    slide: Slide,
    model: Model,
    mpp: float | None = None,
    augmentation: Augmentation = AS_IT_IS,
) -> Geometry:
    """At which size the network sees an image.

    Args:
        slide: the image.
        model: says at which size, or at which µm a pixel, it was trained.
        mpp: µm a level-0 pixel, where the person knows better than the file.
        augmentation: the view of the image.
    """
    how = model.preprocessing
    if how.size is not None:
        shape = fitted_shape(slide.shape, how)
        downsample = (slide.shape[0] / shape[0], slide.shape[1] / shape[1])
        padded = (how.size, how.size)
        return Geometry(
            downsample, shape, padded=padded, mirrored=augmentation.mirrored
        )
    spec, note, scalar = model.spec, "", 1.0
    if spec.mpp is not None:
        known = mpp or slide.mpp
        why = "is not known"
        if known is not None and spec.mpp <= LIMITS_UM[1] < known:
            why = f"is {known:g} µm, and the model is one for microscopes"
            known = None
        if known is None:
            known = spec.native_mpp or spec.mpp
            note = (
                f"The pixel size of {slide.name} {why}; "
                f"{known:g} µm was assumed, as in the training images."
            )
        scalar = spec.mpp / known
    scalar /= augmentation.scale
    shape, origin = region_shape(slide.shape, scalar), (0, 0)
    if isinstance(model.encoder, TileEncoder):
        shape, origin = _whole_tiles(shape, model.encoder.side)
    return Geometry(
        (scalar, scalar),
        shape,
        origin,
        note=note,
        padded=(
            least_side(shape[0], model.encoder),
            least_side(shape[1], model.encoder),
        ),
        mirrored=augmentation.mirrored,
    )


def _whole_tiles(
    shape: tuple[int, int], side: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """The central whole tiles of an image and where they begin.

    The rim that fills no tile is left out on both sides, as A-MIL's centre crop does
    (torchvision's, which rounds halves to even, like Python). An image that is smaller
    than a tile is kept whole; the network's input is then mirrored up to a tile.
    """
    whole = (shape[0] // side * side or shape[0], shape[1] // side * side or shape[1])
    origin = (round((shape[0] - whole[0]) / 2), round((shape[1] - whole[1]) / 2))
    return whole, origin


@contextmanager
def interruptible(module: nn.Module, check: Callable[[], None]) -> Generator[None]:
    """Calls ``check`` before every layer: a long forward pass can be stopped."""

    def before(_module: nn.Module, _inputs: object) -> None:
        check()

    leaves = [item for item in module.modules() if not [*item.children()]]
    handles = [item.register_forward_pre_hook(before) for item in leaves]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def encode(
    slide: Slide,
    model: Model,
    *,
    layers: Sequence[str] = (),
    mpp: float | None = None,
    augmentation: Augmentation = AS_IT_IS,
    config: InferenceConfig | None = None,
    cache: FeatureCache | None = None,
    report: Progress = ignore_progress,
    check: Callable[[], None] = lambda: None,
) -> tuple[Features, Geometry]:
    """The features of a whole image, tile by tile, from the cache where possible.

    Every tile is read with a halo as wide as the receptive field reaches, so that the
    result does not depend on how the image was cut. Stopped half-way, the finished
    tiles stay in the cache and the next call goes on from there. A model with a fixed
    input size, or whose network runs in one piece, sees the whole image at once.

    Args:
        slide: the image.
        model: gives the encoder.
        layers: of the encoder, whose maps are wanted beside the model's taps.
        mpp: µm a level-0 pixel, where the person knows better than the file.
        augmentation: the view of the image.
        config: tile size.
        cache: keeps features between calls.
        report: called with (tiles done, tiles, message).
        check: called often; raises to stop.

    Returns:
        Features of one image, maps (1, C, h, w) on the CPU, and their geometry. Those
        of a mirrored view are what the network made of it, mirrored as it is.

    Raises:
        ImageError: it is too large for a network that runs in one piece.
    """
    config = config or InferenceConfig()
    seen = geometry(slide, model, mpp, augmentation)
    encoder = model.encoder
    image, grid = held(slide, model, seen, config, cache=cache, layers=layers)
    with (
        encoder.also(layers),
        evaluating(model),
        torch.no_grad(),
        interruptible(encoder, check),
    ):
        if model.in_one_piece:
            if not image.done:
                check()
                image.fill(_encode_whole(slide, model, seen))
            report(1, 1, "")
        else:
            report(len(image.done), len(grid), "")
            for tile in grid:
                if tile.index not in image.done:
                    check()
                    image.store(tile, _encode_tile(slide, model, tile, seen))
                report(len(image.done), len(grid), "")
    return _mirrored_features(image.features(), seen), seen


def held(
    slide: Slide,
    model: Model,
    seen: Geometry,
    config: InferenceConfig,
    *,
    layers: Sequence[str] = (),
    cache: FeatureCache | None = None,
) -> tuple[EncodedImage, TileGrid]:
    """The features of a whole image, as far as they are there, and its tiles.

    Args:
        slide: the image.
        model: gives the encoder.
        seen: from :func:`geometry`.
        config: tile size.
        layers: of the encoder, whose maps are wanted beside the model's taps.
        cache: where they are, or begin to be kept.
    """
    encoder = model.encoder
    fingerprint = model.encoder_fingerprint()  # of the model's own taps
    with encoder.also(layers):
        key = (
            slide.fingerprint(),
            fingerprint,
            encoder.taps,
            model.preprocessing,
            tuple(round(item, 6) for item in seen.downsample),
            seen.mirrored,
            _core(seen.shape, config, model),
        )
        image = cache.get(key) if cache is not None else None
        if image is None:
            image = _empty(seen, model)
            if cache is not None:
                cache.put(key, image)
    return image, tile_grid(seen, model, config)


def tile_grid(seen: Geometry, model: Model, config: InferenceConfig) -> TileGrid:
    """The tiles in which an image that is held whole goes through the network."""
    encoder, core = model.encoder, _core(seen.shape, config, model)
    return TileGrid(seen.shape, core=core, halo=encoder.halo, stride=encoder.stride)


def network_input(slide: Slide, model: Model, seen: Geometry) -> Tensor:
    """(1, C, H, W): the whole image as the network sees it, on its device."""
    if model.preprocessing.size is not None:
        array = prepare(read_whole(slide, model.preprocessing), model.preprocessing)
        return _mirrored(torch.from_numpy(array)[None].to(model.device), seen)
    (top, left), (height, width) = seen.origin, seen.shape
    pixels = read_region(slide, top, left, height, width, seen.downsample[0])
    return _mirrored(to_network(pixels, model), seen)


def _mirrored(x: Tensor, seen: Geometry) -> Tensor:
    """Rows and columns of (..., H, W) the other way, where the view is so; or back."""
    axes = [axis - 2 for axis in (0, 1) if seen.mirrored[axis]]
    return x.flip(axes) if axes else x


def _mirrored_features(features: Features, seen: Geometry) -> Features:
    if not any(seen.mirrored):
        return features
    maps = tuple(_mirrored(item, seen) for item in features.maps)
    return replace(features, maps=maps)


def read_window(slide: Slide, seen: Geometry, tile: Tile) -> Rgb:
    """A tile's window, (H, W, 3) uint8 at the network's size.

    Raises:
        UnreadableImageError: the file is damaged there.
    """
    return read_region(
        slide,
        tile.window_y + seen.origin[0],
        tile.window_x + seen.origin[1],
        tile.window_height,
        tile.window_width,
        seen.downsample[0],
    )


def _empty(seen: Geometry, model: Model) -> EncodedImage:
    """Room for the features of an image; one that is seen at once brings its own."""
    encoder = model.encoder
    if model.in_one_piece:
        return EncodedImage([], encoder.channels, encoder.strides, encoder.offsets)
    sizes = zip(
        encoder.cells(least_side(seen.shape[0], encoder)),
        encoder.cells(least_side(seen.shape[1], encoder)),
        strict=True,
    )
    return EncodedImage(
        list(sizes), encoder.channels, encoder.strides, encoder.offsets, encoder.taps
    )


def _core(shape: tuple[int, int], config: InferenceConfig, model: Model) -> int:
    """Side of a tile's core: small images go through in one piece."""
    side, step = max(shape), model.encoder.window or model.encoder.stride
    whole = side <= config.whole or model.in_one_piece
    return round_up(side if whole else config.core, step)


def least_side(length: int, encoder: Encoder) -> int:
    """``length`` rounded up to whole cells of an encoder, and to one cell at least.

    Networks that do not pad need several strides of input for their first cell.
    """
    length = round_up(length, encoder.stride)
    while min(encoder.cells(length)) < 1:
        length += encoder.stride
    return length


def to_network(pixels: np.ndarray, model: Model) -> Tensor:
    """Pixels as network input, mirrored up to whole cells, on the model's device.

    Args:
        pixels: (H, W, 3) or (N, H, W, 3) uint8.
        model: says how.

    Returns:
        (N, C, H', W') float32, N = 1 for one image.
    """
    how = model.preprocessing
    batch = torch.from_numpy(network_pixels(pixels, model))
    if model.device.type == "cuda":
        # From pinned memory the copy goes on beside the network; bytes, not floats.
        batch = batch.pin_memory().to(model.device, non_blocking=True)
    return preprocess(batch.to(model.device), how.mean, how.std)


def network_pixels(
    pixels: npt.NDArray[np.uint8], model: Model
) -> npt.NDArray[np.uint8]:
    """What :func:`to_network` brings to the network, as pixels.

    Padding with zeros instead of mirroring would put an edge into the last row of cells
    that is stronger than anything in the image.

    Args:
        pixels: (H, W, 3) or (N, H, W, 3) uint8.
        model: says how.

    Returns:
        (N, H', W', C) uint8, N = 1 for one image.
    """
    how = model.preprocessing
    pixels = pixels if pixels.ndim == 4 else pixels[None]
    height, width = pixels.shape[1:3]
    down = least_side(height, model.encoder) - height
    right = least_side(width, model.encoder) - width
    if down or right:
        pixels = np.pad(
            pixels, ((0, 0), (0, down), (0, right), (0, 0)), mode="symmetric"
        )
    if how.grey or how.channels == 1:
        grey = np.stack([to_grey(item) for item in pixels])
        pixels = np.repeat(grey[..., None], how.channels, axis=-1)
    return np.ascontiguousarray(pixels)


def _encode_whole(slide: Slide, model: Model, seen: Geometry) -> Features:
    """The maps of a whole image that goes through at once.

    At a model's own size they lie as its authors place them: whatever the padding of
    the layers, their code stretches each map over the whole input, and a cell is that
    share of it.
    """
    rows, columns = seen.padded
    if rows * columns > LARGEST_PIECE and model.preprocessing.size is None:
        raise ImageError(
            f"This network is not cut into tiles: it sees an image at once, and "
            f"{slide.name} is {rows} × {columns} pixels to it, which is too large. "
            "Give the model an input size (wrap(…, size=…)), crop the part that you "
            "want to look at, or choose another model."
        )
    x = network_input(slide, model, seen)
    found: Features = model.encoder(x)
    strides, offsets = found.strides, found.offsets
    if model.preprocessing.size is not None:
        strides = tuple(x.shape[-1] / item.shape[-1] for item in found.maps)
        offsets = tuple(nominal_offset(item) for item in strides)
    # Kept the way the image lies, like tiles.
    maps = tuple(_mirrored(item, seen).cpu() for item in found.maps)
    return Features(maps, strides, offsets, found.names)


def _encode_tile(
    slide: Slide, model: Model, tile: Tile, seen: Geometry
) -> tuple[Tensor, ...]:
    """The maps of a tile's core, each (C, h, w) on the CPU, as the image lies."""
    x = _mirrored(to_network(read_window(slide, seen, tile), model), seen)
    features = _mirrored_features(model.encoder(x), seen)
    rows, columns = tile.height, tile.width
    if any(seen.mirrored):
        # To the end of the deepest cell: there a mirrored map begins.
        rows, columns = (round_up(n, model.encoder.stride) for n in (rows, columns))
    core = features.part(tile.y - tile.window_y, tile.x - tile.window_x, rows, columns)
    return tuple(item[0].cpu() for item in core.maps)
