"""Every family of timm's networks trains, is saved, loads, and is measured."""

import pytest
from fixtures.families import trains_saves_and_loads

pytestmark = pytest.mark.timm

CONVOLUTIONAL = ("resnet50", "convnext_atto", "efficientnet_b0")


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_convolutional_networks(discs, make_recipe, tmp_path, name):
    recipe = make_recipe(model=f'encoder = "timm:{name}"')
    trains_saves_and_loads(recipe, discs, tmp_path)
