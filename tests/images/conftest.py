from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="session")
def picture() -> np.ndarray:
    """(701, 523, 3) uint8: smooth colours with noise, odd in both directions."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:701, 0:523]
    smooth = np.stack([y / 701, x / 523, (y + x) / 1224], axis=-1) * 200
    return (smooth + rng.integers(0, 55, smooth.shape)).astype(np.uint8)
