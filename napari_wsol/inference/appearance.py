"""Whether an image looks like those that a model was made from: a hint, never a block.

What is read is small whatever the image: all of a small one, else a few windows that
lie on tissue, at the resolution that the model was trained at.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from napari_wsol.encoders import TileEncoder
from napari_wsol.errors import ModelError, ignore_failure, one_of_many
from napari_wsol.images.readers import open_slide
from napari_wsol.images.resample import read_region
from napari_wsol.images.tiling import round_up
from napari_wsol.images.tissue import coarse_tissue
from napari_wsol.inference.encode import (
    geometry,
    interruptible,
    network_input,
    to_network,
)
from napari_wsol.jobs import ignore_progress
from napari_wsol.methods import evaluating
from napari_wsol.methods.appearance import LEAST_IMAGES, MOST_IMAGES, Appearance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt
    from torch import Tensor

    from napari_wsol.encoders import Encoder, Features
    from napari_wsol.errors import Failed
    from napari_wsol.images.slide import Slide
    from napari_wsol.inference.encode import Geometry
    from napari_wsol.jobs import Progress
    from napari_wsol.methods import Model
    from napari_wsol.methods.card import Card

SIDE = 256
"""Of a window, in pixels of the network's input."""

WINDOWS = 6
"""Of an image that is larger than so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How like the training images an image looks.

    Attributes:
        distance: to them; about 1 for one of them.
        bound: within which nearly all images of their kind lie.
    """

    distance: float
    bound: float

    @property
    def is_unlike(self) -> bool:
        """Whether it looks like none of them."""
        return not self.distance <= self.bound

    @property
    def words(self) -> str:
        """What a person is told; empty of an image like the training images."""
        if not self.is_unlike:
            return ""
        return (
            "This image looks different from those that the model was made from: "
            "another organ, stain or kind?"
        )

    def note(self, card: Card) -> str:
        """The same with what the model is for, and the distance.

        Args:
            card: of the model.
        """
        if not self.is_unlike:
            return ""
        figures = (
            f"Its features are {self.distance:.1f} away from theirs, which lie within "
            f"{self.bound:.1f}."
        )
        made_for = f"“{card.title}”: {card.purpose}" if card.purpose else ""
        return " ".join(filter(None, (self.words, made_for, figures)))


def likeness(
    model: Model,
    slide: Slide,
    *,
    mpp: float | None = None,
    check: Callable[[], None] = lambda: None,
) -> Likeness | None:
    """How like the training images of a model an image looks, in about a second.

    Args:
        model: from :func:`napari_wsol.load_model`.
        slide: the image, open.
        mpp: µm a level-0 pixel, where the person knows better than the file.
        check: called often; raises to stop.

    Returns:
        None where the model's card does not say how they look.

    Raises:
        ImageError: the image cannot be read.
        ModelError: the card is not that of this network.
    """
    known = None if model.card is None else model.card.appearance
    if known is None:
        return None
    if _network(model).layers.get(known.layer) != known.channels:
        raise ModelError(
            f"The card of “{model.card.name if model.card else ''}” tells of a layer "
            f"“{known.layer}” with {known.channels} channels, which this network has "
            "not. Get the model again from where it came."
        )
    numbers = _numbers(model, slide, known.layer, mpp=mpp, check=check)
    return Likeness(distance=known.distance(numbers), bound=known.bound)


def appearance_of(
    model: Model,
    paths: Sequence[Path],
    of: str,
    *,
    mpp: float | None = None,
    report: Progress = ignore_progress,
    failed: Failed = ignore_failure,
) -> Appearance | None:
    """How images look to a model's network; of many, some that lie evenly among them.

    Args:
        model: on its device.
        paths: of the images that it was trained on.
        of: which they are, for its card.
        mpp: µm a level-0 pixel of them, where the files do not say it.
        report: called with (images done, images, what is being done).
        failed: called with an image that cannot be used and is left out.

    Returns:
        None of too few.
    """
    count = min(len(paths), MOST_IMAGES)
    chosen = [paths[at * len(paths) // count] for at in range(count)]
    rows: list[npt.NDArray[np.float64]] = []
    if len(chosen) < LEAST_IMAGES:
        return None
    layer = _layer(model)
    for done, path in enumerate(chosen):
        report(done, len(chosen), "looking at the training images")
        with (
            one_of_many(partial(failed, path.name)),
            closing(open_slide(path)) as slide,
        ):
            rows.append(_numbers(model, slide, layer, mpp=mpp, check=lambda: None))
    if len(rows) < LEAST_IMAGES:
        return None
    return Appearance.of_images(
        np.stack(rows), layer=layer, of=f"{len(rows)} images of {of}"
    )


def _network(model: Model) -> Encoder:
    """What sees pixels: of tiles that are read one by one, what reads each."""
    encoder = model.encoder
    return encoder.backbone if isinstance(encoder, TileEncoder) else encoder


def _layer(model: Model) -> str:
    """The finest map that the model reads itself; of one map, the network's first.

    Early layers know colour and texture, in few channels: those of other stains, organs
    and kinds of images are others, while later layers have learnt not to mind.
    """
    network = _network(model)
    layers = [name for name in network.layers if name not in network.one_cell]
    taps = network.map_taps
    return taps[0] if len(taps) > 1 else layers[0]


def _numbers(
    model: Model,
    slide: Slide,
    layer: str,
    *,
    mpp: float | None,
    check: Callable[[], None],
) -> npt.NDArray[np.float64]:
    """(2 C,) mean and standard deviation of each channel over all cells."""
    count, total, squares = 0, 0.0, 0.0
    network = _network(model)
    with (
        network.also([layer]),
        evaluating(model),
        torch.inference_mode(),
        interruptible(network, check),
    ):
        for x in _inputs(slide, model, geometry(slide, model, mpp)):
            check()
            features: Features = network(x)
            (values,) = features.select([layer]).maps
            cells = values[0].flatten(1).double().cpu().numpy()
            count += cells.shape[1]
            total, squares = total + cells.sum(1), squares + (cells**2).sum(1)
    mean = np.asarray(total) / count
    return np.concatenate(
        [mean, np.sqrt(np.maximum(np.asarray(squares) / count - mean**2, 0))]
    )


def _inputs(slide: Slide, model: Model, seen: Geometry) -> Iterator[Tensor]:
    """Inputs of the network, (1, C, H, W): all of an image, or a few windows of it."""
    side, encoder = SIDE, model.encoder
    if isinstance(encoder, TileEncoder):
        side = round_up(side, encoder.side)
    rows, columns = (max(1, length // side) for length in seen.shape)
    height, width = (min(side, length) for length in seen.shape)
    if model.in_one_piece or rows * columns <= WINDOWS:
        yield network_input(slide, model, seen)
        return
    tissue = Image.fromarray(coarse_tissue(slide).astype(np.float32))
    covered = np.asarray(tissue.resize((columns, rows), Image.Resampling.BOX)).ravel()
    # Evenly among the windows that are full of tissue, or else the fullest.
    full = np.flatnonzero(covered >= min(0.5, np.sort(covered)[-WINDOWS]))
    for at in full[np.linspace(0, len(full) - 1, WINDOWS).round().astype(int)]:
        top, left = (int(at) // columns) * side, (int(at) % columns) * side
        place = (top + seen.origin[0], left + seen.origin[1], height, width)
        yield to_network(read_region(slide, *place, seen.downsample[0]), model)
