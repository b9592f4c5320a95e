import shutil
import tomllib
from dataclasses import replace

import pytest
import tomli_w
import torch
from fixtures.models import small_card

from napari_wsol.errors import (
    ConfigError,
    ExportError,
    ModelError,
    UnknownNameError,
)
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.paths import bundled_folder, models_folder
from napari_wsol.zoo import (
    check_logits,
    check_model_name,
    find_card,
    list_models,
    load_model,
    proposed_name,
    save_model,
    verify,
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "home"))


@pytest.fixture
def card(small_model):
    return replace(
        small_card(small_model, small_model.spec.heads),
        limits=("None known.",),
        metrics={"accuracy_percent": 50.0},
    )


def test_a_saved_model_comes_back_as_it_was(small_model, card):
    saved = save_model(small_model, card, recipe="name = 1\n")
    loaded = load_model("small", device="cpu")
    assert loaded.card == replace(saved, folder=models_folder() / "small")
    assert loaded.spec == small_model.spec
    for key, value in small_model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)
    verify(find_card("small"))
    assert load_model(models_folder() / "small").card.name == "small"


def test_users_models_are_listed_behind_the_bundled_ones(small_model, card):
    bundled = [item.name for item in list_models()]
    save_model(small_model, card)
    assert [item.name for item in list_models()] == [*bundled, "small"]
    assert not find_card("small").bundled


def test_a_model_is_never_overwritten(small_model, card):
    save_model(small_model, card)
    with pytest.raises(ExportError, match="another name"):
        save_model(small_model, card)
    assert [path.name for path in models_folder().iterdir()] == ["small"]


def test_damage_is_found_and_said(small_model, card):
    folder = save_model(small_model, card).folder
    weights = folder / "weights.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-4] + b"\0\1\2\3")
    with pytest.raises(ModelError, match="not those of its card"):
        load_model("small")
    weights.unlink()
    with pytest.raises(ModelError, match="missing"):
        load_model("small")
    weights.write_bytes(good)
    text = (folder / "card.toml").read_text("utf-8")
    values = tomllib.loads(text)
    values["check"]["logits"] = [9.0, 9.0]
    (folder / "card.toml").write_text(tomli_w.dumps(values))
    with pytest.raises(ModelError, match=r"computes? something else"):
        verify(find_card("small"))
    (folder / "card.toml").write_text("name = ")
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(folder)
    (folder / "card.toml").write_text(text.replace("title", "titel"))
    with pytest.raises(ModelError, match="unknown entries: titel"):
        load_model(folder)
    # A damaged model of the user's hides no other.
    assert all(item.name != "small" for item in list_models())


@pytest.mark.parametrize(
    ("encoder", "side"), [("mobilenet_v2", 64), ("inception_v3", 128)]
)
def test_a_model_is_checked_on_a_small_pattern_that_gives_a_cell(encoder, side):
    spec = ModelSpec(encoder=encoder, classes=("a", "b"), heads=("cam",))
    model = Model(spec).eval()
    seen = []
    model.encoder.register_forward_pre_hook(lambda _module, given: seen.extend(given))
    check_logits(model)
    (pattern,) = seen
    assert pattern.shape == (1, 3, side, side)
    corners = pattern[0, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    rows = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    columns = torch.tensor([-1.0, 1.0, -1.0, 1.0])
    wanted = torch.stack([rows, torch.sin(9 * columns), rows * columns])
    assert torch.allclose(corners, wanted)


def test_unknown_names_list_the_choices(tmp_path):
    names = ", ".join(card.name for card in list_models())
    with pytest.raises(UnknownNameError, match=f"Installed: {names}\\."):
        load_model("nothing")
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(ModelError, match="no weight file"):
        load_model(tmp_path / "file.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="no folder of a known checkpoint"):
        load_model(tmp_path / "empty")


def test_bundled_models_are_intact_documented_and_small():
    cards = [item for item in list_models() if item.bundled]
    assert cards
    total = 0
    for item in cards:
        verify(item)
        assert item.folder.parent == bundled_folder()
        assert item.limits
        assert item.data
        assert item.license
        assert item.metrics
        assert (item.folder / "recipe.toml").is_file()
        total += (item.folder / "weights.safetensors").stat().st_size
    assert total < 25e6


def test_a_copied_folder_is_an_installed_model(tmp_path):
    source = next(item for item in list_models() if item.bundled)
    shutil.copytree(source.folder, tmp_path / "copy")
    assert load_model(tmp_path / "copy").card.name == source.name


def test_names_that_are_no_folder_on_windows_are_refused_and_never_proposed(tmp_path):
    for name in ("con", "Nul", "aux.v2", "mine."):
        with pytest.raises(ConfigError, match="device of Windows"):
            check_model_name(name)
    assert proposed_name(tmp_path / "aux.pth") == "model-aux"
    assert proposed_name(tmp_path / "Best Model.pth") == "Best-Model"
