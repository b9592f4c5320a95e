"""What is drawn over an image is told apart by everyone: measured, not looked at."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

pytest.importorskip("napari", reason="the window needs the napari extra")

from napari_wsol.gui.widgets import colours

# Machado, Oliveira and Fernandes (2009), severity 1.0, for linear RGB.
VISIONS = {
    "trichromat": np.eye(3),
    "protanope": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranope": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanope": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}

DRAWN = {
    "contour on bright": colours.contour_colour(bright=True),
    "contour on dark": colours.contour_colour(bright=False),
    "ring": colours.GUIDE_BLUE,
    "foreground stroke": colours.FOREGROUND,
    "background stroke": colours.BACKGROUND,
    "less": colours.LESS,
    "more": colours.MORE,
}

MUCIN, BROWN, STROMA, NUCLEI = "#f4f2f5", "#6e4527", "#e6b8d2", "#7b4c96"
"""White mucin, DAB, and the two stains of H&E."""


def rgb(name: str) -> np.ndarray:
    return np.array([int(name[k : k + 2], 16) for k in (1, 3, 5)]) / 255


def seen(pixels: np.ndarray, vision: str) -> np.ndarray:
    """(n, 3) CIE Lab of (n, 3) RGB as somebody sees it."""
    linear = np.where(
        pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4
    )
    linear = np.clip(linear @ np.transpose(VISIONS[vision]), 0, 1)
    back = np.where(
        linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055
    )
    return rgb2lab(back[None])[0]


def distances(first: np.ndarray, second: np.ndarray, vision: str) -> np.ndarray:
    """(n, m) CIEDE2000; about 2 is just noticed side by side."""
    return deltaE_ciede2000(seen(first, vision)[:, None], seen(second, vision)[None])


def shown_of(threshold: float) -> np.ndarray:
    """(n, 3) RGB of all values of a map that are shown at a cut."""
    table = colours.evidence_colours(threshold, cut=True)
    return table[table[:, 3] > 0][:, :3]


@pytest.mark.parametrize("vision", VISIONS)
def test_all_that_is_drawn_is_told_apart(vision):
    names = list(DRAWN)
    drawn = np.array([rgb(DRAWN[name]) for name in names])
    among = distances(drawn, drawn, vision) + 1000 * np.eye(len(names))
    assert among.min() >= 10, (
        among.min(),
        *np.array(names)[list(np.argwhere(among == among.min())[0])],
    )
    from_maps = distances(drawn, shown_of(0.2), vision).min(axis=1)
    assert from_maps.min() >= 7, dict(zip(names, from_maps, strict=True))


@pytest.mark.parametrize("tissue", [MUCIN, BROWN, STROMA, NUCLEI])
@pytest.mark.parametrize("vision", VISIONS)
def test_evidence_is_seen_on_every_tissue_at_the_opacity_at_the_start(vision, tissue):
    below = rgb(tissue)
    veiled = 0.6 * shown_of(0.5) + 0.4 * below
    least = 15 if vision == "trichromat" else 7
    assert distances(veiled, below[None], vision).min() >= least


@pytest.mark.parametrize("vision", VISIONS)
def test_colours_are_spread_over_what_lies_above_the_cut(vision):
    for threshold in (0.0, 0.5, 0.9):
        table = colours.evidence_colours(threshold, cut=True)
        values = np.linspace(0, 1, len(table))
        assert np.array_equal(table[:, 3] > 0, values >= threshold)
        above = shown_of(threshold)
        ends = distances(above[:1], above[-1:], vision)
        assert ends.min() > 35  # also where all that is seen lies above 0.9
        assert np.all(np.diff(seen(above, vision)[:, 0]) > 0)


def test_without_a_cut_evidence_is_a_veil_that_grows_denser():
    table = colours.evidence_colours(0.5, cut=False)
    assert table[0, 3] == 0
    assert table[-1, 3] == 1
    assert np.all(np.diff(table[:, 3]) >= 0)


def test_what_changed_uses_colours_that_no_stroke_has():
    table = colours.change_colours()
    assert np.allclose(table[0, :3], rgb(colours.LESS), atol=1e-3)
    assert np.allclose(table[-1, :3], rgb(colours.MORE), atol=1e-3)
    assert table[127:129, 3].max() == 0
    assert not {colours.LESS, colours.MORE} & {colours.FOREGROUND, colours.BACKGROUND}


def sides_of(threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) RGB of all values of a signed map that are shown: against, and for."""
    table = colours.evidence_colours(threshold, cut=True, signed=True)
    shown, values = table[:, 3] > 0, np.linspace(0, 1, len(table))
    return tuple(table[shown & side][:, :3] for side in (values < 0.5, values > 0.5))


@pytest.mark.parametrize("vision", VISIONS)
def test_for_and_against_are_told_from_each_other_and_from_all_that_is_drawn(vision):
    against, speaks_for = sides_of(0.5)
    assert distances(against, speaks_for, vision).min() > 25
    # Differences of rounds are not drawn over signed maps, which strokes do not teach.
    others = [name for key, name in DRAWN.items() if key not in ("less", "more")]
    drawn = np.array([rgb(name) for name in others])
    for side in (against, speaks_for):
        assert distances(drawn, side, vision).min() >= 6


@pytest.mark.parametrize("tissue", [MUCIN, BROWN, STROMA, NUCLEI])
@pytest.mark.parametrize("vision", VISIONS)
def test_evidence_of_either_sign_is_seen_on_every_tissue(vision, tissue):
    below = rgb(tissue)
    for side in sides_of(0.75):
        veiled = 0.6 * side + 0.4 * below
        least = 15 if vision == "trichromat" else 7
        assert distances(veiled, below[None], vision).min() >= least


def test_a_signed_map_is_clear_at_zero_and_symmetric_about_it():
    for threshold, cut in ((0.5, True), (0.8, True), (0.5, False)):
        table = colours.evidence_colours(threshold, cut=cut, signed=True)
        assert np.allclose(table[:, 3], table[::-1, 3])
        assert table[127:129, 3].max() < 0.01
        assert np.all(np.diff(table[128:, 3]) >= 0)
    table = colours.evidence_colours(0.8, cut=True, signed=True)
    values = np.linspace(0, 1, len(table))
    far = np.maximum(values, 1 - values)
    assert np.array_equal(table[:, 3] > 0, far >= 0.8)
