"""Files as the authors' code writes them, loaded by path alone, give their numbers."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_wsol.errors import ModelError, UnansweredError, WsolError
from napari_wsol.inference.whole_image import localize
from napari_wsol.zoo import find_card, import_model, load_model, verify

GOLDEN = Path(__file__).parents[1] / "golden"
HISTOLOGY = [
    "pixelcam_resnet50_wgap",
    "pixelcam_inceptionv3_wgap",
    "pixelcam_deit_sat_tiny",
    "wsol_cam_resnet50_bg0",
    "wsol_cam_resnet50_bg1",
    "wsol_cam_inceptionv3",
    "wsol_ACoL_resnet50",
    "wsol_ADL_resnet50",
    "wsol_SPG_resnet50",
    "wsol_maxmin_resnet50",
    "wsol_negev_unet_resnet50",
    "wsol_tscam_tiny_survey",
]
LARGE = {
    "pixelcam_inceptionv3_wgap",
    "wsol_cam_inceptionv3",
    "wsol_ACoL_resnet50",
    "wsol_SPG_resnet50",
}
PCAM = [
    "pcam_densenet121_PCAM",
    pytest.param("pcam_densenet121_AVG", marks=pytest.mark.slow),
    pytest.param("pcam_densenet121_PCAM_CAM", marks=pytest.mark.slow),
    "pcam_densenet121_PCAM_FPA",
    pytest.param("pcam_densenet121_AVG_MAX_LSE", marks=pytest.mark.slow),
    pytest.param("pcam_densenet169_PCAM", marks=pytest.mark.slow),
    "pcam_inception_v3_PCAM",
    "pcam_vgg19_bn_PCAM",
]
PYLON = [
    "pylon_resnet50_2layer_256",
    "pylon_resnet50_nopa",
    "pylon_resnet50_up2",
    "pylon_resnet50_upkern3",
    "pylon_baseline_maxpool",
    "pylon_baseline_voc3ch",
    "pylon_li2018",
]


def write_wsol(case, folder, name="GLAS-0-net-CAM-WGAP-cp_best_localization"):
    """The folder that a run of PixelCAM's code leaves."""
    folder = folder / name
    folder.mkdir()
    state = case.state()
    files = case.about.get("checkpoint_files") or {
        "encoder.pt": "encoder.",
        "classification_head.pt": "classification_head.",
    }
    for file, prefix in files.items():
        part = {
            key.removeprefix(prefix): value
            for key, value in state.items()
            if key.startswith(prefix)
        }
        torch.save(part, folder / file)
    # Their settings hold Python objects, which are never built.
    (folder / "config_model.yaml").write_text(
        "!!python/object:dlib.Dict\nmethod: CAM\nspatial_pooling: WGAP\n"
    )
    return folder


def write_pcam(case, folder):
    """A checkpoint of PCAM's code, its configuration beside it."""
    torch.save(
        {
            "epoch": 3,
            "step": np.int64(7),
            "auc_dev_best": np.float64(0.9),
            "acc_dev_best": np.array([0.8, 0.7]),
            "loss_dev_best": 1.0,
            # VGG's unused ImageNet classifier has 100 million weights.
            "state_dict": case.state(
                "backbone.classifier" if "vgg" in case.name else "!"
            ),
        },
        folder / "best1.ckpt",
    )
    (folder / "cfg.json").write_text(json.dumps(case.about["config"]))
    return folder / "best1.ckpt"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in LARGE else ())
        for name in HISTOLOGY
    ],
)
def test_histology_folders(golden, tmp_path, name):
    case = golden(name)
    model = load_model(write_wsol(case, tmp_path), device="cpu")
    raw = model.raw(case.x)
    case.close("cl_logits", raw.logits)
    if "pixel_logits" in case.outputs:
        case.close("pixel_logits", raw.maps)
    if "fcams" in case.outputs:
        case.close("fcams", raw.maps[..., ::2, ::2])
    assert model.classes == ("benign", "malignant")


@pytest.mark.parametrize("name", PCAM)
def test_pcam_files(golden, tmp_path, name):
    case = golden(name)
    model = load_model(write_pcam(case, tmp_path), device="cpu")
    features = model.encoder(case.x)
    logits = model.image_logits(features)
    case.close("logits", logits.T[..., None].detach())
    if "logit_maps" in case.outputs:
        maps = model.raw(case.x).maps
        case.close("logit_maps", maps.movedim(1, 0))


@pytest.mark.parametrize(
    ("listing", "encoder", "parts"),
    [
        ("pixelcam_vgg16_wgap", "wsol_vgg16", True),
        ("pixelcam_inceptionv3_wgap", "wsol_inceptionv3", True),
        ("pixelcam_deit_sat_small", "deit_sat_small", False),
        ("pcam_densenet201", "densenet201", False),
        ("pcam_vgg19", "vgg19", False),
    ],
)
def test_every_listing_is_recognised(tmp_path, listing, encoder, parts):
    with gzip.open(GOLDEN / f"{listing}.keys.json.gz", "rt") as file:
        keys = json.load(file)["keys"]
    # Zeros: the names and shapes are what is tested.
    state = {
        key: torch.zeros(1).expand(shape)
        for key, shape, *_ in keys
        if "num_batches" not in key and "backbone.classifier" not in key
    }
    if parts:
        for prefix in {key.split(".")[0] for key in state}:
            part = {
                key.removeprefix(f"{prefix}."): value.clone()
                for key, value in state.items()
                if key.startswith(f"{prefix}.")
            }
            torch.save(part, tmp_path / f"{prefix}.pt")
        path = tmp_path
    else:
        path = tmp_path / "model.pt"
        torch.save({key: value.clone() for key, value in state.items()}, path)
    answers = {"pooling": "PCAM", "attention": "none", "fc_bn": "no"}
    answers = answers if listing.startswith("pcam") else {}
    model = load_model(path, device="cpu", answers=answers)
    assert model.spec.encoder == encoder


@pytest.mark.parametrize("name", PYLON)
def test_pylon_files(golden, tmp_path, name):
    case = golden(name)
    path = tmp_path / "model.pkl"
    torch.save(case.state(), path, pickle_protocol=4)
    config = {"net_conf": case.about["config"], "data_conf": {}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    raw = load_model(path, device="cpu").raw(case.x)
    case.close("pred", raw.logits)
    if "pred_seg" in case.outputs:
        case.close("pred_seg", raw.maps)
    elif "pred_seg_stride4" in case.outputs:
        case.close("pred_seg_stride4", raw.maps[..., ::4, ::4])
    else:
        case.close("pred_seg_all_stride4", raw.maps[..., ::4, ::4])
        case.close("pred_seg_cls0", raw.maps[:, 0])


@pytest.mark.parametrize("name", ["amil_bag_2x2", "amil_bag_16x25"])
def test_amil_files(golden, tmp_path, name):
    """Written by torch 0.4: no zip, and no counts of batches."""
    case = golden(name)
    path = tmp_path / "AMIL_Breakthis_state_dict.pt"
    torch.save(case.state(), path, _use_new_zipfile_serialization=False)
    raw = load_model(path, device="cpu").raw(case.x)
    case.close("Y_prob", raw.logits.sigmoid())
    case.close("scores", raw.maps)


def test_imported_model_is_one_of_ones_own(golden, tmp_path, monkeypatch, tissue):
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "home"))
    case = golden("pixelcam_resnet50_wgap")
    folder = write_wsol(case, tmp_path, "GLAS-0-resnet50-EnergyCAM-WGAP-cp_best")
    expected = load_model(folder, device="cpu")
    card = import_model(folder, name="theirs")
    verify(find_card("theirs"))
    again = load_model("theirs", device="cpu")
    assert torch.equal(again.raw(case.x).maps, expected.raw(case.x).maps)
    assert card.primary == "pixelcam"
    assert card.spec.preprocessing.size == 224
    found = localize(again, tissue, ["pixelcam", "gradcam"])
    heatmap = found.heatmaps["pixelcam"]
    assert heatmap.values.shape == (28, 28)
    assert heatmap.scale == pytest.approx((131 / 28, 157 / 28))
    with pytest.raises(UnansweredError, match="another name"):
        import_model(folder, name="theirs")


def test_parallel_and_nested_weights(golden, tmp_path):
    """As DataParallel saves them, and without the counts that old torch had not."""
    case = golden("pcam_vgg19_bn_PCAM")
    state = {
        f"module.{key}": value
        for key, value in case.state("backbone.classifier").items()
        if not key.endswith("num_batches_tracked")
    }
    torch.save({"model": state}, tmp_path / "x.pth")
    answers = {"pooling": "PCAM", "attention": "none", "fc_bn": "no"}
    model = load_model(tmp_path / "x.pth", device="cpu", answers=answers)
    case.close("logits", model.raw(case.x).logits.T[..., None])


def test_what_weights_do_not_tell_is_asked(golden, tmp_path):
    case = golden("pcam_vgg19_bn_PCAM")
    torch.save(case.state("backbone.classifier"), tmp_path / "pre_train.pth")
    with pytest.raises(UnansweredError, match=r"pooling.*attention.*fc_bn") as error:
        load_model(tmp_path / "pre_train.pth", device="cpu")
    keys = [question.key for question in error.value.questions]
    assert keys == ["pooling", "attention", "fc_bn"]
    assert "PCAM" in error.value.questions[0].choices


@pytest.mark.parametrize(
    ("folder", "head"),
    [
        ("run", None),
        ("GLAS-0-resnet50-GAP-GAP-cp_best_localization", "gap"),
        ("GLAS-0-resnet50-MaxPool-MaxPool-cp_best_localization", "maxpool"),
    ],
)
def test_pooling_is_told_by_the_folder_or_asked(golden, tmp_path, folder, head):
    case = golden("wsol_cam_resnet50_bg0")
    run = write_wsol(case, tmp_path, folder)
    (run / "config_model.yaml").unlink()
    weights = torch.load(run / "classification_head.pt", weights_only=True)
    conv = {
        "conv.weight": weights["fc.weight"][..., None, None],
        "conv.bias": weights["fc.bias"],
    }
    torch.save(conv, run / "classification_head.pt")
    if head is None:
        with pytest.raises(UnansweredError, match="pooling"):
            load_model(run, device="cpu")
        model = load_model(run, device="cpu", answers={"pooling": "LogSumExp"})
        assert model.spec.heads == ("lse",)
    else:
        model = load_model(run, device="cpu")
        assert model.spec.heads == (head,)
        if head == "gap":
            case.close("cl_logits", model.raw(case.x).logits)


class Harmful:
    """What a pickled module may do when it is opened."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('it ran')",))


def test_nothing_in_a_file_is_run(tmp_path):
    torch.save(Harmful(), tmp_path / "model.pt")
    with pytest.raises(ModelError, match="Python object"):
        load_model(tmp_path / "model.pt", device="cpu")
    torch.save(Harmful(), tmp_path / "model4.pt", pickle_protocol=4)
    with pytest.raises(ModelError, match="Python object"):
        load_model(tmp_path / "model4.pt", device="cpu")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pt")
    with pytest.raises(ModelError, match="state_dict"):
        load_model(tmp_path / "whole.pt", device="cpu")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pt", b"hello" * 20, "no weight file"),
        ("a.pt", b"", "cut off|no weight file"),
        ("a.yaml", b"!!python/object:x.Y {}\n", "settings, not weights"),
    ],
)
def test_other_files_are_refused_in_words(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load_model(tmp_path / name, device="cpu")


def test_incomplete_and_foreign_weights(golden, tmp_path):
    torch.save({"a.weight": torch.zeros(2)}, tmp_path / "odd.pt")
    with pytest.raises(ModelError, match="no kind that is known"):
        load_model(tmp_path / "odd.pt", device="cpu")
    state = golden("amil_bag_2x2").state()
    del state["attention.0.weight"]
    torch.save(state, tmp_path / "short.pt")
    with pytest.raises(ModelError, match=r"attention\.0\.weight is missing"):
        load_model(tmp_path / "short.pt", device="cpu")
    torch.save({}, tmp_path / "none.pt")
    with pytest.raises(ModelError, match="no weights"):
        load_model(tmp_path / "none.pt", device="cpu")


@pytest.mark.parametrize(
    ("name", "part"),
    [("wsol_maxmin_resnet50", "classification_head2"), ("NEGEV", "decoder")],
)
def test_a_part_that_was_not_copied_is_named(golden, tmp_path, name, part):
    name = next(item for item in HISTOLOGY if name.lower() in item)
    run = write_wsol(golden(name), tmp_path)
    (run / f"{part}.pt").unlink()
    with pytest.raises(ModelError, match=rf"{part}\S* is missing"):
        load_model(run, device="cpu")


def test_torchvision_files_start_a_training_or_strokes(tmp_path, tissue):
    from napari_wsol.encoders import build_encoder

    encoder = build_encoder("resnet18")
    state = {**encoder.state_dict(), "fc.weight": torch.zeros(1000, 512)}
    torch.save(state, tmp_path / "resnet18-f37072fd.pth")
    model = load_model(tmp_path / "resnet18-f37072fd.pth", device="cpu")
    assert model.classifier is None
    assert torch.equal(
        model.encoder.state_dict()["conv1.weight"], state["conv1.weight"]
    )
    found = localize(model, tissue, ["eigencam"])
    assert found.target == "foreground"


def test_old_densenet_files_have_other_names(tmp_path):
    """torchvision's DenseNet files say "norm.1" where the network says "norm1"."""
    import re

    from napari_wsol.encoders import build_encoder

    encoder = build_encoder("densenet121")
    modern = re.compile(r"(denselayer\d+)\.(norm|conv)([12])\.")
    state = {
        modern.sub(r"\1.\2.\3.", key): value
        for key, value in encoder.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    state["classifier.weight"] = torch.zeros(1000, 1024)
    torch.save(state, tmp_path / "densenet121-a639ec97.pth")
    model = load_model(tmp_path / "densenet121-a639ec97.pth", device="cpu")
    name = "features.denseblock4.denselayer16.conv2.weight"
    assert torch.equal(model.encoder.state_dict()[name], encoder.state_dict()[name])


@pytest.mark.parametrize("key", ["net.conv1.weight", "out.weight"])
def test_half_of_a_baseline_s_names_are_not_that_baseline(tmp_path, key):
    path = tmp_path / "model.pkl"
    torch.save({key: torch.zeros(2, 3, 1, 1)}, path)
    with pytest.raises(WsolError) as caught:
        load_model(path, device="cpu")
    assert "class maps pooled" not in str(caught.value)
