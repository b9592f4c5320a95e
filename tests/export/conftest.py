import numpy as np
import pytest

from napari_wsol.images.heatmap import Heatmap
from napari_wsol.images.readers import open_slide


def heatmap_over(shape, values, **changes):
    """A heatmap whose cells tile an image of ``shape``."""
    values = np.asarray(values, np.float32)
    scale = (shape[0] / values.shape[0], shape[1] / values.shape[1])
    settings = {
        "scale": scale,
        "translate": ((scale[0] - 1) / 2, (scale[1] - 1) / 2),
        "image_shape": shape,
        "method": "pixelcam",
        "target": "malignant",
        "is_probability": True,
    }
    return Heatmap(values=values, **(settings | changes))


@pytest.fixture
def make_heatmap():
    return heatmap_over


@pytest.fixture
def blobs():
    """(15, 19) smooth values with several regions, one of them with a hole."""
    y, x = np.mgrid[:15, :19]
    ring = np.exp(-((np.hypot(y - 7, x - 7) - 4) ** 2) / 2)
    spot = 0.8 * np.exp(-((y - 3) ** 2 + (x - 16) ** 2) / 3)
    return np.clip(ring + spot, 0, 1).astype(np.float32)


@pytest.fixture
def make_slide():
    def make(shape=(120, 152), *, name="colon", mpp=0.5):
        pixels = np.full((*shape, 3), 200, np.uint8)
        return open_slide(pixels, name=name, mpp=mpp)

    return make


@pytest.fixture
def slide(make_slide):
    return make_slide()


@pytest.fixture
def heatmap(blobs):
    return heatmap_over((120, 152), blobs)
