"""napari's way to slides: every level lazily, nothing larger than the screen read."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_wsol.images.readers.stacks import Pick

SUFFIXES = (
    ".svs", ".ndpi", ".scn", ".qptiff", ".tif", ".tiff", ".tf8", ".btf", ".png", ".jpg",
    ".jpeg", ".zarr", ".mrxs", ".bif", ".vms", ".vmu", ".svslide", ".dcm", ".dicom",
)  # fmt: skip
"""Endings that are looked at at all; the manifest claims fewer."""

OneLayer = tuple[Any, dict[str, Any], str]
LayerData = list[OneLayer]


def get_reader(path: str | Path | list[str]) -> Callable[[Any], LayerData] | None:
    """The reader for a path, or None, fast, for what is not ours."""
    paths = path if isinstance(path, list) else [path]
    if not paths or any(
        not Path(item).name.lower().endswith(SUFFIXES) for item in paths
    ):
        return None
    return read_slides


def read_slides(
    path: str | Path | list[str],
    reader: str | None = None,
    pick: Pick | None = None,
) -> LayerData:
    """One lazy multiscale layer a file.

    Of a file with several channels or planes the person is asked which to show.

    Args:
        path: a file or folder, or several.
        reader: who reads them; the first that can by default.
        pick: the channel and plane of files that have several.

    Raises:
        WsolError: in words, when a file cannot be read.
    """
    paths = path if isinstance(path, list) else [path]
    return [_asking(Path(item), reader, pick) for item in paths]


def _asking(path: Path, reader: str | None, pick: Pick | None) -> OneLayer:
    from napari_wsol.errors import StackError

    try:
        return layer_of(path, reader, pick)
    except StackError as error:
        from napari_wsol.gui.widgets.choosing import pick_of

        return layer_of(path, reader, pick_of(path.name, error))


def layer_of(
    path: Path, reader: str | None = None, pick: Pick | None = None
) -> OneLayer:
    """A slide as layer data: its levels, and the file that the dock reads itself.

    Raises:
        StackError: it must be said which channel or plane is shown.
        WsolError: in words, when the file cannot be read.
    """
    from napari_wsol.gui.layers.marks import MARK
    from napari_wsol.images.level_arrays import level_arrays
    from napari_wsol.images.readers import open_slide

    wanted = {} if pick is None else asdict(pick)
    slide = open_slide(path, reader=reader, **wanted)
    mpp = slide.mpp
    levels = level_arrays(slide)
    options: dict[str, Any] = {
        "name": slide.name,
        "rgb": True,
        "multiscale": len(levels) > 1,
        "contrast_limits": (0, 255),
        "axis_labels": ("y", "x"),
        "scale": (1.0, 1.0) if mpp is None else (mpp, mpp),
        "units": ("pixel", "pixel") if mpp is None else ("um", "um"),
        "metadata": {MARK: {"path": str(path), "reader": reader, **wanted}},
    }
    return (levels if len(levels) > 1 else levels[0], options, "image")
