"""A session with a network that was wrapped in Python."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch

import napari_wsol as wsol
from napari_wsol.config import ExportConfig
from napari_wsol.errors import ConfigError, ExportError
from tests.methods.test_wrap import CLASSES, ResLike

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT = 60


@pytest.fixture
def module():
    torch.manual_seed(0)
    return ResLike()


@pytest.fixture
def session(tissue, tmp_path):
    session = wsol.Session(journals=tmp_path / "journals")
    session.open(tissue, name="tissue").result(WAIT)
    yield session
    session.close(wait=True)


def test_strokes_teach_it_and_exports_say_what_it_is(
    session, module, strokes, tmp_path
):
    with pytest.raises(ConfigError, match=r"napari_wsol\.wrap\(module"):
        session.use(module).result(WAIT)
    model = wsol.wrap(module, "layer4", CLASSES)
    session.use(model).result(WAIT)
    session.localize(["cam", "gradcam@layer3"]).result(WAIT)
    assert {*session.heatmaps} == {"cam", "gradcam@layer3"}
    session.set_scribbles(strokes).result(WAIT)
    session.finetune().result(WAIT)
    learnt = session.heatmap("pixelcam").resized(strokes.shape)
    assert learnt[strokes == 2].mean() > learnt[strokes == 1].mean() + 0.2
    assert session.grow(120.0, 140.0, 1).result(WAIT) is not None
    config = ExportConfig(method="pixelcam")
    paths = session.export(tmp_path / "out", ["png"], config).result(WAIT)
    record = next(path for path in paths if "provenance" in path.name)
    told = json.loads(record.read_text("utf-8"))
    (told,) = (item for item in _tables(told) if "encoder_sha256" in item)
    assert told["encoder"] == (
        f"wrapped in Python: ResLike, sha256 of weights {model.card.sha256}"
    )
    assert told["name"] == f"ResLike-{model.card.sha256[:8]}"
    with pytest.raises(ExportError, match="its code is not in its weights"):
        session.save_model("mine").result(WAIT)


def _tables(value: object) -> Iterator[dict[str, object]]:
    """All tables of a JSON text."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else ():
        yield from _tables(item)
