"""What a head says of a bag of tiles, as heatmaps on the slide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_wsol.encoders import BagEncoder, VectorEncoder
from napari_wsol.errors import ImageError, MethodUnavailableError
from napari_wsol.images.bags import lattice_of
from napari_wsol.images.heatmap import Heatmap, on_scale
from napari_wsol.methods import evaluating, get_method
from napari_wsol.methods.flat import flat_note
from napari_wsol.methods.mil import MilEvidence, read_bag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt
    from torch import Tensor

    from napari_wsol.images.bags import Bag, Floats
    from napari_wsol.images.heatmap import FloatMap
    from napari_wsol.methods import Model
    from napari_wsol.methods.mil import BagReading

MOVED = (
    "Tiles of this bag lie on several grids: each is shown on the nearest cell of one, "
    "at most half a tile away."
)


def placed_heatmap(
    model: Model,
    reading: BagReading | None,
    method: str,
    target: str,
    *,
    on_grid: Callable[[FloatMap], FloatMap],
    scale: tuple[float, float],
    translate: tuple[float, float],
    image_shape: tuple[int, int],
    note: str = "",
) -> Heatmap:
    """What a read-out says of the tiles of a slide.

    Args:
        model: that was read.
        reading: of the tiles; None where there are none.
        method: one that pools tiles.
        target: name of the class.
        on_grid: (n,) values of the tiles → (rows, columns), 0 where there is none.
        scale: level-0 pixels a cell, (y, x).
        translate: level-0 position of the centre of cell (0, 0), (y, x).
        image_shape: (H, W) of level 0.
        note: what else a reader must know, a sentence.
    """
    read_out, index = get_method(method), model.class_index(target)
    low = high = 0.0
    bias = None
    values = np.zeros(0, np.float32)
    if reading is not None:
        values = reading.values(method, model, index).float().numpy()
        low, high = float(values.min()), float(values.max())
        if method == MilEvidence.name:
            bias = reading.bias_of(model, index)
    raw, signed = on_grid(values), read_out.signed
    if signed:  # several tiles of one cell add up
        low, high = min(low, float(raw.min())), max(high, float(raw.max()))
        raw = on_scale(raw, low, high, signed=True)
    flat = flat_note(read_out, target, low, high)
    return Heatmap(
        values=np.clip(raw, 0.0, 1.0).astype(np.float32),
        scale=scale,
        translate=translate,
        image_shape=image_shape,
        method=method,
        target=target,
        is_probability=False,
        raw_range=(low, high),
        notes=tuple(filter(None, (read_out.note, flat, note))),
        signed=signed,
        bias=bias,
    )


def check_bag(model: Model, bag: Bag) -> None:
    """Refuses a bag that a model cannot read.

    Raises:
        MethodUnavailableError: the model pools no tiles.
        ImageError: its vectors were made by another network, or are of another length.
    """
    encoder = model.encoder
    if not isinstance(encoder, BagEncoder) or model.classifier is None:
        raise MethodUnavailableError(
            f"{model.name} classifies images, not bags of tiles. Choose a model of "
            "attention MIL, or open the slide."
        )
    width, wanted = encoder.channels[-1], model.spec.extractor
    other = wanted and bag.encoder and bag.encoder != wanted
    advice = f"Choose the bag that its network made ({wanted or 'ask its maker'})."
    if not isinstance(encoder, VectorEncoder):
        advice = "Choose its own bag; in a recipe, another folder of features."
        other = bag.sha256 and bag.sha256 != model.encoder_fingerprint()
        wanted = f"{model.name} with the weights it has here"
    if bag.width != width:
        if isinstance(encoder, VectorEncoder) and model.card is None:  # a recipe's
            advice = f"Choose other bags, or write encoder = “vectors:{bag.width}”."
        raise ImageError(
            f"The vectors of “{bag.path.name}” have {bag.width} values, and "
            f"{model.name} reads {width}. {advice}"
        )
    if other:
        raise ImageError(
            f"The vectors of “{bag.path.name}” were made by {bag.encoder}, and not by "
            f"{wanted}, whose vectors this model reads. {advice}"
        )


def read_of_bag(
    model: Model,
    bag: Bag,
    *,
    without: Sequence[int] = (),
    check: Callable[[], None] = lambda: None,
) -> tuple[BagReading, npt.NDArray[np.intp]]:
    """What a model makes of a bag, and of which of its tiles.

    Args:
        model: from :func:`napari_wsol.load_model`.
        bag: the tiles.
        without: numbers of tiles that are left out.
        check: called often; raises to stop.

    Raises:
        ImageError: the bag does not fit the model, or no tile is left.
        NoResultError: a value is not finite.
    """
    check_bag(model, bag)
    keep = np.ones(len(bag), bool)
    keep[list(without)] = False
    if not keep.any():
        raise ImageError(f"“{bag.path.name}” has no tile left to judge.")

    def pieces() -> Iterator[Tensor]:
        start = 0
        for vectors in bag.pieces():
            own = keep[start : start + len(vectors)]
            start += len(vectors)
            if own.any():
                yield torch.from_numpy(vectors[own])

    with evaluating(model), torch.inference_mode():
        return read_bag(model, pieces, check=check), np.flatnonzero(keep)


def bag_maps(
    model: Model,
    bag: Bag,
    methods: Sequence[str],
    target: str | None,
    *,
    image_shape: tuple[int, int] | None = None,
    check: Callable[[], None] = lambda: None,
) -> tuple[dict[str, float], str, dict[str, Heatmap]]:
    """Probability of each class, the class that is localized, and a map a method.

    Args:
        model: from :func:`napari_wsol.load_model`.
        bag: the tiles of a slide.
        methods: names.
        target: class to localize; the most probable one if None.
        image_shape: (H, W) of the slide's level 0; as the bag says by default.
        check: called often; raises to stop.

    Raises:
        ImageError: the bag does not fit the model.
        MethodUnavailableError: a method needs the pixels.
    """
    check_bag(model, bag)
    stray = [name for name in methods if not get_method(name).pools_tiles]
    if stray:
        raise MethodUnavailableError(
            f"{get_method(stray[0]).title} needs the pixels of the slide, and a bag "
            "holds vectors of its tiles. Leave it out."
        )
    reading, places = read_of_bag(model, bag, check=check)
    values = model.to_probabilities(reading.logits[None].float())[0]
    scores = dict(zip(model.classes, map(float, values), strict=True))
    chosen = target or max(scores, key=scores.__getitem__)
    lattice = lattice_of(bag, image_shape)
    cells = lattice.places[places]
    count = int(np.prod(lattice.shape))
    many = np.bincount(cells, minlength=count)

    def on_grid(name: str, tiles: Floats) -> FloatMap:
        sums = np.bincount(cells, tiles, count)
        if name != MilEvidence.name:  # only evidence adds up
            sums /= np.maximum(many, 1)
        return sums.reshape(lattice.shape).astype(np.float32)

    maps = {
        name: placed_heatmap(
            model,
            reading,
            name,
            chosen,
            on_grid=lambda tiles, name=name: on_grid(name, tiles),
            scale=lattice.scale,
            translate=lattice.translate,
            image_shape=image_shape or bag.image_shape,
            note="" if lattice.is_exact else MOVED,
        )
        for name in methods
    }
    return scores, chosen, maps
