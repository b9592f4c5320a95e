import numpy as np
import pytest

from napari_wsol.errors import ConfigError, ImageError
from napari_wsol.evaluation import insertion_deletion


@pytest.fixture
def pixels():
    """A chequerboard of ±1: sharp pixels are told from blurred and deleted ones."""
    board = np.indices((4, 4)).sum(axis=0) % 2 * 2.0 - 1
    return board[None].astype(np.float32)


def probability(batch):
    """Share of the four pixels at the upper left that are sharp."""
    return (np.abs(batch[:, 0, :2, :2]) == 1).mean(axis=(1, 2))


def test_a_map_of_what_the_model_sees_goes_first(pixels):
    heatmap = np.zeros((4, 4))
    heatmap[:2, :2] = 1
    found = insertion_deletion(probability, pixels, heatmap, steps=16)
    assert found.deleted[:6].tolist() == [1, 0.75, 0.5, 0.25, 0, 0]
    assert found.inserted[:6].tolist() == [0, 0.25, 0.5, 0.75, 1, 1]
    assert found.deletion == pytest.approx(2 / 16)
    assert found.insertion == pytest.approx(14 / 16)
    turned = insertion_deletion(probability, pixels, -heatmap, steps=16)
    assert turned.deletion == pytest.approx(14 / 16)
    assert turned.insertion == pytest.approx(2 / 16)


def test_steps_and_batches_only_sample_the_curve(pixels):
    heatmap = np.random.default_rng(0).random((4, 4))
    whole = insertion_deletion(probability, pixels, heatmap, steps=16)
    for batch in (1, 5, 100):
        again = insertion_deletion(probability, pixels, heatmap, steps=16, batch=batch)
        np.testing.assert_array_equal(again.deleted, whole.deleted)
    coarse = insertion_deletion(probability, pixels, heatmap, steps=4)
    np.testing.assert_array_equal(coarse.inserted, whole.inserted[::4])


def test_deleted_pixels_become_zero_or_the_mean(pixels):
    seen = []

    def look(batch):
        seen.append(batch)
        return np.zeros(len(batch))

    insertion_deletion(look, pixels + 3, np.ones((4, 4)), steps=2)
    assert seen[-1][-1].tolist() == np.zeros((1, 4, 4)).tolist()
    insertion_deletion(look, pixels + 3, np.ones((4, 4)), steps=2, fill="mean")
    np.testing.assert_allclose(seen[-1][-1], 3.0)


def test_what_does_not_fit_is_refused(pixels):
    heatmap = np.zeros((4, 4))
    with pytest.raises(ImageError, match="on the same grid"):
        insertion_deletion(probability, pixels, heatmap[:2])
    for wrong in ({"steps": 17}, {"steps": 4, "fill": "grey"}):
        with pytest.raises(ConfigError, match="1 to 16 steps"):
            insertion_deletion(probability, pixels, heatmap, **wrong)
    with pytest.raises(ImageError, match=r"function from \(n, C, H, W\)"):
        insertion_deletion(lambda _: [0.5], pixels, heatmap, steps=2)
