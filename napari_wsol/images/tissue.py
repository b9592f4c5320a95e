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
Floats = npt.NDArray[np.float32]

_WORKING_SIDE = 2048
_BAND_ROWS = 256
_SCORE_CAP = 96
_SAMPLE = 100_000
"""Cells of glass that its level and its noise are measured on, about."""
_MIN_CONTRAST = 10
_MIN_SHARE = 0.01
_MIN_CELLS = 16

_DARKEST_GLASS, _MOST_COLOURED_GLASS = 150, 60
_PEAK = 6
"""Grey levels on both sides of the commonest bright one that are glass all the same."""
_EVEN = 4.0
"""Grey levels of standard deviation around a cell; glass has less, tissue more."""
_GROWTHS = 20
"""Times that glass is looked for farther from where it is surely."""
_UNEXPLAINED = 0.15
"""Share of its variance; more is no shade but a step, which is pale tissue."""
_BORDER = 35
"""Darker than any tissue: where the scanner saw nothing, if it touches the border."""
_NOISE = 5.0
"""Standard deviations of the noise of glass that tissue stands out by, at least."""
_MIN_GLASS = 0.1
"""Share of the image that empty glass in one piece takes where it is left out."""
_WHITE = 254.5
"""What is as bright was not scanned where other glass was; it is left out, too."""
_MESH, _MESH_SHARE = 21, 0.12
"""Cells a side, and the share of them that stand out, where a mesh is tissue: fat."""
_INK_HUE, _INK_STRENGTH = 10, 65
"""Grey levels by which the colour of ink is not a stain's, and that it takes of red."""
_BLACK, _INK_GREY = 90, 30
"""Black ink, in grey levels, and its colour; what is as dark in a stain is coloured."""
_INK_EVEN = 7.0
"""Grey levels of standard deviation around a cell; a stain has more."""
_MOST_INK = 0.5
"""Of what lies on the glass: a colour that covers more is the stain."""
_RIM = 6
"""Cells around a mark or a dark border in which it fades."""


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

    Found on an overview of at most 2048 pixels a side, in the light of the slide's own
    glass: the commonest bright and even colour, off-white or shaded towards the rim as
    it may be. Tissue is what is darker or more coloured than that (Otsu's threshold,
    lowered to what stands out from the even glass), and what is as bright but is a
    mesh, which fat is. Left out are dark borders, and marks of blue, green or black
    ink, which are even and of a colour that stains do not have. Red ink has the colour
    of eosin and stays.

    Where no part of the image is plainly empty glass (a close-up, fluorescence on
    black), all of it counts as tissue; a slide with nothing on it has none.

    Returns:
        (h, w) bool, of :func:`~napari_wsol.images.resample.region_shape`.

    Raises:
        UnreadableImageError: the file is damaged.
    """
    shape = region_shape(slide.shape, downsample)
    coarse = max(downsample, max(slide.shape) / _WORKING_SIDE)
    mask = _find_tissue(_overview(slide, coarse))
    if mask.shape == shape:
        return mask
    rows, columns = (
        ((np.arange(count) + 0.5) * downsample / coarse).astype(np.intp).clip(max=most)
        for count, most in zip(shape, (side - 1 for side in mask.shape), strict=True)
    )
    return mask[np.ix_(rows, columns)]


def _overview(slide: Slide, downsample: float) -> Floats:
    """(3, h, w) in [0, 255]: the slide, a little smoothed."""
    height, width = region_shape(slide.shape, downsample)
    rgb = np.empty((3, height, width), np.float32)
    for y in range(0, height, _BAND_ROWS):
        rows = min(_BAND_ROWS, height - y)
        part = read_region(slide, y, 0, rows, width, downsample)
        rgb[:, y : y + rows] = part.transpose(2, 0, 1)
    for plane in rgb:
        ndimage.gaussian_filter(plane, 1.0, output=plane)
    return rgb


def _find_tissue(rgb: Floats) -> Mask:
    light, white = rgb.mean(axis=0), rgb.min(axis=0) > _WHITE
    border, even = _border(rgb), _variance(light) < _EVEN**2
    padding = white.all(axis=1)[:, None] | white.all(axis=0)[None, :]
    inside = ~border & ~_dilated(white, _RIM // 2)
    glass = _glass(rgb, light, even & inside)
    is_clipped = np.count_nonzero(white & ~padding) > _MIN_GLASS * white.size
    if is_clipped or (glass is None and white.mean() >= _MIN_SHARE):
        # Glass that is too bright for the scanner, and not what it did not scan.
        glass, inside = np.full((3, 1, 1), 255, np.float32), ~border
    everywhere = np.ones(light.shape, np.bool_)
    if glass is None:
        return everywhere
    above = light - glass.mean(axis=0)
    if np.count_nonzero((above > _PEAK) & inside) > _MIN_SHARE * light.size:
        return everywhere  # and that was none: nothing is brighter than glass
    rgb = np.minimum(rgb * (np.float32(255) / glass), 255)
    # The cap keeps pen marks and dust from pulling the threshold above pale tissue.
    score = np.maximum(rgb.max(axis=0) - rgb.min(axis=0), 255 - rgb.mean(axis=0))
    score = np.minimum(score, _SCORE_CAP)
    plain = np.flatnonzero(even & inside & (np.abs(above) <= _PEAK))
    plain = plain[:: max(1, plain.size // _SAMPLE)]
    level, low = np.percentile(score.ravel()[plain], [50, 5])
    # Otsu's threshold lies midway to the darkest stain; pale stroma is below it, but
    # still stands out from glass, which is even. Noise alone does not.
    least = level + _NOISE * float(np.sqrt(np.median(_variance(score).ravel()[plain])))
    faint = level + max(_MIN_CONTRAST, 4 * (level - low))
    found = (score > max(min(_otsu(score[inside]), faint), least)) & inside
    found |= _mesh(score > max(level + _MIN_CONTRAST / 4, least)) & inside
    if _largest(inside & ~found) < _MIN_GLASS * np.count_nonzero(inside):
        return everywhere  # lumina and clefts in a close-up
    found &= ~_ink(rgb, found)
    mask = _without_specks(found)
    if not mask.any() and border.mean() > 0.5:
        return everywhere  # not glass in a dark border, but light on a dark ground
    # A tile that holds the rim of the tissue must be seen too.
    return _dilated(mask, 1) & inside


def _largest(mask: Mask) -> int:
    """Cells of the largest connected part."""
    labels = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, output=labels)
    return int(np.bincount(labels.ravel())[1:].max(initial=0))


def _border(rgb: Floats) -> Mask:
    """Where nothing was scanned, and what fades into it: black, to the rim."""
    dark = rgb.max(axis=0) < _BORDER
    if not dark.any():
        return dark
    labels = np.zeros(dark.shape, np.int32)
    ndimage.label(dark, output=labels)
    rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    outer = np.zeros(int(labels.max()) + 1, np.bool_)
    outer[rim] = True
    outer[0] = False
    return _dilated(outer[labels], _RIM)


def _dilated(mask: Mask, cells: int) -> Mask:
    if not mask.any():
        return mask
    return np.asarray(ndimage.binary_dilation(mask, iterations=cells), np.bool_)


def _averaged(values: Floats, side: int, beyond: str = "reflect") -> Floats:
    """(h, w): the mean of ``side`` × ``side`` cells around each."""
    return np.asarray(ndimage.uniform_filter(values, side, mode=beyond), np.float32)


def _variance(values: Floats) -> Floats:
    """(h, w): of the 5 × 5 cells around each."""
    values = values - values.mean()  # squares of large numbers would lose digits
    mean, square = _averaged(values, 5), _averaged(values * values, 5)
    return np.maximum(square - mean * mean, 0)


def _glass(rgb: Floats, light: Floats, even: Mask) -> Floats | None:
    """(3, 1, 1) or (3, h, w): what empty glass looks like; None where there is none."""
    counts = np.bincount(light[even].astype(np.intp), minlength=256)[:256]
    near = np.convolve(counts, np.ones(2 * _PEAK + 1), "same")
    enough = np.flatnonzero(near >= _MIN_SHARE * light.size)
    if not enough.size:
        return None
    # The brightest peak, be it lower than that of the tissue.
    peak, levels = float(enough[-1]), np.arange(256)
    for _ in range(_GROWTHS):
        about = np.abs(levels - peak) <= _PEAK
        peak = float(np.average(levels[about], weights=counts[about]))
    of_peak = even & (np.abs(light - peak) <= _PEAK)
    colour = np.median(rgb[:, of_peak], axis=1)
    if (
        colour.mean() < _DARKEST_GLASS
        or colour.max() - colour.min() > _MOST_COLOURED_GLASS
    ):
        return None
    shaded = _shaded(rgb, light, even, of_peak)
    return colour[:, None, None] if shaded is None else shaded


def _shaded(rgb: Floats, light: Floats, even: Mask, start: Mask) -> Floats | None:
    """(3, h, w): glass that is darker to one side or to the rim; None if it is even.

    A smooth surface that begins at the commonest glass and goes on to whatever is as
    even and lies on it.

    Args:
        rgb: (3, h, w).
        light: its mean.
        even: what may be glass.
        start: what is.
    """
    step = max(1, max(light.shape) // 256)
    y, x = (np.linspace(-1, 1, size, dtype=np.float32) for size in light.shape)
    terms = _terms(*np.meshgrid(y[::step], x[::step], indexing="ij"))
    small, known = light[::step, ::step], even[::step, ::step]
    kept, before = start[::step, ::step] & known, known
    surface = small
    for _ in range(_GROWTHS):
        if np.count_nonzero(kept) < _MIN_CELLS or np.array_equal(kept, before):
            break
        surface = _fitted(terms, small, kept)
        kept, before = known & (np.abs(surface - small) <= _PEAK), kept
    about, rest = small[kept], (small - surface)[kept]
    if (
        about.size < _MIN_CELLS
        or np.ptp(about) <= _PEAK
        or rest.var() > _UNEXPLAINED * about.var()
    ):
        return None
    planes = rgb[:, ::step, ::step]
    fine = _terms(y[:, None], x[None, :])
    return np.stack(
        [
            np.clip(
                _fitted(terms, plane, kept, fine), plane[kept].min(), plane[kept].max()
            )
            for plane in planes
        ]
    )


def _fitted(
    terms: Floats, values: Floats, known: Mask, at: Floats | None = None
) -> Floats:
    """The surface of the terms that lies closest to the known values."""
    weights, *_ = np.linalg.lstsq(terms[:, known].T, values[known], rcond=None)
    surface = np.tensordot(weights, terms if at is None else at, 1)
    return surface.astype(np.float32)


def _terms(y: Floats, x: Floats) -> Floats:
    """(6, ...) of a surface of the second degree."""
    y, x = np.broadcast_arrays(y, x)
    return np.stack([np.ones_like(y), y, x, y * y, x * y, x * x])


def _mesh(marked: Mask) -> Mask:
    """Where cells stand out here and there, but not merely around an edge."""
    thick = np.asarray(ndimage.binary_opening(marked, np.ones((5, 5))), np.bool_)
    thin = (marked & ~_dilated(thick, 2)).astype(np.float32)
    mesh = _averaged(thin, _MESH, "constant") >= _MESH_SHARE
    return np.asarray(ndimage.minimum_filter(mesh, _MESH, mode="constant"), np.bool_)


def _ink(rgb: Floats, found: Mask) -> Mask:
    """Marks of a pen, by their colour in the light of the glass.

    Args:
        rgb: (3, h, w), glass at 255.
        found: what is not glass.
    """
    red, green, blue = rgb
    strongest, weakest = rgb.max(axis=0), rgb.min(axis=0)
    # No stain lets green through best, and few take more of the red than of all else:
    # those few are not even. Black takes all alike.
    is_green = green - np.maximum(red, blue) >= _INK_HUE
    is_blue = (np.minimum(green, blue) - red >= _INK_HUE) & (
        strongest - red >= _INK_STRENGTH
    )
    is_black = (strongest < _BLACK) & (strongest - weakest < _INK_GREY)
    marked = np.zeros_like(found)
    for colour in (is_green, is_blue, is_black):
        part: Mask = colour & found
        if np.count_nonzero(part) <= _MOST_INK * np.count_nonzero(found):
            marked |= part
    if not marked.any():
        return marked
    marks = np.zeros(found.shape, np.int32)
    ndimage.label(marked, output=marks)
    count = int(marks.max())
    deep = np.asarray(ndimage.binary_erosion(marks > 0, iterations=3), np.bool_)
    inner = marks * deep
    even = _variance(rgb.mean(axis=0)) < _INK_EVEN**2
    sizes = np.bincount(inner.ravel(), minlength=count + 1)
    evens = np.bincount(inner[even].ravel(), minlength=count + 1)
    is_ink = (sizes >= _MIN_CELLS) & (evens >= sizes / 3)
    is_ink[0] = False
    return _dilated(is_ink[marks], _RIM)


def _otsu(values: Floats) -> float:
    """Otsu's threshold."""
    counts, edges = np.histogram(values, bins=256)
    centres = (edges[:-1] + edges[1:]) / 2
    share = counts / counts.sum()
    below = np.cumsum(share)
    mean_below = np.cumsum(share * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mean_below[-1] * below - mean_below) ** 2 / (below * (1 - below))
    between = np.nan_to_num(between, nan=0.0, posinf=0.0, neginf=0.0)
    return float(edges[int(between.argmax()) + 1])


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
