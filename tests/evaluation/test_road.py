"""Pixels guessed from their neighbours, and what the probability makes of it."""

import numpy as np
import pytest

from napari_wsol.evaluation.road import imputed, road


def dense(pixels, gone):
    """The same system, cell by cell."""
    height, width = gone.shape
    size = height * width
    system, right = np.eye(size), pixels.reshape(len(pixels), -1).T.astype(float)
    for y, x in zip(*np.nonzero(gone), strict=True):
        row = y * width + x
        system[row], right[row] = 0, 0
        for down in (-1, 0, 1):
            for over in (-1, 0, 1):
                inside = 0 <= y + down < height and 0 <= x + over < width
                if (down or over) and inside:
                    weight = 1 / 12 if down and over else 1 / 6
                    system[row, row] += weight
                    system[row, (y + down) * width + x + over] -= weight
    return np.linalg.solve(system, right).T.reshape(pixels.shape)


def test_guesses_solve_the_published_system():
    rng = np.random.default_rng(0)
    pixels = rng.standard_normal((3, 7, 9)).astype(np.float32)
    for share in (0.2, 0.6, 0.95):
        gone = rng.random((7, 9)) < share
        found = imputed(pixels, gone)
        np.testing.assert_array_equal(found[:, ~gone], pixels[:, ~gone])
        np.testing.assert_allclose(found, dense(pixels, gone), atol=1e-5)


def test_an_even_image_is_guessed_as_it_was():
    gone = np.zeros((12, 10), bool)
    gone[3:9, 2:8] = True
    even = np.full((2, 12, 10), 0.7, np.float32)
    np.testing.assert_allclose(imputed(even, gone), even, atol=1e-6)
    ramp = np.broadcast_to(np.arange(10, dtype=np.float32), (1, 12, 10))
    np.testing.assert_allclose(imputed(ramp, gone), ramp, atol=1e-4)


def test_a_map_of_what_the_model_looks_at_has_a_high_road():
    rng = np.random.default_rng(1)
    pixels = rng.standard_normal((1, 24, 24)).astype(np.float32)
    heatmap = np.zeros((24, 24), np.float32)
    heatmap[6:14, 6:14] = 1
    seen = pixels[0, 6:14, 6:14]

    def probability(batch):
        """How much of that square is as it was."""
        return np.isclose(batch[:, 0, 6:14, 6:14], seen).mean(axis=(1, 2))

    good, bad = (road(probability, pixels, item) for item in (heatmap, -heatmap))
    assert good > 0.4
    assert good == pytest.approx(-bad, abs=0.02)
    assert abs(road(probability, pixels, rng.random((24, 24)))) < 0.05


def test_noise_is_that_of_its_seed():
    pixels = np.zeros((1, 8, 8), np.float32)
    heatmap = np.arange(64.0).reshape(8, 8)

    def probability(batch):
        return batch.std(axis=(1, 2, 3)) * (batch[:, 0, 0, 0] == 0)

    one = road(probability, pixels, heatmap)
    assert one == road(probability, pixels, heatmap) != 0
    assert one != road(probability, pixels, heatmap, seed=1)
