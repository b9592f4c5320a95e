"""How the training images of a model look to its own network, in a few numbers.

An image of another organ or stain gets a map like any other, and nothing in the map
says that it means nothing. Its features do: the mean and the standard deviation of each
channel of an early layer, where colour and texture are, lie far from those of the
training images. How far is a Mahalanobis distance (Lee et al., NeurIPS 2018, arXiv
1807.03888, to one Gaussian) whose covariance is that of the training images' principal
components; what is beyond them counts by their mean variance, which is not let below
``FLOOR``.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np

from napari_wsol.errors import ConfigError
from napari_wsol.files.parsing import Count, Positive

if TYPE_CHECKING:
    from typing import Self

    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

LEAST_IMAGES = 10
"""Of fewer nothing is said: a distance to a handful of images bounds nothing."""

MOST_IMAGES = 200
"""More tell nothing new and cost time."""

AXES = 12
"""Principal components."""

FLOOR = 0.1
"""Least variance beyond them, in units of each number's own."""

LEAST_SPREAD = 0.1
"""Of a number over the images, as a share of the median of all."""

FOLDS = 10
"""The bound is of distances to images that were left out."""

SHARE = 0.99
"""Of the images left out lie within the bound."""

MOST_CHANNELS = 2048
"""Of the layer: the widest that an encoder here has."""

Packed = Annotated[str, msgspec.Meta(max_length=1 << 20)]
"""Numbers as text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """What the training images have in common, as a card holds it.

    Attributes:
        layer: of the encoder; its C channels give 2 C numbers an image: means, then
            standard deviations, over its cells.
        channels: C.
        images: how many the numbers are of.
        of: which they are.
        bound: an image that is farther looks unlike them.
        packed: float32, little-endian, in base64: means and deviations of the 2 C
            numbers over the images, the principal components (k, 2 C), their k
            variances, and the variance beyond them.
    """

    layer: str
    channels: Count
    images: Count
    of: str
    bound: Positive
    packed: Packed

    def __post_init__(self) -> None:
        self._unpacked()

    def _unpacked(self) -> tuple[Floats, Floats, Floats, Floats, float]:
        size = 2 * self.channels
        try:
            raw = base64.b64decode(self.packed.encode("ascii"), validate=True)
        except (UnicodeEncodeError, binascii.Error) as error:
            raise ConfigError("Packed numbers are not base64.") from error
        if not 0 < self.channels <= MOST_CHANNELS or len(raw) % 4:
            raise ConfigError("Packed numbers are not of so many channels.")
        found = np.frombuffer(raw, "<f4").astype(np.float64)
        count, rest = divmod(len(found) - 2 * size - 1, size + 1)
        if rest or not 0 <= count <= size:
            raise ConfigError("Packed numbers are not of so many channels.")
        mean, spread, axes, variances, beyond = np.split(
            found, np.cumsum([size, size, count * size, count])
        )
        scales = np.concatenate([spread, variances, beyond])
        if not np.isfinite(found).all() or scales.min() <= 0:
            raise ConfigError("Packed numbers are not those of an appearance.")
        return mean, spread, axes.reshape(count, size), variances, float(beyond[0])

    def distance(self, numbers: npt.ArrayLike) -> float:
        """How far an image lies from the training images; about 1 for one of them.

        Args:
            numbers: (2 C,) of the image.
        """
        mean, spread, axes, variances, beyond = self._unpacked()
        z = (np.asarray(numbers, np.float64) - mean) / spread
        along = axes @ z
        rest = max(0.0, float(z @ z - along @ along))
        total = float((along**2 / variances).sum()) + rest / beyond
        return float(np.sqrt(total / len(z)))

    @classmethod
    def of_images(cls, numbers: npt.ArrayLike, *, layer: str, of: str) -> Self | None:
        """What images have in common; None of too few.

        Args:
            numbers: (N, 2 C), a row an image.
            layer: that gave them.
            of: which images they are.
        """
        rows = np.asarray(numbers, np.float64)
        if len(rows) < LEAST_IMAGES:
            return None

        def made(some: Floats, bound: float) -> Self:
            return cls(
                layer=layer,
                channels=rows.shape[1] // 2,
                images=len(some),
                of=of,
                bound=bound,
                packed=_pack(some),
            )

        fold = np.arange(len(rows)) % FOLDS
        left_out = np.empty(len(rows))
        for number in range(FOLDS):
            rest = made(rows[fold != number], 1.0)
            for at in np.flatnonzero(fold == number):
                left_out[at] = rest.distance(rows[at])
        # Of images that are all the same the distances are 0.
        bound = max(1.0, round(float(np.quantile(left_out, SHARE)), 4))
        return made(rows, bound)


def _pack(rows: Floats) -> str:
    """The numbers of an appearance, as text."""
    mean, spread = rows.mean(0), rows.std(0)
    # A channel that hardly ever answers shall not decide alone.
    spread = np.maximum(spread, LEAST_SPREAD * np.median(spread) + 1e-6)
    _, singular, axes = np.linalg.svd((rows - mean) / spread, full_matrices=False)
    variances = singular**2 / len(rows)
    count = min(AXES, len(variances))
    beyond = variances[count:].sum() / max(rows.shape[1] - count, 1)
    beyond = max(float(beyond), FLOOR)
    kept = np.maximum(variances[:count], beyond)
    parts = (mean, spread, axes[:count].ravel(), kept, [beyond])
    raw = np.concatenate(parts).astype("<f4").tobytes()
    return base64.b64encode(raw).decode("ascii")
