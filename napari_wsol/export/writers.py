"""One function a file format; each writes one file from finished parts."""

from __future__ import annotations

import gzip
import json
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import TextIOWrapper
from itertools import chain
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import tifffile
import zarr
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from napari_wsol.export.labels import AGAINST_COLOR, CLASS_COLOR, write_labels
from napari_wsol.export.ome import SOFTWARE, levels_for, pyramid, write_levels
from napari_wsol.export.outlines import rings_of, write_features
from napari_wsol.export.regions import FEATURES
from napari_wsol.export.tiles import COLUMNS, MOST_TILES, map_tiles, tile_table
from napari_wsol.files.tables import write_table

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from pathlib import Path

    from napari_wsol.export.labels import Label
    from napari_wsol.export.masks import BoolMap, Grid
    from napari_wsol.export.regions import Region
    from napari_wsol.images.heatmap import Heatmap

_TILE = 512
_READ_ANEW = 4_000_000
"""Cells at most of a map that does not end where its image does, in a TIFF."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the writers choose from.

    Attributes:
        mask: bool on ``grid``; empty where a map is written alone.
        grid: where the mask's pixels lie.
        regions: of the mask, strongest first; then those against the class.
        heatmap: what the mask was cut from.
        mpp: µm a level-0 pixel, None where it is not known.
        fingerprint: sha256 of the image; makes the ids of its regions.
        threshold: what the mask was cut at.
        heatmaps: of all methods, by name.
        tissue: (h, w) bool over the whole image, None where it was not looked for.
        labels: mask, tissue and strokes, for files that hold them.
        tick: called often while a long file is written; may raise to stop.
    """

    mask: BoolMap
    grid: Grid
    regions: list[Region]
    heatmap: Heatmap
    mpp: float | None
    fingerprint: str
    threshold: float = 0.5
    heatmaps: Mapping[str, Heatmap] = field(default_factory=dict[str, "Heatmap"])
    tissue: BoolMap | None = None
    labels: Sequence[Label] = ()
    tick: Callable[[], None] = lambda: None

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
            "method": heatmap.key,
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
            # One half is 0: nothing for the class, nor against it.
            **({"zero": 0.5, "bias": heatmap.bias} if heatmap.signed else {}),
        }

    def class_of(self, *, against: bool) -> dict[str, object]:
        """The class of a region or tile as QuPath reads it."""
        before, color = ("against ", AGAINST_COLOR) if against else ("", CLASS_COLOR)
        return {"name": before + self.heatmap.target, "color": color}


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
    step = float(parts.grid.downsample)
    told = _tags(parts.mpp, (step, step), parts.mask_geometry())
    tifffile.imwrite(path, _to_bytes(parts.mask), metadata=None, **told)


def write_heatmap_tiff(path: Path, parts: Parts) -> None:
    """The heatmap at its own resolution as float32; geometry in its description."""
    values = np.asarray(parts.heatmap.values, np.float32)
    told = _tags(parts.mpp, parts.heatmap.scale, parts.heatmap_geometry())
    tifffile.imwrite(path, values, metadata=None, **told)


def write_heatmap_ome_tiff(path: Path, parts: Parts) -> None:
    """The heatmap as pyramidal OME-TIFF, float32 from 0 to 1, as large as the image.

    Its pixels are the map's own cells, so many µm or level-0 pixels each that all of
    them are as large as the image. A map that reaches beyond the image or ends inside
    it is interpolated on finer ones. Levels are SubIFDs of half the size; facts are
    JSON in OME's description of the image.
    """
    heatmap = parts.heatmap.within_image(_READ_ANEW)
    values = np.asarray(heatmap.values, np.float32)
    name = f"{heatmap.key} {heatmap.target}"
    facts = replace(parts, heatmap=heatmap).heatmap_geometry() | {"range": [0, 1]}
    told: dict[str, object] = {
        "axes": "YX",
        "Name": name,
        "Channel": {"Name": [name]},
        "Description": json.dumps(facts),
        "UUID": str(_uuid(parts, "map")),
    }
    if parts.mpp is not None:
        for axis, step in zip("YX", heatmap.scale, strict=True):
            told[f"PhysicalSize{axis}"] = parts.mpp * step
            told[f"PhysicalSize{axis}Unit"] = "µm"
    levels, (height, width) = levels_for(values.shape), heatmap.scale
    with tifffile.TiffWriter(path, ome=True, bigtiff=values.nbytes > 2**31) as file:
        for level, part in enumerate(pyramid(values, levels, np.mean)):
            parts.tick()
            tags = _tags(parts.mpp, (height * 2**level, width * 2**level))
            kind = {"subfiletype": 1} if level else {"subifds": levels - 1}
            file.write(part, metadata=None if level else told, **kind, **tags)


def _tags(
    mpp: float | None,
    scale: tuple[float, float],
    facts: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """How pixels of (y, x) ``scale`` level-0 pixels are stored, and what is told."""
    tags: dict[str, Any] = {
        "photometric": "minisblack",
        "tile": (_TILE, _TILE),
        "compression": "zlib",
        "software": SOFTWARE,
    }
    if facts is not None:
        tags["description"] = json.dumps(facts)
    if mpp is not None:
        tags["resolution"] = (1e4 / (mpp * scale[1]), 1e4 / (mpp * scale[0]))
        tags["resolutionunit"] = "CENTIMETER"
    return tags


def _to_bytes(mask: BoolMap) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return mask.view(np.uint8) * np.uint8(255)


@contextmanager
def _text(path: Path) -> Generator[TextIO]:
    """A new text file; what is called .gz is packed, always to the same bytes."""
    with path.open("wb") as file:
        is_packed = path.suffix == ".gz"
        packed = gzip.GzipFile("", "wb", 6, file, 0) if is_packed else file
        with TextIOWrapper(packed, "utf-8", "backslashreplace", "\n") as text:
            yield text


def write_regions_geojson(path: Path, parts: Parts) -> None:
    """Regions as QuPath annotations, in level-0 pixels measured from the corner.

    The form is that of QuPath's own reader: a classification needs both name and
    colour, ids are UUIDs, measurements are a flat object of finite numbers.
    """
    with _text(path) as file:
        write_features(file, (_feature(region, parts) for region in parts.regions))


def _feature(region: Region, parts: Parts) -> dict[str, object]:
    heatmap, kind = parts.heatmap, parts.class_of(against=region.against)
    measurements = {"Area px^2": region.area_px}
    if region.area_mm2 is not None:
        measurements["Area um^2"] = region.area_mm2 * 1e6
    measurements[f"Mean {heatmap.key}"] = region.mean_score
    peak = "Min" if region.against else "Max"
    measurements[f"{peak} {heatmap.key}"] = region.max_score
    if region.evidence is not None:
        measurements["Evidence"] = region.evidence
    for name, value in region.features.items():
        measurements[name.replace("_", " ").capitalize()] = value
    return {
        "type": "Feature",
        "id": str(region_uuid(region, parts)),
        "geometry": {"type": "Polygon", "coordinates": rings_of(region.polygon)},
        "properties": {
            "objectType": "annotation",
            "name": f"{kind['name']} {region.id}",
            "classification": kind,
            "isLocked": True,
            "measurements": measurements,
            "metadata": {
                "method": heatmap.key,
                "class": heatmap.target,
                "round": str(heatmap.round),
            },
        },
    }


def region_uuid(region: Region, parts: Parts) -> uuid.UUID:
    """The same id whenever the same region is cut out of the same image again."""
    return _uuid(parts, region.polygon.wkt)


def _uuid(parts: Parts, thing: str) -> uuid.UUID:
    heatmap = parts.heatmap
    content = f"{parts.fingerprint}/{heatmap.key}/{heatmap.target}/{thing}"
    return uuid.uuid5(uuid.NAMESPACE_OID, content)


def write_tiles_geojson(path: Path, parts: Parts) -> None:
    """The maps as QuPath tiles, in level-0 pixels; no more than a row is in memory.

    Each has a measurement a method, the map's mean there, for QuPath's measurement
    maps; those that the threshold marks have the class, or that against it.
    """
    with _text(path) as file:
        write_features(file, _tile_features(parts))


def _tile_features(parts: Parts) -> Iterator[dict[str, object]]:
    heatmap = parts.heatmap
    heatmaps = {**parts.heatmaps, heatmap.key: heatmap}
    cut = heatmap.cut(parts.threshold)
    for box, values in map_tiles(heatmap, heatmaps, parts.tissue, tick=parts.tick):
        properties: dict[str, object] = {"objectType": "tile"}
        is_against = heatmap.signed and values[heatmap.key] <= 1 - cut
        if is_against or values[heatmap.key] >= cut:
            properties["classification"] = parts.class_of(against=is_against)
        properties["measurements"] = {key: round(values[key], 6) for key in values}
        x0, y0, x1, y1 = box
        ring = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
        yield {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": properties,
        }


def write_regions_csv(path: Path, parts: Parts) -> None:
    """A row a region; positions are those of the GeoJSON file."""
    cells = REGION_COLUMNS.values()
    rows = (
        [
            *(cell(region, parts) for cell in cells),
            *(f"{region.features[name]:.6g}" for name in FEATURES),
        ]
        for region in parts.regions
    )
    write_table(path, [*REGION_COLUMNS, *FEATURES], rows)


REGION_COLUMNS: Mapping[str, Callable[[Region, Parts], object]] = {
    "id": lambda region, _: region.id,
    "class": lambda region, parts: parts.class_of(against=region.against)["name"],
    "method": lambda _, parts: parts.heatmap.key,
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
    "evidence": lambda r, _: "" if r.evidence is None else f"{r.evidence:.9g}",
    "geojson_id": region_uuid,
}


def write_tiles_csv(path: Path, parts: Parts) -> None:
    """A row a tile of multiple instance learning, in reading order."""
    table = tile_table(parts.heatmap, parts.heatmaps)
    first = next(table)
    write_table(path, [*first], ([*row.values()] for row in chain([first], table)))


def write_heatmap_zarr(path: Path, parts: Parts) -> None:
    """OME-Zarr 0.5 image of the heatmap as float32, placed on the image, with labels.

    Positions are in µm where the pixel size is known, else in level-0 pixels.
    """
    heatmap, labels = parts.heatmap, parts.labels
    group = zarr.open_group(path, mode="w", zarr_format=3)
    values = np.asarray(heatmap.values, np.float32)
    # The levels of labels must be as many as those of their image.
    levels = levels_for(values.shape, *(label.values.shape for label in labels))
    write_levels(
        group,
        f"{heatmap.key} {heatmap.target}",
        values,
        (heatmap.scale, heatmap.translate),
        levels=levels,
        reduce=np.mean,
        mpp=parts.mpp,
        facts=parts.heatmap_geometry(),
    )
    write_labels(group, labels, levels, parts.mpp)


WRITERS: Mapping[str, tuple[tuple[str, str, Callable[[Path, Parts], None]], ...]] = {
    "png": (("mask", ".png", write_mask_png),),
    "tiff": (
        ("mask", ".tiff", write_mask_tiff),
        ("heatmap", ".tiff", write_heatmap_tiff),
    ),
    "geojson": (("regions", ".geojson", write_regions_geojson),),
    "csv": (("regions", ".csv", write_regions_csv),),
    "zarr": (("heatmap", ".zarr", write_heatmap_zarr),),
    "ome-tiff": (("heatmap", ".ome.tiff", write_heatmap_ome_tiff),),
    "tiles": (("tiles", ".geojson", write_tiles_geojson),),
    "tiles-gz": (("tiles", ".geojson.gz", write_tiles_geojson),),
}
"""The files of each format: what they hold, extension, writer."""


MAPS: Mapping[str, Callable[[Path, Parts], None]] = {
    ".heatmap.tiff": write_heatmap_tiff,
    ".heatmap.ome.tiff": write_heatmap_ome_tiff,
    ".heatmap.zarr": write_heatmap_zarr,
}
"""Files that hold a map alone, by their endings, which napari.yaml names, too."""


def writers_of(
    name: str, heatmap: Heatmap
) -> tuple[tuple[str, str, Callable[[Path, Parts], None]], ...]:
    """The files of a format for one heatmap: those of tiles have a table of them.

    Signed ones have a second mask, of what speaks against their class.
    """
    found = WRITERS[name]
    if name == "csv" and heatmap.method in COLUMNS:
        return (*found, ("tiles", ".csv", write_tiles_csv))
    if name in {"png", "tiff"} and heatmap.signed:
        return (*found, ("against", *found[0][1:]))
    return found


def space_needed(parts: Parts) -> int:
    """Bytes that the largest possible set could take; a bound, not an estimate."""
    vertices = sum(len(ring) for r in parts.regions for ring in rings_of(r.polygon))
    return (
        4 * parts.mask.nbytes
        + 6 * parts.heatmap.values.nbytes
        + 2 * sum(label.values.size for label in parts.labels)
        + min(parts.heatmap.values.size, MOST_TILES) * (500 + 80 * len(parts.heatmaps))
        + 32 * vertices
        + 2_000 * len(parts.regions)
        + (250 * parts.heatmap.values.size if parts.heatmap.method in COLUMNS else 0)
        + 1_000_000
    )
