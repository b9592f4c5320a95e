"""Foundation encoders: stand-ins of few blocks, with random weights."""

import re
import shutil
from contextlib import closing
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from fixtures.families import trains_saves_and_loads
from typer.testing import CliRunner

from napari_wsol import Session
from napari_wsol.cli.app import app
from napari_wsol.encoders.presets import PRESETS
from napari_wsol.errors import ConfigError, ModelError, UnansweredError
from napari_wsol.zoo import import_model, load_model

pytestmark = pytest.mark.timm


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """For what a test writes, hundreds of MB: removed at once."""
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path))
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.fixture
def standin(monkeypatch):
    """Makes the preset one of two blocks, and gives timm's own network of it."""

    def make(name, **more):
        import timm

        options = {**PRESETS[name].options, "depth": 2, **more}
        small = replace(PRESETS[name], options=options)
        monkeypatch.setitem(PRESETS, name, small)
        classes = {"SwiGLUPacked": timm.layers.SwiGLUPacked, "SiLU": torch.nn.SiLU}
        options = {key: classes.get(x, x) for key, x in options.items()}
        torch.manual_seed(0)
        network = timm.create_model(
            small.timm, num_classes=0, dynamic_img_size=True, **options
        ).eval()
        for parameter in network.parameters():  # LayerScale, too, is not almost zero
            torch.nn.init.normal_(parameter, std=0.05)
        return network

    return make


def imported(folder, state, name):
    """The model that a file of weights becomes."""
    path = folder / "pytorch_model.bin"
    torch.save(state, path)
    return import_model(path, name="own", answers={"preset": name})


def is_timms(model, network):
    """Whether class token, patches and what is pooled are those of timm, to 1e-5."""
    side = model.encoder.fixed_size
    x = torch.randn(1, 3, side, side)
    with torch.inference_mode(), model.encoder.also(["cls"]):
        tokens, found = network.forward_features(x), model.encoder(x)
    cls = tokens[:, 0]
    patches = tokens[:, network.num_prefix_tokens :].transpose(1, 2)
    torch.testing.assert_close(found.maps[0][..., 0, 0], cls, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.last.flatten(2), patches, atol=1e-5, rtol=0)
    mean = patches.mean(-1)
    pooled = {"cls": [cls], "cls_mean": [cls, mean], "mean": [mean]}
    for pooling, parts in pooled.items():
        model.encoder.pool_by(pooling)
        with torch.inference_mode():
            given = model.encoder.pooled(x)
        torch.testing.assert_close(given, torch.cat(parts, 1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", list(PRESETS))
def test_features_are_those_of_timm(standin, folder, name):
    network, preset = standin(name), PRESETS[name]
    path = folder / "model.safetensors"
    safetensors.torch.save_file(network.state_dict(), path)
    words = ("models", "import", str(path), "--preset", name, "--name", "own")
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    model = load_model("own", device="cpu")
    assert (model.spec.encoder, model.spec.heads) == (name, ())
    assert (model.preprocessing.mean, model.spec.mpp) == (preset.mean, preset.mpp)
    assert model.card.license == preset.license
    is_timms(model, network)


def meta(state, registers):
    """As Meta's code holds the weights that timm holds so."""
    found = {re.sub(r"gamma_(\d)", r"ls\1.gamma", key): x for key, x in state.items()}
    if "reg_token" in found:
        found[registers] = found.pop("reg_token")
    width = found["cls_token"].shape[-1]
    if registers == "register_tokens" in found:
        token = found["cls_token"]
        place = torch.randn(1, 1, width)
        found["cls_token"] = token - place
        found["pos_embed"] = torch.cat([place, found["pos_embed"]], 1)
    if registers == "storage_tokens":
        found["rope_embed.periods"] = torch.rand(16)
        bias = torch.cat([torch.zeros(width), torch.randn(width), torch.zeros(width)])
        found |= {f"blocks.{at}.attn.qkv.bias": bias for at in range(2)}
    return {**found, "mask_token": torch.randn(1, width)}


def hugging_face(state):
    """As transformers' Dinov2Model holds them: published Phikon-v2 is such a file."""
    names = {
        r"^blocks\.": "encoder.layer.",
        r"\.attn\.proj\.": ".attention.output.dense.",
        r"\.ls(\d)\.gamma": r".layer_scale\1.lambda1",
        r"^norm\.": "layernorm.",
        r"^patch_embed\.proj": "embeddings.patch_embeddings.projection",
        r"^pos_embed$": "embeddings.position_embeddings",
        r"^(cls_token|mask_token|register_tokens)$": r"embeddings.\1",
    }
    found = {}
    for name, value in state.items():
        key = name
        for old, new in names.items():
            key = re.sub(old, new, key)
        if ".attn.qkv." in key:
            for part, x in zip(("query", "key", "value"), value.chunk(3), strict=True):
                found[key.replace("attn.qkv", f"attention.attention.{part}")] = x
        else:
            found[key] = value
    return found


@pytest.mark.parametrize(
    ("name", "registers"),
    [
        ("dinov2-vits14", ""),
        ("dinov2-vits14-reg", "register_tokens"),
        ("dinov3-vits16", "storage_tokens"),
    ],
)
def test_files_of_metas_code(standin, folder, name, registers):
    network = standin(name)
    state = meta(network.state_dict(), registers)
    named = {f"backbone.{key}": value for key, value in state.items()}
    raw = {key: torch.zeros_like(value) for key, value in named.items()}
    card = imported(folder, {"student": raw, "teacher": named}, name)
    is_timms(load_model(card, device="cpu"), network)
    assert "Took `teacher.backbone`." in card.limits


@pytest.mark.parametrize("name", ["phikon-v2", "dinov2-vits14-reg"])
def test_files_of_hugging_face(standin, folder, name):
    network = standin(name)
    registers = "register_tokens" if "reg" in name else ""
    state = hugging_face(meta(network.state_dict(), registers))
    card = imported(folder, state, name)
    is_timms(load_model(card, device="cpu"), network)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("blocks.1.ls1.gamma", "left out"),
        ("blocks.1.mlp.fc1.weight", "renamed"),
        ("norm.bias", "of another shape"),
        ("head.weight", "added"),
    ],
)
def test_a_wrong_key_is_named(standin, folder, key, change):
    state = standin("dinov2-vits14").state_dict()
    if change == "renamed":
        state["blocks.1.mlp.first.weight"] = state[key]
    if change in ("renamed", "left out"):
        del state[key]
    else:
        state[key] = torch.zeros(7)
    with pytest.raises(ModelError, match=re.escape(key)) as error:
        imported(folder, state, "dinov2-vits14")
    assert ("first.weight is unknown" in str(error.value)) == (change == "renamed")
    assert not (folder / "models" / "own").exists()


def test_biases_that_timm_has_no_place_for_are_not_dropped(standin, folder):
    state = meta(standin("dinov3-vits16").state_dict(), "storage_tokens")
    state["blocks.1.attn.qkv.bias"] = torch.ones(3 * 384)
    with pytest.raises(ModelError, match=r"blocks\.1\.attn\.qkv\.bias is unknown"):
        imported(folder, state, "dinov3-vits16")


def test_a_transformer_of_no_family_is_asked_for(standin, folder):
    """In the window's form, too, which asks such questions."""
    network = standin("dinov2-vits14")
    path = folder / "pytorch_model.bin"
    torch.save({f"module.{key}": x for key, x in network.state_dict().items()}, path)
    with pytest.raises(UnansweredError) as error:
        import_model(path)
    (question,) = error.value.questions
    assert (question.key, question.choices) == ("preset", tuple(PRESETS))
    with pytest.raises(ConfigError, match="uni2-h, virchow2"):
        import_model(path, answers={"preset": "uni3"})
    card = import_model(path, answers={"preset": "dinov2-vits14"})
    is_timms(load_model(card, device="cpu"), network)


def test_strokes_teach_a_head_on_an_unlabelled_image(standin, folder, tissue, strokes):
    network = standin("virchow2", embed_dim=96, num_heads=2)
    card = imported(folder, network.state_dict(), "virchow2")
    with closing(Session()) as session:
        session.open(tissue)
        session.use(card).result(60)
        session.localize().result(60)
        session.set_scribbles(strokes)
        session.finetune().result(60)
        values = session.heatmap("pixelcam").resized(strokes.shape)
    assert values[strokes == 2].min() > values[strokes == 1].max()


@pytest.mark.parametrize("pooling", ["cls", "cls_mean", "mean"])
def test_attention_mil_on_tiles(standin, discs, make_recipe, tmp_path, pooling):
    standin("uni2-h", embed_dim=96, num_heads=2)
    recipe = make_recipe(
        model=f'encoder = "uni2-h"\ntile = 224\npooling = "{pooling}"',
        heads='["attention_mil"]',
        train="crop = 224",
    )
    trains_saves_and_loads(recipe, discs, tmp_path)


def test_a_presets_network_trains_on(standin, folder, discs, make_recipe):
    network = standin("dinov3-vits16", embed_dim=96, num_heads=2)
    card = imported(folder, network.state_dict(), "dinov3-vits16")
    recipe = make_recipe(model='encoder = "dinov3-vits16"', train="crop = 256")
    weights = card.folder / "weights.safetensors"
    trains_saves_and_loads(recipe, discs, folder, init=weights)
