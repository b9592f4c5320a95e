"""Options of a refinement, through a session and its journal."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from napari_wsol import Session
from napari_wsol.config import FinetuneConfig
from napari_wsol.errors import (
    ConfigError,
    JobCancelledError,
    MethodUnavailableError,
)
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.encode import encode
from napari_wsol.inference.read_through import prediction_through
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.refinement.last_stage import adapted_model
from napari_wsol.strokes.raster import Drawing

WAIT = 60

STAGE = FinetuneConfig(encoder="last_stage", learning_rate=2e-5)
OPTIONS = {
    "network": FinetuneConfig(head="mlp"),
    "network alone": FinetuneConfig(head="mlp", local=False),
    "stage": STAGE,
    "edges": FinetuneConfig(edges="guided"),
    "edges of the head alone": FinetuneConfig(edges="guided", local=False),
    "superpixels": FinetuneConfig(propagate=True),
    "balance": FinetuneConfig(balanced=not FinetuneConfig().balanced),
}


@pytest.fixture
def begin(small_model, tissue, strokes, tmp_path):
    """A session on the image; painted on, where there is no earlier one."""
    opened = []

    def start(model=small_model, methods=("pixelcam",), **options):
        session = Session(journals=tmp_path / "journals")
        opened.append(session)
        session.open(tissue, name="tissue", **options).result(WAIT)
        session.use(model).result(WAIT)
        session.localize(methods).result(WAIT)
        if not options:
            for label in (1, 2):
                session.put(strokes == label, (0, 0), Drawing(label, "brush"))
        return session

    yield start
    for session in opened:
        session.close(wait=True)


@pytest.fixture(autouse=True)
def opinion(small_model):
    """A pixel head that says something."""
    torch.manual_seed(3)
    with torch.no_grad():
        small_model.heads["pixelcam"].conv4.weight.normal_(0.0, 0.1)


def test_each_option_gives_a_map_of_its_own_that_comes_back(begin):
    session = begin()
    plain = session.finetune(FinetuneConfig()).result(WAIT).heatmap.values
    made = {name: session.finetune(one).result(WAIT) for name, one in OPTIONS.items()}
    for name, done in made.items():
        assert not np.array_equal(done.heatmap.values, plain), name
    again = session.finetune(STAGE).result(WAIT)
    assert np.array_equal(again.heatmap.values, made["stage"].heatmap.values)
    session.close(wait=True)

    back = begin(resume=True).rounds
    found = {item.index: item for item in back}
    for name, done in made.items():
        values = found[done.index].heatmap.values
        assert np.array_equal(values, done.heatmap.values), name
    kept = found[made["stage"].index].stage
    assert kept
    assert all(torch.equal(kept[key], value) for key, value in again.stage.items())


def test_a_round_with_a_stage_is_judged_by_what_its_encoder_sees(
    begin, small_model, tissue
):
    session = begin()
    told = []
    session.rounds_changed.connect(lambda: told.append(session.rounds[-1]))
    session.finetune(STAGE).result(WAIT)
    session.set_memory(session.config.memory_bytes).result(WAIT)  # after the judging
    judged = told[-1]
    adapted = adapted_model(small_model, judged.stage)
    features, seen = encode(open_slide(tissue), adapted)
    expected = prediction_through(adapted, features, seen, judged.heatmap)
    assert set(expected) == set(small_model.classes)
    assert judged.after == pytest.approx(expected, abs=1e-5)
    features, seen = encode(open_slide(tissue), small_model)
    frozen = prediction_through(small_model, features, seen, judged.heatmap)
    assert judged.after != pytest.approx(frozen, abs=1e-5)


def test_the_model_itself_stays(begin, small_model):
    before = {key: value.clone() for key, value in small_model.state_dict().items()}
    begin().finetune(STAGE).result(WAIT)
    after = small_model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.parametrize(
    ("heads", "taps", "words"),
    [
        (("cam",), ("features.3", "features.6"), "no pixel head"),
        (("cam", "pixelcam"), ("features.6",), "one depth only"),
    ],
)
def test_a_model_whose_encoder_cannot_learn_says_so(begin, heads, taps, words):
    spec = ModelSpec(
        encoder="mobilenet_v2", classes=("dark", "bright"), heads=heads, taps=taps
    )
    session = begin(model=Model(spec).eval(), methods=heads[-1:])
    with pytest.raises(MethodUnavailableError, match=words) as found:
        session.finetune(STAGE).result(WAIT)
    assert "Keep the encoder frozen" in str(found.value)
    assert not any(item.index for item in session.rounds)


def test_on_a_slide_the_encoder_stays(begin, monkeypatch):
    monkeypatch.setattr("napari_wsol.slides.large.LARGE_PIXELS", 1_000)
    session = begin()
    assert session.is_large
    with pytest.raises(MethodUnavailableError, match="On a slide"):
        session.finetune(STAGE).result(WAIT)


def test_teaching_the_encoder_can_be_stopped(begin):
    session = begin()
    started = threading.Event()

    def watch(status):
        if "encoder" in status.message:
            started.set()
            session.cancel()

    session.job_changed.connect(watch)
    with pytest.raises(JobCancelledError):
        session.finetune(STAGE).result(WAIT)
    assert started.is_set()
    assert [item.index for item in session.rounds] == [0]


def test_a_network_is_not_saved_as_a_model(begin):
    session = begin()
    session.finetune(FinetuneConfig(head="mlp")).result(WAIT)
    with pytest.raises(ConfigError, match="belongs to this image"):
        session.save_model("mine").result(WAIT)


def test_a_taught_stage_is_saved_with_the_model(begin):
    session = begin()
    settings = FinetuneConfig(encoder="last_stage", learning_rate=2e-5, local=False)
    done = session.finetune(settings).result(WAIT)
    session.save_model("taught-stage").result(WAIT)
    again = begin(model="taught-stage", resume=True)
    found = again.heatmap("pixelcam").values
    assert np.allclose(found, done.heatmap.values, atol=1e-5)


@pytest.mark.parametrize(
    "bad",
    [
        {"head": "forest"},
        {"encoder": "all"},
        {"edges": "sharp"},
        {"learning_rate": 0.0},
        {"learning_rate": 2.0},
    ],
)
def test_options_are_checked(bad):
    with pytest.raises(ConfigError):
        FinetuneConfig(**bad)
