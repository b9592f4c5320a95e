import math

import numpy as np
import pytest
import torch

from napari_wsol.data.datasets import load_images
from napari_wsol.errors import ConfigError
from napari_wsol.images.heatmap import Heatmap
from napari_wsol.images.preprocessing import Preprocessing
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.training.augment import (
    Augmentation,
    jitter,
    part,
    rotation,
    shift_hue,
    warp,
)
from napari_wsol.training.bags import draw_bags, encode_bag, whole_tiles
from napari_wsol.training.crops import Share, TrainImage
from napari_wsol.training.images_cache import load_training_images
from napari_wsol.training.trainer import Trainer

GREY = Preprocessing(
    size=32, fit="pad", grey=True, equalize=False, mean=(0.5,) * 3, std=(0.25,) * 3
)


def numbers(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramp_image(height: int = 40, width: int = 40) -> TrainImage:
    """Its map is its first channel: whatever moves one must move the other."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    plane = ((y * 3 + x * 2) % 251).to(torch.uint8)
    pixels = plane[..., None].expand(-1, -1, 3).contiguous()
    return TrainImage(pixels, torch.tensor([1.0, 0.0]), (plane / 255.0).half())


def augmentation(style: str, **more) -> Augmentation:
    how = GREY if style == "pcam" else Preprocessing(size=32)
    return Augmentation(
        **{"style": style, "crop": 32, "jitter": 0.2, "how": how, **more}
    )


@pytest.mark.parametrize("style", ["histology", "pixelcam", "pylon", "pcam"])
def test_parts_of_a_batch_are_as_in_the_whole(style):
    images = [ramp_image(40 + i, 41 + 2 * i) for i in range(5)]
    changed = augmentation(style)
    whole = changed.batch(images, 4, numbers())
    assert whole.pixels.shape == (4, 3, 32, 32)
    assert whole.pixels.min() >= 0
    assert whole.pixels.max() <= 1
    for rank in (0, 1):
        mine = changed.batch(images, 4, numbers(), Share(rank, 2))
        at = slice(2 * rank, 2 * rank + 2)
        assert torch.equal(mine.pixels, whole.pixels[at])
        assert torch.equal(mine.ranks, whole.ranks[at])
        assert torch.equal(mine.labels, whole.labels[at])
    assert not torch.equal(whole.pixels, changed.batch(images, 4, numbers(1)).pixels)


@pytest.mark.parametrize("style", ["pixelcam", "pylon", "pcam"])
def test_maps_move_with_their_images(style):
    """Colours change too, so what is compared is where the square lies."""
    pixels = torch.full((36, 36, 3), 128, dtype=torch.uint8)
    pixels[6:16, 20:30] = 250
    on = torch.zeros(36, 36)
    on[6:16, 20:30] = 1
    image = TrainImage(pixels, torch.tensor([1.0, 0.0]), on.half())
    batch = augmentation(style).batch([image], 12, numbers())
    compared = 0
    for seen, moved in zip(batch.pixels.mean(1), batch.ranks, strict=True):
        square = moved > 0.9
        if square.sum() < 10 or (moved < 0.1).sum() < 10:
            continue
        compared += 1
        assert seen[square].mean() > seen[moved < 0.1].mean()
        middle = seen[square].median()
        assert (seen[square] - middle).abs().mean() < 0.1
    assert compared >= 8


def test_a_coarse_map_moves_with_its_image():
    values = np.zeros((4, 4), np.float32)
    values[1, 2] = 1
    heatmap = Heatmap(
        values=values,
        scale=(10.0, 10.0),
        translate=(4.5, 4.5),
        image_shape=(40, 40),
        method="cam",
        target="a",
        is_probability=False,
    )
    pixels = torch.from_numpy((heatmap.resized((40, 40)) * 255).astype(np.uint8))
    image = TrainImage(
        pixels[..., None].expand(-1, -1, 3).contiguous(),
        torch.tensor([1.0, 0.0]),
        cam=heatmap,
    )
    batch = augmentation("histology", jitter=0.0).batch([image], 6, numbers())
    assert torch.allclose(batch.pixels[:, 0], batch.ranks, atol=1 / 255)


def test_a_warp_turns_about_the_middle():
    planes = torch.zeros(1, 9, 9)
    planes[0, 4, 8] = 1
    for degrees, expected in ((90, (0, 4)), (-90, (8, 4)), (180, (4, 0))):
        matrix = torch.cat([rotation(degrees), torch.zeros(2, 1)], dim=1)
        found = warp(planes, matrix, 9)[0]
        assert divmod(int(found.argmax()), 9) == expected
    same = torch.cat([rotation(0), torch.zeros(2, 1)], dim=1)
    assert torch.allclose(warp(planes, same, 9), planes, atol=1e-6)


def test_turns_keep_shapes_on_images_that_are_not_square():
    planes = torch.zeros(1, 20, 40)
    planes[0, 8:12, 18:22] = 1
    matrix = torch.cat([rotation(45, 40 / 20), torch.zeros(2, 1)], dim=1)
    assert float(warp(planes, matrix, (20, 40)).sum()) == pytest.approx(16, rel=0.1)


def test_parts_have_the_area_and_ratio_asked_for():
    for seed in range(20):
        height, width, top, left = part(numbers(seed))
        assert 0.7 - 1e-6 <= height * width <= 1
        assert 3 / 4 - 1e-6 <= width / height <= 4 / 3 + 1e-6
        assert 0 <= top <= 1 - height + 1e-6
        assert 0 <= left <= 1 - width + 1e-6


def test_a_hue_is_turned_and_turned_back():
    pixels = torch.rand(3, 6, 6, generator=numbers())
    turned = shift_hue(pixels, 0.2)
    assert not torch.allclose(turned, pixels, atol=0.05)
    assert torch.allclose(shift_hue(turned, -0.2), pixels, atol=1e-5)
    red = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)
    green = shift_hue(red, 1 / 3).flatten()
    assert torch.allclose(green, torch.tensor([0.0, 1.0, 0.0]), atol=1e-6)
    grey = torch.full((3, 2, 2), 0.4)
    assert torch.allclose(shift_hue(grey, 0.3), grey)


def test_colour_jitter_keeps_the_range():
    pixels = torch.rand(3, 6, 6, generator=numbers())
    changed = [jitter(pixels, numbers(seed)) for seed in range(4)]
    assert all(item.min() >= 0 and item.max() <= 1 for item in changed)
    assert not torch.allclose(changed[0], changed[1])
    assert jitter(pixels[:1], numbers()).shape == (1, 6, 6)


@pytest.mark.parametrize(
    ("style", "extra", "side"),
    [
        ("pixelcam", "", 256),
        ("pylon", 'grey = true, fit = "stretch"', 224),
        ("histology", 'resample = "opencv-cubic"', 224),
        ("pcam", 'grey = true, equalize = true, fit = "pad"', None),
    ],
)
def test_models_with_one_input_size_are_trained(  # noqa: PLR0917 - fixtures
    style, extra, side, discs, make_recipe, tmp_path
):
    from napari_wsol.training.run import train

    parts = f"size = 224{', ' if extra else ''}{extra}"
    recipe = make_recipe(
        model='encoder = "mobilenet_v2"\ntaps = ["features.1"]\n'
        f"preprocessing = {{ {parts} }}",
        train="crop = 224",
        more=f'[augment]\nstyle = "{style}"',
    )
    images = load_images(discs / "train", classes=recipe.data.classes)
    first = load_training_images(images, recipe, lambda *_: None)[0].pixels
    assert first.shape[:2] == ((40, 44) if side is None else (side, side))
    card = train(
        recipe,
        discs,
        tmp_path / "out",
        device="cpu",
        say=lambda *_: None,
        step=lambda _: None,
    )
    assert math.isfinite(card.check["logits"][0])


@pytest.mark.parametrize(
    ("model", "train", "more", "words"),
    [
        ("", "", '[augment]\nstyle = "vivid"', "histology, pixelcam"),
        ("", "", '[augment]\nstyle = "pixelcam"', "one size"),
        ("preprocessing = { size = 32 }", "", '[augment]\nstyle = "pcam"', "grey"),
        (
            'preprocessing = { size = 32, fit = "pad" }',
            "",
            '[augment]\nstyle = "pixelcam"',
            "stretches",
        ),
    ],
)
def test_styles_that_do_not_fit_are_refused(make_recipe, model, train, more, words):
    with pytest.raises(ConfigError, match=words):
        make_recipe(
            model=f'encoder = "mobilenet_v2"\ntaps = ["features.1"]\n{model}',
            train=train,
            more=more,
        )


def test_images_of_a_model_that_sees_grey_are_grey(discs, make_recipe):
    recipe = make_recipe(
        model='encoder = "mobilenet_v2"\npreprocessing = { grey = true }'
    )
    images = load_images(discs / "train", classes=recipe.data.classes)
    pixels = load_training_images(images, recipe, lambda *_: None)[0].pixels
    assert tuple(pixels.shape) == (40, 44, 3)
    assert (pixels == pixels[..., :1]).all()


def test_crops_have_the_size_of_a_fixed_input(discs, make_recipe):
    recipe = make_recipe(
        model='encoder = "mobilenet_v2"\npreprocessing = { size = 64 }'
    )
    images = load_images(discs / "train", classes=recipe.data.classes)
    with pytest.raises(ConfigError, match="set crop to 64"):
        load_training_images(images, recipe, lambda *_: None)


def test_a_bag_is_all_of_an_image_and_has_the_features_of_inference():
    torch.manual_seed(0)
    spec = ModelSpec(
        encoder="amil_cnn", classes=("a", "b"), heads=("attention_mil",), tile=28
    )
    encoder = Model(spec).encoder
    bag = torch.rand(3, 56, 84)
    found = encode_bag(encoder, bag)
    assert torch.allclose(found.last, encoder(bag[None]).last, atol=1e-6)
    found.last.sum().backward()
    assert all(item.grad is not None for item in encoder.parameters())


def test_bags_of_a_share_are_those_of_the_whole():
    images = [ramp_image(60, 90), ramp_image(70, 40), ramp_image(20, 30)]
    options = {"size": 4, "side": 28, "jitter": 0.1}
    whole, order = draw_bags(images, generator=numbers(), **options)
    shapes = {0: 6, 1: 2, 2: 1}  # tiles; the smallest is mirrored up to one
    tiles = [item.shape[1] * item.shape[2] // 28**2 for item in whole]
    assert tiles == [shapes[int(index)] for index in order]
    mine, _ = draw_bags(images, generator=numbers(), share=Share(1, 2), **options)
    assert all(torch.equal(a, b) for a, b in zip(mine, whole[2:], strict=True))
    assert whole_tiles(torch.rand(3, 60, 90), 28).shape == (3, 56, 84)


def test_the_grid_of_tiles_begins_anywhere_at_every_step():
    """Tiles of one side: a picture of its own places says where they were cut."""
    places = torch.stack(
        torch.meshgrid(torch.arange(70), torch.arange(97), indexing="ij"), dim=-1
    )
    pixels = torch.cat([places, torch.zeros_like(places[..., :1])], -1).to(torch.uint8)
    image = TrainImage(pixels, torch.tensor([1.0, 0.0]))
    options = {"size": 40, "side": 28, "jitter": 0.0, "turns": False}
    plain, _ = draw_bags([image], generator=numbers(), **options)
    assert {_begin(bag) for bag in plain} == {(7, 6)}
    bags, _ = draw_bags([image], generator=numbers(), shift=True, **options)
    assert all(length % 28 == 0 for bag in bags for length in bag.shape[1:])
    down, right = (set(axis) for axis in zip(*map(_begin, bags), strict=True))
    # Up to a tile down and right, whatever the rest that fills no tile.
    assert min(down) < 7
    assert 21 < max(down) < 28
    assert min(right) < 6
    assert 21 < max(right) < 28
    again, _ = draw_bags([image], generator=numbers(), shift=True, **options)
    assert all(torch.equal(a, b) for a, b in zip(bags, again, strict=True))


def _begin(bag: torch.Tensor) -> tuple[int, int]:
    row, column, _ = (bag[:, 0, 0] * 255).round().int().tolist()
    return row, column


def test_shifted_bags_of_a_share_are_those_of_the_whole():
    images = [ramp_image(60, 90), ramp_image(70, 40), ramp_image(20, 30)]
    options = {"size": 6, "side": 28, "jitter": 0.1, "shift": True}
    whole, _ = draw_bags(images, generator=numbers(), **options)
    assert min(bag[0].numel() for bag in whole) >= 28**2  # one tile is always left
    for rank in (0, 1):
        mine, _ = draw_bags(
            images, generator=numbers(), share=Share(rank, 2), **options
        )
        at = slice(3 * rank, 3 * rank + 3)
        assert all(torch.equal(a, b) for a, b in zip(mine, whole[at], strict=True))


def test_a_recipe_shifts_the_grid_of_its_tiles(discs, make_recipe):
    tiles = 'encoder = "amil_cnn"\ntile = 28'
    bags = {}
    for shift in ("true", "false"):
        recipe = make_recipe(
            model=tiles,
            heads='["attention_mil"]',
            train="crop = 28\njitter = 0.0",
            more=f'[augment]\nstyle = "none"\nshift = {shift}',
        )
        images = load_images(discs / "train", classes=recipe.data.classes)
        trainer = Trainer(recipe, load_training_images(images, recipe, lambda *_: None))
        batches = trainer._batches
        bags[shift] = torch.stack(
            [bag for step in range(6) for bag in batches.of_step(step).pixels]
        )
        assert torch.equal(batches.of_step(3).pixels[1], bags[shift][7])
    assert not torch.equal(bags["true"], bags["false"])
    with pytest.raises(ConfigError, match="tile"):
        make_recipe(more="[augment]\nshift = true")
