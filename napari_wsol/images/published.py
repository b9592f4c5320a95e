"""Preprocessing of published models, and what a PCAM configuration says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsol.errors import ConfigError
from napari_wsol.images.preprocessing import NUMPY_PADS, Preprocessing

if TYPE_CHECKING:
    from collections.abc import Mapping

PIXELCAM_PREPROCESSING = Preprocessing(size=224)
"""PixelCAM and the histology survey: 224 × 224, ImageNet statistics."""

PYLON_PREPROCESSING = Preprocessing(
    mean=(0.4984,), std=(0.2483,), channels=1, size=256, resample="opencv-cubic"
)
"""PYLON on chest X-rays: one grey channel, 256 × 256."""


def pcam_preprocessing(config: Mapping[str, object]) -> Preprocessing:
    """What the ``cfg.json`` beside a PCAM checkpoint asks for.

    Args:
        config: its entries ``long_side``, ``use_equalizeHist``, ``gaussian_blur``,
            ``border_pad``, ``pixel_mean`` and ``pixel_std``, the last two in grey
            levels; others are not read. A ``pixel_std`` of 0 (or null) divides by
            nothing.

    Returns:
        For a grey image in three equal channels.

    Raises:
        ConfigError: an entry is missing or has a value that cannot be.
    """
    mean = _number(config, "pixel_mean") / 255.0
    std = (_number(config, "pixel_std", empty=True) or 1.0) / 255.0
    pad = config.get("border_pad")
    pads = {"pixel_mean": "mean", "zero": "zero"} | {name: name for name in NUMPY_PADS}
    if not isinstance(pad, str) or pad not in pads:
        raise ConfigError(
            f"The configuration pads by {pad!r}; border_pad is one of "
            f"{', '.join(pads)}."
        )
    return Preprocessing(
        mean=(mean,) * 3,
        std=(std,) * 3,
        size=int(_number(config, "long_side")),
        fit="pad",
        resample="opencv-linear",
        grey=True,
        equalize=bool(_number(config, "use_equalizeHist")),
        blur=max(0, int(_number(config, "gaussian_blur"))),
        pad=pads[pad],
    )


def _number(config: Mapping[str, object], entry: str, *, empty: bool = False) -> float:
    value = config.get(entry)
    if value is None and empty and entry in config:
        return 0.0
    if not isinstance(value, bool | int | float):
        raise ConfigError(
            f"The configuration (cfg.json) gives {value!r} for {entry}, which must be "
            "a number. Take the file that the model was trained with."
        )
    return float(value)
