"""Foundation encoders by name: each a row of ``presets.toml``, built by timm."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - rows are checked against it
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from napari_wsol.encoders.registry import register_encoder
from napari_wsol.encoders.timm_tokens import TimmTokens
from napari_wsol.files.parsing import parse_toml, typed


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A row of ``presets.toml``, which says what its fields are."""

    title: str
    timm: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    size: int
    pooling: str
    license: str
    weights: str
    citation: str
    mpp: float | None = None
    options: Mapping[str, object] = field(default_factory=dict[str, object])


_TABLES = parse_toml(Path(__file__).with_name("presets.toml").read_text("utf-8"))
RENAMES = typed(_TABLES.pop("names"), dict[str, str])
"""Patterns of other programs' names of weights, and what timm calls them."""
PRESETS = {key: typed(row, Preset, closed=True) for key, row in _TABLES.items()}


def _build(name: str, **how: Any) -> TimmTokens:  # noqa: ANN401 - see build_encoder
    row = PRESETS[name]
    how |= {key: getattr(row, key) for key in ("options", "pooling", "mean", "std")}
    return TimmTokens(row.timm, size=row.size, **how)


for _name in PRESETS:
    register_encoder(_name)(partial(_build, _name))
