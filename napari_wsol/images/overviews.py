"""Small pictures of slides that have no coarse level: computed once, and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from napari_wsol.images.cache import PatientCache
from napari_wsol.images.geometry import region_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.slide import Slide


COARSE_SIDE = 4096
"""A slide whose coarsest level is larger than this gets computed ones."""

STEP = 4
"""How much coarser each computed level is."""

_KEPT_SIDE = 8192
_kept = PatientCache(256 << 20)
_arrays: WeakKeyDictionary[Slide, object] = WeakKeyDictionary()
"""Arrays have no file to tell them by, and an id may be given again."""


def computed_downsamples(slide: Slide) -> list[float]:
    """Downsamplings of the levels that a slide lacks, from fine to coarse."""
    coarsest = slide.levels[-1]
    side = max(coarsest.height, coarsest.width)
    downsample = max(coarsest.downsample)
    found: list[float] = []
    while side > COARSE_SIDE:
        downsample *= STEP
        side = max(region_shape(slide.shape, downsample))
        found.append(downsample)
    return found


def kept_downsample(slide: Slide) -> float | None:
    """Downsampling of the computed level that is kept; None where none is needed.

    It is the finest that is no larger than 8192 pixels, so that the tissue mask and the
    viewer both take it and level 0 is decoded once.
    """
    fits = (
        downsample
        for downsample in computed_downsamples(slide)
        if max(region_shape(slide.shape, downsample)) <= _KEPT_SIDE
    )
    return next(fits, None)


def overview(slide: Slide, compute: Callable[[], Rgb]) -> Rgb:
    """The overview of a slide, computed if it is not kept: (h, w, 3) uint8.

    Those of the slides that were looked at last are kept, within a budget of bytes.
    Slides opened twice from one file share theirs: the viewer and the session each have
    their own.
    """
    return _kept.get(_key(slide), compute)


def _key(slide: Slide) -> Hashable:
    # As the files were when it was opened: they may be others by now. What only reads
    # (a slide that is watched, say) may know of no file.
    files = getattr(slide, "opened_files", None)
    if not files:
        return id(_arrays.setdefault(slide, object()))
    return (files, slide.reader, slide.notes[:1])
