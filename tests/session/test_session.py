"""The whole story without a window."""

import json
import threading

import numpy as np
import pytest
import torch
import zarr

from napari_wsol import Session
from napari_wsol.config import ExportConfig, FinetuneConfig
from napari_wsol.errors import (
    ImageError,
    JobCancelledError,
    NoImageError,
    NoModelError,
    NoResultError,
    NoScribblesError,
    UnknownNameError,
)
from napari_wsol.images.readers import open_slide
from napari_wsol.strokes.canvas import Canvas

WAIT = 60


@pytest.fixture
def session(small_model, tissue):
    session = Session()
    session.open(tissue, name="tissue")
    session.use(small_model).result(WAIT)
    yield session
    session.close(wait=True)


@pytest.fixture
def localized(session):
    session.localize().result(WAIT)
    return session


def test_a_session_without_an_image_has_no_strokes():
    session = Session()
    assert session.stroke_counts == (0, 0)
    assert session.strokes == ()
    session.close(wait=True)


def snapshot(session):
    return (
        dict(session.heatmaps),
        session.scribbles,
        session.rounds,
        session.round_index,
        session.stale,
    )


def test_strokes_change_the_map_where_they_are(localized, strokes):
    before = localized.heatmap("pixelcam").resized(strokes.shape)
    localized.set_scribbles(strokes).result(WAIT)
    assert localized.stale == {"pixelcam"}
    done = localized.finetune().result(WAIT)
    after = localized.heatmap("pixelcam").resized(strokes.shape)
    assert after[strokes == 2].mean() > before[strokes == 2].mean()
    assert after[strokes == 1].mean() < before[strokes == 1].mean()
    assert localized.stale == frozenset()
    assert (done.index, done.strokes) == (1, 3)
    assert done.foreground == np.count_nonzero(strokes == 2)
    assert list(done.loss) == sorted(done.loss, reverse=True)
    assert localized.heatmap("pixelcam").round == 1


def test_the_encoder_runs_once_for_all_rounds(localized, strokes):
    passes = []
    localized.model.encoder.register_forward_hook(lambda *_: passes.append(1))
    localized.set_scribbles(strokes)
    for _ in range(3):
        localized.finetune().result(WAIT)
    assert passes == []


def test_refits_depend_on_the_strokes_alone(localized, strokes):
    localized.set_scribbles(strokes)
    first = localized.finetune().result(WAIT)
    other = strokes.copy()
    other[70:75, 5:40] = 2
    localized.set_scribbles(other)
    localized.finetune().result(WAIT)
    localized.set_scribbles(strokes)
    again = localized.finetune().result(WAIT)
    assert np.array_equal(first.heatmap.values, again.heatmap.values)


def test_revert_restores_a_round_exactly(localized, strokes):
    unrefined = localized.heatmap("pixelcam").values
    localized.set_scribbles(strokes)
    refined = localized.finetune().result(WAIT).heatmap.values
    localized.revert(0).result(WAIT)
    assert np.array_equal(localized.heatmap("pixelcam").values, unrefined)
    assert localized.stale == {"pixelcam"}  # the strokes are newer than this map
    localized.revert(1).result(WAIT)
    assert np.array_equal(localized.heatmap("pixelcam").values, refined)
    assert localized.stale == frozenset()
    with pytest.raises(UnknownNameError, match="round 9"):
        localized.revert(9).result(WAIT)


def test_the_model_itself_is_never_changed(localized, strokes):
    before = {k: v.clone() for k, v in localized.model.state_dict().items()}
    localized.set_scribbles(strokes)
    localized.finetune().result(WAIT)
    after = localized.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_rounds_outlive_another_class_and_method(localized, strokes):
    localized.set_scribbles(strokes)
    refined = localized.finetune().result(WAIT).heatmap.values
    localized.localize(["pixelcam", "cam"], target="dark").result(WAIT)
    assert [item.index for item in localized.rounds] == [0, 1]
    assert np.array_equal(localized.heatmap("pixelcam").values, refined)
    assert localized.heatmap("cam").target == "dark"


def test_a_model_without_pixel_head_learns_one_from_strokes(tissue, strokes):
    from napari_wsol.methods import Model, ModelSpec

    torch.manual_seed(0)
    spec = ModelSpec(encoder="resnet18", classes=("a", "b"), taps=("layer1", "layer2"))
    session = Session()
    session.open(tissue)
    session.use(Model(spec).eval())
    session.localize().result(WAIT)
    assert set(session.heatmaps) == {"cam"}
    session.set_scribbles(strokes)
    session.finetune().result(WAIT)
    values = session.heatmap("pixelcam").resized(strokes.shape)
    assert values[strokes == 2].mean() > 0.6
    assert values[strokes == 1].mean() < 0.4
    session.close(wait=True)


def test_missing_strokes_are_asked_for(localized, strokes):
    localized.set_scribbles(0 * strokes)
    before = snapshot(localized)
    with pytest.raises(NoScribblesError, match="Nothing is marked yet"):
        localized.finetune().result(WAIT)
    assert snapshot(localized) == before
    assert localized.job.state == "failed"
    assert "Nothing is marked yet" in localized.job.message


@pytest.mark.parametrize("encoder", ["frozen", "last_stage"])
@pytest.mark.parametrize("kind", [1, 2])
def test_strokes_of_one_kind_are_enough(localized, strokes, kind, encoder):
    localized.set_scribbles(np.where(strokes == kind, kind, 0).astype(np.uint8))
    done = localized.finetune(FinetuneConfig(encoder=encoder)).result(WAIT)
    moved = done.heatmap.values - localized.rounds[0].heatmap.values
    here = done.heatmap.resized(strokes.shape)[strokes == kind]
    assert (here.mean() > 0.5) == (kind == 2)
    assert (moved.mean() > 0) == (kind == 2)
    assert done.stage is None  # one kind does not teach the encoder


def test_strokes_must_fit(localized):
    for bad in (
        np.zeros((3, 3), np.uint8),
        np.full((131, 157), 3),
        np.zeros((131, 157)),
    ):
        with pytest.raises(ImageError):
            localized.set_scribbles(bad).result(WAIT)
    assert localized.scribbles is None


def test_cancelled_refit_leaves_everything_as_it_was(localized, strokes):
    localized.set_scribbles(strokes)
    before = snapshot(localized)
    reached = threading.Event()

    def cancel(_step) -> None:
        reached.set()
        localized.cancel()

    localized.finetune_step.connect(cancel)
    future = localized.finetune(FinetuneConfig(steps=10_000))
    with pytest.raises(JobCancelledError):
        future.result(WAIT)
    assert reached.is_set()
    assert snapshot(localized) == before


def test_cancel_during_localization_takes_effect_at_once(small_model):
    image = np.random.default_rng(0).integers(0, 255, (3000, 3000, 3)).astype(np.uint8)
    session = Session()
    running, passes = threading.Event(), []
    session.open(image)
    session.use(small_model).result(WAIT)

    def cancel_the_second(*_: object) -> None:
        passes.append(1)
        if len(passes) == 2:
            session.cancel()
            running.set()

    small_model.encoder.register_forward_pre_hook(cancel_the_second)
    future = session.localize()
    assert running.wait(WAIT)
    with pytest.raises(JobCancelledError):
        future.result(WAIT)
    assert len(passes) == 2  # of 36 tiles; none after the one that was being read
    assert session.heatmaps == {}
    assert session.result is None
    session.close(wait=True)


def test_failed_localization_leaves_the_old_result(localized):
    before = snapshot(localized)
    with pytest.raises(UnknownNameError):
        localized.localize(target="green").result(WAIT)
    assert snapshot(localized) == before


def test_a_bad_image_leaves_the_open_one(localized, tmp_path):
    before, slide = snapshot(localized), localized.slide
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    for bad in (broken, tmp_path / "missing.tif", np.zeros((1, 1), np.uint8)):
        with pytest.raises(ImageError):
            localized.open(bad).result(WAIT)
    assert localized.slide is slide
    assert snapshot(localized) == before


def test_order_of_work_is_explained():
    session = Session()
    with pytest.raises(NoImageError):
        session.localize().result(WAIT)
    session.open(np.zeros((64, 64), np.uint8)).result(WAIT)
    with pytest.raises(NoModelError):
        session.localize().result(WAIT)
    with pytest.raises(NoResultError, match="Localize first"):
        session.heatmap("cam")
    session.close(wait=True)


def test_a_new_image_starts_afresh(localized, strokes, tissue):
    localized.set_scribbles(strokes)
    localized.finetune().result(WAIT)
    localized.open(tissue[::-1].copy()).result(WAIT)
    assert localized.heatmaps == {}
    assert localized.scribbles is None
    assert localized.rounds == ()


def test_a_slide_that_was_handed_in_stays_open(localized, tissue):
    mine = open_slide(tissue)
    localized.open(mine).result(WAIT)
    localized.open(tissue[::-1].copy()).result(WAIT)
    assert mine.read(0, 0, 0, 4, 4).shape == (4, 4, 3)


def test_a_failed_opening_does_not_disable_strokes(localized, strokes, tmp_path):
    with pytest.raises(ImageError):
        localized.open(tmp_path / "missing.png").result(WAIT)
    localized.set_scribbles(strokes).result(WAIT)
    assert np.array_equal(localized.scribbles, strokes)


def test_export_writes_files_with_their_provenance(localized, strokes, tmp_path):
    localized.set_scribbles(strokes)
    localized.finetune().result(WAIT)
    told = []
    localized.exported.connect(told.append)
    paths = localized.export(
        tmp_path / "out", ["png", "tiff", "geojson"], ExportConfig(threshold=0.5)
    ).result(WAIT)
    assert told == [paths]
    assert all(path.is_file() for path in paths)
    record = next(path for path in paths if path.suffix == ".json")
    text = record.read_text("utf-8")
    stored = json.loads(text)
    assert localized.slide.fingerprint() in text
    assert "Research use only" in text
    assert '"round": 1' in text
    assert isinstance(stored, dict)


def test_export_holds_all_maps_the_tissue_and_the_strokes(localized, strokes, tmp_path):
    localized.set_scribbles(strokes).result(WAIT)
    localized.finetune().result(WAIT)
    image, tiles, _ = localized.export(tmp_path / "out", ["zarr", "tiles"]).result(WAIT)
    (first, *_) = json.loads(tiles.read_text("utf-8"))["features"]
    told = first["properties"]["measurements"]
    assert set(told) == set(localized.heatmaps)
    assert told["pixelcam"] == pytest.approx(
        localized.heatmaps["pixelcam"].values[0, 0], abs=1e-5
    )
    labels = zarr.open_group(image, mode="r")["labels"]
    assert labels.attrs["ome"]["labels"] == ["mask", "tissue", "strokes"]
    np.testing.assert_array_equal(labels["strokes/0"][...], strokes)


def test_canvas_stays_paintable_at_any_size():
    small, huge = Canvas.over((500, 700)), Canvas.over((100_000, 100_000))
    assert (small.shape, small.scale, small.translate) == ((500, 700), (1, 1), (0, 0))
    assert huge.shape == (3125, 3125)
    assert huge.scale == (32, 32)
    assert huge.translate == (15.5, 15.5)


def test_thin_strokes_survive_on_a_coarse_canvas():
    canvas = Canvas((2, 3), (2, 2), (0.5, 0.5))
    labels = np.zeros((4, 5), np.uint8)
    labels[3, 4] = 2
    labels[0, 1] = 1
    assert canvas.checked(labels, (4, 5)).tolist() == [[1, 0, 0], [0, 0, 2]]


def test_pixel_size_can_be_corrected(session):
    told = []
    session.mpp_changed.connect(lambda: told.append(session.mpp))
    session.set_mpp(0.25)
    session.set_mpp(143.0)  # as on a film; the dock and the command line allow it
    assert told == [0.25, 143.0]
    with pytest.raises(ImageError, match="cannot be"):
        session.set_mpp(0)


def test_a_pixel_size_is_remembered_for_the_next_session(tmp_path, tissue, monkeypatch):
    from PIL import Image

    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "home"))
    path = tmp_path / "a.png"
    Image.fromarray(tissue).save(path)
    for before in (None, 0.37):
        session = Session()
        session.open(path).result()
        assert session.mpp == before
        session.set_mpp(0.37)
        session.revert(0).exception()  # Jobs run in turn: it is kept by now.
        session.close(wait=True)
