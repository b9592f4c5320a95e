"""One function a file format; each writes one file from finished parts."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import tifffile
import zarr
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from napari_wsol.export.ome import SOFTWARE, describe_levels
from napari_wsol.export.outlines import rings_of, write_features
from napari_wsol.export.tiles import METHOD, attention_table
from napari_wsol.files.tables import write_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from napari_wsol.export.masks import BoolMap, Grid
    from napari_wsol.export.regions import Region
    from napari_wsol.export.tiles import TileAttention
    from napari_wsol.images.heatmap import Heatmap

CLASS_COLOR = (213, 94, 0)
"""Vermilion of the colour-blind-safe Okabe-Ito palette."""


_TILE = 512
_CHUNK = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the writers choose from.

    Attributes:
        mask: bool on ``grid``.
        grid: where the mask's pixels lie.
        regions: of the mask, strongest first.
        heatmap: what the mask was cut from.
        mpp: µm a level-0 pixel, None where it is not known.
        fingerprint: sha256 of the image; makes the ids of its regions.
    """

    mask: BoolMap
    grid: Grid
    regions: list[Region]
    heatmap: Heatmap
    mpp: float | None
    fingerprint: str

    def mask_geometry(self) -> dict[str, object]:
        """Where the mask lies, for the file's own metadata."""
        d = self.grid.downsample
        return {
            "shape": list(self.grid.shape),
            "scale": [d, d],
            "translate": list(self.grid.translate),
            "image_shape": list(self.grid.image_shape),
            "mpp": self.mpp,
            "coordinates": "level-0 pixels, (y, x), integers are pixel centres",
        }

    def heatmap_geometry(self) -> dict[str, object]:
        """Where the heatmap lies and what its values are."""
        heatmap = self.heatmap
        return {
            "method": heatmap.method,
            "class": heatmap.target,
            "shape": list(heatmap.values.shape),
            "scale": list(heatmap.scale),
            "translate": list(heatmap.translate),
            "image_shape": list(heatmap.image_shape),
            "mpp": self.mpp,
            "coordinates": "level-0 pixels, (y, x), integers are pixel centres",
            "is_probability": heatmap.is_probability,
            "raw_range": list(heatmap.raw_range),
            "round": heatmap.round,
        }


def write_mask_png(path: Path, parts: Parts) -> None:
    """8-bit mask, 0 and 255, with its geometry as JSON in the text chunk."""
    info = PngInfo()
    info.add_text("Software", SOFTWARE)
    info.add_text("Description", json.dumps(parts.mask_geometry()))
    resolution = {}
    if parts.mpp is not None:
        dots_per_inch = 25_400 / (parts.mpp * parts.grid.downsample)
        resolution = {"dpi": (dots_per_inch, dots_per_inch)}
    image = Image.fromarray(_to_bytes(parts.mask))
    image.save(path, "PNG", pnginfo=info, **resolution)


def write_mask_tiff(path: Path, parts: Parts) -> None:
    """Tiled, deflated 8-bit mask, 0 and 255; geometry as JSON in its description."""
    step = None if parts.mpp is None else parts.mpp * parts.grid.downsample
    _write_tiff(path, _to_bytes(parts.mask), parts.mask_geometry(), step)


def write_heatmap_tiff(path: Path, parts: Parts) -> None:
    """The heatmap at its own resolution as float32; geometry in its description."""
    values = np.asarray(parts.heatmap.values, np.float32)
    mpp, scale = parts.mpp, parts.heatmap.scale
    # The tags know one pixel size a direction, (x, y); both are the same here.
    step = None if mpp is None else mpp * scale[1]
    _write_tiff(path, values, parts.heatmap_geometry(), step)


def _write_tiff(
    path: Path,
    pixels: np.ndarray[tuple[int, int], np.dtype[np.uint8 | np.float32]],
    description: Mapping[str, object],
    um_per_pixel: float | None,
) -> None:
    per_cm = None if um_per_pixel is None else (1e4 / um_per_pixel, 1e4 / um_per_pixel)
    tifffile.imwrite(
        path,
        pixels,
        photometric="minisblack",
        tile=(_TILE, _TILE),
        compression="zlib",
        description=json.dumps(description),
        metadata=None,
        software=SOFTWARE,
        resolution=per_cm,
        resolutionunit=None if per_cm is None else "CENTIMETER",
    )


def _to_bytes(mask: BoolMap) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return mask.view(np.uint8) * np.uint8(255)


def write_regions_geojson(path: Path, parts: Parts) -> None:
    """Regions as QuPath annotations, in level-0 pixels measured from the corner.

    The form is that of QuPath's own reader: a classification needs both name and
    colour, ids are UUIDs, measurements are a flat object of finite numbers.
    """
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        write_features(file, (_feature(region, parts) for region in parts.regions))


def _feature(region: Region, parts: Parts) -> dict[str, object]:
    heatmap = parts.heatmap
    measurements = {"Area px^2": region.area_px}
    if region.area_mm2 is not None:
        measurements["Area um^2"] = region.area_mm2 * 1e6
    measurements[f"Mean {heatmap.method}"] = region.mean_score
    measurements[f"Max {heatmap.method}"] = region.max_score
    return {
        "type": "Feature",
        "id": str(region_uuid(region, parts)),
        "geometry": {"type": "Polygon", "coordinates": rings_of(region.polygon)},
        "properties": {
            "objectType": "annotation",
            "name": f"{heatmap.target} {region.id}",
            "classification": {"name": heatmap.target, "color": list(CLASS_COLOR)},
            "isLocked": True,
            "measurements": measurements,
            "metadata": {
                "method": heatmap.method,
                "class": heatmap.target,
                "round": str(heatmap.round),
            },
        },
    }


def region_uuid(region: Region, parts: Parts) -> uuid.UUID:
    """The same id whenever the same region is cut out of the same image again."""
    heatmap = parts.heatmap
    content = f"{parts.fingerprint}/{heatmap.method}/{heatmap.target}/"
    return uuid.uuid5(uuid.NAMESPACE_OID, content + region.polygon.wkt)


def write_regions_csv(path: Path, parts: Parts) -> None:
    """A row a region; positions are those of the GeoJSON file."""
    cells = REGION_COLUMNS.values()
    rows = ([cell(region, parts) for cell in cells] for region in parts.regions)
    write_table(path, list(REGION_COLUMNS), rows)


REGION_COLUMNS: Mapping[str, Callable[[Region, Parts], object]] = {
    "id": lambda region, _: region.id,
    "class": lambda _, parts: parts.heatmap.target,
    "method": lambda _, parts: parts.heatmap.method,
    "area_px": lambda region, _: f"{region.area_px:.0f}",
    "area_mm2": lambda r, _: "" if r.area_mm2 is None else f"{r.area_mm2:.9g}",
    "centroid_x": lambda region, _: f"{region.centroid[1]:.3f}",
    "centroid_y": lambda region, _: f"{region.centroid[0]:.3f}",
    "bbox_x": lambda region, _: region.bbox[1],
    "bbox_y": lambda region, _: region.bbox[0],
    "bbox_width": lambda region, _: region.bbox[3] - region.bbox[1],
    "bbox_height": lambda region, _: region.bbox[2] - region.bbox[0],
    "mean_score": lambda region, _: f"{region.mean_score:.6f}",
    "max_score": lambda region, _: f"{region.max_score:.6f}",
    "geojson_id": region_uuid,
}


def write_tiles_csv(path: Path, parts: Parts) -> None:
    """A row a tile of attention MIL, in reading order; in level-0 pixels."""
    write_table(path, TILE_COLUMNS, map(_tile_cells, attention_table(parts.heatmap)))


def _tile_cells(tile: TileAttention) -> tuple[object, ...]:
    place = (tile.y, tile.x, tile.height, tile.width)
    share = f"{tile.attention:.9g}"
    cells = (f"{value:.10g}" for value in place)
    return tile.rank, tile.row, tile.column, *cells, share


TILE_COLUMNS = ("rank", "row", "column", "y", "x", "height", "width", "attention")


def write_heatmap_zarr(path: Path, parts: Parts) -> None:
    """OME-Zarr 0.5 image of the heatmap as float32, placed on the image.

    Positions are in µm where the pixel size is known, else in level-0 pixels.
    """
    heatmap = parts.heatmap
    group = zarr.open_group(path, mode="w", zarr_format=3)
    describe_levels(
        group,
        f"{heatmap.method} {heatmap.target}",
        [(heatmap.scale, heatmap.translate)],
        mpp=parts.mpp,
        facts=parts.heatmap_geometry(),
    )
    values = np.asarray(heatmap.values, np.float32)
    array = group.create_array(
        "0",
        shape=values.shape,
        chunks=(min(_CHUNK, values.shape[0]), min(_CHUNK, values.shape[1])),
        dtype="float32",
        dimension_names=["y", "x"],
    )
    array[...] = values


WRITERS: Mapping[str, tuple[tuple[str, str, Callable[[Path, Parts], None]], ...]] = {
    "png": (("mask", ".png", write_mask_png),),
    "tiff": (
        ("mask", ".tiff", write_mask_tiff),
        ("heatmap", ".tiff", write_heatmap_tiff),
    ),
    "geojson": (("regions", ".geojson", write_regions_geojson),),
    "csv": (("regions", ".csv", write_regions_csv),),
    "zarr": (("heatmap", ".zarr", write_heatmap_zarr),),
}
"""The files of each format: what they hold, extension, writer."""


def writers_of(
    name: str, heatmap: Heatmap
) -> tuple[tuple[str, str, Callable[[Path, Parts], None]], ...]:
    """The files of a format for one heatmap: attention adds a table of its tiles."""
    if name == "csv" and heatmap.method == METHOD:
        return (*WRITERS[name], ("tiles", ".csv", write_tiles_csv))
    return WRITERS[name]


def space_needed(parts: Parts) -> int:
    """Bytes that the largest possible set could take; a bound, not an estimate."""
    vertices = sum(len(ring) for r in parts.regions for ring in rings_of(r.polygon))
    return (
        2 * parts.mask.nbytes
        + 2 * parts.heatmap.values.nbytes
        + 32 * vertices
        + 2_000 * len(parts.regions)
        + (200 * parts.heatmap.values.size if parts.heatmap.method == METHOD else 0)
        + 1_000_000
    )
