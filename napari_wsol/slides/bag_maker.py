"""Bags are made: the vectors of a slide's tiles, in the layouts of TRIDENT and CLAM."""

from __future__ import annotations

import copy
import math
import re
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_wsol.config import BAG_LAYOUTS, SlideConfig
from napari_wsol.encoders import TileEncoder, VectorEncoder
from napari_wsol.encoders.presets import PRESETS
from napari_wsol.encoders.tiles import NEEDS_BAG
from napari_wsol.errors import ConfigError, ImageError, choices
from napari_wsol.files import make_folder, unwritable, whole_file
from napari_wsol.images.h5 import h5py_for, numbers_in
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.encode import geometry
from napari_wsol.jobs import ignore_progress
from napari_wsol.methods import Model
from napari_wsol.slides.bag import KeptBag
from napari_wsol.slides.localize import SlideWork
from napari_wsol.slides.plan import plan_slide

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_wsol.jobs import Progress


def tile_model(model: Model, *, mpp: float | None, tile: int | None) -> Model:
    """A model's network, without heads, that gives a vector a tile; weights are shared.

    µm a pixel and side of the tiles are the model's own by default, or 0.5 and 256; of
    a foundation encoder, what it was trained at.

    Raises:
        ConfigError: the network cannot read such tiles.
    """
    spec, encoder = model.spec, model.encoder
    if isinstance(encoder, VectorEncoder):
        raise ConfigError(NEEDS_BAG)
    preset = None if spec.heads else PRESETS.get(spec.encoder)
    if isinstance(encoder, TileEncoder):
        encoder = encoder.backbone
    encoder = copy.copy(encoder)
    encoder.window = None  # a transformer sees a tile whole
    tile = tile or spec.tile or (preset.size if preset else 256)
    spec = replace(spec, heads=(), options={}, offsets=None, cut=None, tile=tile)
    how = replace(model.preprocessing, size=None)
    made = Model(replace(spec, mpp=mpp or spec.mpp or 0.5, preprocessing=how), encoder)
    made.card = None if preset else model.card  # presets are known by their own names
    return made


def make_bag(
    path: Path,
    model: Model,
    out: Path,
    *,
    mpp: float | None = None,
    config: SlideConfig | None = None,
    layout: str = "trident",
    report: Progress = ignore_progress,
    check: Callable[[], None] = lambda: None,
) -> Path:
    """Encodes each tile of a slide that shows tissue, once; gives the file of its bag.

    It has ``features`` (n, D) float32 and ``coords`` (n, 2) int64 (x, y); the layout
    "clam" adds a tensor. The network and its cut are those of :func:`tile_model`; µm a
    level-0 pixel may be told. Killed, the next call goes on; a bag that is there is not
    made again. One process a slide at a time.

    Raises:
        ImageError: it cannot be read, shows no tissue or does not say its pixel size.
        ConfigError: another bag has that name.
        UnknownNameError: no such layout.
        ExportError: it cannot be written.
    """
    if layout not in BAG_LAYOUTS:
        raise choices("layout", layout, BAG_LAYOUTS)
    model, config = tile_model(model, mpp=None, tile=None), config or SlideConfig()
    h5py_for(path)  # said now, not after hours
    with closing(open_slide(path)) as slide:
        known, seen = mpp or slide.mpp, geometry(slide, model, mpp)
        if known is None or seen.note:
            raise ImageError(
                f"“{slide.name}” does not say its µm a pixel: tell them (--slide-mpp)."
            )
        (height, width), scale = slide.shape, seen.downsample[0]
        side, sizes = model.encoder.stride, (known, known * scale)
        # Of the objective, as scanners have it: 10 µm by the pixel's, or nearly.
        had, seen_at = (5 * 2.0 ** round(math.log2(2 / um)) for um in sizes)
        own: dict[str, Any] = {"patch_size": side, "overlap": 0, "mpp": known * scale}
        own |= {"level0_magnification": had, "target_magnification": seen_at}
        own |= {"patch_size_level0": round(side * scale), "side_level0": side * scale}
        own |= {"level0_height": height, "level0_width": width}
        own |= {"encoder": model.name, "encoder_sha256": model.encoder_fingerprint()}
        own["slide_sha256"] = slide.fingerprint()
        own["how"] = f"{config.tissue_only} {model.preprocessing} {model.spec.pooling}"
        folder = f"{seen_at:g}x_{side}px_0px_overlap/features_"
        folder += re.sub(r"[^\w.-]+", "-", model.name)
        target = out / ("h5_files" if layout == "clam" else folder) / f"{path.stem}.h5"
        if target.exists():
            with numbers_in(target) as (_, told):
                if own.items() <= told.items():
                    return target
            raise ConfigError(
                f"“{target}” is of another slide, encoder or cut: take another folder."
            )
        config = replace(config, core=max(32, side))
        plan, folder = plan_slide(slide, model, config, mpp=mpp), target.parent
        if not plan.count:
            raise ImageError(f"“{slide.name}” shows no tissue: --no-tissue takes all.")
        work = SlideWork(
            slide, model, (), config=config, folder=folder, plan=plan, check=check
        )
        with closing(work.log):
            for number, _ in enumerate(work.tiles(), work.done + 1):
                report(number, work.count, "")
            with unwritable(f"“{target}” cannot be written", ". Make room, go on."):
                _write(work, own, target, layout)
        work.log.path.unlink()
    return target


def _write(work: SlideWork, own: dict[str, Any], path: Path, layout: str) -> None:
    """Writes a bag, a piece at a time; CLAM's tensor is there before it."""
    bag, seen, at = KeptBag(work.kept), work.plan.seen, 0
    found = [places for places, _ in bag.pieces()]
    if not found:
        raise ImageError(f"No tile of “{work.slide.name}” can be read: copy it again.")
    places = np.concatenate(found)
    cells = np.stack(np.divmod(places, bag.shape[1]), 1)
    corners = (cells * own["patch_size"] + seen.origin) * seen.downsample
    with whole_file(path) as draft:
        with h5py_for(path).File(draft, "w") as file:
            coords = np.rint(corners).astype(np.int64)[:, ::-1]
            file.create_dataset("coords", data=coords).attrs.update(own)
            file.attrs.update({**own, "notes": " ".join(work.notes)})
            shape = (len(cells), work.planes[0].channels)
            features = file.create_dataset("features", shape, "f4")
            for _, vectors in bag.pieces():
                features[at : at + len(vectors)] = vectors.numpy()
                at += len(vectors)
            start = features.id.get_offset()
        if layout == "clam":
            tensor = path.parents[1] / "pt_files" / f"{path.stem}.pt"
            make_folder(tensor.parent)
            values = np.memmap(draft, np.float32, "c", start, shape)  # not in memory
            with whole_file(tensor) as copied:
                torch.save(torch.from_numpy(values), copied)
            del values  # Windows gives no new name to a file that is mapped
