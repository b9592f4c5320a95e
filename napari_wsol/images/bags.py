"""Bags: the vectors that a network made of a slide's tiles, and where these lie.

Files are read as TRIDENT and CLAM write them (HDF5): ``features`` (n, D) and ``coords``
(n, 2), the corners (x, y) of the tiles in level-0 pixels, with ``patch_size_level0``,
or ``patch_size`` and ``downsample``, among the attributes. CLAM's files of features
say no size: it is told from the tiles' distance.
"""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_wsol.errors import ImageError
from napari_wsol.images.h5 import numbers_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SUFFIX = ".h5"
FOLDERS = ("", "features*/", "h5_files/", "*/features_*/", "*/h5_files/")
"""Where bags are looked for, below a folder."""
PIECE = 4096
"""Tiles whose vectors are in memory together."""

Corners = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bag:
    """The tiles of one slide.

    Attributes:
        path: of the file.
        corners: (n, 2) int64 upper left corners, (y, x) in level-0 pixels.
        side: of a tile in level-0 pixels.
        width: D, values of a vector.
        image_shape: (H, W) of level 0, where the file says it; else what tiles cover.
        is_told: whether the file says it.
        encoder: name of the network that made the vectors; empty if not said.
        sha256: of that network, if it was one of ours.
        tile: side of a tile in the pixels that the network saw; 0 if not said.
    """

    path: Path
    corners: Corners
    side: float
    width: int
    image_shape: tuple[int, int]
    is_told: bool = False
    encoder: str = ""
    sha256: str = ""
    tile: int = 0

    def __len__(self) -> int:
        """Tiles."""
        return len(self.corners)

    @property
    def name(self) -> str:
        """Of the slide, as the file is called."""
        return self.path.stem

    def vectors(self, places: npt.NDArray[np.intp] | None = None) -> Floats:
        """(m, D) vectors, as they are stored.

        Args:
            places: (m,) of the tiles, in any order; all by default.
        """
        with numbers_in(self.path) as (found, _):
            item = found["features"]
            if places is None:
                return _flat(item, slice(None))
            order, back = np.unique(places, return_inverse=True)
            return _flat(item, order)[back]

    def pieces(self) -> Iterator[Floats]:
        """(m, D) float32 vectors of all tiles, a piece at a time."""
        with numbers_in(self.path) as (found, _):
            for start in range(0, len(self), PIECE):
                part = slice(start, min(start + PIECE, len(self)))
                yield _flat(found["features"], part).astype(np.float32)

    def check(self, shape: tuple[int, int], name: str) -> None:
        """Makes sure that it can be the bag of a slide.

        Args:
            shape: (H, W) of its level 0.
            name: of the slide.

        Raises:
            ImageError: it is of a slide of another size.
        """
        reach = self.corners.max(0) + self.side
        beyond = bool((reach > np.add(shape, self.side)).any())
        if beyond or (self.is_told and self.image_shape != shape):
            height, width = self.image_shape
            raise ImageError(
                f"“{self.path.name}” is the bag of a slide of {width} × {height} "
                f"pixels, and {name} has {shape[1]} × {shape[0]}. Choose the bag that "
                "was made from this file."
            )


def is_bag(source: object) -> bool:
    """Whether something is called as the file of a bag is."""
    return isinstance(source, str | Path) and Path(source).suffix.lower() == SUFFIX


def find_bag(slide: Path, folders: Iterable[Path]) -> Path | None:
    """The first file of a slide's name in folders, or below where others write bags."""
    name = glob.escape(slide.stem) + SUFFIX
    places = ((folder, below + name) for folder in folders for below in FOLDERS)
    return next((path for at, of in places for path in sorted(at.glob(of))), None)


def open_bag(path: str | Path) -> Bag:
    """Reads where the tiles of a bag lie; their vectors stay on the disk.

    Raises:
        ImageError: the file is no bag; says what it lacks.
    """
    path = Path(path)
    with numbers_in(path) as (found, attributes):
        features, coords = found.get("features"), found.get("coords")
        if features is None or coords is None:
            raise ImageError(
                f"“{path.name}” is no bag: it needs “features”, a row of numbers a "
                "tile, and “coords”, the corner of each."
            )
        shape = tuple(features.shape[-2:])
        if features.size != np.prod(shape) or coords.shape != (shape[0], 2):
            raise ImageError(
                f"“{path.name}” has features of the shape {features.shape} and coords "
                f"of {coords.shape}: there is one row of either for each tile."
            )
        corners = np.asarray(coords[()], np.int64)[:, ::-1]
        told = {**attributes, **features.attrs, **coords.attrs}
    side = _side(told, corners)
    sizes = (_number(told, f"level0_{axis}") for axis in ("height", "width"))
    height, width = map(int, sizes)
    is_told = bool(height and width)
    reach = corners.max(0) + side
    return Bag(
        path=path,
        corners=corners,
        side=side,
        width=int(shape[1]),
        image_shape=(height, width) if is_told else (int(reach[0]), int(reach[1])),
        is_told=is_told,
        encoder=_text(told, "encoder") or _text(told, "encoder_name"),
        sha256=_text(told, "encoder_sha256"),
        tile=int(_number(told, "patch_size")),
    )


def _flat(item: Any, rows: Any) -> Floats:  # noqa: ANN401 - of a package without types
    """Rows of (n, D) or, as some write it, (1, n, D)."""
    return item[rows] if item.ndim == 2 else item[0, rows]


def _side(told: Mapping[str, Any], corners: Corners) -> float:
    side = _number(told, "patch_size_level0")
    if not side and not (told.get("patch_level") and "downsample" not in told):
        side = _number(told, "patch_size") * (_number(told, "downsample") or 1)
    if side > 0:
        return side
    # Whatever the order: the smallest step along a row or column of tiles.
    steps = np.concatenate([np.diff(np.unique(corners[:, at])) for at in (0, 1)])
    if not steps.size:
        raise ImageError(
            "The bag does not say how large its tiles are: it needs “patch_size_level0”"
            " among the attributes of “coords”."
        )
    return float(steps.min())


def _number(told: Mapping[str, Any], key: str) -> float:
    """The first of an attribute's numbers; 0 where there is none."""
    values = np.asarray(told.get(key, 0)).ravel()
    return float(values[0]) if values.size and values.dtype.kind in "buif" else 0.0


def _text(told: Mapping[str, Any], key: str) -> str:
    value = told.get(key, "")
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


@dataclass(frozen=True, slots=True)
class Lattice:
    """A bag's tiles as the cells of a map.

    Attributes:
        shape: rows and columns.
        scale: level-0 pixels a cell, (y, x).
        translate: level-0 position of the centre of cell (0, 0), (y, x).
        places: (n,) the cell of each tile, row by row.
        is_exact: whether each tile's centre is that of its cell.
    """

    shape: tuple[int, int]
    scale: tuple[float, float]
    translate: tuple[float, float]
    places: npt.NDArray[np.intp]
    is_exact: bool


def lattice_of(bag: Bag, image_shape: tuple[int, int] | None = None) -> Lattice:
    """Cells as large as the tiles' steps, over the whole slide.

    Where tiles lie on several grids (CLAM begins one at each piece of tissue), each
    goes to the nearest cell, at most half a tile away.

    Args:
        bag: the bag.
        image_shape: (H, W) of level 0; as the bag says by default.
    """
    shape = np.array(image_shape or bag.image_shape)
    centres, step = bag.corners + bag.side / 2, bag.side
    steps = [np.diff(np.unique(bag.corners[:, at])) for at in (0, 1)]
    least = min((float(one.min()) for one in steps if one.size), default=step)
    if step / 4 <= least < step and all((one % least == 0).all() for one in steps):
        step = least  # one grid of tiles that overlap
    first = centres[0] % step
    cells = np.rint((centres - first) / step).astype(np.intp)
    is_exact = bool(np.abs(first + cells * step - centres).max() <= 1)
    over = np.ceil((shape - first) / step + 0.5).astype(np.intp)
    rows, columns = map(int, np.maximum(over, cells.max(0) + 1))
    places = cells[:, 0] * columns + cells[:, 1]
    at = (float(first[0]) - 0.5, float(first[1]) - 0.5)
    return Lattice((rows, columns), (step, step), at, places, is_exact)
