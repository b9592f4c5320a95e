"""Tells tissue from empty glass."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_wsol.images.resample import read_region, region_shape

if TYPE_CHECKING:
    from napari_wsol.images.slide import Slide

Mask = npt.NDArray[np.bool_]

_WORKING_SIDE = 2048
_BAND_ROWS = 256
_SCORE_CAP = 96
_GLASS_LEVEL = 40
_GLASS_SPREAD = 6
_MIN_CONTRAST = 10
_MIN_SHARE = 0.01
_MIN_SEPARATION = 0.5
_MIN_CELLS = 16


_COARSE_SIDE = 512
"""Cells along the longer side of the tissue that people and proposals are shown."""

_found: WeakKeyDictionary[Slide, Mask] = WeakKeyDictionary()
_finding = threading.Lock()


def coarse_tissue(slide: Slide) -> Mask:
    """(h, w) bool: where there is tissue, in at most 512 cells a side.

    Found once for each open image, on any thread; a slide takes a while.

    Raises:
        UnreadableImageError: the file is damaged.
    """
    with _finding:
        if slide not in _found:
            step = max(1.0, max(slide.shape) / _COARSE_SIDE)
            _found[slide] = tissue_mask(slide, step)
        return _found[slide]


def tissue_mask(slide: Slide, downsample: float) -> Mask:
    """Where there is tissue, on the grid of the slide downsampled by ``downsample``.

    Otsu's threshold on how coloured or dark a pixel is, on an overview of at most
    2048 pixels a side, lowered to what stands out from the even glass. Where no part of
    the image is plainly empty glass (a close-up, fluorescence on black), all of it
    counts as tissue.

    Returns:
        (h, w) bool, of :func:`~napari_wsol.images.resample.region_shape`.

    Raises:
        UnreadableImageError: the file is damaged.
    """
    shape = region_shape(slide.shape, downsample)
    coarse = max(downsample, max(slide.shape) / _WORKING_SIDE)
    mask = _find_tissue(_score(slide, coarse))
    if mask.shape == shape:
        return mask
    rows, columns = (
        ((np.arange(count) + 0.5) * downsample / coarse).astype(np.intp).clip(max=most)
        for count, most in zip(shape, (side - 1 for side in mask.shape), strict=True)
    )
    return mask[np.ix_(rows, columns)]


def _score(slide: Slide, downsample: float) -> npt.NDArray[np.float32]:
    """How far from white glass each pixel is: the larger of its colour and darkness."""
    height, width = region_shape(slide.shape, downsample)
    score = np.empty((height, width), np.float32)
    for y in range(0, height, _BAND_ROWS):
        rows = min(_BAND_ROWS, height - y)
        rgb = read_region(slide, y, 0, rows, width, downsample)
        strongest, weakest = rgb.max(axis=2), rgb.min(axis=2)
        darkness = 255 - rgb.mean(axis=2)
        score[y : y + rows] = np.maximum(strongest - weakest, darkness)
    return score


def _find_tissue(score: npt.NDArray[np.float32]) -> Mask:
    # The cap keeps pen marks and dust from pulling the threshold above pale tissue.
    smooth = np.minimum(
        np.asarray(ndimage.gaussian_filter(score, 1.0), np.float32), _SCORE_CAP
    )
    threshold, separation = _otsu(smooth)
    bright = smooth[smooth <= threshold]
    level, low = np.percentile(bright if bright.size else smooth, [50, 5])
    is_glass = (
        bright.size >= _MIN_SHARE * smooth.size
        and separation >= _MIN_SEPARATION
        and level <= _GLASS_LEVEL
        and level - low <= _GLASS_SPREAD
    )
    if not is_glass:
        return np.ones(score.shape, np.bool_)
    # Otsu's threshold lies midway to the darkest stain; pale stroma is below it, but
    # still stands out from glass, which is even.
    glass = smooth <= min(threshold, level + max(_MIN_CONTRAST, 4 * (level - low)))
    mask = _without_specks(~glass)
    # A tile that holds the rim of the tissue must be seen too.
    return np.asarray(ndimage.binary_dilation(mask, iterations=1), np.bool_)


def _otsu(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Otsu's threshold, and the share of the variance that it explains (0 to 1)."""
    counts, edges = np.histogram(values, bins=256)
    centres = (edges[:-1] + edges[1:]) / 2
    share = counts / counts.sum()
    below = np.cumsum(share)
    mean_below = np.cumsum(share * centres)
    mean = mean_below[-1]
    variance = float((share * (centres - mean) ** 2).sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mean * below - mean_below) ** 2 / (below * (1 - below))
    between = np.nan_to_num(between, nan=0.0, posinf=0.0, neginf=0.0)
    best = int(between.argmax())
    explained = float(between[best]) / variance if variance > 0 else 0.0
    return float(edges[best + 1]), explained


def _without_specks(mask: Mask) -> Mask:
    """Drops islands of a few cells, and fills holes of a few cells."""
    for value in (True, False):
        labels = np.zeros(mask.shape, np.int32)
        ndimage.label(mask == value, output=labels)
        sizes = np.bincount(labels.ravel())
        small = sizes < min(_MIN_CELLS, mask.size // 100)
        small[0] = False
        mask = np.where(small[labels], not value, mask)
    return mask
