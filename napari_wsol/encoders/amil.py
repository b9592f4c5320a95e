"""A-MIL's small network for one tile of 28 × 28 pixels.

Patil, Tamboli, Meena, Anand, Sethi: Breast Cancer Histopathology Image Classification
and Localization using Multiple Instance Learning, 2020, arXiv 2003.00823; the layers
are those that Ilse, Tomczak, Welling 2018 (arXiv 1802.04712) use for 28 × 28 digits.

Two unpadded 5×5 convolutions with pooling, 28 → 24 → 12 → 8 → 4, and a linear layer
on all that remains: one vector a tile. It is run on the tiles of an image by
:class:`~napari_wsol.encoders.tiles.TileEncoder`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, ClassVar

from torch import nn
from typing_extensions import override

from napari_wsol.encoders.base import Encoder
from napari_wsol.encoders.registry import register_encoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from napari_wsol.encoders.base import Step

SIDE = 28
CHANNELS = 500


@register_encoder("amil_cnn")
class AmilCnn(Encoder):
    """One 500-vector for a tile of 28 × 28 pixels in [0, 1], as a map of one cell.

    Args:
        output_stride: 28, the whole tile; there is no other.
        taps: "tile", the only one.
        in_channels: of the image.

    Raises:
        ConfigError: another output stride or tap.
    """

    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    output_strides: ClassVar[tuple[int, ...]] = (SIDE,)
    fixed_size: int | None = SIDE

    def __init__(
        self,
        *,
        output_stride: int | None = None,
        taps: Iterable[str] | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.checked_stride(output_stride)
        self.feature_extractor_part1 = nn.Sequential(
            nn.Conv2d(in_channels, 20, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(20, 50, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        # Named so that the linear layer is "0", as published, between two reshapes.
        self.feature_extractor_part2 = nn.Sequential(
            OrderedDict(
                [
                    ("flat", nn.Flatten()),
                    ("0", nn.Linear(50 * 4 * 4, CHANNELS)),
                    ("1", nn.ReLU()),
                    ("cell", nn.Unflatten(1, (CHANNELS, 1, 1))),
                ]
            )
        )
        self.choose(taps, {"tile": CHANNELS})

    @override
    def stages(self) -> Iterator[tuple[str, nn.Module]]:
        yield "feature_extractor_part1", self.feature_extractor_part1
        yield "tile", self.feature_extractor_part2

    @override
    def path(self) -> Iterator[tuple[str, Step, int]]:
        # The linear layer sees the whole tile, whatever the convolutions do.
        yield "tile", (SIDE, SIDE, 1), 0
