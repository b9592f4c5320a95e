"""Foundation encoders by name: each a row of ``presets.toml``, built by timm."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - rows are checked against it
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsol.encoders.registry import register_encoder
from napari_wsol.encoders.timm_tokens import TimmTokens
from napari_wsol.files.parsing import parse_toml, typed
from napari_wsol.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterable

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A row of ``presets.toml``, which says what its fields are."""

    title: str
    timm: str
    mean: Triple
    std: Triple
    size: int
    pooling: str
    license: str
    weights: str
    citation: str
    mpp: float | None = None
    options: Mapping[str, object] = field(default_factory=dict[str, object])

    def build(
        self,
        *,
        output_stride: int | None = None,
        taps: Iterable[str] | None = None,
        in_channels: int = 3,
    ) -> TimmTokens:
        """The encoder with random weights; arguments as of ``build_encoder``.

        Raises:
            ConfigError: timm is missing or cannot build it, or there is no such tap.
        """
        return TimmTokens(
            self.timm,
            options=self.options,
            pooling=self.pooling,
            mean=self.mean,
            std=self.std,
            size=self.size,
            output_stride=output_stride,
            taps=taps,
            in_channels=in_channels,
        )


_TABLES = parse_toml(Path(__file__).with_name("presets.toml").read_text("utf-8"))
PRESETS = Registry(
    "preset", {key: typed(row, Preset, closed=True) for key, row in _TABLES.items()}
)
"""By name, in the order of the file."""

for _name in PRESETS:
    register_encoder(_name)(lambda *, _name=_name, **how: PRESETS[_name].build(**how))
