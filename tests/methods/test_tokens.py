"""Transformers of any size: windows, the class token, its classifier, and its maps."""

from functools import partial

import numpy as np
import pytest
import torch
from fixtures.slides import Job

from napari_wsol.config import InferenceConfig, SlideConfig
from napari_wsol.encoders import TileEncoder, register_encoder
from napari_wsol.encoders.deit import DeiT
from napari_wsol.errors import ConfigError
from napari_wsol.images.preprocessing import Preprocessing
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.encode import encode, network_input
from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import Model, ModelSpec, NetworkInput, get_method, unavailable
from napari_wsol.slides.feature_disk import FeatureDisk
from napari_wsol.slides.feature_store import FeatureStore
from napari_wsol.slides.plan import plan_slide

register_encoder("tiny-deit")(partial(DeiT, 128, depth=3))
HALF = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
WINDOWS, WHOLE = Preprocessing(**HALF), Preprocessing(**HALF, size=96)


def model_of(head="linear", how=WHOLE, **more):
    torch.manual_seed(0)
    spec = ModelSpec(
        encoder="tiny-deit",
        classes=("a", "b"),
        heads=(head,),
        preprocessing=how,
        **more,
    )
    return Model(spec).eval()


def picture(height, width):
    return np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype("u1")


def image_of(x):
    return NetworkInput(lambda: x, lambda *_: None, lambda: None)


def by_hand(model, x, layer):
    """Grad-CAM with hooks on a block, for class 1."""
    kept = {}
    block = model.encoder.blocks[layer]
    hooks = [
        block.register_forward_hook(lambda _m, _i, out: kept.update(a=out[0])),
        block.register_full_backward_hook(lambda _m, _i, out: kept.update(g=out[0])),
    ]
    model.image_logits(model.encoder(x))[0, 1].backward()
    for hook in hooks:
        hook.remove()
    a, g = (kept[key][:, 1:] for key in "ag")  # (1, 36, 128)
    return (a * g.mean(1, keepdim=True)).sum(-1).relu().reshape(1, 6, 6).detach()


@pytest.mark.parametrize(("name", "layer"), [("gradcam", 1), ("gradcam@blocks.0", 0)])
def test_gradcam_is_that_of_hooks(name, layer):
    model, x = model_of(), torch.randn(1, 3, 96, 96)
    method = get_method(name)
    with torch.no_grad(), model.encoder.also(method.taps(model)):
        features = model.encoder(x)
    found = method.map(model, features, 1, image_of(x))
    wanted = by_hand(model, x, layer)
    assert wanted.max() > 0
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-4)


def relevance_by_hand(model, x, target):
    """Chefer 2021, with the attention of each block computed from its weights."""
    kept = []
    for block in model.encoder.blocks:

        def attend(tokens, *, gated, attn=block.attn):
            del gated
            q, k, v = attn.qkv(tokens).reshape(1, -1, 3, attn.heads, 64).unbind(2)
            a = (torch.einsum("nqhd,nkhd->nhqk", q, k) / 8).softmax(-1)
            a.retain_grad()
            kept.append(a)
            mixed = torch.einsum("nhqk,nkhd->nqhd", a, v).flatten(2)
            return attn.proj(mixed), a, None

        block.attn.forward = attend
    model.image_logits(model.encoder(x))[0, target].backward()
    r = torch.eye(37)
    for a in kept:
        r = r + (a.grad * a)[0].clamp(min=0).mean(0) @ r
    for block in model.encoder.blocks:
        del block.attn.forward
    return r[0, 1:].reshape(1, 6, 6).detach()


@pytest.mark.parametrize("target", [0, 1])
def test_relevance_is_the_hand_written_one(target):
    model, x = model_of(), torch.randn(1, 3, 96, 96)
    wanted = relevance_by_hand(model, x, target)
    with torch.inference_mode():
        features = model.encoder(x)
        found = get_method("chefer").map(model, features, target, image_of(x))
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-4)
    assert not torch.allclose(found, relevance_by_hand(model, x, 1 - target))


def test_relevance_needs_a_class_token_and_a_classifier(small_model):
    for model in (small_model, model_of("tscam"), model_of(options={"linear": MEAN})):
        assert "class token" in unavailable(model, "chefer")
    encoder_only = Model(ModelSpec(encoder="tiny-deit", classes=("a",), heads=()))
    assert unavailable(encoder_only, "chefer")


MEAN = {"pool": "mean", "norm": True}


def test_the_linear_head_reads_what_it_says():
    x = torch.randn(2, 3, 96, 96)
    for options in ({}, MEAN):
        model = model_of(options={"linear": options})
        with torch.no_grad(), model.encoder.also(["cls"]):
            features, head = model.encoder(x), model.heads["linear"]
            read = (
                features.last.mean((2, 3)) if options else features.maps[0][..., 0, 0]
            )
            assert torch.equal(model.raw(x).logits, head.fc(head.norm(read)))
        assert {"fc.weight", "fc.bias"} <= set(head.state_dict())
    with pytest.raises(ConfigError, match="no tap max"):
        model_of(options={"linear": {"pool": "max"}})
    with pytest.raises(ConfigError, match="no tap cls"):
        Model(ModelSpec(encoder="resnet18", classes=("a",), heads=("linear",)))


@pytest.mark.parametrize("shape", [(224, 448), (300, 520), (235, 100)])
def test_tiles_of_whole_windows_give_what_the_image_gives(shape):
    model, slide = model_of(how=WINDOWS), open_slide(picture(*shape))
    taps = ["blocks.1"]
    whole, seen = encode(slide, model, layers=taps)
    small = InferenceConfig(whole=64, core=200)
    tiled, _ = encode(slide, model, layers=taps, config=small)
    assert whole.names == ("cls", "blocks.1", "patches")
    for one, other in zip(whole.maps, tiled.maps, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    # Each window for itself, at its place; cells are patches, and windows.
    x = network_input(slide, model, seen)[..., :224, :224]
    if min(shape) >= 224:
        alone = model_of().encoder(x)
        torch.testing.assert_close(
            whole.last[..., :14, :14], alone.last, atol=1e-5, rtol=0
        )
        torch.testing.assert_close(
            whole.maps[0][..., :1, :1], alone.maps[0], atol=1e-5, rtol=0
        )
    assert whole.strides == (224, 16, 16)
    assert whole.offsets == (111.5, 7.5, 7.5)
    assert whole.last.shape[2:] == tuple(-(-side // 16) for side in shape)


def test_what_is_no_larger_than_a_window_goes_through_whole():
    model, x = model_of("cam", WINDOWS), torch.rand(1, 3, 96, 160)
    with torch.no_grad():
        found = model.encoder(x).last
        model.encoder.window = None
        wanted = model.encoder(x).last
    torch.testing.assert_close(found, wanted)


def test_methods_that_read_gradients_see_windows_at_their_places():
    image, model = picture(250, 480), model_of(how=WINDOWS)
    found = localize(model, image, ["chefer", "gradcam"], "b").heatmaps
    for heatmap in found.values():
        assert heatmap.values.shape == (16, 30)
        assert heatmap.scale == (16, 16)
        assert heatmap.translate == (7.5, 7.5)
    # A window for itself: its relevance is that of the part alone, by the mean of four
    # or six windows' logits.
    x = torch.randn(1, 3, 448, 672)
    with torch.no_grad():
        maps = [
            get_method("chefer").map(model, model.encoder(part), 1, image_of(part))
            for part in (x, x[..., :448])
        ]
    one, other = (item[..., :28].argmax() for item in maps)
    assert maps[0].shape == (1, 28, 42)
    assert one == other


def test_a_slide_in_tiles_gives_what_the_image_gives(tmp_path):
    image = picture(700, 500)
    model = model_of("gap", WINDOWS, taps=("cls", "patches"))
    plan = plan_slide(open_slide(image), model, SlideConfig(core=200))
    store = FeatureStore(open_slide(image), model, plan, FeatureDisk(tmp_path / "kept"))
    job = Job(image, model, tmp_path, methods=["gap"], core=200, halo=0, store=store)
    assert (job.plan.grid.core, job.plan.grid.halo) == (224, 224)
    whole, _ = encode(job.slide, model)
    wanted = get_method("gap").map(model, whole, 1)[0].detach().numpy()
    for done in job.run.tiles():
        top, left = done.tile.y // 16, done.tile.x // 16
        found = done.maps["gap"][1]
        rows, columns = found.shape
        part = wanted[top : top + rows, left : left + columns]
        assert np.abs(part - found).max() < 1e-5
        kept = store.get(done.tile.index)
        at = (max(0, top - 14), max(0, left - 14))  # a window of context is kept, too
        shape = kept.last.shape[2:]
        part = whole.last[..., at[0] : at[0] + shape[0], at[1] : at[1] + shape[1]]
        torch.testing.assert_close(kept.last.float(), part, atol=1e-5, rtol=0)
        cls = whole.maps[0][..., at[0] // 14 :, at[1] // 14 :]
        shape = kept.maps[0].shape[2:]
        part = cls[..., : shape[0], : shape[1]]
        torch.testing.assert_close(kept.maps[0].float(), part, atol=1e-5, rtol=0)
    store.close()


def test_any_size_is_whole_patches():
    encoder = DeiT(64, depth=1)
    with pytest.raises(ConfigError, match=r"patches of 16 .* size = 224"):
        encoder(torch.zeros(1, 3, 230, 240))
    assert encoder(torch.zeros(1, 3, 32, 480)).last.shape == (1, 64, 2, 30)


@pytest.mark.parametrize(
    ("pooling", "channels"), [("cls", 128), ("cls_mean", 256), ("mean", 128)]
)
def test_tiles_are_pooled_by_class_token_and_mean(pooling, channels):
    spec = ModelSpec(
        encoder="tiny-deit",
        classes=("a", "b"),
        heads=("attention_mil",),
        tile=224,
        pooling=pooling,
    )
    torch.manual_seed(0)
    model = Model(ModelSpec.from_dict(spec.to_dict())).eval()
    assert isinstance(model.encoder, TileEncoder)
    x = torch.randn(1, 3, 224, 448)
    with torch.no_grad():
        found = model.encoder(x)
        tile = model.encoder.backbone
        with tile.also(["cls"]):
            given = tile(x[..., 224:])
    parts = {"cls": given.maps[0][0, :, 0, 0], "mean": given.last[0].mean((1, 2))}
    wanted = torch.cat([parts[part] for part in pooling.split("_")])
    assert found.last.shape == (1, channels, 1, 2)
    torch.testing.assert_close(found.last[0, :, 0, 1], wanted, atol=1e-5, rtol=0)
    assert model.image_logits(found).shape == (1, 2)


def test_what_cannot_be_pooled_is_named():
    spec = {"classes": ("a",), "heads": ("attention_mil",), "tile": 64}
    with pytest.raises(ConfigError, match="no layer cls"):
        Model(ModelSpec(encoder="resnet18", pooling="cls", **spec))
    with pytest.raises(ConfigError, match="no layer max"):
        Model(ModelSpec(encoder="tiny-deit", pooling="max", **spec))
