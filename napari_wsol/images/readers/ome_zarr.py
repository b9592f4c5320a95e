"""What an OME-Zarr group (0.1 to 0.5) says of its image: levels, axes, pixel size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

import zarr
from msgspec import Meta, Struct, field

from napari_wsol.errors import ImageError, MalformedError, UnreadableImageError, told_as
from napari_wsol.files.parsing import Finite, read_json, read_text, typed
from napari_wsol.images import pixel_size
from napari_wsol.images.readers.zarr_store import JudgedStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata

    Array = zarr.Array[ArrayV2Metadata] | zarr.Array[ArrayV3Metadata]

Json = dict[str, object]
Place = tuple[tuple[float, float], tuple[float, float]]

METADATA = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
"""Files by which the folder of a zarr group or array is known."""

MOST_LEVELS = 32
"""Of an image: each is half of the one before, so that fewer lead to one pixel."""

_OLD_AXES = "tczyx"
_RGB = ("FF0000", "00FF00", "0000FF")


@dataclass(frozen=True, slots=True)
class OmeImage:
    """One image of a group.

    Attributes:
        arrays: of the levels, largest first, all axes as stored.
        axes: a letter for each axis, such as ``"tczyx"``.
        scales: size of a pixel of each level in its units, (y, x); None where not told.
        corners: where its first pixel is centred in its units; None where not told.
        units: µm in a unit, (y, x); None where not told.
        size: of a level-0 pixel.
        is_colour: whether its channels are red, green and blue; None where not told.
        channels: their names, where they have any.
        notes: sentences on what was chosen.
    """

    arrays: list[Array]
    axes: str
    scales: list[tuple[float, float] | None]
    size: pixel_size.PixelSize
    is_colour: bool | None
    channels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    corners: Sequence[tuple[float, float] | None] = ()
    units: tuple[float | None, float | None] = (None, None)

    def place(self, level: int, mpp: float | None) -> Place | None:
        """Scale and translate of a level on an image of ``mpp``; None if not told."""
        scale, at = self.scales[level], self.corners[level]
        y, x = (unit / mpp if unit and mpp else 0.0 for unit in self.units)
        if scale is None or not y * x:
            return None
        step = scale[0] * y, scale[1] * x
        begin = (step[0] - 1) / 2, (step[1] - 1) / 2  # levels begin alike
        return step, begin if at is None else (at[0] * y, at[1] * x)


def open_image(path: Path) -> OmeImage:
    """Opens the image of a folder; no pixels are read.

    Raises:
        UnreadableImageError: the folder holds no OME-Zarr image, or is damaged.
        ImageError: it holds several, as a plate does.
    """

    def told(error: Exception) -> UnreadableImageError:
        return UnreadableImageError(
            f"“{path.name}” could not be read as an OME-Zarr image ({error}): a part "
            "of it is damaged, missing or not supported. Copy or download the whole "
            "folder again, or save it as OME-TIFF."
        )

    with told_as(told, but=ImageError):
        store = JudgedStore(path)
        if _is_array(path):
            return _array_alone(zarr.open_array(store, mode="r"), path)
        group = zarr.open_group(store, mode="r", use_consolidated=False)
        meta = _metadata(group)
        notes: tuple[str, ...] = ()
        if "multiscales" not in meta:
            group, notes = _one_of_many(group, path.name, meta)
            meta = _metadata(group)
        return _image(group, meta, notes, path.name)


def _array_alone(array: Array, path: Path) -> OmeImage:
    """An array that no group describes, as the image that it may be.

    Raises:
        UnreadableImageError: it is a level of an image, which its folder describes.
    """
    above = path.absolute().parent
    if describes_levels(above):
        raise UnreadableImageError(
            f"“{path.name}” is one level of the OME-Zarr image “{above.name}”: choose "
            "the folder above."
        )
    names = getattr(array.metadata, "dimension_names", None) or ()
    axes = "".join(str(name).lower()[:1] for name in names)
    if len(set(axes)) != array.ndim or not {"y", "x"} <= set(axes):
        axes = _axes_by_shape(array.shape)
    if not axes:
        raise UnreadableImageError(
            f"“{path.name}” is a zarr array of {array.ndim} axes, and an image has two "
            "to five: choose the folder of an OME-Zarr image."
        )
    return OmeImage(
        arrays=[array],
        axes=axes,
        scales=[None],
        size=pixel_size.UNKNOWN,
        is_colour=None,
        notes=("It is a zarr array without a description of its axes.",),
    )


def _is_array(path: Path) -> bool:
    try:
        kind = read_json(path / "zarr.json", dict[str, object]).get("node_type")
    except (OSError, MalformedError):
        return (path / ".zarray").is_file()
    return kind == "array"


def describes_levels(folder: Path) -> bool:
    """Whether a folder is that of an image, by its metadata."""
    return any(_names_levels(folder / name) for name in ("zarr.json", ".zattrs"))


def _names_levels(file: Path) -> bool:
    try:
        return '"multiscales"' in read_text(file)
    except (OSError, MalformedError):
        return False


def _axes_by_shape(shape: tuple[int, ...]) -> str:
    if len(shape) == 3 and shape[-1] in (1, 2, 3, 4):
        return "yxc"
    if len(shape) == 3 and shape[0] in (3, 4):
        return "cyx"
    if len(shape) == 3:
        return "zyx"
    return _OLD_AXES[-len(shape) :] if 2 <= len(shape) <= len(_OLD_AXES) else ""


def _metadata(group: zarr.Group) -> Json:
    """Version 0.5 keeps under ``ome`` what lay at the top before."""
    told = cast("Json", group.attrs.asdict())
    return typed(told.get("ome", told), dict[str, object])


def _one_of_many(
    group: zarr.Group, name: str, meta: Json
) -> tuple[zarr.Group, tuple[str, ...]]:
    """The first image of a file that Bio-Formats converted, or a refusal."""
    if "plate" in meta or "well" in meta:
        raise ImageError(
            f"“{name}” is a plate of many images: choose the folder of one field in "
            "it, for instance A/1/0."
        )
    if "bioformats2raw.layout" in meta and "0" in group:
        more = "1" in group
        note = ("The folder holds several images; the first (0) is shown.",)
        return cast("zarr.Group", group["0"]), note if more else ()
    raise UnreadableImageError(
        f"“{name}” is a zarr folder without an OME-Zarr image: choose the folder in "
        "which “multiscales” is described, or open its arrays with zarr and pass them "
        "as a list."
    )


class _Transformation(Struct):
    """From array to world; anything but scale and translation is passed over."""

    type: str = ""
    scale: tuple[Finite, ...] | None = None
    translation: tuple[Finite, ...] | None = None


_Transformations = list[_Transformation] | None


class _Axis(Struct):
    """An axis of the arrays, since version 0.4."""

    name: str
    unit: str | None = None


class _Dataset(Struct):
    """One level."""

    path: str
    transformations: _Transformations = field(
        default=None, name="coordinateTransformations"
    )


class _Multiscale(Struct):
    """One image."""

    datasets: Annotated[list[_Dataset], Meta(min_length=1, max_length=MOST_LEVELS)]
    axes: list[_Axis | str] | None = None
    transformations: _Transformations = field(
        default=None, name="coordinateTransformations"
    )


class _Channel(Struct):
    """How a channel is drawn."""

    color: str = ""
    label: str = ""


class _Omero(Struct):
    """How the image is drawn."""

    channels: list[_Channel] = []


def _image(
    group: zarr.Group, meta: Json, notes: tuple[str, ...], name: str
) -> OmeImage:
    several = typed(meta["multiscales"], list[_Multiscale])
    if not several:
        raise MalformedError("it describes no image")
    scaled = several[0]
    if len(several) > 1:
        notes += (f"The folder holds {len(several)} images; the first is shown.",)
    arrays = [group[dataset.path] for dataset in scaled.datasets]
    if not all(isinstance(array, zarr.Array) for array in arrays):
        raise UnreadableImageError(
            f"“{name}” lists levels that are not there: copy the whole folder again."
        )
    levels = cast("list[Array]", arrays)
    axes, units = _axes(scaled, levels[0].ndim)
    if any(array.ndim != len(axes) for array in levels):
        raise UnreadableImageError(
            f"The levels of “{name}” have other axes than the first: export it anew."
        )
    outer = _told(scaled.transformations, len(axes))
    scales, corners = (
        [
            _pixel(_told(dataset.transformations, len(axes), kind), outer, axes)
            for dataset in scaled.datasets
        ]
        for kind in ("scale", "translation")
    )
    um = [pixel_size.UM_PER_NAME.get(units[axis].lower()) for axis in "yx"]
    return OmeImage(
        arrays=levels,
        axes=axes,
        scales=scales,
        size=_size(scales[0], um),
        corners=corners,
        units=(um[0], um[1]),
        is_colour=_is_colour(meta),
        channels=tuple(one.label for one in _channels(meta)),
        notes=notes,
    )


def _axes(scaled: _Multiscale, ndim: int) -> tuple[str, dict[str, str]]:
    """A letter for each axis, and the units of those that have one."""
    described = scaled.axes or list(_OLD_AXES[-ndim:])
    letters = ""
    units: dict[str, str] = {}
    for axis in described:
        entry = axis if isinstance(axis, _Axis) else _Axis(axis)
        letter = entry.name.lower()[:1]
        letters += letter
        units[letter] = entry.unit or ""
    is_told = {"y", "x"} <= set(letters) and len(set(letters)) == len(letters)
    if len(letters) != ndim or not is_told:
        raise UnreadableImageError(
            f"The OME-Zarr image has {ndim} axes and describes “{letters}”: "
            "export it anew."
        )
    return letters, units


def _told(
    found: _Transformations, ndim: int, kind: str = "scale"
) -> list[float] | None:
    """The scale, or the translation, among the transformations of a level."""
    for transformation in found or ():
        values = getattr(transformation, kind, None) or ()
        if transformation.type == kind and len(values) == ndim:
            return list(values)
    return None


def _pixel(
    scale: list[float] | None, outer: list[float] | None, axes: str
) -> tuple[float, float] | None:
    if scale is None:
        return None
    steps = [a * b for a, b in zip(scale, outer or [1.0] * len(axes), strict=True)]
    return (steps[axes.index("y")], steps[axes.index("x")])


def _size(
    pixel: tuple[float, float] | None, um: list[float | None]
) -> pixel_size.PixelSize:
    if pixel is None or um[0] is None or um[1] is None:
        return pixel_size.UNKNOWN
    return pixel_size.judge(pixel[1] * um[1], pixel[0] * um[0])


def _is_colour(meta: Json) -> bool | None:
    """Whether the channels are drawn in red, green and blue, where that is told."""
    colours = tuple(one.color.upper()[:6] for one in _channels(meta))
    return colours[:3] == _RGB if any(colours) else None


def _channels(meta: Json) -> list[_Channel]:
    try:
        return typed(meta.get("omero") or {}, _Omero).channels
    except MalformedError:
        return []  # it only says how to draw
