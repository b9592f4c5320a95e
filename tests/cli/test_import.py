"""``napari-wsol models import``."""

import pytest
import torch
from typer.testing import CliRunner

from napari_wsol.cli import app
from napari_wsol.encoders import build_encoder
from napari_wsol.errors import ModelError
from napari_wsol.zoo import find_card


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "home"))
    runner = CliRunner()
    return lambda *words: runner.invoke(app, ["models", "import", *map(str, words)])


def test_a_checkpoint_becomes_a_model(run, golden, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(golden("amil_bag_2x2").state(), path)
    named = ["--name", "amil", "--answer", "classes=benign, malignant"]
    result = run(path, *named)
    assert result.exit_code == 0, result.output
    assert "attention_mil" in result.output
    assert find_card("amil").classes == ("benign", "malignant")
    again = run(path, *named)
    assert again.exit_code == 1
    assert "Give another name" in again.output


def test_what_is_missing_is_asked(run, golden, tmp_path):
    path = tmp_path / "pre_train.pth"
    torch.save(golden("pcam_vgg19_bn_PCAM").state("backbone.classifier"), path)
    result = run(path)
    assert result.exit_code == 1
    assert "--answer pooling=PCAM|AVG" in result.output
    assert "--answer attention=none|CAM|FPA" in result.output
    wrong = run(path, "--answer", "pooling=SUM")
    assert "no answer to pooling" in str(wrong.exception)
    odd = run(path, "--answer", "pooling")
    assert odd.exit_code == 2


def test_what_is_no_checkpoint_is_said(run, tmp_path):
    (tmp_path / "x.pt").write_bytes(b"nothing")
    result = run(tmp_path / "x.pt")
    assert isinstance(result.exception, ModelError)
    assert "no weight file" in str(result.exception)


def test_an_own_network_keeps_its_classifier_and_says_what_it_took(run, tmp_path):
    torch.manual_seed(0)
    network = {
        **build_encoder("resnet18").state_dict(),
        "fc.weight": torch.rand(2, 512),
    }
    averaged = {f"module.{key}": value for key, value in network.items()}
    torch.save({"model": network, "model_ema": averaged}, tmp_path / "own.pth")
    result = run(tmp_path / "own.pth")
    assert result.exit_code == 1
    for key in ("classes", "activation=softmax|sigmoid", "size", "normalisation"):
        assert f"--answer {key}" in result.output
    told = ["size=224", "activation=softmax", "normalisation=half", "classes=no,yes"]
    answers = [word for item in told for word in ("--answer", item)]
    odd = run(tmp_path / "own.pth", *answers, "--answer", "pooling=max")
    assert "asks for pooling" in str(odd.exception)
    result = run(tmp_path / "own.pth", *answers)
    assert result.exit_code == 0, result.output
    assert "Took `model_ema`, left `model`" in " ".join(result.output.split())
    assert "methods: cam" in result.output
    assert find_card("own").classes == ("no", "yes")
