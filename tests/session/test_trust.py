"""Maps of the open image, checked by the session's worker."""

import numpy as np
import pytest

from napari_wsol.config import InferenceConfig
from napari_wsol.errors import ImageError, JobCancelledError, NoResultError
from napari_wsol.evaluation.benchmark import Benchmark, EvaluationConfig
from napari_wsol.jobs import JobKind
from napari_wsol.session.session import Session

WAIT = 60
METHODS = ["cam", "pixelcam"]


@pytest.fixture
def image(tissue):
    """Small: a map is checked by dozens of runs of the network."""
    return tissue[32:88, 52:108].copy()


@pytest.fixture
def session(small_model, image):
    session = Session(InferenceConfig(device="cpu"), journals=False)
    session.open(image).result(WAIT)
    session.use(small_model).result(WAIT)
    yield session
    session.close(wait=True)


def test_it_needs_maps(session):
    with pytest.raises(NoResultError, match="Localize first"):
        session.trust().result(WAIT)


def test_each_live_map_is_checked_and_nothing_changes(session):
    session.localize(METHODS, "bright").result(WAIT)
    maps, model = session.heatmaps, session.model
    before = (model.encoder_fingerprint(), model.heads_fingerprint())
    seen = []
    session.job_changed.connect(seen.append)
    found = session.trust().result(WAIT)
    assert [*found] == METHODS
    assert found["pixelcam"].sanity["heads"] == pytest.approx(1)
    assert found["pixelcam"].verdict[0] != "good"
    assert set(found["cam"].faithful) == {"insertion", "deletion", "road"}
    assert [*session.trust(["cam"]).result(WAIT)] == ["cam"]
    assert dict(session.heatmaps) == dict(maps)
    again = session.localize(METHODS, "bright").result(WAIT)
    for name, heatmap in maps.items():
        np.testing.assert_array_equal(again.heatmaps[name].values, heatmap.values)
    model.with_encoder(model.encoder).encoder_fingerprint()
    fresh = model.with_encoder(model.encoder).encoder_fingerprint()
    assert (fresh, model.heads_fingerprint()) == before
    told = [item for item in seen if item.kind is JobKind.TRUST]
    assert any("drawing weights anew" in item.message for item in told)
    assert max(item.total for item in told) == 3 + len(METHODS)


def test_the_figures_are_those_of_evaluate(session, small_model, image, tmp_path):
    from PIL import Image

    Image.fromarray(image).save(tmp_path / "one.png")
    (tmp_path / "set.csv").write_text("path,label\none.png,bright\n")
    config = EvaluationConfig(
        bootstrap=0, sanity=True, road=True, faithfulness_steps=10
    )
    data = tmp_path / "set.csv"
    report = Benchmark(small_model, data, methods=METHODS, config=config).run()
    session.localize(METHODS, "bright").result(WAIT)
    found = session.trust().result(WAIT)
    for item in report.methods:
        trust = found[item.name]
        assert trust.sanity == pytest.approx(item.sanity, abs=1e-9)
        for key, value in trust.faithful.items():
            assert item.figures[key].value == pytest.approx(value, abs=1e-6)


def test_of_a_slide_a_sentence_says_what_to_do(session):
    session.open(np.zeros((3600, 3600, 3), np.uint8)).result(WAIT)
    assert session.is_large
    with pytest.raises(ImageError, match="Crop the part"):
        session.trust().result(WAIT)


def test_another_image_stops_it(session, image):
    session.localize(METHODS, "bright").result(WAIT)
    job = session.trust()
    session.open(image[:, ::-1].copy()).result(WAIT)
    with pytest.raises(JobCancelledError):
        job.result(WAIT)
