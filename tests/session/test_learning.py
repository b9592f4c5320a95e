"""Settings outlive the session; rounds do not fill the memory."""

import json

import numpy as np
import pytest

from napari_wsol import Session
from napari_wsol.config import FinetuneConfig, InferenceConfig
from napari_wsol.images.heatmap import Heatmap
from napari_wsol.images.readers import open_slide
from napari_wsol.refinement.rounds import (
    Round,
    bytes_in_memory,
    jump_words,
    odd_map_words,
    spilled,
)
from napari_wsol.session.document import Document
from napari_wsol.session.learning import settings_of, settings_of_round
from napari_wsol.session.maps import Maps
from napari_wsol.session.rounds import RoundHistory

WAIT = 60


def round_of(values, index: int = 1, **facts) -> Round:
    values = np.asarray(values, np.float32)
    heatmap = Heatmap(
        values=values,
        scale=(4.0, 4.0),
        translate=(1.5, 1.5),
        image_shape=(values.shape[0] * 4, values.shape[1] * 4),
        method="pixelcam",
        target="bright",
        is_probability=True,
        round=index,
    )
    return Round(index=index, heatmap=heatmap, **facts)


@pytest.mark.parametrize("has_scribbles", [True, False])
def test_a_spilled_round_is_the_same_and_takes_no_memory(tmp_path, has_scribbles):
    rng = np.random.default_rng(0)
    scribbles = rng.integers(0, 3, (31, 27)).astype(np.uint8) if has_scribbles else None
    item = round_of(rng.random((7, 9)), scribbles=scribbles, loss=(1.0, 0.5))
    again = spilled(item, tmp_path)
    assert bytes_in_memory(item) == 7 * 9 * 4 + (31 * 27 if has_scribbles else 0)
    assert bytes_in_memory(again) == 0
    np.testing.assert_array_equal(again.heatmap.values, item.heatmap.values)
    assert again.heatmap.values.dtype == np.float32
    if has_scribbles:
        np.testing.assert_array_equal(again.scribbles, scribbles)
    with pytest.raises(ValueError, match="read-only"):
        again.heatmap.values[0, 0] = 1
    assert again.loss == item.loss
    assert again.heatmap.scale == item.heatmap.scale
    # A second file beside the first: what is mapped is never written again.
    spilled(item, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_old_rounds_go_to_the_disk_and_come_back_equal(small_model, tissue):
    budget = InferenceConfig(memory_bytes=1_000_000_000).round_bytes
    document = Document(open_slide(tissue, name="tissue"))
    history, maps = RoundHistory(document, small_model, budget), Maps()
    try:
        side = int((budget / 4 / 2.5) ** 0.5)  # two and a half fit
        rounds = [
            round_of(np.full((side, side), k / 8, np.float32), k) for k in range(6)
        ]
        for item in rounds:
            maps = history.add(maps, item)
        kept = maps.rounds
        held = [bytes_in_memory(item) > 0 for item in kept]
        assert held == [True, False, False, False, False, True]
        for before, after in zip(rounds, kept, strict=True):
            assert np.array_equal(before.heatmap.values, after.heatmap.values)
        folder = history.spill_folder()
        assert len(list(folder.iterdir())) == 4
        seen = kept[2].heatmap.values
        history.close()  # rounds are void
        assert not folder.exists()
        if not np.array_equal(seen, rounds[2].heatmap.values):
            pytest.fail("what a window still shows has changed")
    finally:
        history.close()


def test_settings_are_written_down_and_taken_up_again(tmp_path):
    image = np.random.default_rng(1).integers(0, 255, (64, 48, 3), np.uint8)
    chosen = FinetuneConfig(steps=40, prior=0.5)
    first = Session(journals=tmp_path)
    first.open(image, name="one").result(WAIT)
    assert first.live
    first.brush([(10, 10), (10, 20)], 2, 5)
    first.live = False
    first.settings = chosen
    first.close(wait=True)
    text = "".join(file.read_text() for file in tmp_path.rglob("*.jsonl"))
    assert '"refinement"' in text

    other = Session(journals=tmp_path)
    told = []
    other.settings_changed.connect(lambda: told.append(other.settings))
    other.open(image, name="one", resume=True).result(WAIT)
    assert other.settings == chosen
    assert not other.live
    assert told == [chosen]
    other.close(wait=True)


def test_settings_of_another_version_are_read_as_far_as_they_go():
    plain = {"steps": 7, "something_new": [1, 2]}
    assert settings_of(json.loads(json.dumps(plain))) == FinetuneConfig(steps=7)
    assert settings_of_round(plain) == FinetuneConfig(steps=7, cautious=False)
    assert settings_of_round({"cautious": True}) == FinetuneConfig()
    assert settings_of({"steps": -1}) == FinetuneConfig()
    assert settings_of({"steps": "many"}) == FinetuneConfig()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([[0.5, 0.5], [0.5, 0.5]], "0.50 everywhere"),
        ([[0.1, 0.4], [0.2, 0.3]], "Nothing is above"),
        ([[0.6, 0.9], [0.8, 0.7]], "Everything is above"),
        ([[0.6, np.nan], [0.1, 0.2]], "not numbers"),
        ([[0.1, 0.9], [0.2, 0.8]], ""),
    ],
)
def test_odd_maps_are_told_with_their_likely_cause(values, words):
    told = odd_map_words(round_of(values))
    assert words in told
    assert bool(told) == bool(words)
    assert not odd_map_words(
        round_of(values, index=0)
    )  # the model's own map has own notes


@pytest.mark.parametrize(
    ("was", "now", "words"),
    [
        (0.30, 0.45, "grown from 30\u00a0% to 45\u00a0% of the image"),
        (0.30, 0.15, "shrunk from 30\u00a0% to 15\u00a0%"),
        (0.0, 0.02, "grown from 0\u00a0% to 2\u00a0%"),
        (0.30, 0.38, ""),
        (0.01, 0.019, ""),
    ],
)
def test_a_stroke_that_moves_much_of_the_map_is_told(was, now, words):
    def marked(share, learnt_from):
        values = np.zeros((1, 1000), np.float32)
        values[0, : round(1000 * share)] = 0.9
        return round_of(values, len(learnt_from), learnt_from=learnt_from)

    before, after = marked(was, (1, 2)), marked(now, (1, 2, 3))
    said = jump_words(before, after)
    assert words in said
    assert bool(words) == bool(said)
    assert not jump_words(after, before)  # a stroke was taken back
    assert not jump_words(before, marked(now, (1, 2)))  # other settings
