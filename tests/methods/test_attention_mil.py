import numpy as np
import pytest
import torch
from torch.nn import functional

from napari_wsol.encoders import Features
from napari_wsol.errors import ConfigError
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import Model, ModelSpec, get_method
from napari_wsol.methods.attention_mil import AttentionMilHead

TILE = 28


def build(classes=("benign", "malignant"), **options):
    torch.manual_seed(0)
    spec = ModelSpec(
        encoder="amil_cnn",
        tile=TILE,
        heads=("attention_mil",),
        classes=classes,
        options={"attention_mil": options},
    )
    return Model(spec).eval()


def published(case):
    """A-MIL with the weights of a golden case."""
    model = build(binary=True)
    state = case.state()
    model.load_state_dict(
        {
            f"encoder.backbone.{key}"
            if key.startswith("feature")
            else f"heads.attention_mil.{key}": value
            for key, value in state.items()
        }
    )
    return model


def features_of(tiles):
    """(N, D, h, w) vectors as features of stride 28."""
    return Features((tiles,), (TILE,), ((TILE - 1) / 2,), ("tile",))


@pytest.mark.parametrize("name", ["amil_bag_2x2", "amil_bag_16x25"])
def test_a_bag_gives_the_authors_numbers(golden, name):
    case = golden(name)
    model = published(case)
    raw = model.raw(case.x)
    case.close("scores", raw.maps)
    case.close("A", raw.maps.softmax(0).T)
    case.close("Y_prob", raw.logits.sigmoid())
    assert np.array_equal(case.outputs["Y_hat"], raw.logits.numpy() >= 0)
    assert case.outputs["err_y1"] == 1 - (raw.logits >= 0).float().item()
    with torch.inference_mode():
        features = model.encoder.bag(case.x)
        case.close("H_sub", features.last[0, ::20, :6, 0].T)
        p = model.probabilities(features)
    case.close("Y_prob", p[:, 1:])
    # Their loss clamps the probability; ours, on the logit, is finite without that.
    for label, p_label in ((1, p[:, 1]), (0, p[:, 0])):
        theirs = -p_label.clamp(1e-5, 1 - 1e-5).log()[:, None]
        target = torch.full_like(raw.logits, label)
        ours = functional.binary_cross_entropy_with_logits(raw.logits, target)
        case.close(f"nll_y{label}", theirs)
        case.close(f"nll_y{label}", ours.view(1, 1))


def test_the_published_picture_is_the_heatmap_times_the_tiles(golden):
    case = golden("amil_stitch")
    rng = np.random.default_rng(5)
    coarse = rng.standard_normal((400, 3, 8, 8))
    noise = rng.standard_normal((400, 3, TILE, TILE))
    up = np.repeat(np.repeat(coarse, 4, 2), 4, 3)[..., :TILE, :TILE]
    tiles = np.abs((up + 0.25 * noise).astype(np.float32))
    model = build(binary=True)
    # A head whose score is the logarithm of the attention has this attention.
    attention = torch.from_numpy(case.outputs["attention"])
    features = features_of(attention.log().view(1, 1, 16, 25))
    linear = AttentionMilHead(1, 2, hidden=1)
    first, _, last = linear.attention
    with torch.no_grad():
        # tanh is nearly the identity for small values.
        first.weight.fill_(1e-3)
        last.weight.fill_(1e3)
        first.bias.zero_()
        last.bias.zero_()
    model.heads["attention_mil"] = linear
    with torch.inference_mode():
        values = get_method("attention_mil").map(model, features, 1)[0].numpy()
    np.testing.assert_allclose(
        values.ravel(), case.outputs["attention"] / attention.max().item(), atol=2e-4
    )
    ours = values[:, :, None, None, None] * tiles.reshape(16, 25, 3, TILE, TILE)
    ours = ours.transpose(0, 3, 1, 4, 2).reshape(16 * TILE, 25 * TILE, 3)
    theirs = np.zeros((480, 700, 3), np.float32)  # the last 32 rows stay black
    theirs[:448] = ours
    assert ours.shape == (448, 700, 3)
    np.testing.assert_allclose(
        theirs[::20, ::20], case.outputs["picture_stride20"], atol=1e-3
    )
    np.testing.assert_allclose(
        theirs[::10].sum((1, 2)), case.outputs["rows_sum"], rtol=1e-3
    )
    assert ours.sum() == pytest.approx(case.outputs["picture_sum"][0], rel=1e-3)


def test_gated_attention_is_equation_9():
    torch.manual_seed(1)
    head = AttentionMilHead(6, 3, gated=True, hidden=4)
    assert set(head.state_dict()) == {
        f"{name}.{kind}"
        for name in ("attention_V.0", "attention_U.0", "attention_weights")
        for kind in ("weight", "bias")
    } | {"classifier.0.weight", "classifier.0.bias"}
    x = torch.randn(2, 6, 3, 5)
    h = x.flatten(2).transpose(1, 2)  # (2, 15, 6)
    v, u, w = head.attention_V[0], head.attention_U[0], head.attention_weights
    scores = w(torch.tanh(v(h)) * torch.sigmoid(u(h)))[..., 0]
    pooled = (scores.softmax(1)[..., None] * h).sum(1)
    features = features_of(x)
    assert torch.allclose(head.scores(h)[..., 0], scores, atol=1e-6)
    assert torch.allclose(head(features), head.classifier(pooled), atol=1e-5)
    maps = head.class_maps(features)
    assert maps.shape == (2, 3, 3, 5)
    assert torch.equal(maps[:, 0], maps[:, 2])


@pytest.mark.parametrize("gated", [False, True])
def test_images_of_a_batch_do_not_share_their_attention(gated):
    model = build(gated=gated)
    x = torch.rand(3, 3, 60, 90)
    method = get_method("attention_mil")
    with torch.inference_mode():
        both = model.encoder(x)
        alone = model.encoder(x[1:2])
        map_both = method.map(model, both, 0)
        map_alone = method.map(model, alone, 1)
        assert torch.allclose(model.image_logits(both)[1:2], model.image_logits(alone))
    assert torch.allclose(map_both[1:2], map_alone, atol=1e-5)
    assert torch.allclose(map_both.amax((1, 2)), torch.ones(3))


def test_a_bag_does_not_depend_on_the_order_of_its_tiles():
    model = build(gated=True)
    tiles = torch.rand(1, 7, 3, TILE, TILE)
    order = torch.randperm(7)
    raw, shuffled = model.raw(tiles), model.raw(tiles[:, order])
    assert torch.allclose(raw.logits, shuffled.logits, atol=1e-5)
    assert torch.allclose(raw.maps[order], shuffled.maps, atol=1e-5)


def test_a_bag_of_one_tile_is_that_tile():
    model = build(binary=True)
    tile = torch.rand(1, 1, 3, TILE, TILE)
    raw = model.raw(tile)
    assert (raw.logits.shape, raw.maps.shape) == ((1, 1), (1, 1))
    head = model.heads["attention_mil"]
    with torch.inference_mode():
        features = model.encoder.bag(tile)
        assert torch.allclose(raw.logits, head.classifier(features.last[..., 0, 0]))
        p = model.probabilities(features)
    assert torch.allclose(p.sum(1), torch.ones(1))
    found = localize(model, np.full((30, 30, 3), 90, np.uint8))
    heatmap = found.heatmaps["attention_mil"]
    assert heatmap.values.tolist() == [[1.0]]
    assert heatmap.notes[-1].startswith("The map is the same everywhere")


def test_many_tiles_and_large_scores_stay_finite():
    torch.manual_seed(0)
    head = AttentionMilHead(4, 2, hidden=8)
    with torch.no_grad():
        head.attention[2].weight.mul_(1e4)
    features = features_of(torch.randn(1, 4, 400, 500) * 100)
    logits = head(features)
    model = build()
    model.heads["attention_mil"] = head
    values = get_method("attention_mil").map(model, features, 0)
    assert torch.isfinite(logits).all()
    assert torch.isfinite(values).all()
    assert values.max() == 1
    logits.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters())


def test_half_precision_is_close():
    model = build()
    x = torch.rand(1, 3, 84, 112)
    method = get_method("attention_mil")
    with torch.inference_mode():
        exact = method.map(model, model.encoder(x), 0)
        with torch.autocast("cpu", torch.bfloat16):
            rough = method.map(model, model.encoder(x), 0)
    assert rough.dtype == torch.float32
    assert torch.allclose(exact, rough, atol=0.02)


def test_a_heatmap_has_a_cell_where_its_tile_lies():
    model = build(binary=True)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (100, 75, 3)).astype(np.uint8)
    found = localize(model, open_slide(pixels))
    heatmap = found.heatmaps["attention_mil"]
    assert set(found.scores) == {"benign", "malignant"}
    assert sum(found.scores.values()) == pytest.approx(1)
    # 100 = 3 tiles and 16, 75 = 2 tiles and 19 pixels: 8 and 10 are left out before.
    assert heatmap.values.shape == (3, 2)
    assert heatmap.scale == (28.0, 28.0)
    assert heatmap.translate == (8 + 13.5, 10 + 13.5)
    assert not heatmap.is_probability
    assert heatmap.values.max() == 1
    assert heatmap.values.min() == pytest.approx(heatmap.raw_range[0])
    assert "which tiles the network looked at" in heatmap.notes[0]
    for row in range(3):
        for column in range(2):
            top, left = 8 + 28 * row, 10 + 28 * column
            tile = torch.from_numpy(pixels[top : top + 28, left : left + 28] / 255)
            bag = tile.float().permute(2, 0, 1)[None, None]
            score = float(model.raw(bag).maps)
            share = heatmap.values[row, column]
            best = heatmap.values.argmax()
            top, left = 8 + 28 * (best // 2), 10 + 28 * (best % 2)
            tile = torch.from_numpy(pixels[top : top + 28, left : left + 28] / 255)
            largest = float(model.raw(tile.float().permute(2, 0, 1)[None, None]).maps)
            assert share == pytest.approx(np.exp(score - largest), abs=1e-4)
    both = localize(model, open_slide(pixels), target="benign").heatmaps
    np.testing.assert_array_equal(both["attention_mil"].values, heatmap.values)


def test_any_backbone_can_be_read_by_tiles():
    torch.manual_seed(0)
    spec = ModelSpec(
        encoder="mobilenet_v2",
        tile=50,
        heads=("attention_mil",),
        classes=("a", "b", "c"),
        options={"attention_mil": {"gated": True}},
    )
    model = Model(spec).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (160, 210, 3)).astype(np.uint8)
    found = localize(model, pixels)
    assert found.heatmaps["attention_mil"].values.shape == (3, 4)
    assert sum(found.scores.values()) == pytest.approx(1, abs=1e-5)


def test_one_logit_is_for_two_classes():
    with pytest.raises(ConfigError, match="two classes apart, not 3"):
        build(("a", "b", "c"), binary=True)
