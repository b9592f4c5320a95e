"""Every family of timm's networks trains, is saved, loads, and is measured."""

import pytest
from fixtures.families import trains_saves_and_loads

pytestmark = pytest.mark.timm

CONVOLUTIONAL = ("resnet50", "convnext_atto", "efficientnet_b0")


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_convolutional_networks(discs, make_recipe, tmp_path, name):
    recipe = make_recipe(model=f'encoder = "timm:{name}"')
    trains_saves_and_loads(recipe, discs, tmp_path)


def test_attention_mil_on_tiles_of_a_convolutional_network(
    discs, make_recipe, tmp_path
):
    recipe = make_recipe(
        model='encoder = "timm:convnext_atto"\ntile = 224',
        heads='["attention_mil"]',
        train="crop = 224",
    )
    trains_saves_and_loads(recipe, discs, tmp_path)


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("vit_tiny_patch16_224", "cam"),
        ("vit_tiny_patch16_224", "attention_mil"),
        ("swin_tiny_patch4_window7_224", "cam"),
        ("swin_tiny_patch4_window7_224", "attention_mil"),
    ],
)
def test_transformers(discs, make_recipe, tmp_path, name, head):
    tile = "tile = 224" if head == "attention_mil" else ""
    recipe = make_recipe(
        model=f'encoder = "timm:{name}"\n{tile}',
        heads=f'["{head}"]',
        train="crop = 224",
    )
    trains_saves_and_loads(recipe, discs, tmp_path)
