"""From an image to features, once, and from features to heatmaps, as often as asked."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from napari_wsol.config import InferenceConfig
from napari_wsol.encoders import preprocess
from napari_wsol.errors import ConfigError, MethodUnavailableError, NoResultError
from napari_wsol.feature_cache import EncodedImage
from napari_wsol.images.heatmap import Heatmap
from napari_wsol.images.readers import open_slide
from napari_wsol.images.resample import read_region, region_shape
from napari_wsol.images.tiling import TileGrid
from napari_wsol.methods import evaluating, get_method, list_methods

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.feature_cache import FeatureCache
    from napari_wsol.images.readers import Source
    from napari_wsol.images.slide import Slide
    from napari_wsol.images.tiling import Tile
    from napari_wsol.methods import Model

logger = logging.getLogger(__name__)

Progress = Callable[[int, int, str], None]


def ignore_progress(done: int, total: int, message: str) -> None:
    """A progress report that nobody reads."""
    del done, total, message


@dataclass(frozen=True, slots=True)
class Geometry:
    """How the network sees an image.

    Attributes:
        downsample: level-0 pixels a pixel of the network's input.
        shape: rows and columns of the network's input for the whole image.
        note: what had to be assumed, a sentence; empty if nothing.
    """

    downsample: float
    shape: tuple[int, int]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Localization:
    """What one image shows, and where.

    Attributes:
        scores: probability of each class.
        target: the class that was localized.
        heatmaps: one a method.
        notes: what a reader must know, a sentence each.
    """

    scores: dict[str, float]
    target: str
    heatmaps: dict[str, Heatmap]
    notes: tuple[str, ...] = ()


def choose_device(name: str = "auto") -> torch.device:
    """A device that works.

    "auto" takes a GPU only after a small convolution ran on it: an old card may be
    listed by a build that has no kernels for it.

    Raises:
        ConfigError: torch knows no such device, or it is not there.
    """
    if name != "auto":
        try:
            return _probe(name)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(
                f"The device “{name}” does not work here: {error}. "
                "Use “cpu”, or “auto” to let the program choose."
            ) from error
    for candidate in ("cuda", "mps"):
        backend = getattr(torch, candidate, None)
        if backend is None or not backend.is_available():
            continue
        try:
            return _probe(candidate)
        except RuntimeError as error:
            logger.warning("%s is there but does not work: %s", candidate, error)
    return torch.device("cpu")


def _probe(name: str) -> torch.device:
    """The device, after a small convolution ran on it."""
    device = torch.device(name)
    probe = nn.Conv2d(3, 4, 3).to(device)
    probe(torch.zeros(1, 3, 8, 8, device=device)).sum().item()
    return device


def geometry(slide: Slide, model: Model, mpp: float | None = None) -> Geometry:
    """At which size the network sees an image.

    Args:
        slide: the image.
        model: says at which µm a pixel it was trained.
        mpp: µm a level-0 pixel, where the person knows better than the file.
    """
    spec, note, downsample = model.spec, "", 1.0
    if spec.mpp is not None:
        known = mpp or slide.mpp
        if known is None:
            known = spec.native_mpp or spec.mpp
            note = (
                f"The pixel size of {slide.name} is not known; "
                f"{known:g} µm was assumed, as in the training images."
            )
        downsample = spec.mpp / known
    return Geometry(downsample, region_shape(slide.shape, downsample), note)


@contextmanager
def interruptible(module: nn.Module, check: Callable[[], None]) -> Generator[None]:
    """Calls ``check`` before every layer: a long forward pass can be stopped."""

    def before(_module: nn.Module, _inputs: object) -> None:
        check()

    leaves = [item for item in module.modules() if not any(item.children())]
    handles = [item.register_forward_pre_hook(before) for item in leaves]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _pad_to_stride(pixels: np.ndarray, stride: int) -> np.ndarray:
    """Mirrors an image at its lower and right border up to whole cells.

    Padding with zeros instead would put an edge into the last row of cells that is
    stronger than anything in the image.
    """
    height, width = pixels.shape[:2]
    down, right = -height % stride, -width % stride
    if not down and not right:
        return pixels
    return np.pad(pixels, ((0, down), (0, right), (0, 0)), mode="symmetric")


def encode(
    slide: Slide,
    model: Model,
    *,
    mpp: float | None = None,
    config: InferenceConfig | None = None,
    cache: FeatureCache | None = None,
    report: Progress = ignore_progress,
    check: Callable[[], None] = lambda: None,
) -> tuple[Features, Geometry]:
    """The features of a whole image, tile by tile, from the cache where possible.

    Every tile is read with a halo as wide as the receptive field reaches, so that the
    result does not depend on how the image was cut. Stopped half-way, the finished
    tiles stay in the cache and the next call goes on from there.

    Args:
        slide: the image.
        model: gives the encoder.
        mpp: µm a level-0 pixel, where the person knows better than the file.
        config: tile size.
        cache: keeps features between calls.
        report: called with (tiles done, tiles, message).
        check: called often; raises to stop.

    Returns:
        Features of one image, maps (1, C, h, w) on the CPU, and their geometry.
    """
    config = config or InferenceConfig()
    seen = geometry(slide, model, mpp)
    encoder = model.encoder
    core = _core(seen.shape, config)
    grid = TileGrid(seen.shape, core=core, halo=encoder.halo, stride=encoder.stride)
    key = (
        slide.fingerprint(),
        model.encoder_fingerprint(),
        round(seen.downsample, 6),
        core,
    )
    image = cache.get(key) if cache is not None else None
    if image is None:
        image = EncodedImage(
            seen.shape, encoder.channels, encoder.strides, encoder.offsets
        )
        if cache is not None:
            cache.put(key, image)
    total = len(grid)
    with evaluating(model), torch.inference_mode(), interruptible(encoder, check):
        for tile in grid:
            if tile.index not in image.done:
                check()
                image.store(tile, _encode_tile(slide, model, tile, seen.downsample))
            report(len(image.done), total, "")
    return image.features(), seen


def _core(shape: tuple[int, int], config: InferenceConfig) -> int:
    """Side of a tile's core: small images go through in one piece."""
    side = max(shape)
    return side if side <= config.whole else config.core


def _encode_tile(
    slide: Slide, model: Model, tile: Tile, downsample: float
) -> tuple[Tensor, ...]:
    """The maps of a tile's core, each (C, h, w) on the CPU."""
    encoder = model.encoder
    pixels = read_region(
        slide,
        tile.window_y,
        tile.window_x,
        tile.window_height,
        tile.window_width,
        downsample,
    )
    pixels = _pad_to_stride(pixels, encoder.stride)
    batch = torch.from_numpy(np.ascontiguousarray(pixels))[None].to(model.device)
    features: Features = encoder(preprocess(batch, encoder.mean, encoder.std))
    cores: list[Tensor] = []
    for values, stride in zip(features.maps, features.strides, strict=True):
        top = (tile.y - tile.window_y) // stride
        left = (tile.x - tile.window_x) // stride
        rows, columns = -(-tile.height // stride), -(-tile.width // stride)
        cores.append(values[0, :, top : top + rows, left : left + columns].cpu())
    return tuple(cores)


def make_heatmap(
    values: Tensor,
    *,
    stride: int,
    seen: Geometry,
    slide: Slide,
    method: str,
    target: str,
    round_index: int = 0,
) -> Heatmap:
    """Places a method's map on its image.

    Probabilities stay as they are; an unbounded score is min–max normalised over the
    image, a constant one becomes 0.

    Args:
        values: (h, w) as the method gives it.
        stride: network input pixels a cell.
        seen: how the network saw the image.
        slide: the image.
        method: name of the method.
        target: name of the class.
        round_index: refinement round.

    Raises:
        NoResultError: a value is not finite.
    """
    array = values.float().cpu().numpy().astype(np.float32)
    if not np.isfinite(array).all():
        raise NoResultError(
            f"The {method} map of {slide.name} has values that are not numbers. "
            "The weights are damaged or do not fit; run “napari-wsol models verify”."
        )
    low, high = float(array.min()), float(array.max())
    is_probability = get_method(method).is_probability
    notes: tuple[str, ...] = ()
    if not is_probability:
        array = (array - low) / (high - low) if high > low else np.zeros_like(array)
    if high <= low:
        notes = ("The map is the same everywhere: the model sees no difference.",)
    step = stride * seen.downsample
    return Heatmap(
        values=np.clip(array, 0.0, 1.0),
        scale=(step, step),
        translate=((step - 1) / 2, (step - 1) / 2),
        image_shape=slide.shape,
        method=method,
        target=target,
        is_probability=is_probability,
        raw_range=(low, high),
        round=round_index,
        notes=notes,
    )


def check_methods(model: Model, names: Sequence[str] | None) -> list[str]:
    """The methods to run: those asked for, or all that the model supports.

    Raises:
        UnknownNameError: no such method.
        MethodUnavailableError: the model does not support it; says why.
    """
    if names is None:
        return list_methods(model)
    if not names:
        raise MethodUnavailableError("Tick at least one method.")
    for name in names:
        reason = get_method(name).unavailable(model)
        if reason is not None:
            raise MethodUnavailableError(reason)
    return list(dict.fromkeys(names))


def localize(
    model: Model,
    source: Source,
    methods: Sequence[str] | None = None,
    target: str | None = None,
    *,
    mpp: float | None = None,
    config: InferenceConfig | None = None,
    cache: FeatureCache | None = None,
    report: Progress = ignore_progress,
    check: Callable[[], None] = lambda: None,
) -> Localization:
    """Says which class an image shows, and where the evidence for it is.

    Args:
        model: from :func:`napari_wsol.load_model`.
        source: a slide, a path, or an (H, W), (H, W, 3) or (H, W, 4) array.
        methods: names; all that the model supports by default. They share one
            encoding.
        target: class to localize; the most probable by default.
        mpp: µm a level-0 pixel, where you know better than the file.
        config: tile size.
        cache: keeps features between calls.
        report: called with (done, total, message).
        check: called often; raises to stop.

    Raises:
        ImageError: the image cannot be used.
        UnknownNameError: no such method or class.
        MethodUnavailableError: the model does not support a method.
    """
    slide = open_slide(source)
    names = check_methods(model, methods)
    chosen = None if target is None else model.class_index(target)
    features, seen = encode(
        slide, model, mpp=mpp, config=config, cache=cache, report=report, check=check
    )
    with evaluating(model), torch.inference_mode():
        on_device = features.to(model.device)
        probabilities = model.probabilities(on_device)[0].cpu()
        if chosen is None:
            chosen = int(probabilities.argmax())
        heatmaps: dict[str, Heatmap] = {}
        for name in names:
            check()
            method = get_method(name)
            heatmaps[name] = make_heatmap(
                method.map(model, on_device, chosen)[0],
                stride=method.stride(model),
                seen=seen,
                slide=slide,
                method=name,
                target=model.classes[chosen],
            )
    values = [float(value) for value in probabilities]
    scores = dict(zip(model.classes, values, strict=True))
    notes = tuple(dict.fromkeys((*slide.notes, *((seen.note,) if seen.note else ()))))
    return Localization(scores, model.classes[chosen], heatmaps, notes)
