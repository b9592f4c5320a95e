"""A real training on a generated set: textured glands, labels of whole images only."""

import json
import tomllib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from napari_wsol.checkpoints import read_state
from napari_wsol.data.datasets import load_images
from napari_wsol.errors import ConfigError, ModelError
from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.training.crops import TrainImage, draw_batch, recolour
from napari_wsol.training.images_cache import load_training_images
from napari_wsol.training.initial import load_encoder
from napari_wsol.training.recipe import read_recipe
from napari_wsol.training.run import train
from napari_wsol.training.seeds import darkness_on, draw_seeds, fit_eigencam, rank_map
from napari_wsol.training.trainer import Trainer
from napari_wsol.zoo import load_model, verify

RECIPE = """
name = "toy"
[data]
train = "train"
validation = ["val"]
classes = ["plain", "striped"]
[model]
encoder = "mobilenet_v2"
taps = ["features.1", "features.3"]
offsets = [1.0, 3.0]
heads = ["cam", "pcam", "pixelcam"]
options = { pixelcam = { standardize = true } }
[seeds]
tap = "features.3"
foreground = "darker"
[train]
steps = 6
batch = 4
crop = 48
checkpoint_every = 2
[card]
title = "Toy"
summary = "Finds dark discs."
finds = "a disc"
limits = ["A toy."]
"""


def disc_image(rng, striped: bool) -> tuple[np.ndarray, np.ndarray]:
    """A dark disc on a light, noisy ground; striped or plain."""
    y, x = np.mgrid[:64, :72]
    cy, cx = rng.integers(20, 44), rng.integers(20, 52)
    mask = (y - cy) ** 2 + (x - cx) ** 2 < 14**2
    image = rng.normal(200, 8, (64, 72, 3))
    image[mask] -= 110
    if striped:
        image[mask & (x % 4 < 2)] += 50
    return image.clip(0, 255).astype(np.uint8), mask


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("toy")
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4)):
        folder = root / split
        folder.mkdir()
        lists = {"image_ids": [], "class_labels": [], "localization": []}
        for index in range(count):
            image, mask = disc_image(rng, striped=bool(index % 2))
            name = f"{split}{index}.png"
            Image.fromarray(image).save(folder / name)
            Image.fromarray(mask.astype(np.uint8) * 255).save(
                folder / f"mask{index}.png"
            )
            lists["image_ids"].append(name)
            lists["class_labels"].append(f"{name},{index % 2}")
            lists["localization"].append(f"{name},mask{index}.png")
        for key, lines in lists.items():
            (folder / f"{key}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return read_recipe(path)


def ignore(*_args) -> None:
    pass


def test_a_recipe_becomes_a_model_folder(data, recipe, tmp_path):
    steps = []
    card = train(recipe, data, tmp_path / "out", say=ignore, step=steps.append)
    assert [item.step for item in steps] == list(range(1, 7))
    assert set(steps[0].losses) == {"cam", "pcam", "pixelcam"}
    log = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == list(range(1, 7))
    verify(card)
    model = load_model(card.folder)
    assert model.card.title == "Toy"
    assert (card.folder / "recipe.toml").read_text() == RECIPE
    stored = tomllib.loads((card.folder / "card.toml").read_text("utf-8"))
    assert stored["metrics"]["measured_on"] == "4 images of val"
    assert set(stored["metrics"]["pxap_percent"]) == {"cam", "pcam", "pixelcam"}
    image = np.asarray(Image.open(data / "val" / "val1.png"))
    mask = np.asarray(Image.open(data / "val" / "mask1.png")) > 0
    values = localize(model, image).heatmaps["pixelcam"].resized(mask.shape)
    assert values[mask].mean() > values[~mask].mean() + 0.1
    with pytest.raises(ConfigError, match="another --out"):
        train(recipe, data, tmp_path / "out", say=ignore, step=ignore)


def test_masks_have_no_part_in_training(data, recipe, tmp_path):
    """Without any mask file the weights come out the same."""
    import shutil

    bare = tmp_path / "bare"
    shutil.copytree(data, bare)
    for path in (*bare.rglob("mask*.png"), *(bare / "train").glob("localization.txt")):
        path.unlink()
    weights = []
    for root in (data, bare):
        images = load_images(root / "train", classes=recipe.data.classes)
        trainer = Trainer(recipe, load_training_images(images, recipe, ignore))
        list(trainer.run())
        weights.append(trainer.average)
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_stopped_training_resumes_to_the_same_weights(data, recipe, tmp_path):
    whole = train(recipe, data, tmp_path / "whole", say=ignore, step=ignore)

    def stop(progress) -> None:
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, data, tmp_path / "part", say=ignore, step=stop)
    with pytest.raises(ConfigError, match="--resume"):
        train(recipe, data, tmp_path / "part", say=ignore, step=ignore)
    rest = []
    resumed = train(
        recipe, data, tmp_path / "part", resume=True, say=ignore, step=rest.append
    )
    assert [item.step for item in rest] == [4, 5, 6]
    assert resumed.sha256 == whole.sha256
    assert resumed.metrics == whole.metrics


def test_a_checkpoint_of_another_recipe_is_refused(data, recipe, tmp_path):
    out = tmp_path / "out"
    train(recipe, data, out, say=ignore, step=ignore)
    other = tmp_path / "other.toml"
    other.write_text(RECIPE.replace('"toy"', '"toy2"'))
    with pytest.raises(ModelError, match="another recipe"):
        train(read_recipe(other), data, out, resume=True, say=ignore, step=ignore)
    (out / "checkpoint.pt").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="cannot be read"):
        train(read_recipe(other), data, out, resume=True, say=ignore, step=ignore)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("steps = 6", "stepps = 6"), "unknown entry stepps"),
        (('"darker"', '"blue"'), "lighter"),
        (("[seeds]", "[sseeds]"), "unknown entries sseeds"),
        (('name = "toy"', ""), "no name"),
        (("steps = 6", "steps = 0"), "count from 1"),
        (("steps = 6", "steps ="), "not valid TOML"),
        (('heads = ["cam", "pcam", "pixelcam"]', 'heads = ["unet"]'), "heads"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(tmp_path, change, words):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.replace(*change))
    with pytest.raises(ConfigError, match=words):
        read_recipe(path)


def test_initial_weights_must_fit(tmp_path):
    spec = ModelSpec(encoder="mobilenet_v2", classes=("a",), taps=("features.1",))
    model, other = Model(spec), Model(spec)
    load_encoder(other, model.state_dict())  # a whole model of ours
    load_encoder(other, model.encoder.state_dict())  # a bare encoder
    with pytest.raises(ModelError, match="not those of mobilenet_v2"):
        load_encoder(other, {"conv1.weight": torch.zeros(1)})
    with pytest.raises(ModelError, match="no file"):
        read_state(tmp_path / "none.safetensors")
    harmful = tmp_path / "pickled.pt"
    torch.save(model, harmful)  # a whole module: would run code when unpickled
    with pytest.raises(ModelError, match="Python object"):
        read_state(harmful)
    torch.save(model.encoder.state_dict(), tmp_path / "good.pt")
    load_encoder(other, read_state(tmp_path / "good.pt"))


def test_initial_weights_go_to_the_network_that_reads_each_tile():
    spec = ModelSpec(encoder="mobilenet_v2", classes=("a",), taps=("features.1",))
    tiles = replace(spec, heads=("attention_mil",), tile=32)
    start, other = Model(spec).encoder.state_dict(), Model(tiles)
    load_encoder(other, start)  # as it is downloaded
    found = other.encoder.state_dict()
    assert len(found) == len(start)
    assert all(torch.equal(found[f"backbone.{key}"], start[key]) for key in start)
    again = Model(tiles)
    load_encoder(again, other.state_dict())  # a whole model of ours
    load_encoder(again, other.encoder.state_dict())  # a bare encoder of tiles
    for key, value in again.encoder.state_dict().items():
        assert torch.equal(value, found[key])
    with pytest.raises(ModelError, match="not those of mobilenet_v2"):
        load_encoder(again, {})


def test_eigencam_finds_the_direction_that_varies_most():
    torch.manual_seed(0)
    signal = [torch.randn(1, 8, 8) for _ in range(4)]
    mix = torch.tensor([1.0, -1.0, 0.5])[:, None, None]
    maps = [s * mix + 0.1 * torch.randn(3, 8, 8) for s in signal]
    darker = fit_eigencam(maps, [s[0] for s in signal], "darker")
    lighter = fit_eigencam(maps, [s[0] for s in signal], "lighter")
    for values, truth in zip(maps, signal, strict=True):
        both = torch.stack([darker.project(values).flatten(), truth.flatten()])
        assert torch.corrcoef(both)[0, 1] > 0.95
        assert torch.allclose(
            darker.project(values), -lighter.project(values), atol=1e-4
        )
    assert darker.explained > 0.9


def test_seeds_come_from_both_ends_and_are_drawn_afresh(recipe):
    ranks = rank_map(torch.randn(1, 40, 40))
    generator = torch.Generator().manual_seed(0)
    first = draw_seeds(ranks, recipe.seeds, generator)
    second = draw_seeds(ranks, recipe.seeds, generator)
    assert not torch.equal(first, second)
    assert ranks[first == 1].min() >= 1 - recipe.seeds.top
    assert ranks[first == 0].max() <= recipe.seeds.bottom
    assert 0 < int((first != 255).sum()) < 0.05 * ranks.numel()


def test_crops_turn_images_and_ranks_alike():
    ramp = torch.arange(60 * 70).view(60, 70)
    pixels = (ramp % 251).to(torch.uint8)[..., None].expand(-1, -1, 3).contiguous()
    image = TrainImage(pixels, torch.tensor([1.0, 0.0]), (ramp % 251 / 255.0).half())
    batch = draw_batch(
        [image] * 2,
        size=6,
        crop=32,
        jitter=0.0,
        generator=torch.Generator().manual_seed(0),
    )
    assert batch.pixels.shape == (6, 3, 32, 32)
    assert torch.allclose(batch.pixels[:, 0], batch.ranks, atol=1e-3)
    small = TrainImage(pixels[:20, :25], torch.tensor([1.0, 0.0]))
    assert draw_batch(
        [small], size=1, crop=32, jitter=0.1, generator=torch.Generator()
    ).pixels.shape == (1, 3, 32, 32)


def test_recolouring_is_what_its_four_factors_say():
    pixels = 0.4 + 0.2 * torch.rand(3, 3, 5, 4, generator=torch.Generator())
    found = recolour(pixels, 0.2, torch.Generator().manual_seed(7))
    source = torch.Generator().manual_seed(7)

    def factors(*shape):
        return 0.8 + 0.4 * torch.rand(3, *shape, generator=source).numpy()

    balance, bright = factors(3, 1, 1), factors(1, 1, 1)
    contrast, saturation = factors(1, 1, 1), factors(1, 1, 1)
    for k, image in enumerate(pixels.numpy()):
        x = image * np.sqrt(balance[k]) * bright[k]
        x = x.mean() + contrast[k] * (x - x.mean())
        grey = x.mean(axis=0)
        x = grey + saturation[k] * (x - grey)
        assert np.allclose(found[k], x.clip(0, 1), atol=1e-5)


def test_a_part_of_a_batch_is_recoloured_as_in_the_whole():
    pixels = torch.rand(5, 3, 4, 4, generator=torch.Generator())
    whole = recolour(pixels, 0.3, torch.Generator().manual_seed(1))
    part = recolour(
        pixels[2:4], 0.3, torch.Generator().manual_seed(1), first=2, total=5
    )
    assert torch.equal(part, whole[2:4])


def test_recolouring_keeps_the_range_and_can_be_off():
    pixels = torch.rand(2, 3, 8, 8)
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(recolour(pixels, 0.0, generator), pixels)
    changed = recolour(pixels, 0.3, generator)
    assert not torch.equal(changed, pixels)
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_darkness_is_the_complement_of_brightness():
    pixels = torch.zeros(8, 8, 3, dtype=torch.uint8)
    pixels[:, 4:] = 255
    assert darkness_on(pixels, (2, 2)).tolist() == [[1.0, 0.0], [1.0, 0.0]]
