"""The table of encoders by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsol.registry import Registry, plugins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_wsol.encoders.base import Encoder

_ENCODERS: Registry[Callable[..., Encoder]] = Registry("encoder")
_FAMILIES: Registry[Callable[..., Encoder]] = Registry("family of encoders")
"""Builders of "prefix:NAME" encoders by prefix, where another package keeps the names;
NAME is their argument."""

register_encoder = _ENCODERS.adds
register_family = _FAMILIES.adds


def list_encoders() -> list[str]:
    """Names that :func:`build_encoder` knows."""
    plugins()
    return sorted(_ENCODERS)


def build_encoder(
    name: str,
    *,
    output_stride: int | None = None,
    taps: Iterable[str] | None = None,
    in_channels: int = 3,
) -> Encoder:
    """An encoder with random weights.

    Args:
        name: one of :func:`list_encoders`, or "timm:NAME" for a backbone of timm.
        output_stride: input pixels a cell of the deepest map; the encoder's own by
            default. Which others it has is its ``output_strides``.
        taps: which maps to give; the deepest by default.
        in_channels: of the image: 3, or 1 for grey.

    Raises:
        UnknownNameError: no such encoder; names the choices.
        ConfigError: an output stride or tap that it has not; a package that it needs
            is missing.
    """
    plugins()
    prefix, _, member = name.partition(":")
    if member and prefix in _FAMILIES:
        return _FAMILIES[prefix](
            member, output_stride=output_stride, taps=taps, in_channels=in_channels
        )
    return _ENCODERS[name](
        output_stride=output_stride, taps=taps, in_channels=in_channels
    )
