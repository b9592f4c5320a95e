"""A session on a slide's bag of tiles, and the verdict without some tiles."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from fixtures.bags import grid_corners, planted, write_h5
from fixtures.colours import tiles_model
from PIL import Image

from napari_wsol import Session, localize
from napari_wsol.config import SlideConfig
from napari_wsol.errors import ConfigError, ImageError, NoResultError
from napari_wsol.methods import Model, ModelSpec

TILE, ROWS, COLUMNS = 32, 5, 7
METHODS = ["attention_mil", "mil_tile", "mil_evidence"]


def vectors_model() -> Model:
    """Attention MIL with random weights, on vectors of 16 numbers."""
    torch.manual_seed(0)
    spec = ModelSpec(
        encoder="vectors:16", classes=("benign", "malignant"), heads=("attention_mil",)
    )
    return Model(spec).eval()


def tiled_image(rows=ROWS, columns=COLUMNS) -> np.ndarray:
    """Noise whose brightness changes from tile to tile."""
    rng = np.random.default_rng(2)
    light = rng.integers(20, 200, (rows, columns))
    noise = rng.integers(0, 55, (TILE * rows, TILE * columns, 3))
    return (np.kron(light, np.ones((TILE, TILE), int))[..., None] + noise).astype("u1")


def centres(rows, columns):
    return [((r + 0.5) * TILE, (c + 0.5) * TILE) for r in rows for c in columns]


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "home"))
    session = Session()
    yield session
    session.close(wait=True)


@pytest.fixture
def _large(monkeypatch):
    monkeypatch.setattr("napari_wsol.slides.large.LARGE_PIXELS", 10_000)


@pytest.fixture
def slide_and_bag(tmp_path):
    """A picture of 4 × 6 tiles with its bag in “features_x”, and a model for it."""
    path = tmp_path / "case 7.png"
    image = tiled_image(4, 6)
    Image.fromarray(image).save(path)
    vectors, _ = planted(24, 16, 5, seed=1)
    corners = grid_corners(4, 6, TILE)
    about = {"patch_size": TILE, "patch_size_level0": TILE}
    bag = write_h5(
        tmp_path / "20x_256px/features_x/case 7.h5", vectors, corners, **about
    )
    return path, bag, vectors, vectors_model()


def verdict_of(model, vectors) -> dict[str, float]:
    """What the head says of vectors, all at once."""
    with torch.no_grad():
        logits = model.classifier(model.encoder.of_vectors(torch.tensor(vectors)))
        values = model.to_probabilities(logits)[0]
    return dict(zip(model.classes, map(float, values), strict=True))


def test_the_verdict_without_a_column_of_tiles_is_that_of_the_image_without_it(session):
    image, model = tiled_image(), tiles_model(TILE)
    session.open(image).result()
    session.use(model).result()
    with pytest.raises(NoResultError, match="Localize"):
        session.without_tiles(centres([0], [0])).result()
    session.localize(METHODS).result()
    maps = dict(session.heatmaps)
    left = centres(range(ROWS), [COLUMNS - 1])
    without, before = session.without_tiles([*left, left[0]]).result()
    cropped = localize(model, image[:, :-TILE], METHODS)
    assert without == pytest.approx(cropped.scores, abs=1e-5)
    assert before == pytest.approx(session.result.scores, abs=1e-5)
    assert max(abs(without[x] - before[x]) for x in before) > 1e-3
    assert all(session.heatmaps[x] is maps[x] for x in maps)  # nothing is written
    with pytest.raises(NoResultError, match="put some of them back"):
        session.without_tiles(centres(range(ROWS), range(COLUMNS))).result()


@pytest.mark.usefixtures("_large")
def test_tiles_of_a_slide_are_left_out_of_its_finished_tiles(session):
    image, model = tiled_image(), tiles_model(TILE)
    session.slide_config = SlideConfig(core=64)
    session.open(image).result()
    session.use(model).result()
    assert session.is_large
    session.localize(METHODS).result()
    inside = session.heatmap("mil_evidence").values != 0.5
    encoded = session.work.run.encoded
    without, before = session.without_tiles(centres(range(ROWS), [3])).result()
    assert session.work.run.encoded == encoded
    assert before == pytest.approx(session.result.scores, abs=1e-5)
    tiles = [
        image[r * TILE : (r + 1) * TILE, c * TILE : (c + 1) * TILE]
        for r, c in np.argwhere(inside)
        if c != 3
    ]
    assert 5 < len(tiles) < ROWS * COLUMNS
    row = localize(model, np.concatenate(tiles, 1), METHODS)
    assert without == pytest.approx(row.scores, abs=1e-4)


def test_the_bag_beside_a_slide_is_found_read_and_put_aside(session, slide_and_bag):
    path, bag, vectors, model = slide_and_bag
    session.use(model).result()
    session.open(path).result()
    assert session.bag.path == bag
    assert not session.is_gradual
    result = session.localize(METHODS).result()
    assert result.scores == pytest.approx(verdict_of(model, vectors), abs=1e-5)
    evidence = session.heatmap("mil_evidence")
    assert evidence.image_shape == (4 * TILE, 6 * TILE)
    odds = np.log(result.scores[result.target] / (1 - result.scores[result.target]))
    assert evidence.evidence.sum() + evidence.bias == pytest.approx(odds, abs=1e-4)
    left = [3, 10, 20]
    places = centres(range(4), range(6))
    without, before = session.without_tiles([places[k] for k in left]).result()
    rest = np.delete(vectors, left, 0)
    assert without == pytest.approx(verdict_of(model, rest), abs=1e-5)
    assert before == pytest.approx(result.scores, abs=1e-6)
    heard = []
    session.bag_changed.connect(lambda: heard.append(session.bag))
    session.use_bag(None).result()
    assert heard == [None]
    assert session.result is None  # what is shown is of other tiles
    with pytest.raises(ConfigError, match="vectors of tiles"):
        session.localize(METHODS).result()
    assert session.use_bag(bag).result().path == bag
    assert session.localize(METHODS).result().scores == pytest.approx(result.scores)


def test_the_maps_of_a_bag_say_so_in_their_exports(session, slide_and_bag, tmp_path):
    path, _, _, model = slide_and_bag
    session.open(path).result()
    session.use(model).result()
    session.localize(["mil_evidence"]).result()
    paths = session.export(tmp_path / "out", ["png"]).result()
    (record,) = [path for path in paths if path.suffix == ".json"]
    told = json.loads(record.read_text("utf-8"))["provenance"]
    assert told["made"]["bag"] == {"file": "case 7.h5", "encoder": ""}
    assert str(tmp_path) not in record.read_text("utf-8")


def test_a_bag_of_another_slide_or_network_is_refused_and_changes_nothing(
    session, slide_and_bag, tmp_path
):
    path, bag, vectors, model = slide_and_bag
    session.open(path).result()
    session.use(model).result()
    about = {"patch_size": TILE, "patch_size_level0": TILE}
    beyond = write_h5(tmp_path / "b.h5", vectors, grid_corners(3, 8, TILE), **about)
    with pytest.raises(ImageError, match="Choose the bag that was made from this file"):
        session.use_bag(beyond).result()
    narrow = write_h5(
        tmp_path / "n.h5", vectors[:, :8], grid_corners(4, 6, TILE), **about
    )
    with pytest.raises(ImageError, match="8 values"):
        session.use_bag(narrow).result()
    assert session.bag.path == bag
    session.use(tiles_model(TILE)).result()  # reads pixels, and vectors of its own only
    assert session.bag is None
    session.use(model).result()
    assert session.bag.path == bag
