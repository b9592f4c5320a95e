import numpy as np
import pytest

from napari_wsol.errors import ConfigError
from napari_wsol.evaluation import Bootstrap, Estimate, PxapMeter, pxap
from napari_wsol.evaluation.bootstrap import macro_share, mean


def test_interval_of_a_mean_is_that_of_theory():
    values = np.random.default_rng(0).normal(5, 2, 400)
    found = mean(values, Bootstrap(samples=2000))
    error = values.std() / np.sqrt(len(values))
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.25 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.25 * error)


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(0).random(30)
    assert mean(values, Bootstrap()) == mean(values, Bootstrap())
    assert mean(values, Bootstrap()) != mean(values, Bootstrap(seed=1))


def test_every_draw_has_as_many_images():
    blocks = list(Bootstrap(samples=7).draws(400_000))
    assert [len(block) for block in blocks] == [2, 2, 2, 1]
    assert all((block.sum(axis=1) == 400_000).all() for block in blocks)


def test_one_image_or_no_draws_give_no_interval():
    assert mean([0.5], Bootstrap()) == Estimate(value=0.5)
    assert mean([0.0, 1.0], Bootstrap(samples=0)) == Estimate(value=0.5)


def test_classes_count_alike_whatever_their_number():
    hits = np.array([[1, 0], [1, 0], [1, 0], [0, 0]])
    counts = np.array([[1, 0], [1, 0], [1, 0], [0, 1]])
    assert macro_share(hits, counts, Bootstrap()).value == 0.5


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="0 or more draws"):
        Bootstrap(samples=-1)
    with pytest.raises(ConfigError, match="level"):
        Bootstrap(level=1.0)


@pytest.fixture
def images():
    rng = np.random.default_rng(3)
    masks = [rng.random((9, 9 + k)) < 0.1 * (k + 1) for k in range(5)]
    masks.append(np.zeros((4, 4), bool))
    maps = [np.clip(m * 0.3 + 0.7 * rng.random(m.shape), 0, 1) for m in masks]
    return maps, masks


def test_interval_of_pxap_needs_no_second_pass(images):
    maps, masks = images
    meter = PxapMeter()
    for item in zip(maps, masks, strict=True):
        meter.update(*item)
    draw = Bootstrap(samples=40)
    values = []
    for weights in np.concatenate(list(draw.draws(len(maps)))).astype(int):
        drawn = np.repeat(np.arange(len(maps)), weights)
        if any(masks[k].any() for k in drawn):
            values.append(pxap([maps[k] for k in drawn], [masks[k] for k in drawn]))
    found = meter.estimate(draw)
    assert found.value == pytest.approx(pxap(maps, masks), abs=1e-9)
    assert (found.low, found.high) == pytest.approx(
        tuple(np.percentile(values, [2.5, 97.5])), abs=1e-9
    )


def test_memory_of_a_meter_does_not_grow_with_the_images():
    import tracemalloc

    scores = np.random.default_rng(0).random((512, 512))
    mask = scores > 0.5
    meter = PxapMeter(10)
    tracemalloc.start()
    for _ in range(20):
        meter.update(scores, mask)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 100_000
    assert meter.images == 20


def test_histograms_beyond_the_spool_are_found_again():
    rng = np.random.default_rng(0)
    maps = [rng.random((2, 3)) for _ in range(40)]
    masks = [rng.random((2, 3)) < 0.5 for _ in range(40)]
    large = PxapMeter(100_000)  # 0.8 MB an image: 32 MB
    small = PxapMeter()
    for item in zip(maps, masks, strict=True):
        large.update(*item)
        small.update(*item)
    threshold = 0.5
    np.testing.assert_array_equal(large.overlaps(threshold), small.overlaps(threshold))
