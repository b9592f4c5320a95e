"""The two baselines of MIL: the highest tile decides, or all tiles alike.

With h_k (D,) the vector of tile k::

    max:   logits = max_k W h_k + b, for each class
    mean:  logits = 1/n Σ_k W h_k + b
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import nn
from torch.nn import functional
from typing_extensions import override

from napari_wsol.methods.heads import register_head
from napari_wsol.methods.mil import MilHead

if TYPE_CHECKING:
    from torch import Tensor


class InstanceMilHead(MilHead):
    """A linear classifier of tiles, whose logits are pooled.

    Args:
        channels: D, of a tile's vector.
        classes: K, how many.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.outputs = classes
        self.classifier = nn.Linear(channels, classes)

    @override
    def scores(self, embedded: Tensor) -> Tensor:
        return functional.linear(embedded, self.classifier.weight).float()

    @override
    def parts(self, embedded: Tensor, weights: Tensor) -> Tensor:
        return weights * self.scores(embedded)

    @override
    def bias(self) -> Tensor:
        return self.classifier.bias


@register_head("max_mil")
class MaxMilHead(InstanceMilHead):
    """The highest tile of each class gives its logit."""

    pooling_of: ClassVar[str] = "max"


@register_head("mean_mil")
class MeanMilHead(InstanceMilHead):
    """The mean of all tiles gives the logits."""

    pooling_of: ClassVar[str] = "mean"
