"""Preprocessing is part of the model: the same image gives the same map, always."""

import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner

from napari_wsol.cli import app
from napari_wsol.images.preprocessing import Preprocessing
from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.methods.card import Card
from napari_wsol.session.session import Session
from napari_wsol.zoo import load_model, save_model

FIXED = {
    "stretch": Preprocessing(size=64),
    "pcam": Preprocessing(
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        size=96,
        fit="pad",
        resample="opencv-linear",
        grey=True,
        equalize=True,
        blur=3,
    ),
    "pylon": Preprocessing(
        mean=(0.5,), std=(0.25,), channels=1, size=64, resample="opencv-cubic"
    ),
    "native": None,
}


def model_with(how):
    spec = ModelSpec(
        encoder="mobilenet_v2",
        taps=("features.3", "features.6"),
        classes=("a", "b"),
        heads=("cam", "pixelcam"),
        preprocessing=how,
    )
    return Model(spec).eval()


@pytest.fixture
def picture(tissue):
    """White somewhere, so that every depth tells its own maximum."""
    tissue[:4, :4] = 255
    return tissue


@pytest.mark.parametrize("kind", FIXED)
def test_dtype_and_layout_do_not_matter(picture, kind):
    model = model_with(FIXED[kind])
    opaque = np.full((*picture.shape[:2], 1), 255, np.uint8)
    same = {
        "uint16": picture.astype(np.uint16) * 257,
        "float32": picture.astype(np.float32) / 255,
        "float64": picture.astype(np.float64) / 255,
        "int32": picture.astype(np.int32),
        "colours first": np.moveaxis(picture, -1, 0),
        "opaque": np.concatenate([picture, opaque], axis=-1),
        "not contiguous": picture[::-1][::-1],
        "fortran": np.asfortranarray(picture),
    }
    expected = localize(model, picture, target="b").heatmaps
    for name, array in same.items():
        found = localize(model, array, target="b").heatmaps
        for method, heatmap in expected.items():
            assert np.array_equal(found[method].values, heatmap.values), name


def test_grey_is_grey_however_it_is_stored(picture):
    model = model_with(FIXED["pylon"])
    grey = picture[..., 0]
    expected = localize(model, grey, ["cam"], "a").heatmaps["cam"].values
    for array in (grey[..., None], np.repeat(grey[..., None], 3, axis=-1)):
        found = localize(model, array, ["cam"], "a").heatmaps["cam"].values
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("kind", ["native", "pcam"])
def test_api_session_and_command_line_agree(picture, tmp_path, kind):
    card = Card(
        name="toy",
        title="Toy",
        summary="A toy.",
        spec=model_with(FIXED[kind]).spec,
        methods=("cam", "pixelcam"),
        primary="pixelcam",
    )
    save_model(model_with(FIXED[kind]), card, tmp_path)
    model = load_model(tmp_path / "toy", device="cpu")
    Image.fromarray(picture).save(tmp_path / "image.png")
    expected = localize(model, picture, target="b").heatmaps["pixelcam"]
    session = Session()
    try:
        session.open(tmp_path / "image.png")
        session.use(model)
        session.localize(target="b").result()
        found = session.heatmap("pixelcam")
    finally:
        session.close(wait=True)
    assert np.array_equal(found.values, expected.values)
    arguments = ["localize", str(tmp_path / "image.png"), "--target", "b"]
    arguments += ["--model", str(tmp_path / "toy"), "--method", "pixelcam"]
    arguments += ["--out", str(tmp_path / "out"), "--format", "tiff"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    files = [
        item for item in (tmp_path / "out").rglob("*.tif*") if "mask" not in item.name
    ]
    written = tifffile.imread(files[0])
    assert np.allclose(written, expected.values, atol=1e-6)
