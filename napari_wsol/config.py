"""Settings as frozen dataclasses: defaults in one place for form, CLI and API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from napari_wsol.errors import ConfigError

EXPORT_FORMATS = ("png", "tiff", "geojson", "csv", "zarr")
"""File kinds of an export; the provenance record is always written beside them."""


FINETUNE_CHOICES = {
    "head": ("linear", "mlp"),
    "encoder": ("frozen", "last_stage"),
    "edges": ("none", "guided"),
}
"""Settings of a refinement that are one of a few words."""

LEAST_MEMORY = 1_000_000_000
"""Less would hold neither a window of a slide nor what is shown of it."""

AMPLE_MEMORY = 2_000_000_000
"""From here on the large tiles of slides fit."""


def _check(claim: bool, message: str) -> None:
    if not claim:
        raise ConfigError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceConfig:
    """How an image goes through the encoder.

    Attributes:
        whole: up to this side, in pixels of the network input, an image goes through
            in one piece.
        core: side of a tile's own part in larger ones.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        memory_bytes: budget of all that is kept of images, beside the program and the
            network: features, maps, decoded tiles. What does not fit goes to the disk,
            or is made again.
    """

    whole: int = 1024
    core: int = 512
    device: str = "auto"
    memory_bytes: int = 4_000_000_000

    def __post_init__(self) -> None:
        _check(self.core >= 32, f"The tile core must be at least 32, not {self.core}.")
        _check(
            self.memory_bytes >= LEAST_MEMORY,
            f"The memory budget is {LEAST_MEMORY / 1e9:g} GB at least, not "
            f"{self.memory_bytes / 1e9:g} GB.",
        )

    @property
    def cache_bytes(self) -> int:
        """A quarter of the budget: features of images that are held whole, packed."""
        return self.memory_bytes // 4

    @property
    def tile_bytes(self) -> int:
        """A sixteenth: features of a slide's tiles; the others lie on the disk."""
        return self.memory_bytes // 16

    @property
    def slide_core(self) -> int:
        """Side of a slide's tiles: smaller ones need less memory, and more time."""
        return 1024 if self.memory_bytes >= AMPLE_MEMORY else 512

    @property
    def round_bytes(self) -> int:
        """A sixteenth: maps of rounds; the others lie on the disk."""
        return self.memory_bytes // 16

    @property
    def image_bytes(self) -> int:
        """Half: an image that takes more, with its features, is read as a slide."""
        return self.memory_bytes // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneConfig:
    """How strokes teach the pixel head.

    Attributes:
        steps: iterations of the solver at most; it stops earlier when the loss is flat.
        prior: how strongly the head is held at the model's own (0 forgets the model).
        max_pixels: labelled pixels used per class; more are thinned evenly.
        others: how much a place that was marked on another image of a list counts,
            beside those on the image itself (0: not at all). Chosen on GlaS with a
            simulated annotator: with 1 the hard places of others outvote the image.
        local: whether strokes also correct the map where they are, beside the head.
        reach: how far a stroke counts where it is, in pixels of the network input. What
            looks alike at 2.5 times this distance is left to the head.
        balanced: whether the kind with fewer marked places weighs more
            (:func:`napari_wsol.refinement.kernel_fit.balanced`). Where the linear head
            learns alone, both kinds always weigh the same.
        head: "linear", or "mlp": a small network in place of the linear correction
            (:mod:`napari_wsol.refinement.stroke_network`). It belongs to the image, and
            cannot be saved as a model for other ones.
        encoder: "frozen", or "last_stage": its last stage learns from the strokes
            first, and the image is encoded anew
            (:mod:`napari_wsol.refinement.last_stage`). Other images then teach nothing,
            as they were read by the encoder as it was.
        learning_rate: of the encoder's last stage.
        edges: "none", or "guided": the map is smoothed along the edges of the image
            (:mod:`napari_wsol.refinement.guided_filter`).
        propagate: whether strokes also mark, with less weight, the rest of the
            superpixels that they lie on (:mod:`napari_wsol.refinement.surroundings`).

    The last stage, edges and superpixels are for images in one piece; on a slide the
    last stage is refused and the other two do nothing.
    """

    steps: int = 100
    prior: float = 1.0
    max_pixels: int = 2_000
    others: float = 0.3
    local: bool = True
    reach: float = 60.0
    balanced: bool = False
    head: Literal["linear", "mlp"] = "linear"
    encoder: Literal["frozen", "last_stage"] = "frozen"
    learning_rate: float = 2e-5
    edges: Literal["none", "guided"] = "none"
    propagate: bool = False

    def __post_init__(self) -> None:
        _check(self.steps >= 1, f"At least one step is needed, not {self.steps}.")
        _check(self.prior >= 0, f"The prior cannot be negative, not {self.prior}.")
        _check(self.max_pixels >= 1, f"At least one pixel, not {self.max_pixels}.")
        _check(self.reach > 0, f"The reach must be positive, not {self.reach}.")
        _check(
            0 <= self.others <= 100,
            f"Other images count between 0 and 100 times, not {self.others}.",
        )
        _check(
            0 < self.learning_rate <= 1,
            f"The learning rate lies between 0 and 1, not {self.learning_rate}.",
        )
        for name, choices in FINETUNE_CHOICES.items():
            value = getattr(self, name)
            _check(
                value in choices,
                f"“{name}” is {' or '.join(choices)}, not {value}.",
            )

    @property
    def corrects(self) -> bool:
        """Whether the strokes of an image learn more than the pixel head."""
        return self.local or self.head == "mlp"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """What is cut out of a heatmap and how it is written.

    Attributes:
        method: name of the method whose heatmap is exported.
        threshold: foreground is ``value >= threshold``, on the map's [0, 1] scale.
        min_area: smaller regions are dropped, in level-0 pixels.
        fill_holes: smaller holes are filled, in level-0 pixels.
        formats: any of ``EXPORT_FORMATS``.
    """

    method: str = "pixelcam"
    threshold: float = 0.5
    min_area: float = 0.0
    fill_holes: float = 0.0
    formats: tuple[str, ...] = ("png", "tiff", "geojson", "csv")

    def __post_init__(self) -> None:
        _check(
            0 <= self.threshold <= 1,
            f"The threshold lies between 0 and 1, not {self.threshold}.",
        )
        _check(self.min_area >= 0, f"An area cannot be {self.min_area}.")
        _check(self.fill_holes >= 0, f"An area cannot be {self.fill_holes}.")
        _check(bool(self.formats), "Choose at least one format to export.")
        unknown = [name for name in self.formats if name not in EXPORT_FORMATS]
        _check(
            not unknown,
            f"Unknown format {', '.join(unknown)}; "
            f"choose from {', '.join(EXPORT_FORMATS)}.",
        )
