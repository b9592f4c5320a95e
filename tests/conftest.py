"""Fixtures that all tests may use."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The project's folder of real slides and images, where there is one."""
    root = os.environ.get("WSOL_SHARED")
    folder = Path(root) if root else Path(__file__).parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("the shared data folder is not here (set WSOL_SHARED to it)")
    return folder / "data"


@pytest.fixture
def small_model():
    """A small real network with all heads: the first seven blocks of a MobileNetV2."""
    import torch

    from napari_wsol.learning.finetune import new_head
    from napari_wsol.methods import HEADS, Model, ModelSpec

    torch.manual_seed(0)
    spec = ModelSpec(
        encoder="mobilenet_v2",
        classes=("dark", "bright"),
        heads=HEADS,
        taps=("features.3", "features.6"),
        standardize=True,
    )
    model = Model(spec).eval()
    with torch.no_grad():
        noise = torch.randn(1, 3, 64, 64)
        seen = new_head(model.encoder(noise))
        model.heads["pixelcam"].standardize_to(seen.shift, seen.scale)
    return model


@pytest.fixture
def tissue() -> np.ndarray:
    """(131, 157, 3) uint8: noise with a bright square, sizes that divide by nothing."""
    rng = np.random.default_rng(0)
    image = rng.integers(60, 120, (131, 157, 3)).astype(np.uint8)
    image[40:80, 60:100] += 100
    return image


@pytest.fixture
def strokes(tissue: np.ndarray) -> np.ndarray:
    """Foreground on the square, background beside it."""
    labels = np.zeros(tissue.shape[:2], np.uint8)
    labels[55:60, 65:95] = 2
    labels[10:15, 20:140] = 1
    labels[100:120, 20:25] = 1
    return labels
