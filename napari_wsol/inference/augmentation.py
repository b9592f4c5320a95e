"""Test-time augmentation: the views of one image whose maps are averaged.

A view is the image mirrored, or shown to the network at another size. Each is read out
by itself; its map is then brought back to where it belongs on the image
(``registration.py``), and the mean over all views is the result. What a network sees by
chance of where a cell begins goes, and outlines follow what is there more closely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_wsol.errors import ConfigError, MethodUnavailableError

if TYPE_CHECKING:
    from napari_wsol.methods import Model

VIEWS = (1, 4, 12)
"""How many can be averaged: the image as it is, mirrored too, at three sizes too."""

SCALES = (1.0, 0.65, 1.25)
"""Sizes of the network's input, as shares of the one that the model was trained at.

With four flips each they take twelve times as long as one view. On 52 GlaS images that
PixelCAM was not taught the outlines of, 0.65 beside 1.25 gave a PxAP of 0.2 to 0.4 more
than 0.8 did.
"""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """One view of an image.

    Attributes:
        mirrored: whether rows, and whether columns run the other way.
        scale: size of the network's input, as a share of the usual one.
    """

    mirrored: tuple[bool, bool] = (False, False)
    scale: float = 1.0


AS_IT_IS = Augmentation()


def check_views(model: Model, views: int) -> None:
    """Refuses a number of views that cannot be averaged.

    Raises:
        ConfigError: there is no such set of views.
        MethodUnavailableError: the model sees images at one size only.
    """
    if views not in VIEWS:
        raise ConfigError(
            f"One view is read, or the average of 4 or of 12 is taken, not of {views}."
        )
    if views not in possible_views(model):
        raise MethodUnavailableError(
            f"This model sees every image at {model.preprocessing.size} pixels, so "
            "other sizes cannot be averaged: choose 4 views, which are flips, or one."
        )


def possible_views(model: Model) -> tuple[int, ...]:
    """How many views of an image a model can average."""
    return VIEWS if model.preprocessing.size is None else VIEWS[:-1]


def augmentations(views: int) -> tuple[Augmentation, ...]:
    """The views, the image as it is first.

    Args:
        views: one of ``VIEWS``.
    """
    flips = [(False, False), (False, True), (True, False), (True, True)]
    return tuple(
        Augmentation(mirrored, scale)
        for scale in SCALES[: 3 if views == 12 else 1]
        for mirrored in flips[: 1 if views == 1 else 4]
    )


def average_note(views: int) -> str:
    """What a reader of an averaged map must know; empty of a single view."""
    return {
        4: "The average of 4 views of the image, which are its flips.",
        12: "The average of 12 views of the image: 4 flips at 3 sizes.",
    }.get(views, "")
