"""Strokes of earlier images, as features: they count without encoding them again.

The loss of a refit reads an image at its labelled cells only
(:mod:`napari_wsol.refinement.finetune`). What the last layer of the pixel head reads
there, and what the model itself says there, is all that an image has to teach: some
hundred vectors. They are written beside the image's journal.

In a refit (:func:`pooled`) places that are marked on other images count like those on
the image itself, each a little less (:attr:`napari_wsol.config.FinetuneConfig.others`).
They are thinned so that together they are no more than an image's own may be
(:mod:`napari_wsol.refinement.local`): a hundred earlier images do not outvote the one
that is looked at.

With all strokes of 6 training images of GlaS, drawn by a simulated annotator in three
rounds each, the mean IoU on 10 other ones is 0.740 before the first stroke, 0.801 after
one round and 0.829 after two; each image by itself gives 0.726, 0.801 and 0.832.

Of images that are held out of the learning, their samples say how right a head is
(:func:`score`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np
import safetensors.torch
import torch
from scipy import ndimage

from napari_wsol.checkpoints import read_metadata, read_safetensors
from napari_wsol.encoders import Features, nominal_offset, sample_points
from napari_wsol.errors import MalformedError, ModelError
from napari_wsol.files import write_whole
from napari_wsol.methods.pixelcam import BACKGROUND, FOREGROUND
from napari_wsol.refinement.heads import own_head, reading_digest
from napari_wsol.refinement.marked import (
    KINDS,
    PLACE_SIDE,
    count_places,
    seen_points,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt
    from torch import Tensor

    from napari_wsol.inference.encode import Geometry
    from napari_wsol.methods import Model
    from napari_wsol.methods.pixelcam import PixelHead

FORMAT, VERSION = "napari-wsol samples", "1"
COUNTS = ("foreground", "background")
"""Where a file says how many strokes a person has drawn."""

PREFIX, SUFFIX = "samples-", ".safetensors"

MOST_CELLS = 400
"""Cells kept of an image and kind: neighbours on a stroke say the same, and a refit
must not wait for a hundred images."""

FEWEST_CELLS = 6
"""Cells kept of a short stroke beside a long one."""

MOST_POOLED = 400
"""Places of all other images together."""

FEWEST_STROKES = 3
"""Strokes of each kind below which a score would be chance."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """What the strokes of one image teach.

    Attributes:
        x: (n, C) float32 what the last layer of the pixel head reads.
        colour: (n, c) float32 optical density
            (:mod:`napari_wsol.refinement.surroundings`); c is 0 where it was not read.
        offset: (n,) float32 logit of foreground, as the model itself gives it; 0 where
            the model has no pixel head.
        labels: (n,) int64, 0 background, 1 foreground.
        points: (n, 2) float32 positions (y, x) in network input pixels.
        strokes: (n,) int64 which connected stroke each belongs to.
        fingerprint: of the image.
        model: digest of the model that read it, see :func:`reading_digest`.
        time: of the strokes, UTC, ISO 8601; not part of the digest.
        drawn: how many strokes of foreground and of background a person sees there;
            None where nobody said. Not part of the digest.
        digest: sha256 of all that.
    """

    x: Tensor
    colour: Tensor
    offset: Tensor
    labels: Tensor
    points: Tensor
    strokes: Tensor
    fingerprint: str
    model: str
    time: str = ""
    drawn: tuple[int, int] | None = None
    digest: str = field(init=False, default="")

    def __post_init__(self) -> None:
        digest = hashlib.sha256(f"{self.fingerprint}\n{self.model}\n".encode())
        for name, value in self.tensors.items():
            digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
            digest.update(value.contiguous().numpy().tobytes())
        object.__setattr__(self, "digest", digest.hexdigest())

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All arrays by name."""
        names = ("x", "colour", "offset", "labels", "points", "strokes")
        return {name: cast("Tensor", getattr(self, name)) for name in names}

    @property
    def stroke_counts(self) -> tuple[int, int]:
        """Strokes of foreground and background; connected ones if nobody counted."""
        if self.drawn is not None:
            return self.drawn
        counts = [
            len(np.unique(self.strokes[self.labels == label].numpy()))
            for label in (FOREGROUND, BACKGROUND)
        ]
        return counts[0], counts[1]

    @property
    def _told(self) -> dict[str, str]:
        if self.drawn is None:
            return {}
        return dict(zip(COUNTS, map(str, self.drawn), strict=True))

    def save(self, folder: Path) -> Path:
        """Writes it into a folder, all or nothing; what is there already stays.

        Raises:
            OSError: it cannot be written.
        """
        target = folder / name_of(self.digest)
        if target.exists():
            return target
        data = safetensors.torch.save(
            {name: value.contiguous() for name, value in self.tensors.items()},
            {
                "format": FORMAT,
                "version": VERSION,
                "fingerprint": self.fingerprint,
                "model": self.model,
                "time": self.time,
                "digest": self.digest,
                **self._told,
            },
        )
        write_whole(target, data)
        return target


def name_of(digest: str) -> str:
    """What the file of samples is called."""
    return f"{PREFIX}{digest[:16]}{SUFFIX}"


def load_samples(path: Path) -> Samples:
    """Reads samples back.

    Raises:
        ModelError: it is missing, damaged or of another kind.
    """
    try:
        told = facts_of(path)
        tensors = read_safetensors(path)
        found = Samples(
            fingerprint=told["fingerprint"],
            model=told["model"],
            time=told["time"],
            drawn=_counts(told),
            **tensors,
        )
    except (OSError, TypeError, ValueError) as error:
        raise ModelError(
            f"What was learnt from an earlier image cannot be read ({path}: {error}). "
            "Open that image and refine once: it is made anew."
        ) from error
    if found.digest != told["digest"]:
        raise ModelError(
            f"What was learnt from an earlier image is damaged ({path}). "
            "Open that image and refine once: it is made anew."
        )
    return found


def _counts(told: Mapping[str, str]) -> tuple[int, int] | None:
    """What a file says of its strokes.

    Raises:
        ValueError: it is no number.
    """
    if not all(name in told for name in COUNTS):
        return None  # as it was at first
    foreground, background = (int(told[name]) for name in COUNTS)
    return foreground, background


def facts_of(path: Path) -> dict[str, str]:
    """Fingerprint, model, time and digest of a file of samples: a cheap look.

    Raises:
        OSError, MalformedError: it is no such file.
    """
    told = read_metadata(path)
    needed = {"fingerprint", "model", "time", "digest"}
    if (told.get("format"), told.get("version")) != (FORMAT, VERSION):
        raise MalformedError(f"it is no {FORMAT} of version {VERSION}")
    if needed - told.keys():
        raise MalformedError("it does not say what it was made of")
    return told


def newest(folder: Path, model: str) -> Path | None:
    """The latest samples in a folder that a model made; None where there are none."""
    found: list[tuple[str, Path]] = []
    for path in sorted(folder.glob(f"{PREFIX}*{SUFFIX}")):
        try:
            told = facts_of(path)
        except (OSError, MalformedError):
            continue  # made anew when that image is refined again
        if told["model"] == model:
            found.append((told["time"], path))
    return max(found)[1] if found else None


def stroke_cells(
    scribbles: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Cells of strokes, thinned evenly along each of them.

    Args:
        scribbles: (h, w) uint8: 0 unlabelled, 1 background, 2 foreground.

    Returns:
        (n, 2) rows and columns; (n,) labels, 0 background, 1 foreground; (n,) the
        connected stroke that each belongs to, counted from 0.
    """
    cells = [np.zeros((0, 2), np.intp)]
    labels, owners = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    touching, before = np.ones((3, 3), int), 0
    for value, label in KINDS:
        mask = scribbles == value
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            continue
        top, left = rows[0], columns[0]
        part = mask[top : rows[-1] + 1, left : columns[-1] + 1]
        numbers, count = cast(
            "tuple[npt.NDArray[np.int32], int]", ndimage.label(part, touching)
        )
        found = np.argwhere(part)
        owner = numbers[part] - 1
        for stroke in range(count):
            own = found[owner == stroke]
            wanted = max(FEWEST_CELLS, round(MOST_CELLS * len(own) / len(found)))
            keep = np.linspace(0, len(own) - 1, min(len(own), wanted))
            own = own[keep.round().astype(np.intp)] + (top, left)
            cells.append(own.astype(np.intp))
            labels.append(np.full(len(own), label, np.int64))
            owners.append(np.full(len(own), before + stroke, np.int64))
        before += count
    return np.concatenate(cells), np.concatenate(labels), np.concatenate(owners)


@torch.no_grad()
def read_by_head(model: Model, features: Features) -> Features:
    """What the last layer of the pixel head reads, on the CPU.

    A model without one gets a head that reads all maps as they are.
    """
    head = own_head(model)
    if head is not None:
        features = head.hidden(features.to(model.device))
    return features.to(torch.device("cpu"))


@torch.no_grad()
def gather_samples(
    features: Features,
    model: Model,
    scribbles: npt.NDArray[np.uint8],
    *,
    scale: tuple[float, float],
    translate: tuple[float, float],
    seen: Geometry,
    fingerprint: str,
    colour: Tensor | None = None,
    time: str = "",
    drawn: tuple[int, int] | None = None,
) -> Samples | None:
    """What the strokes of an image teach; None where there are none.

    One kind of strokes is enough: other images may bring the other.

    Args:
        features: of the image, maps (1, C, h, w).
        model: that gave them; its own pixel head, if it has one, says the offset.
        scribbles: (h, w) uint8: 0 unlabelled, 1 background, 2 foreground.
        scale: level-0 pixels a cell of the canvas, (y, x).
        translate: level-0 position of the centre of its cell (0, 0).
        seen: how the network saw the image.
        fingerprint: of the image.
        colour: (1, c, h, w) of the image on the finest grid that the head reads.
        time: of the strokes.
        drawn: how many of foreground and of background a person sees.
    """
    cells, labels, owners = stroke_cells(scribbles)
    if not len(cells):
        return None
    points = seen_points(
        cells,
        scale=scale,
        translate=translate,
        downsample=seen.downsample,
        origin=seen.origin,
    )
    read = read_by_head(model, features)
    x, offset = sample_points(read, points).float(), torch.zeros(len(points))
    head = own_head(model)
    if head is not None:
        offset = head.difference(x)
    density = torch.zeros(len(points), 0)
    if colour is not None:
        stride = read.strides[0]
        grid = Features((colour,), (stride,), (nominal_offset(stride),))
        density = sample_points(grid, points).float()
    return Samples(
        x=x,
        colour=density,
        offset=offset,
        labels=torch.from_numpy(labels),
        points=points,
        strokes=torch.from_numpy(owners),
        fingerprint=fingerprint,
        model=reading_digest(model),
        time=time,
        drawn=drawn,
    )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Pooled:
    """Samples of several images side by side.

    Attributes:
        x: (n, C) float32 what the pixel head's last layer read.
        colour: (n, c) float32; NaN where it was not read.
        offset: (n,) float32 the model's own logit.
        labels: (n,) int64, 0 background, 1 foreground.
        points: (n, 2) float32 positions (y, x) in network input pixels.
        images: (n,) int64 which image each lies on, counted from 0.
        places: different places that were marked, the sum over the images.
        strokes: how many, on all images together.
        digests: of the samples, in the order in which they count.
    """

    x: Tensor
    colour: Tensor
    offset: Tensor
    labels: Tensor
    points: Tensor
    images: Tensor
    places: int
    strokes: int
    digests: tuple[str, ...]

    @property
    def kinds(self) -> int:
        """1 where all are foreground or all background, else 2; 0 if empty."""
        return len(np.unique(self.labels.numpy()))


def pooled(samples: Iterable[Samples], most: int = MOST_POOLED) -> Pooled | None:
    """Puts samples together, one an image, always in the same order.

    Args:
        samples: of one model.
        most: places in all; more are thinned evenly on each image.

    Returns:
        None where there is nothing.
    """
    chosen = {item.fingerprint: item for item in samples if len(item)}
    ordered = [chosen[name] for name in sorted(chosen)]
    if not ordered:
        return None
    places = [_places(item) for item in ordered]
    share = min(1.0, most / sum(map(len, places)))
    picks = [_thinned(item, share) for item in places]
    both = list(zip(ordered, picks, strict=True))
    wide = max(item.colour.shape[1] for item in ordered)
    return Pooled(
        x=torch.cat([item.x[pick] for item, pick in both]),
        colour=torch.cat([_colour(item, wide)[pick] for item, pick in both]),
        offset=torch.cat([item.offset[pick] for item, pick in both]),
        labels=torch.cat([item.labels[pick] for item, pick in both]),
        points=torch.cat([item.points[pick] for item, pick in both]),
        images=torch.repeat_interleave(torch.tensor([len(pick) for pick in picks])),
        places=sum(count_places(item.points) for item in ordered),
        strokes=sum(sum(item.stroke_counts) for item in ordered),
        digests=tuple(item.digest for item in ordered),
    )


def _places(item: Samples) -> Tensor:
    """The first cell of each marked place and label."""
    cells = torch.div(item.points, PLACE_SIDE, rounding_mode="floor").long()
    keys = torch.cat([item.labels[:, None], cells], dim=1).numpy()
    first = np.unique(keys, axis=0, return_index=True)[1]
    return torch.from_numpy(np.sort(first).astype(np.int64))


def _thinned(places: Tensor, share: float) -> Tensor:
    wanted = max(1, round(len(places) * share))
    return places[torch.linspace(0, len(places) - 1, wanted).round().long()]


def _colour(item: Samples, wide: int) -> Tensor:
    if item.colour.shape[1] == wide:
        return item.colour
    return torch.full((len(item), wide), torch.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How right a head is on strokes that it did not learn from.

    Attributes:
        value: balanced accuracy in [0, 1]; None where there are too few strokes.
        images: images with strokes of both kinds.
        foreground: strokes of foreground on them.
        background: strokes of background on them.
    """

    value: float | None
    images: int
    foreground: int
    background: int


@torch.no_grad()
def score(head: PixelHead, samples: Sequence[Samples]) -> Score:
    """Balanced accuracy of a head on strokes, the mean over images.

    On an image every stroke weighs the same, however long it is, and so do both kinds.
    Images with one kind only tell nothing: marking nothing would be right there.
    """
    values: list[float] = []
    strokes = [0, 0]
    for item in samples:
        found = head.difference(item.x) > 0
        right = (found == (item.labels == FOREGROUND)).float()
        kinds: list[list[float]] = [[], []]
        for number in np.unique(item.strokes.numpy()):
            own = item.strokes == int(number)
            kinds[int(item.labels[own][0])].append(float(right[own].mean()))
        if all(kinds):
            values.append(sum(sum(kind) / len(kind) for kind in kinds) / 2)
            strokes = [a + len(b) for a, b in zip(strokes, kinds, strict=True)]
    known = min(strokes) >= FEWEST_STROKES
    return Score(
        value=sum(values) / len(values) if known else None,
        images=len(values),
        foreground=strokes[FOREGROUND],
        background=strokes[BACKGROUND],
    )
