"""How a model is measured."""

from __future__ import annotations

from dataclasses import dataclass, field

from napari_wsol.errors import ConfigError
from napari_wsol.evaluation.points import POINTING_TOLERANCE
from napari_wsol.evaluation.regions import PCAM_THRESHOLD

TARGETS = ("true", "predicted")

FIELD_SIZE = 224
"""Side of the grid that the field compares maps and masks on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """How a model is measured.

    Attributes:
        threshold: where maps are cut; rounded to 1/1000 for the pooled figures.
        mpp: µm a level-0 pixel, where you know better than the files.
        target: "true" compares the map of the class that the image has, as published;
            "predicted" that of the most probable class.
        views: of how many views of an image maps and probabilities are the average.
        size: maps and references are compared on a square grid of this side (masks by
            nearest neighbour, maps bilinear), as published; None for the references'
            own pixels.
        box_frame: (H, W) that boxes were drawn in, where it is not that of the files.
        tolerance: of the pointing game, in pixels of the grid.
        region_threshold: of PCAM's boxes around regions.
        region_scaled: whether maps are scaled image by image for these.
        faithfulness_steps: of the insertion and deletion curves; 0 leaves them out.
            Each step runs the network twice for every image and method.
        road: whether ROAD is measured, on inputs of up to 400 000 pixels.
        sanity: whether maps are compared with those of weights that are drawn anew.
        classes: of annotations → 1 background, 2 foreground, where their names do not
            tell; those that nothing tells of are then ignored.
        bootstrap: draws for the intervals; 0 for none.
        seed: of the draws, also of weights.
    """

    threshold: float = 0.5
    mpp: float | None = None
    target: str = "true"
    views: int = 1
    size: int | None = FIELD_SIZE
    box_frame: tuple[int, int] | None = None
    tolerance: float = POINTING_TOLERANCE
    region_threshold: float = PCAM_THRESHOLD
    region_scaled: bool = False
    faithfulness_steps: int = 0
    road: bool = False
    sanity: bool = False
    classes: dict[str, int] = field(default_factory=dict[str, int])
    bootstrap: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ConfigError(
                f"The threshold lies between 0 and 1, not at {self.threshold}."
            )
        if self.target not in TARGETS:
            raise ConfigError(
                f"The map of one of {', '.join(TARGETS)} classes is compared, not of "
                f"“{self.target}”."
            )
        if self.size is not None and self.size < 1:
            raise ConfigError(f"A grid has 1 or more cells a side, not {self.size}.")
        if self.faithfulness_steps < 0 or self.tolerance < 0:
            raise ConfigError("Steps and tolerance cannot be negative.")
