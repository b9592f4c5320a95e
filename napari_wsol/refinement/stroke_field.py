"""What strokes say of their surroundings: a correction of the pixel logits.

A radial basis function at each marked place, over looks and position together::

    g(z, p) = Σ_i a_i exp(-|z - z_i|² / 2l² - |p - p_i|² / 2r²) + t·z

z are the features and the colour of a cell, reduced (:func:`fit_space`), p is where it
lies; l is how alike, r how near a cell must be for a stroke to count there. t is the
share of the linear correction that lies in the colour, which the pixel head does not
read. g depends on the cell alone, so it may be evaluated in any pieces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, cast

import torch
from torch import nn

from napari_wsol.encoders import Features, nominal_offset, on_grid, sample_points
from napari_wsol.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

DIMENSIONS = 64
"""Of the reduced features. On GlaS 32 lose 0.02 IoU, 128 gain nothing."""

COLOUR_WEIGHT = 2.0
"""Spread of the colour beside that of each of the encoder's maps."""

SAMPLED = 4096
"""Cells from which the reduction is computed."""

LEAST_STD = 1e-4
"""A feature that is constant is not blown up."""

LEAST_VARIANCE = 1e-6
"""Directions of less, relative to the first, are left out."""

CHUNK = 16_384
"""Cells at a time: their products with 400 places take 26 MB."""


FARTHEST = 6.0
"""Times the reach: a place weighs 2e-8 of what it does where it is, and is left out."""


class StrokeField(nn.Module):
    """The correction g, with all that it needs in its state.

    Args:
        channels: of features and colour together.
        dimensions: of the reduced features.
        places: marked places; with none it is 0 everywhere.

    Attributes:
        mean: (C,) taken off features and colour.
        projection: (C, d) of features and colour to z.
        tint: (C,) the linear part; 0 for what the pixel head reads itself.
        looks: (n, d) z of each place.
        points: (n, 2) its position (y, x) in network input pixels.
        weights: (n,) a.
        lengths: (2,) l, and r in network input pixels.
    """

    mean: Tensor
    projection: Tensor
    tint: Tensor
    looks: Tensor
    points: Tensor
    weights: Tensor
    lengths: Tensor

    def __init__(self, channels: int = 0, dimensions: int = 0, places: int = 0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("projection", torch.zeros(channels, dimensions))
        self.register_buffer("tint", torch.zeros(channels))
        self.register_buffer("looks", torch.zeros(places, dimensions))
        self.register_buffer("points", torch.zeros(places, 2))
        self.register_buffer("weights", torch.zeros(places))
        self.register_buffer("lengths", torch.ones(2))

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Self:
        """The field that had this ``state_dict``.

        Raises:
            ModelError: these are not the values of a field.
        """
        try:
            places, dimensions = state["looks"].shape
            field = cls(len(state["mean"]), dimensions, places)
            field.load_state_dict(dict(state))
        except (KeyError, ValueError, RuntimeError) as error:
            raise ModelError(
                f"The strokes' own part of a round cannot be read ({error}). Refine "
                "again: the strokes are there."
            ) from error
        return field.eval()

    @property
    def is_empty(self) -> bool:
        """Whether it corrects nothing, and needs no colour."""
        return not len(self.weights)

    def correction(self, looks: Tensor, points: Tensor) -> Tensor:
        """(m,) the first part of g at cells, a bounded number at a time.

        Args:
            looks: (m, d) float32 reduced features.
            points: (m, 2) positions (y, x) in network input pixels.
        """
        likeness, reach = self.lengths
        parts: list[Tensor] = []
        for first in range(0, len(looks), CHUNK):
            here = points[first : first + CHUNK]
            near = self.near(here.amin(0), here.amax(0))
            # From near by: squares of positions on a slide leave float32 no digits.
            middle = here.mean(0)
            own = (self.points[near] - middle) / reach
            at = torch.cat([self.looks[near] / likeness, own], dim=1)
            own = (here - middle) / reach
            cells = torch.cat([looks[first : first + CHUNK] / likeness, own], dim=1)
            parts.append(gaussian(cells, at) @ self.weights[near])
        return torch.cat(parts)

    def corrected(self, logits: Tensor, x: Tensor, points: Tensor) -> Tensor:
        """(m,) logits of cells with all of g added.

        Args:
            logits: (m,) what the pixel head says.
            x: (m, C) features and colour of the cells.
            points: (m, 2) positions (y, x) in network input pixels.
        """
        x = x - self.mean
        return logits + self.correction(x @ self.projection, points) + x @ self.tint

    def near(self, first: Tensor, last: Tensor) -> Tensor:
        """(n,) bool: the places that say something of a rectangle.

        Args:
            first: (2,) its upper left point (y, x) in network input pixels.
            last: (2,) its lower right point.
        """
        away = torch.maximum(first - self.points, self.points - last).clamp_min(0)
        return away.square().sum(1) <= (FARTHEST * self.lengths[1]) ** 2

    def reaches(self, first: Tensor, last: Tensor) -> bool:
        """Whether there is more than :meth:`tinted` to say of one, as for `near`."""
        return bool(self.near(first, last).any())

    def forward(self, features: Features) -> Tensor:
        """(h, w) correction on the nominal grid of the finest map's stride.

        Args:
            features: with the colour, as :func:`beside` gives them.
        """
        rows, columns = (int(side) for side in features.maps[0].shape[-2:])
        if self.is_empty:
            return torch.zeros(rows, columns)
        points = grid_points((rows, columns), features.strides[0])
        cells = self.cells(features).flatten(1).T
        total = self.correction(cells[:, :-1].contiguous(), points) + cells[:, -1]
        return total.view(rows, columns)

    def cells(self, features: Features) -> Tensor:
        """(d + 1, h, w) z of each cell, and the linear part, on the grid of the map.

        Args:
            features: as for :meth:`forward`.
        """
        stride = features.strides[0]
        rows, columns = (int(side) for side in features.maps[0].shape[-2:])
        kernel = torch.cat([self.projection, self.tint[:, None]], dim=1)
        reduced = -(self.mean @ kernel).view(-1, 1, 1)
        sizes = [int(item.shape[1]) for item in features.maps]
        # Bilinear interpolation commutes with the projection, which is the smaller.
        for values, own, offset, part in zip(
            features.maps,
            features.strides,
            features.offsets,
            torch.split(kernel, sizes),
            strict=True,
        ):
            less = torch.einsum("cd,chw->dhw", part, values[0].float())
            reduced = reduced + on_grid(
                less, own, (rows, columns), stride, offset=offset
            )
        return reduced

    def tinted(self, colour: Tensor) -> Tensor:
        """(h, w) the linear part of g.

        Args:
            colour: (1, c, h, w): the pixel head reads all else itself.
        """
        tint, mean = (item[-colour.shape[1] :] for item in (self.tint, self.mean))
        return torch.einsum("c,chw->hw", tint, colour[0]) - tint @ mean


def gaussian(a: Tensor, b: Tensor) -> Tensor:
    """(m, n) exp(-½ |a - b|²) of (m, d) and (n, d)."""
    away = torch.addmm(-b.square().sum(1)[None] / 2, a, b.T)
    return (away - a.square().sum(1)[:, None] / 2).clamp_(max=0).exp_()


def beside(read: Features, colour: Tensor | None) -> Features:
    """Features with the colour as one more map on the finest grid.

    Args:
        read: what the pixel head's last layer reads, maps (1, C, h, w).
        colour: (1, c, h, w) from
            :func:`napari_wsol.refinement.surroundings.colour_map`.
    """
    if colour is None:
        return read
    stride = read.strides[0]
    return Features(
        (*read.maps, colour),
        (*read.strides, stride),
        (*read.offsets, nominal_offset(stride)),
    )


def grid_points(shape: tuple[int, int], stride: float, step: int = 1) -> Tensor:
    """(n, 2) centres (y, x) of every ``step``-th cell in network input pixels."""
    rows, columns = (
        torch.arange(step // 2, size, step) * stride + nominal_offset(stride)
        for size in shape
    )
    return torch.cartesian_prod(rows.float(), columns.float()).view(-1, 2)


def fit_space(features: Features, *, colour: bool) -> tuple[Tensor, Tensor]:
    """How features are reduced to the few directions in which an image varies.

    Each channel is standardised over the image, each map has the same part in the
    whole, and colour twice that. Principal components are then scaled by the fourth
    root of their variance: half-way to whitening, so that strong ones lead and weak
    ones count. In the end the mean of |z|² is 1, whatever the network.

    Args:
        features: maps (1, C, h, w).
        colour: whether the last map is the colour.

    Returns:
        (C,) mean and (C, d) projection: z = (x - mean) @ projection.
    """
    first = features.maps[0]
    shape = (int(first.shape[-2]), int(first.shape[-1]))
    step = sample_step(shape)
    with torch.no_grad():
        x = sample_points(features, grid_points(shape, features.strides[0], step))
    return space_of(x, [int(item.shape[1]) for item in features.maps], colour=colour)


def sample_step(shape: tuple[int, int], share: float = 1.0) -> int:
    """Cells from one to the next along each axis, so that few enough are sampled.

    Args:
        shape: rows and columns of the grid.
        share: of the grid that is sampled at all.
    """
    step = 1
    while -(-shape[0] // step) * -(-shape[1] // step) * share > SAMPLED:
        step += 1
    return step


@torch.no_grad()
def space_of(x: Tensor, sizes: Sequence[int], *, colour: bool) -> tuple[Tensor, Tensor]:
    """Like :func:`fit_space`, where only the sampled cells are at hand.

    Args:
        x: (n, C) features of the cells.
        sizes: channels of each map.
        colour: whether the last map is the colour.
    """
    x = x.double()
    mean = x.mean(0)
    x = x - mean
    scale = x.square().mean(0).sqrt().clamp_min(LEAST_STD)
    parts = torch.cat([torch.full((size,), size**-0.5) for size in sizes]).double()
    if colour:
        parts[-sizes[-1] :] *= COLOUR_WEIGHT
    unit = parts / scale
    x = x * unit
    values, vectors = cast("tuple[Tensor, Tensor]", torch.linalg.eigh(x.T @ x / len(x)))
    values, vectors = values.flip(0)[:DIMENSIONS], vectors.flip(1)[:, :DIMENSIONS]
    kept = values > LEAST_VARIANCE * values[0].clamp_min(LEAST_STD)
    values, vectors = values[kept], vectors[:, kept]
    # Either sign is right, and which one comes out hangs on the last digit of x.
    largest = vectors.abs().argmax(0, keepdim=True)
    vectors = vectors * vectors.gather(0, largest).sign()
    projection = unit[:, None] * vectors / values.pow(0.25)
    size = values.sqrt().sum().sqrt().clamp_min(LEAST_STD)
    return mean.float(), (projection / size).float()
