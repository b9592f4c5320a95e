"""The scores of a slide are those of the image, whatever its head pools."""

import numpy as np
import pytest
import torch

from napari_wsol.errors import NoResultError
from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.methods.map_pooling import RankedPooling, pool_pieces
from napari_wsol.methods.wildcat import WildcatHead
from napari_wsol.slides.kept_cells import KeptTiles
from napari_wsol.slides.plan import cells_on, plan_slide
from napari_wsol.slides.readouts import CLASSIFIER
from napari_wsol.slides.scores import slide_scores

CLASSES = ("dark", "bright", "none")


def model_with(head, **options):
    torch.manual_seed(0)
    model = Model(
        ModelSpec(
            encoder="mobilenet_v2",
            classes=CLASSES,
            heads=(head,),
            taps=("features.6",),
            options={head: options},
        )
    ).eval()
    with torch.no_grad():  # so that classes differ clearly
        for name, value in model.heads[head].named_parameters():
            value.normal_(std=2.0 if name.endswith("weight") else 1.0)
    return model


@pytest.fixture
def noise():
    """(150, 210, 3): sizes that divide by nothing, bright in one corner."""
    image = np.random.default_rng(3).integers(0, 200, (150, 210, 3)).astype(np.uint8)
    image[:60, :80] += 50
    return image


def kept_of(done):
    return KeptTiles(done.plan, done.planes, done.log, done.slide.shape)


@pytest.fixture
def scored(tmp_path):
    """Runs a model over an image and gives the job and its scores."""

    def make(model, image, methods, **how):
        from fixtures.slides import Job

        done = Job(image, model, tmp_path, methods=methods, **{"core": 64, **how})
        list(done.run.tiles())
        return done, slide_scores(model, kept_of(done))

    return make


POOLINGS = [
    ("cam", {}),
    ("cam", {"background": True}),
    ("adl", {}),
    ("gap", {}),
    ("maxpool", {}),
    ("lse", {"r": 3.0}),
    ("wildcat", {}),
    ("wildcat", {"kmax": 7, "kmin": 0}),
    ("wildcat", {"kmax": 0.9, "kmin": 0.7, "alpha": 1.5}),
    ("pcam", {}),
    ("pcam", {"pool": "AVG"}),
    ("pcam", {"pool": "LSE_LBA"}),
]


@pytest.mark.parametrize(("head", "options"), POOLINGS)
def test_scores_are_those_of_the_whole_image(scored, noise, head, options):
    model = model_with(head, **options)
    done, found = scored(model, noise, [head])
    expected = localize(model, noise, [head]).scores
    assert found.probabilities == pytest.approx(expected, abs=1e-3)
    assert found.note == ""
    stride = model.encoder.stride
    assert found.cells == -(-150 // stride) * -(-210 // stride)
    logits = torch.tensor(found.logits)
    assert torch.isfinite(logits).all()
    assert max(found.probabilities.values()) < 1  # something is left to compare
    del done


@pytest.mark.parametrize(("head", "options"), [("prm", {}), ("pcam", {"pool": "MAX"})])
def test_what_needs_the_whole_image_gives_no_score_and_says_why(
    scored, noise, head, options
):
    _, found = scored(model_with(head, **options), noise, [head])
    assert found.probabilities == {}
    assert "one piece" in found.note


def test_only_cells_on_tissue_count(small_model, scored, section):
    done, found = scored(small_model, section, ("cam",), tissue_only=True)
    assert done.plan.tissue is not None
    values = [item.counted for item in kept_of(done).cells(CLASSIFIER)]
    cells = np.concatenate(values, axis=1)
    bias = small_model.heads["cam"].fc.bias.detach().numpy()
    assert found.cells == cells.shape[1]
    assert np.allclose(found.logits, cells.mean(1) + bias, atol=1e-5)
    # The tissue is 500 × 400 pixels, and a cell at its rim counts.
    stride = done.planes[-1].stride
    least, most = (500 // stride) * (400 // stride), 1.3 * 500 * 400 / stride**2
    assert least <= found.cells <= most


def test_a_cell_counts_if_any_of_it_is_tissue(small_model, section):
    from napari_wsol.config import SlideConfig
    from napari_wsol.images.readers import open_slide

    mask = np.zeros((60, 82), np.bool_)
    mask[10, 20] = True  # level-0 pixels 100 to 110, 200 to 210
    slide = open_slide(section)
    plan = plan_slide(slide, small_model, SlideConfig(core=128), tissue=mask)
    assert np.flatnonzero(plan.wanted).tolist() == [1]
    found = cells_on(plan.tissue, plan.seen, 8, slide.shape, plan.grid[1])
    rows, columns = np.nonzero(found)
    assert set(rows * 8) == {96, 104}
    assert set(columns * 8 + 128) == {200, 208}


def test_a_slide_without_tissue_has_no_score(scored, small_model, section):
    done, _ = scored(small_model, section, ("cam",))
    done.plan.wanted[:] = False
    found = slide_scores(small_model, kept_of(done))
    assert found.probabilities == {}
    assert "no finished tile shows tissue" in found.note


def test_weights_that_are_no_numbers_are_found(scored, noise):
    model = model_with("gap")
    with torch.no_grad():
        model.heads["gap"].conv.bias[0] = float("nan")
    with pytest.raises(NoResultError, match="models verify"):
        scored(model, noise, ["gap"])


@pytest.mark.parametrize(("kmax", "kmin"), [(0.2, 0.1), (0.5, 0.5), (13, 5), (1, 0)])
def test_ranks_are_exact_with_ties_and_in_any_pieces(kmax, kmin):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(2, 5000)).astype(np.float32)
    values[0, :2000] = np.float32(0.75)  # a tie across the place of rank k
    values[1] *= 1e-3
    values[1, :50] = -0.0
    maps = torch.from_numpy(values)
    head = WildcatHead(4, 2, kmax=kmax, kmin=kmin)
    pieces = list(maps[:, torch.from_numpy(rng.permutation(5000))].split(377, dim=1))
    found = pool_pieces(head.pooling(), lambda: pieces)
    expected = head.pool(maps[None, :, :, None].double())[0]
    assert isinstance(head.pooling(), RankedPooling)
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_poolings_hold_where_numbers_are_extreme():
    low = torch.full((1, 10), -300.0)  # every probability is 0 in float32
    head = model_with("pcam").classifier
    assert head.pool_maps(low.expand(3, -1)).tolist() == [-300.0] * 3
    high = torch.full((3, 10), 1e4)
    assert model_with("lse", r=100.0).classifier.pool_maps(high).tolist() == [1e4] * 3
