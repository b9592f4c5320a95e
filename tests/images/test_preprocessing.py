import zlib

import numpy as np
import pytest

from napari_wsol.errors import ConfigError
from napari_wsol.images.heatmap import Heatmap
from napari_wsol.images.opencv_like import (
    equalize,
    gaussian_blur,
    gaussian_kernel,
    resize_cubic,
    resize_linear,
)
from napari_wsol.images.preprocessing import Preprocessing, fitted_shape, prepare
from napari_wsol.images.published import (
    PIXELCAM_PREPROCESSING,
    PYLON_PREPROCESSING,
    pcam_preprocessing,
)

PCAM_CONFIG = {
    "long_side": 64,
    "use_equalizeHist": True,
    "gaussian_blur": 3,
    "border_pad": "pixel_mean",
    "pixel_mean": 128.0,
    "pixel_std": 64.0,
}


def as_rgb(grey):
    return np.repeat(grey[..., None], 3, axis=-1)


def sized(how, size):
    entries = {name: getattr(how, name) for name in how.__dataclass_fields__}
    return Preprocessing(**{**entries, "size": size})


@pytest.mark.parametrize("case", range(5))
def test_pcam_images_are_prepared_as_published(golden, case):
    found = golden("pcam_preprocess")
    how = pcam_preprocessing(found.about["cases"][case]["cfg"])
    pixels = prepare(as_rgb(found.outputs[f"gray_{case}"]), how)
    assert pixels.dtype == np.float32
    for channel in pixels:
        found.close(f"out_{case}", channel)


def test_pcam_maps_are_enlarged_as_published(golden):
    found = golden("pcam_preprocess")
    heatmap = Heatmap(
        values=found.outputs["prob_map"],
        scale=(8, 8),
        translate=(3.5, 3.5),
        image_shape=(48, 48),
        method="pcam",
        target="Edema",
        is_probability=True,
    )
    found.close("prob_map_resized_48", heatmap.resized((48, 48)))


def test_pylon_images_are_prepared_as_published(golden):
    found = golden("pylon_heatmap_preprocess")
    pixels = prepare(as_rgb(found.outputs["gray"]), sized(PYLON_PREPROCESSING, 32))
    assert pixels.shape == (1, 32, 32)
    found.close("eval_transform_32", pixels[0])


def test_pixelcam_images_are_prepared_as_published(golden):
    found = golden("pixelcam_training_misc")
    pixels = prepare(found.outputs["eval_image"], sized(PIXELCAM_PREPROCESSING, 32))
    found.close("eval_out_32", pixels)


def test_published_sizes():
    assert PIXELCAM_PREPROCESSING.size == 224
    assert PYLON_PREPROCESSING.size == 256


# Check sums and figures are of what OpenCV 5.0.0 gave on x86-64.


def checksum(pixels):
    return zlib.crc32(np.ascontiguousarray(pixels).tobytes())


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(7).integers(0, 256, (90, 61)).astype(np.uint8)


def test_equalised_noise_is_opencvs(noise):
    assert checksum(equalize(noise // 3)) == 3866974847


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (3, 2612483399),
        (5, 729532741),
        (7, 2054291461),
        (9, 652621609),
        (11, 1994876273),
        (21, 3059275510),
    ],
)
def test_blurred_noise_is_opencvs(noise, side, expected):
    assert checksum(gaussian_blur(noise, side)) == expected


@pytest.mark.parametrize(
    ("shape", "linear", "cubic"),
    [
        ((64, 43), 3700053696, 3907916973),
        ((45, 30), 1164518218, 3988117338),
        ((31, 77), 1120808765, 1989601353),
        ((200, 150), 3177836702, 1568130987),
        ((89, 30), 2710414146, 2762353372),
    ],
)
def test_resized_noise_is_opencvs(noise, shape, linear, cubic):
    assert checksum(resize_linear(noise, shape)) == linear
    assert checksum(resize_cubic(noise, shape)) == cubic


def test_halved_noise_is_opencvs(noise):
    assert checksum(resize_linear(noise[:, :60], (45, 30))) == 640724497


def test_equalising_is_opencvs():
    grey = np.array([[3, 3, 9, 9], [9, 20, 20, 250]], np.uint8)
    expected = [[0, 0, 128, 128], [128, 212, 212, 255]]
    assert equalize(grey).tolist() == expected
    assert equalize(np.full((3, 4), 7, np.uint8)).tolist() == [[7] * 4] * 3


@pytest.mark.parametrize(
    ("side", "half"),
    [
        (3, (64, 128)),
        (5, (16, 64, 96)),
        (7, (8, 28, 56, 72)),
        (9, (4, 13, 30, 51, 60)),
    ],
)
def test_small_kernels_are_tabled(side, half):
    assert gaussian_kernel(side) == half + half[-2::-1]


@pytest.mark.parametrize("side", [11, 13, 21, 41])
def test_kernels_keep_the_mean_and_are_symmetric(side):
    weights = gaussian_kernel(side)
    assert sum(weights) == 256
    assert weights == weights[::-1]
    assert len(weights) == side


@pytest.mark.parametrize("side", [1, 3, 11])
def test_a_flat_image_stays_flat_when_blurred(side):
    flat = np.full((5, 1300), 201, np.uint8)
    assert np.array_equal(gaussian_blur(flat, side), flat)


def test_a_tall_image_is_blurred_in_bands_without_seams():
    grey = np.random.default_rng(0).integers(0, 256, (2100, 5)).astype(np.uint8)
    whole = gaussian_blur(grey, 11)
    assert np.array_equal(whole[1000:1060], gaussian_blur(grey[900:1160], 11)[100:160])


@pytest.mark.parametrize("resize", [resize_linear, resize_cubic])
@pytest.mark.parametrize("shape", [(1, 1), (7, 31), (64, 5), (26, 38), (13, 19)])
def test_flat_images_stay_flat_at_any_size(resize, shape):
    flat = np.full((26, 38, 3), (0, 137, 255), np.uint8)
    assert np.array_equal(resize(flat, shape), np.broadcast_to(flat[0, 0], (*shape, 3)))


def test_the_shorter_side_is_rounded_like_pythons_round_of_the_quotient():
    how = pcam_preprocessing(PCAM_CONFIG)
    assert fitted_shape((128, 3), how) == (64, 2)  # 1.5 to even
    assert fitted_shape((5, 128), how) == (2, 64)  # 2.5 to even
    assert fitted_shape((1000, 1), how) == (64, 1)


@pytest.mark.parametrize(
    ("pad", "expected"), [("mean", 0.0), ("zero", -2.0), ("edge", 200 / 64 - 2)]
)
def test_padding_lies_below_and_right(pad, expected):
    config = PCAM_CONFIG | {
        "border_pad": "pixel_mean" if pad == "mean" else pad,
        "use_equalizeHist": False,
    }
    wide = prepare(np.full((20, 40, 3), 200, np.uint8), pcam_preprocessing(config))
    assert np.allclose(wide[:, 32:], expected, atol=1e-6)
    assert np.allclose(wide[:, :32], 200 / 64 - 2, atol=1e-6)
    tall = prepare(np.full((40, 20, 3), 200, np.uint8), pcam_preprocessing(config))
    assert np.array_equal(tall, wide.transpose(0, 2, 1))


@pytest.mark.parametrize("resample", ["pillow-linear", "opencv-linear", "opencv-cubic"])
def test_an_image_that_is_not_square_keeps_its_sides_and_its_colours(resample):
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 40:, 0] = 255  # red on the right
    how = Preprocessing(
        mean=(0,) * 3, std=(1,) * 3, size=32, fit="pad", resample=resample, pad="zero"
    )
    found = prepare(image, how)
    assert found.shape == (3, 32, 32)
    assert (found[0, :16, 18:] == 1).all()
    assert (found[0, :16, :14] == 0).all()
    assert (found[0, 16:] == 0).all()
    assert (found[1:] == 0).all()
    turned = prepare(image.transpose(1, 0, 2), how)
    assert np.array_equal(turned, found.transpose(0, 2, 1))


def test_colour_is_padded_with_the_mean_of_each_channel():
    how = Preprocessing(mean=(0.2, 0.4, 0.6), size=8, fit="pad")
    pixels = prepare(np.zeros((4, 8, 3), np.uint8), how)
    assert np.allclose(pixels[:, 4:], 0, atol=1e-6)


def test_a_std_of_zero_divides_by_nothing():
    how = pcam_preprocessing(PCAM_CONFIG | {"pixel_std": 0})
    assert how.std == (1 / 255,) * 3
    assert pcam_preprocessing(PCAM_CONFIG | {"pixel_std": None}).std == how.std


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (1, 40), (7, 501)])
@pytest.mark.parametrize(
    "how", [pcam_preprocessing(PCAM_CONFIG), sized(PYLON_PREPROCESSING, 64)]
)
def test_tiny_and_flat_images_give_finite_input(shape, how):
    pixels = prepare(np.full((*shape, 3), 90, np.uint8), how)
    assert pixels.shape == (how.channels, 64, 64)
    assert np.isfinite(pixels).all()


def test_the_published_configuration_is_read_and_the_rest_ignored():
    how = pcam_preprocessing(PCAM_CONFIG | {"fix_ratio": False, "backbone": "x"})
    assert (how.size, how.fit, how.resample) == (64, "pad", "opencv-linear")
    assert (how.grey, how.equalize, how.blur, how.pad) == (True, True, 3, "mean")
    assert how.mean == (128 / 255,) * 3


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"long_side": None}, "long_side"),
        ({"gaussian_blur": 4}, "odd"),
        ({"border_pad": "mean"}, "border_pad"),
        ({"pixel_mean": [1, 2, 3]}, "pixel_mean"),
    ],
)
def test_an_impossible_configuration_is_refused(change, word):
    with pytest.raises(ConfigError, match=word):
        pcam_preprocessing(PCAM_CONFIG | change)


def test_impossible_preprocessing_is_refused():
    with pytest.raises(ConfigError, match="grey"):
        Preprocessing(size=8, equalize=True)
    with pytest.raises(ConfigError, match="padded"):
        Preprocessing(size=8, pad="nowhere")
    with pytest.raises(ConfigError, match="any size"):
        prepare(np.zeros((4, 4, 3), np.uint8), Preprocessing())
