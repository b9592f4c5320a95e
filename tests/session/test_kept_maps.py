"""Maps of former models and from elsewhere, beside those of the model in use."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from fixtures.colours import colour_model

from napari_wsol import Session
from napari_wsol.config import ExportConfig
from napari_wsol.errors import ImageError, NoImageError, UnknownNameError
from napari_wsol.evaluation import pxap
from napari_wsol.images.readers import open_slide

WAIT = 60
CLASSES = ("dark", "bright")


def model(red: float, green: float):
    return colour_model(CLASSES, (red, green, 0.0), 20.0)


@pytest.fixture
def session(tissue):
    session = Session(journals=False)
    session.open(tissue, name="tissue.png")
    yield session
    session.close(wait=True)


def test_two_models_stand_side_by_side(session):
    first, second = model(1.0, 0.0), model(0.0, 1.0)
    session.use(first).result(WAIT)
    session.localize(["pixelcam", "cam"], "bright").result(WAIT)
    before = dict(session.heatmaps)
    session.use(second).result(WAIT)
    name = first.spec.encoder
    assert list(session.heatmaps) == [f"pixelcam · {name}", f"cam · {name}"]
    session.localize(["pixelcam"], "bright").result(WAIT)
    assert next(iter(session.heatmaps)) == "pixelcam"
    kept = session.heatmap(f"pixelcam · {name}")
    assert np.array_equal(kept.values, before["pixelcam"].values)
    assert (kept.method, kept.model) == ("pixelcam", name)
    assert not np.array_equal(kept.values, session.heatmap("pixelcam").values)
    # A third that is called so, too; and back to the first, whose maps are made anew.
    session.use(model(1.0, 1.0)).result(WAIT)
    assert f"pixelcam · {name}-2" in session.heatmaps
    session.use(first).result(WAIT)
    assert list(session.heatmaps) == [f"pixelcam · {name}-2"]


def test_strokes_and_rounds_are_of_the_live_map(session):
    session.use(model(1.0, 0.0)).result(WAIT)
    session.localize(["pixelcam"], "bright").result(WAIT)
    session.use(model(0.0, 1.0)).result(WAIT)
    session.localize(["pixelcam"], "bright").result(WAIT)
    (key,) = session.kept
    before = session.heatmap(key).values.copy()
    labels = np.zeros(session.canvas.shape, np.uint8)
    labels[2:6, 2:6], labels[20:26, 20:26] = 2, 1
    session.set_scribbles(labels).result(WAIT)
    assert session.stale == {"pixelcam"}
    session.finetune().result(WAIT)
    assert session.heatmap("pixelcam").round == 1
    assert np.array_equal(session.heatmap(key).values, before)
    assert session.heatmap(key).round == 0


def test_a_map_needs_no_model_and_goes_with_the_image(session, tissue):
    told = []
    session.heatmap_changed.connect(told.append)
    values = np.linspace(-2, 5, tissue[..., 0].size).reshape(tissue.shape[:2])
    found = session.add_map(values, name="mine", target="bright").result(WAIT)
    assert session.heatmaps == {"mine": found}
    assert told == ["mine"]
    assert session.result is None
    again = session.add_map(values, name="pixelcam").result(WAIT)
    assert again.key == "pixelcam-2"  # ours is called so
    assert session.add_map(values, name="mine").result(WAIT).key == "mine-2"
    session.remove_map("mine-2").result(WAIT)
    with pytest.raises(UnknownNameError, match="mine, pixelcam-2"):
        session.remove_map("mine-2").result(WAIT)
    session.use(model(1.0, 0.0)).result(WAIT)
    session.localize(["cam"], "bright").result(WAIT)
    assert list(session.heatmaps) == ["cam", "mine", "pixelcam-2"]
    assert session.stale == frozenset()
    session.propose(methods=["mine"])
    session.open(tissue[::-1]).result(WAIT)
    assert not session.heatmaps


def test_what_cannot_be_added_changes_nothing(session, tmp_path):
    with pytest.raises(ImageError, match="no file"):
        session.add_map(tmp_path / "nothing.npy").result(WAIT)
    assert not session.heatmaps
    session.leave().result(WAIT)
    with pytest.raises(NoImageError, match="Open an image first"):
        session.add_map(np.ones((4, 4))).result(WAIT)


def test_no_file_of_an_export_is_another_map(session, tmp_path, tissue):
    session.use(model(1.0, 0.0)).result(WAIT)
    session.localize(["pixelcam"], "bright").result(WAIT)
    session.use(model(0.0, 1.0)).result(WAIT)
    session.localize(["pixelcam"], "bright").result(WAIT)
    source = tmp_path / "clam.npy"
    np.save(source, tissue[..., 0] / 255)
    session.add_map(source, target="bright").result(WAIT)
    records = {}
    for key in session.heatmaps:
        config = ExportConfig(method=key, formats=("tiff", "tiles"), threshold=0.4)
        *paths, record = session.export(tmp_path / "out", config=config).result(WAIT)
        records[key] = json.loads(record.read_text())
    assert len(records) == 3
    (live, former, mine) = records.values()
    encoders = {one["provenance"]["model"]["encoder_sha256"] for one in (live, former)}
    assert len(encoders) == 1  # of the same colours of cells; the heads differ
    assert mine["provenance"]["model"] is None
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    origin = f"From elsewhere: clam.npy, sha256 {digest}."
    assert mine["provenance"]["origin"] == mine["notes"][0] == origin
    names = [file["name"] for one in records.values() for file in one["files"]]
    assert len(set(names)) == len(names)
    tiles = next(path for path in paths if path.name.endswith("tiles.geojson"))
    measured = json.loads(tiles.read_text())["features"][0]["properties"][
        "measurements"
    ]
    assert set(measured) == set(session.heatmaps)


@pytest.mark.parametrize("step", [4.0, 16.0, 37.5])
def test_masks_and_regions_of_a_map_lie_in_the_corners(tmp_path, step):
    shape = (300, 450)
    values = np.zeros([int(np.ceil(side / step)) for side in shape])
    values[np.ix_([0, -1], [0, -1])] = 1
    session = Session(journals=False)
    session.open(np.full((*shape, 3), 200, np.uint8), name="grey")
    session.add_map(values, name="mine", scale=step).result(WAIT)
    config = ExportConfig(method="mine", formats=("png", "geojson"), threshold=0.5)
    paths = session.export(tmp_path, config=config).result(WAIT)
    session.close(wait=True)
    mask = open_slide(paths[0]).read(0, 0, 0, *shape)[..., 0] > 0
    assert mask[[0, 0, -1, -1], [0, -1, 0, -1]].all()
    rings = [np.array(one["geometry"]["coordinates"][0]) for one in regions(paths[1])]
    boxes = sorted((*ring.min(0), *ring.max(0)) for ring in rings)
    assert boxes[0] == (0, 0, np.rint(step), np.rint(step))
    assert boxes[1][:1] + boxes[1][3:] == (0, shape[0])
    assert (boxes[2][1], boxes[2][2]) == (0, shape[1])
    assert boxes[3][2:] == shape[::-1]
    assert all(right - left <= step + 1 for left, _, right, _ in boxes)
    assert all(low - top <= step + 1 for _, top, _, low in boxes)


def regions(path):
    return json.loads(path.read_text())["features"]


def test_a_map_is_measured_like_ours(session, tissue):
    truth = tissue[..., 0] > 128
    found = session.add_map(truth.astype(float)).result(WAIT)
    assert pxap([found.resized(truth.shape)], [truth]) == pytest.approx(100, abs=1)
