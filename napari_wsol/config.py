"""Settings as frozen dataclasses: defaults in one place for form, CLI and API."""

from __future__ import annotations

from dataclasses import dataclass

from napari_wsol.errors import ConfigError

EXPORT_FORMATS = ("png", "tiff", "geojson", "csv", "zarr")
"""File kinds of an export; the provenance record is always written beside them."""


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
        cache_bytes: budget of the feature cache.
    """

    whole: int = 1024
    core: int = 512
    device: str = "auto"
    cache_bytes: int = 2_000_000_000

    def __post_init__(self) -> None:
        _check(self.core >= 32, f"The tile core must be at least 32, not {self.core}.")
        _check(
            self.cache_bytes > 0,
            f"The cache needs a positive number of bytes, not {self.cache_bytes}.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneConfig:
    """How strokes teach the pixel head.

    Attributes:
        steps: L-BFGS iterations at most; it stops earlier when the loss is flat.
        prior: how strongly the head is held at the model's own (0 forgets the model).
        max_pixels: labelled pixels used per class; more are thinned evenly.
    """

    steps: int = 100
    prior: float = 1.0
    max_pixels: int = 2_000

    def __post_init__(self) -> None:
        _check(self.steps >= 1, f"At least one step is needed, not {self.steps}.")
        _check(self.prior >= 0, f"The prior cannot be negative, not {self.prior}.")
        _check(self.max_pixels >= 1, f"At least one pixel, not {self.max_pixels}.")


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
