"""Images of another kind are noticed by their features, and nothing else is."""

from contextlib import closing
from dataclasses import asdict, replace

import numpy as np
import pytest
from fixtures.models import small_card
from skimage import data

from napari_wsol.errors import ModelError
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.appearance import SIDE, WINDOWS, appearance_of, likeness
from napari_wsol.methods.appearance import AXES, LEAST_IMAGES, Appearance
from napari_wsol.methods.card import Card
from napari_wsol.training.run import train
from napari_wsol.zoo import load_model

CHANNELS = 6


def images(count: int, seed: int = 0) -> np.ndarray:
    """(count, 2 C): numbers that vary along a few directions."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).normal(size=(3, 2 * CHANNELS))
    rows = rng.normal(size=(count, 3)) @ mixing
    return rows + 0.3 * rng.normal(size=rows.shape)


@pytest.fixture
def known() -> Appearance:
    found = Appearance.of_images(images(80), layer="features.3", of="80 images")
    assert found is not None
    return found


def test_others_of_the_same_kind_lie_within_the_bound(known):
    distances = [known.distance(row) for row in images(400, seed=1)]
    assert np.median(distances) == pytest.approx(1, abs=0.3)
    assert np.mean(np.array(distances) > known.bound) < 0.05
    # Off in one number by five deviations, against what the others say of it.
    strange = images(50, seed=2)
    strange[:, 4] += 5 * images(80)[:, 4].std()
    assert all(known.distance(row) > known.bound for row in strange)


def test_the_bound_is_of_images_that_were_left_out():
    """Of images as few as numbers, distances to themselves bound nothing."""
    few = images(14, seed=3)
    found = Appearance.of_images(few, layer="features.3", of="14 images")
    own = max(found.distance(row) for row in few)
    assert found.bound > own
    assert Appearance.of_images(few[: LEAST_IMAGES - 1], layer="x", of="few") is None


def test_a_card_keeps_it_and_one_without_is_read_as_before(
    small_model, known, tmp_path
):
    card = replace(small_card(small_model), appearance=known)
    again = Card.from_dict(card.to_dict(), folder=tmp_path, bundled=False)
    assert again.appearance == known
    assert known.of in again.appearance_note
    bare = Card.from_dict(
        small_card(small_model).to_dict(), folder=tmp_path, bundled=False
    )
    assert bare.appearance is None
    assert "not noticed" in bare.appearance_note
    assert bare.purpose == "For tests."
    assert replace(bare, summary="").purpose == ""
    small_model.card = bare
    assert likeness(small_model, open_slide(np.zeros((32, 32, 3), np.uint8))) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"packed": "no base64!"},
        {"packed": "Grün"},
        {"packed": ""},
        {"packed": "AAAA"},
        {"packed": "A" * (2 << 20)},
        {"channels": 0},
        {"channels": CHANNELS + 1},
        {"channels": 10**9},
        {"bound": 0.0},
        {"bound": float("nan")},
        {"layer": 3},
    ],
)
def test_a_damaged_one_is_told_in_words(small_model, known, wrong, tmp_path):
    card = replace(small_card(small_model), appearance=known).to_dict()
    card["appearance"] = {**asdict(known), **wrong}
    with pytest.raises(ModelError, match="incomplete or damaged"):
        Card.from_dict(card, folder=tmp_path, bundled=False)


@pytest.mark.parametrize("at", [0, 2 * CHANNELS, -1])
@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_numbers_that_cannot_be_are_refused(known, at, value):
    import base64

    found = np.frombuffer(base64.b64decode(known.packed), "<f4").copy()
    assert len(found) == 4 * CHANNELS + (2 * CHANNELS + 1) * min(AXES, 12) + 1
    if at == 0 and value == -1.0:
        return  # a mean may be negative
    found[at] = value
    packed = base64.b64encode(found.tobytes()).decode()
    with pytest.raises(ValueError, match="not those of an appearance"):
        replace(known, packed=packed)


def textures(folder, count: int = 16):
    """Noise of one kind, as files."""
    from PIL import Image

    rng, paths = np.random.default_rng(0), []
    for number in range(count):
        level = rng.integers(90, 130)
        pixels = rng.integers(level - 40, level + 40, (64, 72, 3)).astype(np.uint8)
        paths.append(folder / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def test_a_model_knows_images_like_its_own(small_model, tmp_path):
    *own, other = textures(tmp_path, 20)
    found = appearance_of(small_model, own, "noise")
    assert found.layer == "features.3"
    assert found.of == "19 images of noise"
    small_model.card = replace(small_card(small_model), appearance=found)
    with closing(open_slide(other)) as slide:
        assert not likeness(small_model, slide).is_unlike
    for strange in (data.coffee(), np.full((64, 64, 3), 200, np.uint8)):
        told = likeness(small_model, open_slide(strange))
        assert told.is_unlike
        assert small_model.card.purpose in told.note(small_model.card)
    damaged = tmp_path / "no.png"
    damaged.write_bytes(b"no picture")
    failed = []
    again = appearance_of(
        small_model, [*own, damaged], "noise", failed=lambda *why: failed.append(why)
    )
    assert again == found
    assert failed[0][0] == "no.png"


def test_of_a_large_image_a_few_windows_on_tissue_are_read(small_model, tmp_path):
    found = appearance_of(small_model, textures(tmp_path), "noise")
    small_model.card = replace(small_card(small_model), appearance=found)
    seen = []
    small_model.encoder.register_forward_hook(
        lambda _module, inputs, _output: seen.append(inputs[0])
    )
    image = np.full((7 * SIDE, 6 * SIDE, 3), 245, np.uint8)
    rng = np.random.default_rng(1)
    image[: 3 * SIDE] = rng.integers(60, 130, (3 * SIDE, 6 * SIDE, 3))
    likeness(small_model, open_slide(image))
    assert len(seen) == WINDOWS
    assert all(x.shape[-2:] == (SIDE, SIDE) for x in seen)
    assert max(float(x.mean()) for x in seen) < 0  # none of the glass


def test_a_layer_that_the_network_has_not_is_told(small_model, known):
    small_model.card = replace(small_card(small_model), appearance=known)
    with pytest.raises(ModelError, match="6 channels"):
        likeness(small_model, open_slide(np.zeros((32, 32, 3), np.uint8)))


def test_a_training_measures_it(discs, make_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_wsol.inference.appearance.LEAST_IMAGES", 5)
    monkeypatch.setattr("napari_wsol.methods.appearance.LEAST_IMAGES", 5)

    def quiet(*_):
        """Nobody listens."""

    card = train(make_recipe(), discs, tmp_path / "out", say=quiet, step=quiet)
    model = load_model(card.folder, device="cpu")
    assert model.card.appearance.of == "6 images of train"
    with closing(open_slide(discs / "valcl" / "valcl0.png")) as slide:
        assert likeness(model, slide).distance < 3
    assert likeness(model, open_slide(data.coffee())).is_unlike


@pytest.mark.parametrize("name", ["glands-mobilenetv2", "malignancy-mobilenetv2"])
def test_the_bundled_models_know_the_colon_in_h_and_e(name, shared):
    model = load_model(name, device="cpu")

    def told(source, mpp=None):
        with closing(open_slide(source)) as slide:
            return likeness(model, slide, mpp=mpp).is_unlike

    folds = shared / "glas" / "folds" / "fold-0" / "valcl" / "image_ids.txt"
    colon = [shared / "glas" / line for line in folds.read_text("utf-8").split()]
    assert not any(told(path, 0.62) for path in colon[::3])
    films = sorted((shared / "nih14" / "boxed").glob("*"))[::60]
    assert all(told(path) for path in films)
    assert told(data.immunohistochemistry())
    assert told(shared / "slides" / "whole" / "CMU-1-Small-Region.svs")
