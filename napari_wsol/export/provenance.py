"""The record beside every export: what was written, from what, by which software."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, cast

import numpy as np

from napari_wsol.export.ome import SOFTWARE
from napari_wsol.export.regions import why_empty
from napari_wsol.files import encoded

if TYPE_CHECKING:
    from pathlib import Path

    from napari_wsol.config import ExportConfig
    from napari_wsol.export.writers import Parts
    from napari_wsol.images.slide import Slide

NOTICE = "Research use only, not for diagnosis."

PACKAGES = (
    SOFTWARE,
    "torch",
    "numpy",
    "scikit-image",
    "scipy",
    "shapely",
    "tifffile",
    "zarr",
)


def make_record(
    parts: Parts,
    slide: Slide,
    config: ExportConfig | None,
    provenance: Mapping[str, object],
    files: Mapping[str, str],
) -> dict[str, object]:
    """Everything that is known about a set of files.

    Args:
        parts: what the files were written from.
        slide: the image.
        config: threshold, clean-up and formats; None where a map is written alone.
        provenance: what the caller knows: model, strokes, rounds, …
        files: name and sha256 of every file of the set.
    """
    cut: dict[str, object] = {"notes": parts.heatmap.notes}
    if config is not None:
        areas = [region.area_px for region in parts.regions if not region.against]
        cut = {
            "mask": parts.mask_geometry(),
            "regions": len(areas),
            "area_px": sum(areas),
            "config": config,
            "notes": notes_of(parts, config),
        }
    return {
        "notice": NOTICE,
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "image": {
            "name": slide.name,
            "shape": slide.shape,
            "mpp": parts.mpp,
            "fingerprint": parts.fingerprint,
            "notes": slide.notes,
        },
        "heatmap": parts.heatmap_geometry(),
        **cut,
        "provenance": provenance,
        "files": [{"name": name, "sha256": sha} for name, sha in files.items()],
        "software": versions(),
    }


def write_record(path: Path, record: Mapping[str, object]) -> None:
    """Write it as JSON."""
    text = json.dumps(plain(record), ensure_ascii=False, indent=2, allow_nan=False)
    path.write_bytes(encoded(text + "\n"))


def notes_of(parts: Parts, config: ExportConfig) -> list[str]:
    """What a reader of the files must know, in sentences."""
    notes = list(parts.heatmap.notes)
    d = parts.grid.downsample
    if d > 1:
        notes.append(
            f"The image is larger than 64 megapixels: one mask pixel is {d} by {d} "
            "pixels of the image. GeoJSON and table are in pixels of the full image."
        )
    if parts.heatmap.signed:
        cut = parts.heatmap.cut(config.threshold)
        notes.append(
            f"One half is 0 on this map. Its threshold {config.threshold:.3g} is a "
            "share of the strongest evidence: what is at or above "
            f"{cut:.3g} speaks for the class, what is at or below {1 - cut:.3g} "
            "against it, in files “against”."
        )
    if not parts.mask.any():
        notes.append(f"The mask is empty. {why_empty(parts.heatmap, config)}")
    if not parts.heatmap.is_probability:
        notes.append(
            "The heatmap is a score scaled to 0 to 1 on this image, not a probability; "
            "the same threshold means something else on another image."
        )
    return notes


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shaped the files."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def plain(value: object) -> object:
    """Anything as JSON can say it; what is not a finite number becomes text."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    elif isinstance(value, np.ndarray | np.generic):
        value = cast("object", value.tolist())
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {str(key): plain(item) for key, item in items}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in cast("list[object]", value)]
    is_plain = value is None or isinstance(value, bool | int | float | str)
    if is_plain and not (isinstance(value, float) and not math.isfinite(value)):
        return value
    return str(value)
