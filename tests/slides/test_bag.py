"""What a head makes of the tiles of a slide is that of the image, however many."""

import tracemalloc

import numpy as np
import pytest
import torch
from fixtures.slides import Job

from napari_wsol.images.tiling import TileGrid
from napari_wsol.inference.encode import Geometry
from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.methods.mil import cells_of
from napari_wsol.slides.bag import read_slide
from napari_wsol.slides.kept_cells import KeptTiles
from napari_wsol.slides.plan import SlidePlan
from napari_wsol.slides.readouts import VECTORS, Plane
from napari_wsol.slides.tile_log import TileLog


def model_with(*, gated=False, binary=False):
    torch.manual_seed(0)
    model = Model(
        ModelSpec(
            encoder="mobilenet_v2",
            classes=("benign", "malignant"),
            heads=("attention_mil",),
            taps=("features.3",),
            tile=32,
            options={"attention_mil": {"gated": gated, "binary": binary}},
        )
    ).eval()
    with torch.no_grad():
        for value in model.heads["attention_mil"].parameters():
            value.mul_(60.0)  # attention that differs from tile to tile
    return model


@pytest.fixture
def image():
    """(210, 330, 3): noise whose brightness changes from tile to tile."""
    rng = np.random.default_rng(2)
    light = np.kron(rng.integers(0, 200, (7, 11)), np.ones((32, 32), int))[:210, :330]
    noise = rng.integers(0, 55, (210, 330, 3))
    return (light[..., None] + noise).astype(np.uint8)


METHODS = ["attention_mil", "mil_tile", "mil_evidence"]


def bag_of(job, model):
    return read_slide(model, KeptTiles(job.plan, job.planes, job.log, job.slide.shape))


def grid_of(found, model, method):
    return found.on_grid(found.reading.values(method, model, 1).numpy())


@pytest.mark.parametrize("how", [{}, {"gated": True}, {"binary": True}])
def test_attention_and_scores_are_those_of_the_whole_image(image, tmp_path, how):
    model = model_with(**how)
    tiled = Job(image, model, tmp_path, methods=METHODS, core=96)
    list(tiled.run.tiles())
    found = bag_of(tiled, model)
    expected = localize(model, image, METHODS, target="malignant")
    heatmap = expected.heatmaps["attention_mil"].values
    attention = grid_of(found, model, "attention_mil")
    assert attention.shape == heatmap.shape
    assert np.abs(attention - heatmap).max() < 1e-4
    assert heatmap.std() > 0.05  # not the same everywhere
    assert found.scores.probabilities == pytest.approx(expected.scores, abs=1e-4)
    assert found.scores.cells == heatmap.size
    for name in METHODS[1:]:
        of_image = expected.heatmaps[name].evidence
        on_slide = grid_of(found, model, name)
        assert np.abs(on_slide - of_image).max() < 1e-4 * np.abs(of_image).max()
    evidence = grid_of(found, model, "mil_evidence").astype(np.float64)
    p = found.scores.probabilities
    odds = np.log(p["malignant"] / p["benign"])
    told = evidence.sum() + found.reading.bias_of(model, 1)
    assert told == pytest.approx(odds, abs=1e-5 * max(1, abs(odds)))
    other = found.reading.values("mil_evidence", model, 0).numpy()
    assert np.array_equal(found.on_grid(other), -evidence.astype(np.float32))


def test_killed_and_resumed_gives_the_same_bits(image, tmp_path):
    model = model_with()
    once = Job(image, model, tmp_path, methods=["attention_mil"], core=64)
    list(once.run.tiles())
    folder = tmp_path / "again"
    folder.mkdir()
    first = Job(image, model, folder, methods=["attention_mil"], core=64)
    first.run.queue.look_at((2.0, 3.0, 3.0, 4.0))  # another order
    running = first.run.tiles()
    for _ in range(5):
        next(running)
    running.close()
    first.log.close()
    second = Job(image, model, folder, methods=["attention_mil"], core=64)
    list(second.run.tiles())
    whole, resumed = bag_of(once, model), bag_of(second, model)
    assert whole.scores == resumed.scores
    assert np.array_equal(whole.places, resumed.places)
    for name in ("scores", "parts", "alone"):
        one, other = (getattr(item.reading, name) for item in (whole, resumed))
        assert torch.equal(one, other)


def test_tiles_on_glass_are_not_in_the_bag(section, tmp_path):
    model = model_with()
    tiled = Job(
        section, model, tmp_path, methods=["attention_mil"], core=64, tissue_only=True
    )
    list(tiled.run.tiles())
    found = bag_of(tiled, model)
    in_bag = found.on_grid(np.ones(len(found.places))) > 0
    assert in_bag[3:14, 3:13].all()  # tissue
    assert not in_bag[:, 18:].any()  # glass
    attention = grid_of(found, model, "attention_mil")
    assert not attention[~in_bag].any()
    assert attention.max() == 1
    assert found.scores.cells == in_bag.sum()


def lots_of_vectors(folder, side, channels=32):
    """A log of side × side tiles with 16 vectors each; and the vectors."""
    shape = (side * 4 * 8, side * 4 * 8)
    grid = TileGrid(shape, core=32, halo=0, stride=8)
    plan = SlidePlan(
        seen=Geometry((1.0, 1.0), shape),
        grid=grid,
        wanted=np.ones((side, side), np.bool_),
        margin=0,
    )
    planes = (Plane(VECTORS, channels, 8),)
    log = TileLog(folder / f"{side}.tiles", len(grid), {"side": side})
    rng = np.random.default_rng(side)
    vectors = np.empty((channels, side * 4, side * 4), np.float32)
    for index in rng.permutation(len(grid)):
        row, column = divmod(int(index), side)
        values = rng.normal(size=(channels, 4, 4)).astype(np.float32)
        log.append(int(index), [values])
        vectors[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = values
    return plan, planes, log, vectors


def head_model(channels=32):
    """Only its head is asked for here; the encoder is that of the other tests."""
    from napari_wsol.methods.attention_mil import AttentionMilHead

    model = model_with()
    torch.manual_seed(1)
    model.heads["attention_mil"] = AttentionMilHead(channels, 2).eval()
    return model


def test_two_passes_are_the_softmax_over_all(tmp_path):
    from napari_wsol.encoders import Features

    model = head_model()
    plan, planes, log, vectors = lots_of_vectors(tmp_path, 20)  # two pieces
    found = read_slide(model, KeptTiles(plan, planes, log, plan.seen.shape))
    features = Features((torch.from_numpy(vectors)[None],), (8.0,), (3.5,))
    with torch.inference_mode():
        expected = model.heads["attention_mil"](features)[0]
        scores = model.heads["attention_mil"].scores(cells_of(features))[0, :, 0]
    assert np.allclose(found.scores.logits, expected.numpy(), atol=1e-6)
    of_tiles = found.on_grid(found.reading.scores[:, 0].numpy()).ravel()
    assert np.allclose(of_tiles, scores.numpy(), atol=1e-6)
    assert found.scores.cells == 6400


def test_memory_does_not_depend_on_the_number_of_tiles(tmp_path):
    model, peaks = head_model(), []
    for side in (30, 60):
        plan, planes, log, vectors = lots_of_vectors(tmp_path, side)
        size = vectors.nbytes
        del vectors
        tracemalloc.start()
        read_slide(model, KeptTiles(plan, planes, log, plan.seen.shape))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        tiles = 16 * side**2
        peaks.append(peak - 8 * tiles)  # what is given back grows: the places
    assert peaks[1] < 1.1 * peaks[0] < size / 2
