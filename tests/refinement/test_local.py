"""Strokes count where they are, and what they teach can be kept and shown again."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fixtures.rounds import round_on_image
from safetensors.torch import load, save
from scipy import ndimage

from napari_wsol.config import FinetuneConfig
from napari_wsol.encoders import Features, sample_points
from napari_wsol.errors import ConfigError, ModelError
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.view import ModelView
from napari_wsol.methods.pixelcam import PixelHead
from napari_wsol.refinement.finetune import new_head, refined_copy
from napari_wsol.refinement.heads import field_from, head_from, head_state
from napari_wsol.refinement.kernel_fit import MarkedPlaces, fit_places
from napari_wsol.refinement.local import finetune_locally, refined_map
from napari_wsol.refinement.marked import MOST_PLACES, labelled_pixels, labelled_places
from napari_wsol.refinement.refine import shown_by
from napari_wsol.refinement.rounds import Refined
from napari_wsol.refinement.stroke_field import (
    StrokeField,
    beside,
    fit_space,
    grid_points,
)
from napari_wsol.refinement.surroundings import colour_map

SIDE = 512
FIRST, SECOND = (slice(56, 72), slice(20, 36)), (slice(56, 72), slice(92, 108))


@pytest.fixture
def features() -> Features:
    """Two blobs that look alike, 288 pixels apart, in a 512 × 512 image at stride 4."""
    torch.manual_seed(0)
    fine = 0.05 * torch.randn(1, 3, 128, 128)
    for place in (FIRST, SECOND):
        fine[(0, slice(None), *place)] += torch.tensor([1.0, 0.8, 0.6]).view(3, 1, 1)
    down = torch.linspace(-1, 1, 32).view(1, 1, 32, 1).expand(1, 1, 32, 32)
    return Features((fine, torch.cat([down, down.square()], 1)), (4, 16), (1.5, 5.5))


@pytest.fixture
def sure() -> PixelHead:
    """A head that calls both blobs foreground, and nothing else."""
    head = PixelHead([3, 2])
    with torch.no_grad():
        head.conv4.weight.zero_()
        head.conv4.weight[1, 0] = 6.0
        head.conv4.bias.copy_(torch.tensor([3.0, 0.0]))
    return head.eval()


def pixels(*strokes):
    """Labelled pixels of (rows, columns, value) in image pixels."""
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    for rows, columns, value in strokes:
        canvas[rows, columns] = value
    return labelled_pixels(canvas, scale=(1, 1), translate=(0, 0), downsample=(1, 1))


ON_FIRST = (slice(230, 270), slice(100, 112), 1)
ON_SECOND = (slice(230, 270), slice(390, 402), 2)


def refit(head, features, labelled, config=None, colour=None):
    head = refined_copy(head, features)
    run = finetune_locally(head, features, labelled, config, colour=colour)
    *_, (_, field) = run
    return head, field


def learnt_map(start, features, labelled, **settings):
    head, field = refit(start, features, labelled, FinetuneConfig(**settings))
    return refined_map(head, features, field)


def test_a_stroke_corrects_one_of_two_that_look_alike(features, sure):
    before = refined_map(sure, features)
    assert before[FIRST].min() > 0.5
    assert before[SECOND].min() > 0.5
    head, field = refit(sure, features, pixels(ON_FIRST, ON_SECOND))
    after = refined_map(head, features, field)
    assert (after[FIRST] < 0.5).float().mean() > 0.95
    assert (after[SECOND] > 0.5).float().mean() > 0.95


def test_the_head_alone_cannot(features, sure):
    head, field = refit(sure, features, pixels(ON_FIRST, ON_SECOND))
    alone = refined_map(head, features)
    assert abs(float(alone[FIRST].mean() - alone[SECOND].mean())) < 0.1
    assert not field.is_empty


def test_two_strokes_leave_the_rest_as_it_was(features, sure):
    before = refined_map(sure, features)
    head, field = refit(sure, features, pixels(ON_FIRST, ON_SECOND))
    after = refined_map(head, features, field)
    rest = torch.ones_like(before, dtype=torch.bool)
    rest[FIRST] = False
    same = (before > 0.5) == (after > 0.5)
    assert same[rest].float().mean() > 0.99


OTHER_KIND = (slice(20, 28), slice(240, 250), 2)
BESIDE = (slice(3, 9), slice(58, 64))


@pytest.mark.parametrize("head", ["linear", "mlp"])
@pytest.mark.parametrize(("stroke", "where"), [(ON_FIRST, FIRST), (OTHER_KIND, BESIDE)])
def test_a_stroke_of_one_kind_corrects_its_place_and_not_what_looks_different(
    features, sure, stroke, where, head
):
    before = refined_map(sure, features) > 0.5
    wanted = stroke[2] == 2
    assert bool((before[where] != wanted).all())
    after = learnt_map(sure, features, pixels(stroke), head=head)
    assert ((after[where] > 0.5) == wanted).float().mean() > 0.8
    away = far_from(stroke, 150)
    away[SECOND] = False  # looks just like the first
    assert ((after > 0.5) == before)[away].float().mean() > 0.99


def test_without_caution_a_stroke_of_one_kind_turns_the_map_far_away(features, sure):
    before = refined_map(sure, features) > 0.5
    after = learnt_map(sure, features, pixels(OTHER_KIND), cautious=False)
    turned = ((after > 0.5) != before)[far_from(OTHER_KIND, 150)]
    assert turned.float().mean() > 0.05


def test_many_strokes_of_one_kind_beside_one_of_the_other_do_not_flood(features, sure):
    before = refined_map(sure, features) > 0.5
    many = [(slice(y, y + 8), slice(200, 240), 2) for y in range(10, 130, 12)]
    labelled = pixels(*many, (slice(246, 250), slice(100, 104), 1))
    after = learnt_map(sure, features, labelled)
    far = far_from((slice(10, 130), slice(200, 240), 2), 150)
    far[FIRST] = False
    assert ((after > 0.5) == before)[far].float().mean() > 0.99


def test_even_strokes_are_learnt_as_ever(features, sure):
    """What journals hold of rounds with both kinds comes again."""
    labelled = pixels(ON_FIRST, ON_SECOND)
    cautious, bold = (
        learnt_map(sure, features, labelled, cautious=cautious)
        for cautious in (True, False)
    )
    assert torch.equal(cautious, bold)


def far_from(stroke, away):
    """(128, 128) bool: cells at least so many pixels from a stroke."""
    canvas = np.ones((SIDE, SIDE), bool)
    canvas[stroke[:2]] = False
    distance = ndimage.distance_transform_edt(canvas)[2::4, 2::4]
    return torch.from_numpy(distance > away)


def test_a_strong_prior_keeps_the_model(features, sure):
    labelled = pixels(ON_FIRST, ON_SECOND)
    head, field = refit(sure, features, labelled, FinetuneConfig(prior=1e6))
    after = refined_map(head, features, field)
    torch.testing.assert_close(after, refined_map(sure, features), atol=1e-2, rtol=0)


def test_no_prior_follows_every_stroke(features, sure):
    labelled = pixels(ON_FIRST, ON_SECOND, (slice(20, 30), slice(20, 30), 2))
    head, field = refit(sure, features, labelled, FinetuneConfig(prior=0))
    after = refined_map(head, features, field)
    assert after[6, 6] > 0.9
    assert after[62, 26] < 0.1


def test_reach_and_likeness_say_how_far():
    field = StrokeField(5, 2, 1)
    field.weights, field.lengths = torch.tensor([3.0]), torch.tensor([0.5, 60.0])
    looks = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.5, 0.0], [0.0, 0.0]])
    points = torch.tensor([[0.0, 0.0], [60.0, 0.0], [0.0, 0.0], [300.0, 300.0]])
    expected = 3 * np.exp([0.0, -0.5, -0.5, -25.0])
    assert field.correction(looks, points).numpy() == pytest.approx(expected, abs=1e-5)


def test_a_place_counts_up_to_six_reaches_away():
    field = StrokeField(0, 0, 4)
    field.lengths = torch.tensor([1.0, 10.0])
    field.points = torch.tensor([[0.0, 160.5], [0.0, 159.5], [50.0, 50.0], [-61, 90]])
    first, last = torch.zeros(2), torch.full((2,), 100.0)
    assert field.near(first, last).tolist() == [False, True, True, False]
    assert field.reaches(first, last)
    assert not field.reaches(first + 300, last + 300)
    assert not StrokeField().reaches(first, last)


def test_the_reach_of_the_settings_is_kept(features, sure):
    config = FinetuneConfig(reach=20.0)
    _, field = refit(sure, features, pixels(ON_FIRST, ON_SECOND), config)
    assert float(field.lengths[1]) == 20.0


def test_the_same_strokes_give_the_same_bytes(features, sure):
    labelled = pixels(ON_FIRST, ON_SECOND)
    maps = []
    for _ in range(2):
        head, field = refit(sure, features, labelled)
        maps.append(refined_map(head, features, field))
    assert torch.equal(*maps)


def test_an_abandoned_refit_changes_nothing(features):
    head = new_head(features)
    run = finetune_locally(head, features, pixels(ON_FIRST, ON_SECOND))
    _, field = next(run)
    run.close()
    assert field.is_empty
    assert torch.allclose(refined_map(head, features), torch.tensor(0.5))


def test_a_field_is_evaluated_in_any_pieces(features, sure):
    torch.manual_seed(1)
    colour = torch.rand(1, 3, 128, 128)
    _, field = refit(sure, features, pixels(ON_FIRST, ON_SECOND), colour=colour)
    both = beside(features, colour)
    whole = field(both)
    points = grid_points((128, 128), 4)
    looks = torch.randn(len(points), field.looks.shape[1])
    alone = field.correction(looks, points)
    parts = [
        field.correction(looks[first : first + 1000], points[first : first + 1000])
        for first in range(0, len(points), 1000)
    ]
    torch.testing.assert_close(torch.cat(parts), alone, atol=1e-5, rtol=1e-5)
    assert whole.shape == (128, 128)


@pytest.mark.parametrize("with_colour", [False, True])
def test_a_kept_round_gives_the_same_map(features, sure, with_colour):
    torch.manual_seed(1)
    colour = torch.rand(1, 3, 128, 128) if with_colour else None
    labelled = pixels(ON_FIRST, ON_SECOND)
    head, field = refit(sure, features, labelled, colour=colour)
    state, metadata = head_state(head, field)
    state = load(save(state))
    again, back = head_from(state, metadata), field_from(state)
    assert torch.equal(
        refined_map(again, features, back, colour),
        refined_map(head, features, field, colour),
    )
    state, metadata = head_state(head)
    assert field_from(state) is None
    assert torch.equal(
        refined_map(head_from(state, metadata), features),
        refined_map(head, features),
    )


def test_a_damaged_field_is_refused():
    state = StrokeField(5, 2, 3).state_dict()
    del state["points"]
    with pytest.raises(ModelError, match="Refine again"):
        StrokeField.from_state(state)


def test_colour_is_learnt_where_features_see_nothing():
    """The features are noise; the right half of the image is darker."""
    torch.manual_seed(2)
    blind = Features((torch.randn(1, 3, 128, 128),), (4,), (1.5,))
    image = torch.full((1, 3, SIDE, SIDE), 0.8)
    image[..., SIDE // 2 :] = 0.3
    colour = colour_map(image, (128, 128), mean=(0.0,) * 3, std=(1.0,) * 3)
    labelled = pixels(ON_FIRST, ON_SECOND)
    head, field = refit(None, blind, labelled, colour=colour)
    after = refined_map(head, blind, field, colour)
    assert (after[:, :62] < 0.5).float().mean() > 0.95
    assert (after[:, 66:] > 0.5).float().mean() > 0.95


def test_colour_is_optical_density():
    image = torch.zeros(1, 3, 16, 16)
    image[:, 0], image[:, 1] = 1.0, 0.5
    found = colour_map(image, (4, 4), mean=(0.0,) * 3, std=(1.0,) * 3)
    assert found.shape == (1, 3, 4, 4)
    expected = [0.0, -np.log(128.5 / 256), np.log(256)]
    for channel, value in enumerate(expected):
        assert found[0, channel].numpy() == pytest.approx(value, abs=1e-5)
    moved = (image - 0.5) / 0.25
    again = colour_map(moved, (4, 4), mean=(0.5,) * 3, std=(0.25,) * 3)
    torch.testing.assert_close(again, found)


def test_reduced_features_have_unit_size(features):
    mean, projection = fit_space(features, colour=False)
    x = torch.randn(10, 5)
    assert ((x - mean) @ projection).shape == (10, 5)
    points = grid_points((128, 128), 4, step=2)  # the cells that it was fitted on
    looks = (sample_points(features, points) - mean) @ projection
    assert float(looks.square().sum(1).mean()) == pytest.approx(1, abs=1e-4)


def test_a_constant_image_is_no_error():
    flat = Features((torch.ones(1, 3, 128, 128),), (4,), (1.5,))
    head, field = refit(None, flat, pixels(ON_FIRST, ON_SECOND))
    assert torch.isfinite(refined_map(head, flat, field)).all()


def test_a_linear_problem_has_a_known_answer():
    """One place far from all others: g = K a, with a = y - sigmoid(g) there."""
    places = MarkedPlaces(
        torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1), torch.ones(1).long()
    )
    run = fit_places(places, prior=1.0, reach=60.0, steps=50)
    while True:
        try:
            next(run)
        except StopIteration as finished:
            weight = float(finished.value)
            break
    g = (2.0 + 4.0) * weight  # constant and local; z is 0
    assert weight == pytest.approx(1 - 1 / (1 + np.exp(-g)), abs=1e-4)


def test_places_are_squares_and_bounded():
    found = labelled_places(pixels((slice(0, 8), slice(0, 8), 1), ON_SECOND))
    assert int((found.labels == 0).sum()) == 4
    assert found.points[0].tolist() == [1.5, 1.5]
    many = pixels(
        (slice(0, 400), slice(0, 200), 1), (slice(0, 400), slice(300, 500), 2)
    )
    found = labelled_places(many)
    assert len(found.points) == MOST_PLACES
    assert 0.4 < found.labels.float().mean() < 0.6


def test_reach_is_checked():
    with pytest.raises(ConfigError):
        FinetuneConfig(reach=0.0)


def test_a_round_is_made_twice_alike_and_shown_again(small_model, tissue, strokes):
    first, second = (
        round_on_image(tissue, small_model, strokes, FinetuneConfig()) for _ in range(2)
    )
    assert np.array_equal(first.heatmap.values, second.heatmap.values)
    assert not first.stroke_field.is_empty
    view = ModelView(open_slide(tissue), small_model)
    alone = Refined(index=1, target="bright", head=first.head)
    shown = shown_by(view, replace(alone, stroke_field=first.stroke_field))
    assert np.array_equal(shown.values, first.heatmap.values)
    assert not np.array_equal(shown_by(view, alone).values, first.heatmap.values)


def test_a_round_of_the_head_alone_has_no_field(small_model, tissue, strokes):
    done = round_on_image(tissue, small_model, strokes, FinetuneConfig(local=False))
    assert done.stroke_field is None
