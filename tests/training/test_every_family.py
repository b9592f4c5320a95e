"""Every family of our encoders trains, is saved, loads, and is measured."""

import pytest
from fixtures.families import trains_saves_and_loads

SIZED = f"preprocessing = {{ mean = {[0.5] * 3}, std = {[0.5] * 3}, size = 96 }}"
"""For networks that need more than the images have."""

FAMILIES = {
    "resnet18": ("", 32),
    "mobilenet_v2": ("", 32),
    "densenet121": ("", 32),
    "vgg19": ("", 32),
    "inception_v3": (SIZED, 96),
    "wsol_resnet18": ("", 32),
    "wsol_vgg16": ("", 32),
    "deit_tiny": ("", 224),
}
QUICK = ("mobilenet_v2", "deit_tiny")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in FAMILIES
    ],
)
def test_every_family(discs, make_recipe, tmp_path, name):
    more, crop = FAMILIES[name]
    recipe = make_recipe(
        model=f'encoder = "{name}"\n{more}', train=f"crop = {crop}", name=name
    )
    trains_saves_and_loads(recipe, discs, tmp_path)


@pytest.mark.parametrize(("name", "tile"), [("amil_cnn", 28), ("mobilenet_v2", 224)])
def test_every_family_of_tiles(discs, make_recipe, tmp_path, name, tile):
    recipe = make_recipe(
        model=f'encoder = "{name}"\ntile = {tile}',
        heads='["attention_mil"]',
        train=f"crop = {tile}",
    )
    trains_saves_and_loads(recipe, discs, tmp_path)
