from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_wsol.config import InferenceConfig
from napari_wsol.devices import choose_device
from napari_wsol.errors import (
    ConfigError,
    ImageError,
    JobCancelledError,
    MethodUnavailableError,
    UnknownNameError,
)
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.cache import FeatureCache
from napari_wsol.inference.encode import encode
from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.refinement.finetune import finetune, new_head
from napari_wsol.refinement.marked import labelled_pixels


class Counter(torch.nn.Module):
    """Counts the passes through an encoder."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.passes = 0
        model.encoder.register_forward_hook(self._count)

    def _count(self, *_args) -> None:
        self.passes += 1


@pytest.mark.parametrize("core", [32, 48, 100])
def test_tiled_equals_whole(small_model, core):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 255, (301, 263, 3)).astype(np.uint8)
    whole = localize(small_model, image, config=InferenceConfig(whole=10_000))
    tiled = localize(small_model, image, config=InferenceConfig(whole=1, core=core))
    assert tiled.scores == pytest.approx(whole.scores, abs=1e-5)
    for name, heatmap in whole.heatmaps.items():
        assert np.abs(tiled.heatmaps[name].values - heatmap.values).max() < 1e-4


def taught(model: Model, image: np.ndarray, labels: np.ndarray) -> Model:
    """A model whose pixel head learnt from strokes on one image."""
    features, seen = encode(open_slide(image), model)
    labelled = labelled_pixels(
        labels, scale=(1, 1), translate=(0, 0), downsample=seen.downsample
    )
    head = new_head(features)
    for _ in finetune(head, features, labelled):
        pass
    model.heads["pixelcam"] = head
    return model


@pytest.mark.parametrize("downsample", [1, 2, 8])
def test_heatmap_lies_on_what_it_shows(small_model, downsample):
    """The centroid of the evidence is the square's, to half a heatmap pixel."""
    size, square = 128 * downsample, 32 * downsample
    top, left = 48 * downsample, 64 * downsample
    image = np.full((size, size, 3), 40, np.uint8)
    image[top : top + square, left : left + square] = 220
    labels = np.where(image[..., 0] > 100, 2, 1).astype(np.uint8)
    small_model.spec = ModelSpec(
        encoder="mobilenet_v2",
        classes=("dark", "bright"),
        heads=("cam", "pcam", "pixelcam"),
        mpp=0.5 * downsample,
        native_mpp=0.5,
    )
    model = taught(small_model, image, labels)
    heatmap = localize(model, image, ["pixelcam"], target="bright").heatmaps["pixelcam"]
    assert heatmap.scale == (4 * downsample, 4 * downsample)
    assert heatmap.translate == ((4 * downsample - 1) / 2,) * 2
    values = np.where(heatmap.values > 0.5, heatmap.values, 0)
    for axis, start in ((0, top), (1, left)):
        cells = np.arange(values.shape[axis]) * heatmap.scale[axis]
        at = cells + heatmap.translate[axis]
        centroid = (values.sum(1 - axis) * at).sum() / values.sum()
        assert abs(centroid - (start + (square - 1) / 2)) <= heatmap.scale[axis] / 2


def test_image_type_does_not_matter(small_model, tissue):
    eight = localize(small_model, tissue)
    sixteen = localize(small_model, tissue.astype(np.uint16) * 257)
    floating = localize(small_model, tissue.astype(np.float32) / 255)
    alpha = np.dstack([tissue, np.full(tissue.shape[:2], 255, np.uint8)])
    for other in (sixteen, floating, localize(small_model, alpha)):
        assert other.scores == pytest.approx(eight.scores, abs=1e-6)
        for name, heatmap in eight.heatmaps.items():
            assert np.array_equal(other.heatmaps[name].values, heatmap.values)


def test_probabilities_stay_and_scores_are_normalised(small_model, tissue):
    result = localize(small_model, tissue)
    cam, pcam = result.heatmaps["cam"], result.heatmaps["pcam"]
    assert not cam.is_probability
    assert cam.values.min() == 0
    assert cam.values.max() == 1
    assert pcam.is_probability
    assert pcam.raw_range == (
        pytest.approx(pcam.values.min()),
        pytest.approx(pcam.values.max()),
    )
    assert result.target == max(result.scores, key=lambda name: result.scores[name])
    assert sum(result.scores.values()) == pytest.approx(1, abs=1e-5)


def test_a_constant_map_is_said_to_be_one(small_model):
    with torch.no_grad():
        small_model.heads["cam"].fc.weight.zero_()
    flat = localize(small_model, np.full((64, 64, 3), 128, np.uint8), ["cam"])
    assert np.array_equal(
        flat.heatmaps["cam"].values, np.zeros_like(flat.heatmaps["cam"].values)
    )
    assert "no difference" in flat.heatmaps["cam"].notes[0]


def test_target_and_methods_can_be_chosen(small_model, tissue):
    result = localize(small_model, tissue, ["pcam"], target="dark")
    assert result.target == "dark"
    assert list(result.heatmaps) == ["pcam"]
    with pytest.raises(UnknownNameError, match="dark, bright"):
        localize(small_model, tissue, target="green")
    with pytest.raises(UnknownNameError, match="pixelcam"):
        localize(small_model, tissue, ["nocam"])
    with pytest.raises(MethodUnavailableError, match="at least one"):
        localize(small_model, tissue, [])


def test_an_unknown_pixel_size_is_assumed_and_said(small_model, tissue):
    small_model.spec = ModelSpec(
        encoder="mobilenet_v2", classes=("dark", "bright"), mpp=1.0, native_mpp=0.5
    )
    result = localize(small_model, tissue)
    assert any("0.5 µm was assumed" in note for note in result.notes)
    assert result.heatmaps["cam"].scale == (16, 16)
    told = localize(small_model, tissue, mpp=1.0)
    assert told.heatmaps["cam"].scale == (8, 8)
    assert not any("assumed" in note for note in told.notes)
    # A model of micrometres sees no film at these: it would be blown up 143 times.
    film = localize(small_model, tissue, mpp=143)
    assert film.heatmaps["cam"].scale == (16, 16)
    assert any("is 143 µm, and the model is one for micro" in x for x in film.notes)


def test_features_are_computed_once(small_model, tissue):
    counter, cache = Counter(small_model), FeatureCache()
    first = localize(small_model, tissue, cache=cache)
    again = localize(small_model, tissue, target="dark", cache=cache)
    assert counter.passes == 1
    assert np.array_equal(
        first.heatmaps["pixelcam"].values, again.heatmaps["pixelcam"].values
    )


def test_changed_weights_are_not_served_from_the_cache(small_model, tissue):
    cache = FeatureCache()
    localize(small_model, tissue, cache=cache)
    other = Model(small_model.spec).eval()
    counter = Counter(other)
    localize(other, tissue, cache=cache)
    assert counter.passes == 1


def test_the_same_weights_in_another_layout_have_features_of_their_own(small_model):
    spec = replace(small_model.spec, offsets=(0.0, 0.0))
    aside = Model(spec).eval()
    aside.load_state_dict(small_model.state_dict(), strict=False)
    assert aside.encoder_fingerprint() != small_model.encoder_fingerprint()
    same = Model(small_model.spec).eval()
    same.load_state_dict(small_model.state_dict(), strict=False)
    assert same.encoder_fingerprint() == small_model.encoder_fingerprint()


def test_a_stopped_encoding_goes_on_where_it_stopped(small_model):
    image = np.random.default_rng(0).integers(0, 255, (200, 200, 3)).astype(np.uint8)
    config, cache = InferenceConfig(whole=1, core=64), FeatureCache()
    slide, counter = open_slide(image), Counter(small_model)

    def stop_after_five(done: int, total: int, _text: str) -> None:
        assert total == 16
        if done == 5:
            raise JobCancelledError("Stopped.")

    with pytest.raises(JobCancelledError):
        encode(slide, small_model, config=config, cache=cache, report=stop_after_five)
    encode(slide, small_model, config=config, cache=cache)
    assert counter.passes == 16
    features, _ = encode(slide, small_model, config=config, cache=cache)
    fresh, _ = encode(slide, small_model, config=config)
    assert all(
        torch.equal(a, b) for a, b in zip(features.maps, fresh.maps, strict=True)
    )


def test_a_forward_pass_can_be_stopped_between_layers(small_model, tissue):
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 10:
            raise JobCancelledError("Stopped.")

    with pytest.raises(JobCancelledError):
        localize(small_model, tissue, check=check)
    assert calls == 10
    assert not any(m._forward_pre_hooks for m in small_model.modules())


def test_cache_keeps_to_its_budget(small_model, tissue):
    cache = FeatureCache(budget_bytes=1)
    for shift in range(3):
        localize(small_model, np.roll(tissue, shift, 0), cache=cache)
    one = cache.nbytes
    cache.clear()
    assert cache.nbytes == 0
    localize(small_model, tissue, cache=cache)
    assert cache.nbytes == one


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((1, 1), np.uint8),
        np.full((64, 64), np.nan, np.float32),
        np.zeros((2, 3, 4, 64, 64), np.uint8),
    ],
)
def test_bad_images_are_refused_in_words(small_model, bad):
    with pytest.raises(ImageError) as caught:
        localize(small_model, bad)
    assert len(str(caught.value).split()) > 5


def test_device_is_probed():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device().type in ("cpu", "cuda", "mps")
    with pytest.raises(ConfigError, match="auto"):
        choose_device("gpu7")
