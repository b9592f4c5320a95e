"""Export of one heatmap: mask, regions, table and provenance as one set of files."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import zarr

from napari_wsol.errors import ExportError
from napari_wsol.export.files import RECORD, check_space, checksums_of, staged, stem_of
from napari_wsol.export.labels import (
    AGAINST_COLOR,
    CLASS_COLOR,
    STROKES,
    TISSUE_COLOR,
    Label,
    write_labels,
)
from napari_wsol.export.masks import cut_mask, grid_for
from napari_wsol.export.provenance import make_record, write_record
from napari_wsol.export.regions import FEATURES, find_regions, why_empty
from napari_wsol.export.writers import MAPS, Parts, space_needed, writers_of
from napari_wsol.files import file_set, unwritable
from napari_wsol.images.heatmap import covering
from napari_wsol.jobs import ignore_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from napari_wsol.config import ExportConfig
    from napari_wsol.export.masks import BoolMap, Grid
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.images.slide import Slide
    from napari_wsol.jobs import Progress
    from napari_wsol.strokes.canvas import Canvas, Scribbles

HOLD_TISSUE = frozenset({"zarr", "tiles", "tiles-gz"})


def export_heatmap(
    folder: Path,
    heatmap: Heatmap,
    slide: Slide,
    config: ExportConfig,
    provenance: Mapping[str, object],
    *,
    heatmaps: Mapping[str, Heatmap] | None = None,
    tissue: Callable[[], BoolMap | None] | None = None,
    strokes: tuple[Scribbles, Canvas] | None = None,
    mpp: float | None = None,
    store: Path | None = None,
    as_coarse: bool = False,
    report: Progress = ignore_progress,
) -> tuple[Path, ...]:
    """Write what is asked for, complete or not at all; nothing existing is replaced.

    Files are named ``<image>_<method>_<class>_<what>.<ext>``; where one of these is
    taken, the whole set gets ``-2``, ``-3``. An empty mask gives an empty set.

    Args:
        folder: where to; made when it is missing.
        heatmap: what the mask is cut out of.
        slide: the image it belongs to.
        config: threshold, clean-up and formats.
        provenance: what else the record shall say (model, strokes, rounds, …).
        heatmaps: of all methods, by name: measurements of tiles.
        tissue: gives (h, w) bool over the whole image, None where it is not known;
            asked where a format holds it.
        strokes: and the canvas that they are on; None where there are none.
        mpp: µm a level-0 pixel, where somebody knows better than the file.
        store: an OME-Zarr of this map that is there: it gets the labels.
        as_coarse: whether the mask of an image of more than 64 megapixels is about as
            coarse as the heatmap, which holds all there is, not as fine as it can be.
        report: progress; may raise ``JobCancelledError``, and nothing stays behind.

    Returns:
        The files in the order of ``config.formats``, the provenance record last.

    Raises:
        ExportError: the heatmap is not of this image, or a file cannot be written.
    """
    mpp = mpp or slide.mpp
    formats = tuple(dict.fromkeys(config.formats))  # each once, in the order asked for
    total = len(formats) + 3

    cutting = partial(report, 0, total, "Cutting out the mask")
    outlining = partial(report, 1, total, "Outlining the regions")
    key = heatmap.key.replace(" · ", "-")
    with staged(folder, stem_of(slide.name, key, heatmap.target)) as files:
        cell = min(heatmap.scale) if as_coarse else 1.0
        grid = grid_for(slide.shape, cell=cell)
        cutting()
        mask, against = cut_mask(heatmap, grid, config, tick=cutting), None
        outlining()
        features = FEATURES if {"csv", "geojson"}.intersection(formats) else ()
        find = partial(find_regions, grid=grid, heatmap=heatmap, mpp=mpp)
        regions = find(mask, features=features, tick=outlining)
        if heatmap.signed:
            against = cut_mask(heatmap, grid, config, against=True, tick=cutting)
            others = find(against, features=features, against=True, tick=outlining)
            regions += [replace(one, id=len(regions) + one.id) for one in others]
        is_held = store or HOLD_TISSUE.intersection(formats)
        seen = tissue() if tissue and is_held else None
        labels = _labels(mask, grid, heatmap.target, seen, strokes)
        if against is not None:
            classes = {1: (f"against {heatmap.target}", AGAINST_COLOR)}
            how = {"values": against, "classes": classes}
            labels.insert(1, labels[0]._replace(name="against", **how))
        parts = Parts(
            mask=mask,
            grid=grid,
            regions=regions,
            heatmap=heatmap,
            mpp=mpp,
            fingerprint=slide.fingerprint(),
            threshold=config.threshold,
            heatmaps=heatmaps or {},
            tissue=seen,
            labels=labels,
        )
        check_space(files.folder, space_needed(parts))
        for done, name in enumerate(formats, start=2):
            for what, extension, write in writers_of(name, heatmap):
                tick = partial(report, done, total, f"Writing {what}{extension}")
                tick()
                shown = against if what == "against" else mask
                own = replace(parts, mask=shown, tick=tick)
                write(files.add(what, extension), own)
        if store is not None:
            group = zarr.open_group(store, mode="r+", zarr_format=3)
            levels = len(list(group.array_keys()))
            write_labels(group, parts.labels, levels, mpp)
        report(total - 1, total, "Writing the provenance")
        written = files.checksums() | (checksums_of(store) if store else {})
        record = make_record(parts, slide, config, provenance, written)
        write_record(files.add(RECORD, ".json"), record)
        paths = files.publish()
        # Still inside: a cancel that arrives here takes the files back, too.
        report(total, total, _summary(parts, config))
    return paths


def save_map(
    path: Path,
    heatmap: Heatmap,
    slide: Slide,
    provenance: Mapping[str, object],
    mpp: float | None,
) -> tuple[Path, ...]:
    """Write one heatmap where a person said, and its record beside it; both or neither.

    The path ends in one of ``MAPS``, or gets the first of them. What has its whole name
    is replaced: whoever names a file was asked.

    Raises:
        ExportError: a file cannot be written.
    """
    ending = next((x for x in MAPS if path.name.lower().endswith(x)), "")
    if not ending:
        ending = next(iter(MAPS))
        path = path.with_name(path.name + ending)
        if path.exists():
            raise ExportError(f"“{path}” is there: name it in full to replace it.")
    parts = Parts(
        mask=np.zeros((0, 0), np.bool_),
        grid=grid_for(slide.shape),
        regions=[],
        heatmap=heatmap,
        mpp=mpp or slide.mpp,
        fingerprint=slide.fingerprint(),
    )
    failed = f"“{path}” could not be written", ". Choose another folder."
    with unwritable(*failed), file_set(path.parent, path.name) as files:
        MAPS[ending](files.add(path.name), parts)
        written = checksums_of(files.hidden / path.name)
        record = make_record(parts, slide, None, provenance, written)
        write_record(files.add(f"{path.name}_{RECORD}.json"), record)
        return files.publish(replace=True)


def _labels(
    mask: BoolMap,
    grid: Grid,
    target: str,
    tissue: BoolMap | None,
    strokes: tuple[Scribbles, Canvas] | None,
) -> list[Label]:
    """Mask, tissue and strokes, as far as there are any."""
    side = float(grid.downsample)
    place = (side, side), grid.translate
    found = [Label("mask", mask, place, {1: (target, CLASS_COLOR)})]
    if tissue is not None:
        place = covering(grid.image_shape, tissue.shape)
        found.append(Label("tissue", tissue, place, {1: ("Tissue", TISSUE_COLOR)}))
    if strokes is not None:
        place = strokes[1].scale, strokes[1].translate
        found.append(Label("strokes", strokes[0], place, STROKES))
    return found


def _summary(parts: Parts, config: ExportConfig) -> str:
    count = len(parts.regions)
    if count == 0:
        return f"Exported an empty mask. {why_empty(parts.heatmap, config)}"
    return f"Exported {count} region{'s' if count > 1 else ''}"
