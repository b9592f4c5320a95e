import numpy as np
import pytest
import torch

from napari_wsol.config import InferenceConfig
from napari_wsol.encoders import TileEncoder, build_encoder
from napari_wsol.errors import ConfigError
from napari_wsol.images.preprocessing import Preprocessing
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.encode import encode, geometry, network_input
from napari_wsol.methods import Model, ModelSpec


def amil_model(**options):
    torch.manual_seed(0)
    spec = ModelSpec(
        encoder="amil_cnn",
        tile=28,
        heads=("attention_mil",),
        classes=("benign", "malignant"),
        options={"attention_mil": options},
    )
    return Model(spec).eval()


def published_image():
    """The image of the golden case: 460 × 700, as BreakHis."""
    rng = np.random.default_rng(8)
    coarse = rng.standard_normal((46, 70, 3))
    pixels = 128 + 50 * np.repeat(np.repeat(coarse, 10, 0), 10, 1)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def test_the_networks_weights_have_their_published_names(golden):
    published = {
        key: shape
        for key, shape in golden("amil_bag_2x2").keys().items()
        if key.startswith("feature_extractor")
    }
    state = build_encoder("amil_cnn").state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == published


def test_a_tile_is_one_vector(golden):
    case = golden("amil_bag_16x25")
    encoder = build_encoder("amil_cnn").eval()
    state = encoder.state_dict()
    encoder.load_state_dict({key: case.state()[key] for key in state})
    with torch.inference_mode():
        found = encoder(case.x[0, :6])
    assert found.last.shape == (6, 500, 1, 1)
    case.close("H_sub", found.last[:, ::20, 0, 0])


def test_an_image_is_cut_as_the_authors_cut_it(golden):
    case = golden("amil_bagging")
    model = amil_model()
    slide = open_slide(published_image())
    seen = geometry(slide, model)
    assert seen.origin == (6, 0)
    assert seen.shape == (448, 700)
    x = network_input(slide, model, seen)
    tiles = x[0].unfold(1, 28, 28).unfold(2, 28, 28)  # (3, 16, 25, 28, 28)
    tiles = tiles.permute(1, 2, 0, 3, 4).reshape(-1, 3, 28, 28)
    assert list(tiles.shape) == case.about["bag_shape"]
    case.close("patch_mean", tiles.mean((2, 3)))
    # Of two tiles they kept a coarse view.
    for index, name in ((0, "patch0"), (26, "patch26")):
        case.close(name, tiles[index][:, ::7, ::7])


@pytest.mark.parametrize(
    ("length", "start"),
    # What is left over, halved; halves go to the even side, as torchvision rounds.
    [(28, 0), (29, 0), (31, 2), (33, 2), (35, 4), (55, 14), (56, 0), (57, 0)],
)
def test_what_fills_no_tile_is_left_out_on_both_sides(length, start):
    slide = open_slide(np.zeros((length, 28, 3), np.uint8))
    seen = geometry(slide, amil_model())
    assert seen.origin == (start, 0)
    assert seen.shape == (length // 28 * 28, 28)


def test_an_image_smaller_than_a_tile_is_mirrored_up_to_one():
    model = amil_model()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 40, 3)).astype(np.uint8)
    slide = open_slide(pixels)
    features, seen = encode(slide, model)
    assert features.last.shape == (1, 500, 1, 1)
    mirrored = np.concatenate([pixels[:, 6:34], pixels[:-9:-1, 6:34]])
    x = torch.from_numpy(mirrored / 255).float().permute(2, 0, 1)[None]
    assert seen.origin == (0, 6)
    with torch.inference_mode():
        assert torch.allclose(features.last, model.encoder(x).last, atol=1e-5)


def test_tiles_read_one_by_one_and_in_pieces_are_the_same():
    model = amil_model()
    slide = open_slide(published_image()[:150, :200])
    whole, _ = encode(slide, model)
    pieces, _ = encode(slide, model, config=InferenceConfig(whole=64, core=70))
    assert whole.last.shape == (1, 500, 5, 7)
    assert torch.allclose(whole.last, pieces.last, atol=1e-6)


def test_a_tile_sees_nothing_beyond_itself():
    encoder = amil_model().encoder
    x = torch.rand(1, 3, 84, 84)
    changed = x.clone()
    changed[..., :28, :] += 1
    with torch.inference_mode():
        before, after = encoder(x).last, encoder(changed).last
    assert encoder.halo == 0
    assert torch.equal(before[..., 1:, :], after[..., 1:, :])
    assert not torch.equal(before[..., 0, :], after[..., 0, :])


@pytest.mark.parametrize(("name", "side"), [("mobilenet_v2", 64), ("resnet18", 50)])
def test_any_backbone_gives_the_mean_over_each_tile(name, side):
    torch.manual_seed(0)
    backbone = build_encoder(name).eval()
    encoder = TileEncoder(backbone, side)
    x = torch.rand(2, 3, 2 * side + 3, 3 * side)
    with torch.inference_mode():
        features = encoder(x)
        tile = x[1:, :, side : 2 * side, 2 * side : 3 * side]
        by_hand = backbone(tile).last.mean((2, 3))[0]
    assert features.last.shape == (2, backbone.channels[-1], 2, 3)
    assert (features.strides, features.offsets) == ((side,), ((side - 1) / 2,))
    assert encoder.cells(2 * side + 3) == (2,)
    assert torch.allclose(features.last[1, :, 1, 2], by_hand, atol=1e-4)


def test_more_tiles_than_go_through_at_once_keep_their_order():
    encoder = amil_model().encoder
    tiles = torch.rand(150, 3, 28, 28)
    with torch.inference_mode():
        bag = encoder.bag(tiles[None])
        assert bag.last.shape == (1, 500, 150, 1)
        for index in (0, 63, 64, 149):
            alone = encoder.bag(tiles[None, index : index + 1]).last[0, :, 0, 0]
            assert torch.allclose(bag.last[0, :, index, 0], alone, atol=1e-5)


def test_nothing_runs_behind_the_vectors():
    encoder = amil_model().encoder
    x = torch.rand(1, 500, 2, 3)
    found = encoder.resume("tile", x)
    assert torch.equal(found.last, x)
    with encoder.also(["tile"]):
        assert encoder.taps == ("tile",)


def test_what_cannot_be_cut_is_said_in_words():
    with pytest.raises(ConfigError, match="or tile = 28"):
        TileEncoder(build_encoder("amil_cnn"), 32)
    with pytest.raises(ConfigError, match="too small"):
        TileEncoder(build_encoder("resnet18"), 0)
    with pytest.raises(ConfigError, match="Output stride is 28"):
        build_encoder("amil_cnn", output_stride=8)
    with pytest.raises(ConfigError, match="tile = 28"):
        build_encoder("amil_cnn")(torch.zeros(1, 3, 32, 32))
    model = amil_model()
    with pytest.raises(ConfigError, match="holds no tile of 28"):
        model.encoder(torch.zeros(1, 3, 27, 80))
    for shape in ((2, 4, 3, 28, 28), (1, 0, 3, 28, 28)):
        with pytest.raises(ConfigError, match="one bag"):
            model.raw(torch.zeros(*shape))


def test_a_fixed_input_holds_whole_tiles():
    with pytest.raises(ConfigError, match="no whole number of tiles of 28"):
        Model(
            ModelSpec(
                encoder="amil_cnn",
                tile=28,
                heads=("attention_mil",),
                classes=("a", "b"),
                preprocessing=Preprocessing(size=100),
            )
        )
