"""Maps that were made elsewhere: read, scaled to [0, 1] and placed on the image."""

from __future__ import annotations

import hashlib
import math
import os
import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from PIL import Image

from napari_wsol import errors
from napari_wsol.errors import ImageError, MalformedError, Question, UnansweredError
from napari_wsol.files import path_from, sha256_of
from napari_wsol.files.parsing import VALUES, read_text
from napari_wsol.files.tables import parse_table, separator_of
from napari_wsol.images.fingerprint import fingerprint_files
from napari_wsol.images.h5 import numbers_in
from napari_wsol.images.heatmap import KEPT_CELLS, Heatmap, covering
from napari_wsol.images.readers import TIFF_HEADS, head_of
from napari_wsol.images.readers.arrays import seen_plane
from napari_wsol.images.readers.ome_zarr import METADATA, open_image
from napari_wsol.images.readers.stacks import answered
from napari_wsol.images.readers.tiff_slide import checked_tiff

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# pyright: basic
# ruff: noqa: ANN401
# Arrays of any shape and type come in, and h5py is not typed; a Heatmap goes out.

MOST_READ = 1 << 26
"""Values of a map."""

_ROLES = {
    "x": r"(coords?_)?x(_?coord|_?min|0)?|left",
    "y": r"(coords?_)?y(_?coord|_?min|0)?|top",
    "w": r"(patch_)?w(idth)?|(patch_)?size(_level0)?",
    "h": r"(patch_)?h(eight)?",
    "scores": r"(attn|attention|prob\w*|scores?)(_?scores?)?|value",
}
"""What the numbers of patches are called, in tables and in HDF5."""

_CORNERS = "expected are x and y of upper left corners in pixels of the full image"


class Given(TypedDict, total=False):
    """What a person says of a map, as ``Session.add_map`` takes it."""

    name: str
    target: str
    scale: float | tuple[float, float]
    translate: float | tuple[float, float]
    answers: Mapping[str, str]


def read_map(source: Any, given: Given, shape: Any, mpp: float | None) -> Heatmap:
    """A map of an image of ``shape``; the first of its notes says where it is from.

    Raises:
        UnansweredError: it is not told where the map lies, or which of several it is.
        ImageError: it cannot be read, or lies elsewhere.
        ConfigError: scale or place are no numbers.
    """
    path = path_from(source) if isinstance(source, str | os.PathLike) else None
    path = path.parent if path and path.name in METADATA else path
    title = path.name if path else "array"

    def told(error: Exception) -> ImageError:
        return errors.UnreadableImageError(
            f"“{title}” is no map: {error}. Give TIFF, npy, OME-Zarr, PNG, or HDF5 or "
            "a table with x, y and the scores of patches."
        )

    said: Any = {**(given.get("answers") or {}), **given}
    keys = ("scale", "translate", "patch")
    scale, corner, side = (_pair(said.pop(key, None), key) for key in keys)
    with errors.told_as(told, but=(ImageError, UnansweredError)):
        head = head_of(path) if path else b""
        is_h5 = head.startswith(b"\x89HDF")
        if path and (is_h5 or title.lower().endswith((".csv", ".tsv"))):
            columns = _h5(path) if is_h5 else _table(path)
            values, place, notes = _on_cells(columns, shape, side or scale, said)
        else:
            found = _array(path, head, mpp) if path else (source, None, None)
            values, notes = _plane(found[0], found[1], title, said)
            place = found[2]
            values, place, note = _placed(values, place, shape, scale, corner)
            notes += note
        values, span, words = _scaled(values)
        if path is None:
            digest = hashlib.sha256(np.asarray(source).tobytes()).hexdigest()
        elif path.is_file():
            digest = sha256_of(path)
        else:
            digest = fingerprint_files(sorted(filter(os.path.isfile, path.rglob("*"))))
    return Heatmap(
        values=values,
        scale=place[0],
        translate=place[1],
        image_shape=shape,
        method=given.get("name") or title.partition(".")[0] or "map",
        target=given.get("target") or "evidence",
        is_probability=span[0] >= 0 and span[1] <= 1,
        raw_range=span,
        notes=(f"From elsewhere: {title}, sha256 {digest}.", *notes, *words),
    ).coarser(KEPT_CELLS)


def _pair(given: Any, what: str) -> tuple[float, float] | None:
    """A number for both axes or (y, x), also as text; None where nothing is given."""
    if given is None or str(given).strip() in ("", "corner"):
        return None
    parts = re.split(r"[,;\s]+", given.strip()) if isinstance(given, str) else given
    words = f"{what} is one number, or two (y, x), and not {given}."
    with errors.told_as(lambda _: errors.ConfigError(words)):
        y, x = np.broadcast_to(np.asarray(parts, np.float64), 2).tolist()
        if not math.isfinite(y + x) or (what != "translate" and min(y, x) <= 0):
            raise ValueError
    return y, x


def _array(path: Path, head: bytes, mpp: float | None) -> Any:
    """The array of a file, its axes and its place, as far as they are told."""
    if head.startswith(b"\x93NUMPY"):
        return np.load(path, mmap_mode="r", allow_pickle=False), None, None
    if path.is_dir():
        image = open_image(path)
        small = [math.prod(array.shape) <= KEPT_CELLS for array in image.arrays]
        level = small.index(True) if any(small) else 0
        return image.arrays[level], tuple(image.axes), image.place(level, mpp)
    if not head.startswith(TIFF_HEADS):
        with Image.open(path, formats=("PNG", "JPEG")) as picture:
            return np.asarray(picture), None, None
    with checked_tiff(path) as tif:
        series = tif.series[0]
        _check_size(series.shape)
        return series.asarray(), tuple(series.axes.lower().replace("s", "c")), None


def _check_size(shape: Any) -> None:
    if math.prod(shape) > MOST_READ:
        raise MalformedError(f"it has {math.prod(shape)} values: make it coarser")


def _plane(array: Any, axes: Any, title: str, said: Any) -> Any:
    """(h, w) of an array, and notes; which of several planes, is asked."""
    if not isinstance(getattr(array, "dtype", 0), np.dtype):
        array = np.array(array)
    if axes is None and array.ndim == 3 and array.shape[2] <= 4:
        axes = ("y", "x", "c")
    known = Given.__optional_keys__ | {"scores"}
    pick = answered({key: str(said[key]) for key in said if key not in known})
    try:
        seen, notes = seen_plane(array, title, replace(pick, rgb=False), axes)
    except errors.StackError as error:
        words = f"“{title}” holds several planes or channels: which is the map?"
        raise UnansweredError(words, error.questions) from error
    _check_size(seen.shape)
    return np.asarray(seen[:, :]).reshape(seen.shape[:2]), notes


def _placed(values: Any, place: Any, shape: Any, scale: Any, corner: Any) -> Any:
    """Where it is said, told or told by proportions; empty where it does not reach."""
    (y, x), corners = covering(shape, values.shape)
    notes = ()
    if scale is None and place is not None:
        scale, corner = place[0], corner or place[1]
    elif scale is None and math.isclose(y, x, rel_tol=1e-9):
        notes = ("It has the proportions of the image, and covers it exactly.",)
        scale, corner = (y, x), corner or corners
    elif scale is None:
        size = "{} × {} cells, and the image {} × {} pixels".format(
            *values.shape, *shape
        )
        first = "Which pixel is its first cell's centre, (y, x) or “corner”?"
        a_cell = Question("scale", "Pixels a cell, (y, x)?", (), f"{y:g}, {x:g}")
        raise UnansweredError(
            f"It is not told where the map lies: it has {size}.",
            (a_cell, Question("translate", first, (), "corner")),
        )
    corner = corner or ((scale[0] - 1) / 2, (scale[1] - 1) / 2)
    begin = np.add(corner, 0.5) - np.divide(scale, 2)
    ends = begin + np.multiply(scale, values.shape)
    if (begin >= shape).any() or (ends <= 0).any():
        raise ImageError("The map lies beside the image: check scale and place.")
    gaps = np.stack([begin, shape - ends], axis=1) / np.reshape(scale, (2, 1))
    pads = np.maximum(0, gaps + 1e-6).astype(int)
    if pads.any():
        _check_size(values.shape + pads.sum(axis=1))
        values = np.pad(values.astype(np.float64), pads, constant_values=np.nan)
    y, x = (corner - pads[:, 0] * scale).tolist()
    return values, (scale, (y, x)), notes


def _scaled(values: Any) -> Any:
    """float32 in [0, 1]: as it is where it lies there; its range; what was done."""
    if values.dtype.kind not in "buif":
        raise MalformedError(f"it holds {values.dtype}, and no numbers")
    values = values.astype(np.promote_types(values.dtype, np.float32))
    known = np.isfinite(values)
    if not known.any():
        raise MalformedError("none of its values is a number")
    low, high = float(values[known].min()), float(values[known].max())
    notes = (f"Its values, {low:.6g} to {high:.6g}, are taken as they are.",)
    if low < 0 or high > 1:
        notes = (f"Its values, {low:.6g} to {high:.6g}, were scaled to 0 to 1.",)
        values = (values - low) / ((high - low) or 1)
    if not known.all():
        notes += (f"{np.count_nonzero(~known)} cells without a value are 0.",)
    return np.where(known, values, 0).astype(np.float32), (low, high), notes


def _table(path: Path) -> dict[str, Any]:
    """The columns of numbers of a table."""
    text = read_text(path)
    (_, head), *lines = parse_table(text, separator_of(text)) or [(0, [""])]
    columns: dict[str, Any] = {}
    for place, name in enumerate(head):
        cells = ("".join(row[place : place + 1]) or "nan" for _, row in lines)
        with suppress(ValueError):  # names of slides and the like
            columns[name.lower()] = np.array(list(map(float, cells)))
    return columns


def _h5(path: Path) -> dict[str, Any]:
    """Corners, sides and numbers of patches, as CLAM and TRIDENT write them."""
    columns: dict[str, Any] = {}
    with numbers_in(path) as (found, attributes):
        for key, item in found.items():
            if item.size > VALUES:
                continue
            values = item[()].astype(np.float64)
            if key == "coords":
                columns["x"], columns["y"] = values.reshape(-1, 2).T
                told = {**attributes, **item.attrs}
                down = told.get("downsample", np.nan if told.get("patch_level") else 1)
                whole = np.rint(down)  # CLAM steps by whole pixels
                down = np.where(np.abs(down - whole) < 1e-3, whole, down)
                side = told.get("patch_size", np.nan) * down
                side = np.broadcast_to(told.get("patch_size_level0", side), 2)
                if np.isfinite(side).all():
                    columns["w"], columns["h"] = side.reshape(2, 1)
            elif max(values.shape) == values.size:
                columns[key] = values.ravel()
            elif values.ndim == 2 and values.shape[1] <= 16:  # more are features
                columns |= {f"{key}[{k}]": one for k, one in enumerate(values.T)}
    return columns


def _on_cells(columns: dict[str, Any], shape: Any, side: Any, said: Any) -> Any:
    """The mean score of the patches on each cell of a lattice over the image."""
    roles = {
        role: [name for name in columns if re.fullmatch(words, name.lower())]
        for role, words in _ROLES.items()
    }
    if not roles["x"] or not roles["y"]:
        raise MalformedError(f"it has no places of patches; {_CORNERS}")
    lows: Any = np.stack([columns[roles[axis][0]] for axis in "yx"], axis=1)
    used = {name for names in roles.values() for name in names}
    others = [n for n in columns if n not in used and len(columns[n]) == len(lows)]
    chosen = [name for name in columns if name == said.get("scores")]
    names = chosen or roles["scores"] or others
    if len(names) != 1:
        words = "Which numbers are the scores of the patches?"
        asked = Question("scores", words, tuple(names))
        raise UnansweredError(words, (asked,)) if names else MalformedError("no scores")
    told = [columns[roles[role][0]].max() for role in "hw" if roles[role]]
    sides = _pair(told or side, "patch")
    if sides is None:
        words = "How many pixels of the full image is a patch along a side?"
        steps = [np.diff(np.unique(low)).min(initial=np.inf) for low in lows.T]
        asked = Question("patch", words, (), f"{min(steps):g}")
        raise UnansweredError(words, (asked,))
    if not ((lows < shape) & (lows + sides > 0)).all():
        y, x = lows.max(axis=0)
        raise ImageError(
            f"Patches lie outside the image of {shape[1]} × {shape[0]} pixels: x up to "
            f"{x:g}, y up to {y:g}; {_CORNERS} (level 0)."
        )
    # Cells are patches, or parts of them where they overlap or lie on no lattice.
    few = math.sqrt(KEPT_CELLS * math.prod(sides) / math.prod(shape))
    most = max(1, min(16, int(few), math.isqrt(KEPT_CELLS // len(lows))))
    least = lows.min(axis=0)
    even = least + np.rint((lows - least) / sides) * sides
    lows = np.where(np.abs(even - lows).max() < 1, even, lows)  # were cut to pixels
    grain = np.gcd.reduce(np.rint(16 * np.vstack([lows - least, sides])).astype(int))
    parts = np.clip(np.rint(np.divide(sides, grain / 16)), 1, most)
    unit = sides / parts
    begin = least - np.maximum(0, np.ceil(least / unit - 1e-9)) * unit
    size = np.ceil((shape - begin) / unit - 1e-9).astype(int)
    _check_size(size.tolist())
    first = np.rint((lows - begin) / unit).astype(int).T[:, :, None, None]
    at = first + np.indices(parts.astype(int).tolist())[:, None]
    scores = columns[names[0]][:, None, None]
    both: Any = np.zeros((2, *np.maximum(size, at.max(axis=(1, 2, 3)) + 1)))
    sums, counts = both
    np.add.at(sums, tuple(at), np.nan_to_num(scores))
    np.add.at(counts, tuple(at), np.isfinite(scores))
    with np.errstate(invalid="ignore"):
        means = (sums / counts)[: size[0], : size[1]].astype(np.float32)
    place = tuple(unit.tolist()), tuple((begin + (unit - 1) / 2).tolist())
    size = f"{unit[0]:g} × {unit[1]:g} pixels"
    return means, place, (f"{names[0]} of {len(lows)} patches, on cells of {size}.",)
