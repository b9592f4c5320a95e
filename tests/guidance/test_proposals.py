"""Where the next stroke would teach most: planted places, and what is said of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fixtures.colours import CELL, colour_model

from napari_wsol import Session
from napari_wsol.config import SlideConfig
from napari_wsol.errors import NoResultError
from napari_wsol.guidance.factors import guide
from napari_wsol.guidance.proposals import PLACES, nothing_words, proposals
from napari_wsol.images.heatmap import Heatmap
from napari_wsol.strokes.canvas import Canvas

if TYPE_CHECKING:
    from napari_wsol.methods import Model

WAIT = 60
SIDE = 256


def a_map(values, method="pixelcam", cell=CELL, **changes):
    values = np.asarray(values, np.float32)
    shape = (values.shape[0] * cell, values.shape[1] * cell)
    facts = {
        "scale": (cell, cell),
        "translate": ((cell - 1) / 2, (cell - 1) / 2),
        "image_shape": shape,
        "method": method,
        "target": "gland",
        "is_probability": True,
    }
    return Heatmap(values=values, **(facts | changes))


def sure(side=SIDE // CELL):
    """A map that is sure everywhere: the lower half is foreground."""
    values = np.full((side, side), 0.02, np.float32)
    values[side // 2 :] = 0.98
    return values


def planted(*corners, side=SIDE // CELL, size=8):
    """The same, undecided in squares of ``size`` cells."""
    values = sure(side)
    for y, x in corners:
        values[y : y + size, x : x + size] = 0.5
    return values


def places(*maps, count=5, strokes=None, dismissed=(), **known):
    canvas = Canvas.over(maps[0].image_shape)
    found = guide(maps, canvas, strokes, **known)
    return proposals(found, count, dismissed=dismissed)


def blank(heatmap):
    return np.zeros(heatmap.image_shape, np.uint8)


def test_the_undecided_square_is_proposed_first_and_nothing_else():
    (found,) = places(a_map(planted((8, 40))))
    assert abs(found.y - (12 * CELL - 0.5)) <= CELL
    assert abs(found.x - (44 * CELL - 0.5)) <= CELL
    assert found.radius == pytest.approx(SIDE / 16)
    assert 0.3 < found.score <= 1


def test_after_a_stroke_there_another_place_comes_first():
    heatmap = a_map(planted((4, 44), (44, 4)))
    first, second = places(heatmap)
    strokes = blank(heatmap)
    strokes[round(first.y), round(first.x) - 10 : round(first.x) + 10] = 2
    after = places(heatmap, strokes=strokes)
    assert [(item.y, item.x) for item in after] == [(second.y, second.x)]


def test_dismissed_places_stay_away_and_nothing_overlaps_them():
    heatmap = a_map(planted((4, 44), (40, 4), size=20))
    found = places(heatmap)
    circle = (found[0].y, found[0].x, found[0].radius)
    after = places(heatmap, dismissed=[circle])
    assert after
    for item in after:
        apart = np.hypot(item.y - circle[0], item.x - circle[1])
        assert apart >= item.radius + circle[2]


def test_places_are_a_strokes_length_apart_and_the_best_come_first():
    rng = np.random.default_rng(3)
    found = places(a_map(rng.random((64, 64))), count=8)
    assert len(found) == 8
    assert [item.score for item in found] == sorted(
        (item.score for item in found), reverse=True
    )
    for k, one in enumerate(found):
        for other in found[:k]:
            apart = np.hypot(one.y - other.y, one.x - other.x)
            assert apart >= 2 * one.radius


def test_the_same_maps_give_the_same_places():
    values = np.random.default_rng(5).random((64, 64))
    assert places(a_map(values)) == places(a_map(values.copy()))


def test_a_speck_is_not_worth_a_stroke():
    assert places(a_map(planted((20, 20), size=1))) == []


def test_glass_is_never_proposed():
    heatmap = a_map(np.full((64, 64), 0.5))
    tissue = np.zeros((128, 128), bool)
    tissue[90:, :40] = True
    found = places(heatmap, tissue=tissue, count=50)
    assert found
    assert all(tissue[int(item.y / 2), int(item.x / 2)] for item in found)
    assert places(heatmap, tissue=np.zeros((128, 128), bool)) == []


def test_cells_without_a_value_are_never_proposed():
    values = np.full((64, 64), 0.5, np.float32)
    values[:, 20:] = np.nan
    found = places(a_map(values), a_map(values[::2, ::2], "cam", 2 * CELL), count=50)
    assert found
    assert all(item.x < 20 * CELL for item in found)
    assert places(a_map(np.full((64, 64), np.nan))) == []


def test_where_methods_disagree_comes_before_where_they_agree():
    values, other = planted((4, 4), (4, 44)), sure()
    other[4:12, 4:12] = 0.5
    other[4:12, 44:52] = 1.0
    found = places(a_map(values), a_map(other, "cam"))
    assert found[0].place == "upper right"
    assert found[0].score > 1.2 * found[1].score


def test_methods_are_compared_by_rank_not_by_value():
    """A score on another scale that orders the cells alike does not disagree."""
    rng = np.random.default_rng(0)
    values = rng.random((64, 64)).astype(np.float32)
    known = guide(
        [a_map(values), a_map(values**4, "cam")], Canvas.over((SIDE, SIDE)), None
    )
    assert known.disagreement.max() < 0.05
    assert known.disagreement.mean() < 0.002
    known = guide(
        [a_map(values), a_map(1 - values, "cam")], Canvas.over((SIDE, SIDE)), None
    )
    assert known.disagreement.mean() == pytest.approx(0.5, abs=0.02)


def test_every_factor_lies_between_0_and_1():
    rng = np.random.default_rng(1)
    maps = [a_map(rng.random((64, 64)), f"m{k}") for k in range(4)]
    strokes = blank(maps[0])
    strokes[100, 20:90] = 1
    known = guide(maps, Canvas.over((SIDE, SIDE)), strokes, mpp=0.5)
    for factor in (
        known.uncertainty,
        known.disagreement,
        known.distance,
        known.scores,
    ):
        assert factor.min() >= 0
        assert factor.max() <= 1
    assert known.distance[25, 10] == 0
    assert known.distance[63, 63] == 1


@pytest.mark.parametrize("row", range(3))
@pytest.mark.parametrize("column", range(3))
def test_words_name_the_part_of_the_image(row, column):
    corner = (6 + 22 * row, 6 + 22 * column)
    (found,) = places(a_map(planted(corner)))
    assert found.place == PLACES[row][column]
    assert found.reason.lower().startswith(f"{found.place}: the map is undecided (0.")
    assert found.short == "map undecided"


def test_words_say_who_disagrees_and_how_far_strokes_are():
    values, other = sure(), sure()
    other[6:14, 6:14], values[6:14, 6:14] = 1.0, 0.0
    heatmap = a_map(values)
    strokes = blank(heatmap)
    strokes[250, 200:250] = 1
    known = guide(
        [heatmap, a_map(other, "cam")], Canvas.over((SIDE, SIDE)), strokes, mpp=2.0
    )
    (found,) = proposals(known, 1, titles={"pixelcam": "PixelCAM", "cam": "CAM"})
    assert found.short == "methods disagree"
    assert found.reason.startswith(
        "Upper left: CAM and PixelCAM disagree, and there is no stroke within "
    )
    assert found.reason.endswith(" µm.")
    told = float(found.reason.split("within ")[1].split()[0])
    apart = 2.0 * np.hypot(250 - found.y, max(0.0, 200 - found.x))
    assert 0.85 * apart <= told <= apart
    (in_pixels,) = places(heatmap, a_map(other, "cam"), strokes=strokes)
    assert in_pixels.reason.endswith(" px.")


def test_words_for_nothing():
    said = "Nothing stands out: the methods agree and strokes are close by."
    assert nothing_words(3, strokes=True) == said
    assert "map is decided" in nothing_words(1, strokes=False)


def test_large_maps_are_thinned_and_keep_their_place():
    values = planted((40, 1400), side=1500, size=90)
    (found,) = places(a_map(values, cell=8), count=5)
    assert abs(found.y - 85 * 8) <= 24
    assert abs(found.x - 1445 * 8) <= 24
    assert found.radius == 500  # of 12 000 pixels of unknown size
    assert places(a_map(values, cell=8), mpp=1.0)[0].radius == 200  # 400 µm long


def test_it_is_quick():
    rng = np.random.default_rng(0)
    maps = [a_map(rng.random((512, 512)), f"m{k}") for k in range(3)]
    strokes = blank(maps[0])
    strokes[:40, :40] = 1
    took = []
    for _ in range(5):
        started = time.thread_time()  # whatever else the machine does meanwhile
        places(*maps, strokes=strokes, tissue=np.ones((512, 512), bool))
        took.append(time.thread_time() - started)
    assert min(took) < 0.2


# ------------------------------------------------------------------------ in a session


def red_model() -> Model:
    """Red is foreground, as far as this model knows; blue it has never seen."""
    return colour_model(("no", "yes"), (3.0, 0.0, 0.0), 5.0)


def two_textures(rng):
    """Things, half of them red and half of another texture, on dark ground.

    Returns:
        The image, and where the things are.
    """
    image = rng.normal(60, 12, (SIDE, SIDE, 3))
    truth = np.zeros((SIDE, SIDE), bool)
    for row in range(3):
        for column in range(3):
            y, x = (16 + 84 * k + rng.integers(0, 16) for k in (row, column))
            part = np.s_[y : y + 36, x : x + 36]
            truth[part] = True
            image[part] += (90, 0, 0) if (row + column) % 2 else (45, 0, 90)
    return np.clip(image, 0, 255).astype(np.uint8), truth


def a_truthful_stroke(session, truth, y, x, radius):
    """A short line across a place, each part of it with its true label."""
    left, right = int(max(0, x - radius)), int(min(SIDE - 1, x + radius))
    row = int(np.clip(y, 0, SIDE - 1))
    columns = np.arange(left, right + 1)
    for label in (1, 2):
        same = columns[truth[row, columns] == (label == 2)]
        for part in np.split(same, np.flatnonzero(np.diff(same) > 1) + 1):
            if part.size:
                session.brush([(row, part[0]), (row, part[-1])], label, 3)


def errors_after(model, image, truth, choose):
    """Share of wrong pixels after each of three strokes."""
    session = Session(journals=False)
    try:
        session.open(image, name="textures")
        session.use(model).result(WAIT)
        session.localize(["pixelcam", "cam"]).result(WAIT)
        wrong = []
        for _ in range(3):
            a_truthful_stroke(session, truth, *choose(session))
            labels = set(np.unique(session.scribbles)) - {0}
            if len(labels) == 2:
                session.finetune().result(WAIT)
            shown = session.heatmap("pixelcam").resized(truth.shape) >= 0.5
            wrong.append(float((shown != truth).mean()))
        return wrong
    finally:
        session.close(wait=True)


def test_strokes_at_proposed_places_teach_faster_than_at_random_ones():
    model, proposed, anywhere = red_model(), [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        image, truth = two_textures(rng)

        def best(session):
            (place,) = session.propose(1)
            return place.y, place.x, place.radius

        def somewhere(session, rng=rng):
            del session
            return rng.uniform(0, SIDE), rng.uniform(0, SIDE), SIDE / 16

        proposed.append(errors_after(model, image, truth, best))
        anywhere.append(errors_after(model, image, truth, somewhere))
    after = np.mean(proposed, axis=0)[-1], np.mean(anywhere, axis=0)[-1]
    assert after[0] < 0.6 * after[1]


@pytest.fixture
def localized(tmp_path):
    session = Session(journals=tmp_path)
    session.open(two_textures(np.random.default_rng(0))[0], name="textures")
    session.use(red_model()).result(WAIT)
    session.localize(["pixelcam", "cam"]).result(WAIT)
    yield session
    session.close(wait=True)


def test_before_localization_it_says_what_to_do_first():
    session = Session(journals=False)
    with pytest.raises(NoResultError, match="Localize first"):
        session.propose()
    session.close(wait=True)


def test_a_dismissed_place_stays_away_after_new_rounds(localized):
    first = localized.propose()[0]
    localized.dismiss(first)

    def is_proposed() -> bool:
        return any(
            np.hypot(item.y - first.y, item.x - first.x) < first.radius
            for item in localized.propose(20)
        )

    assert not is_proposed()
    localized.brush([(5, 5), (5, 60)], 1, 4)
    localized.brush([(128, 100), (128, 150)], 2, 4)
    localized.finetune().result(WAIT)
    assert not is_proposed()


def test_a_dismissed_place_stays_away_after_reopening(localized, tmp_path):
    image, model = localized.slide.read(0, 0, 0, SIDE, SIDE), red_model()
    first = localized.propose()[0]
    localized.dismiss(first)
    localized.close(wait=True)
    again = Session(journals=tmp_path)
    again.open(image, name="textures").result(WAIT)
    assert [(item.y, item.x) for item in again.dismissed] == [(first.y, first.x)]
    again.use(model).result(WAIT)
    again.localize(["pixelcam", "cam"]).result(WAIT)
    assert first not in again.propose(20)
    again.close(wait=True)


def test_dismissed_places_come_back_with_the_strokes_or_stay_behind(
    localized, tmp_path
):
    image = localized.slide.read(0, 0, 0, SIDE, SIDE)
    first, second = localized.propose()[:2]
    localized.brush([(5, 5), (5, 60)], 1, 4)
    localized.dismiss(first)
    localized.close(wait=True)

    def reopened(*, resume: bool) -> Session:
        session = Session(journals=tmp_path)
        session.open(image, name="textures", resume=resume).result(WAIT)
        return session

    again = reopened(resume=True)
    assert [item.y for item in again.dismissed] == [first.y]
    again.close(wait=True)
    afresh = reopened(resume=False)
    assert afresh.dismissed == ()
    afresh.dismiss(second)
    assert afresh.start_afresh()
    afresh.brush([(9, 5), (9, 60)], 1, 4)
    afresh.close(wait=True)
    again = reopened(resume=True)
    assert [(item.y, item.x) for item in again.dismissed] == [(second.y, second.x)]
    again.close(wait=True)


def test_titles_and_chosen_methods_are_those_of_the_session(localized):
    both = localized.propose()
    assert any("PixelCAM" in item.reason and "CAM" in item.reason for item in both)
    alone = localized.propose(methods=["pixelcam"])
    assert not any("disagree" in item.reason for item in alone)


def test_a_slide_has_places_too_and_none_on_its_glass(monkeypatch, tmp_path):
    monkeypatch.setattr("napari_wsol.slides.large.LARGE_PIXELS", 100_000)
    rng = np.random.default_rng(0)
    image = np.full((512, 512, 3), 245, np.uint8)
    image[:, :256] = rng.integers(100, 140, (512, 256, 3))
    session = Session(journals=tmp_path)
    session.slide_config = SlideConfig(core=64)
    session.open(image, name="slide")
    session.use(red_model()).result(WAIT)
    assert session.is_large
    session.localize(["pixelcam", "cam"]).result(WAIT)
    found = session.propose(50)
    assert found
    assert max(item.x for item in found) < 256 + 16  # the rim of the tissue counts
    session.close(wait=True)
