"""What counts as saved is on the disk: every file, and the folder that names it."""

import numpy as np
import pytest
import torch
from fixtures.models import small_card

from napari_wsol.batch.results import ResultsFolder
from napari_wsol.config import ExportConfig
from napari_wsol.cross_validation.plan import write_text
from napari_wsol.export import export_heatmap
from napari_wsol.images.heatmap import Heatmap
from napari_wsol.images.readers import open_slide
from napari_wsol.journal.heads import write_head
from napari_wsol.refinement.heads import own_head
from napari_wsol.refinement.saved_model import TrainedFrom, save_refined
from napari_wsol.training.resuming import write_checkpoint
from napari_wsol.zoo import save_model

pytestmark = pytest.mark.skipif(
    not hasattr(__import__("os"), "fork"), reason="other systems flush no folders"
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "home"))


def check(synced, folder):
    """Everything in a folder, the folder, and where it lies."""
    found = [path for path in folder.rglob("*") if not path.is_symlink()]
    assert found
    for path in (*found, folder, folder.parent):
        assert synced(path), path


def test_models_and_their_cards(synced, small_model, tmp_path):
    card = small_card(small_model)
    check(synced, save_model(small_model, card, recipe="name = 1\n").folder)
    check(synced, save_model(small_model, card, tmp_path / "new" / "out").folder)
    assert synced(tmp_path / "new")


def test_refined_models(synced, small_model):
    taught = TrainedFrom(foreground=1, background=1, images=1)
    head = own_head(small_model)
    check(synced, save_refined(small_model, head, taught, "refined").folder)


def test_heads_of_rounds(synced, tmp_path):
    write_head(tmp_path, 1, b"weights")
    assert all(map(synced, (tmp_path, *tmp_path.iterdir())))


def test_cross_validations_and_checkpoints(synced, tmp_path):
    write_text(tmp_path / "cv" / "fold-1" / "evaluation.json", "{}")
    write_checkpoint(tmp_path / "cv" / "checkpoint.pt", {"a": torch.zeros(3)})
    check(synced, tmp_path / "cv")


def test_exports_and_results(synced, tmp_path):
    heatmap = Heatmap(
        values=np.eye(8, dtype=np.float32),
        scale=(4.0, 4.0),
        translate=(1.5, 1.5),
        image_shape=(32, 32),
        method="cam",
        target="bright",
        is_probability=True,
    )
    slide = open_slide(np.full((32, 32, 3), 200, np.uint8), name="colon")
    every = ExportConfig(formats=("png", "tiff", "geojson", "csv", "zarr"))
    export_heatmap(tmp_path / "out", heatmap, slide, every, {})
    check(synced, tmp_path / "out")
    results = ResultsFolder(tmp_path / "results")
    draft = results.work("key") / "results"
    draft.mkdir(parents=True)
    (draft / "map.txt").write_text("a map")
    check(synced, results.publish(draft, "a.png", {"image": "a.png"}, key="key"))
    results.write_summary()
    assert synced(results.path / "summary.csv")
