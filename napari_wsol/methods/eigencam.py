"""Eigen-CAM.

Muhammad, Yeasin: Eigen-CAM: Class Activation Map using Principal Components, IJCNN
2020, arXiv 2008.00299.

The activations of a layer as a matrix A, a row a cell and a column a channel, are
projected onto their first right singular vector v (equations 3 and 4)::

    A = U Σ Vᵀ        M = A · v

As in the paper A is not centred. No class and no gradient enters, so that the map is
the same for every class and needs no classifier. A singular vector has no sign: v and
-v are equally good, and which of them an SVD gives is chance. Ours is the one whose
projection goes with the mean activation of the cells (their product is positive), so
that what is active is bright.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

import torch
from typing_extensions import override

from napari_wsol.methods.base import register
from napari_wsol.methods.gradients import LayerMethod, full_precision

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.methods.model import Model


@register
class EigenCam(LayerMethod):
    """The first principal component of the activations, whatever the class."""

    name: ClassVar[str] = "eigencam"
    title: ClassVar[str] = "Eigen-CAM"

    @override
    def map(
        self,
        model: Model,
        features: Features,
        target: int,
    ) -> Tensor:
        del target
        activation = features.maps[self.index(model, features)].float()
        # One by one: a decomposition of a batch may differ in the last digits.
        with full_precision(activation):
            maps = [_projection(item.flatten(1).T) for item in activation]
        values = torch.stack(maps).reshape(-1, *activation.shape[-2:])
        return features.straight(values, self.index(model, features))


def _projection(cells: Tensor) -> Tensor:
    """(cells,) of (cells, channels) on their first principal component.

    By the eigenvectors of the smaller of A Aᵀ and Aᵀ A, far cheaper than a whole SVD.
    """
    if cells.shape[0] < cells.shape[1]:
        length, vector = _largest(cells @ cells.T)
        projection = vector * length
    else:
        projection = cells @ _largest(cells.T @ cells)[1]
    against = (projection * cells.mean(1)).sum() < 0
    return torch.where(against, -projection, projection)


def _largest(gram: Tensor) -> tuple[Tensor, Tensor]:
    """The largest singular value of a matrix, and its vector, from its Gram matrix."""
    values, vectors = cast("tuple[Tensor, Tensor]", torch.linalg.eigh(gram))
    return values[-1].clamp(min=0).sqrt(), vectors[:, -1]
