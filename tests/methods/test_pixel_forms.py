"""PixelCAM's pixel classifier in all its forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_wsol.config import FinetuneConfig
from napari_wsol.encoders import Features
from napari_wsol.errors import ConfigError
from napari_wsol.methods import Model, ModelSpec, get_method
from napari_wsol.methods.pixelcam import HIDDEN, PixelHead
from napari_wsol.refinement.finetune import finetune, refined_copy
from napari_wsol.refinement.local import refined_map
from napari_wsol.refinement.marked import labelled_pixels

FORMS = list(HIDDEN)


def head_of(channels, form, *, standardize=False):
    """A head whose hidden layers and norms are not the identity."""
    generator = torch.Generator().manual_seed(1)
    head = PixelHead(channels, form=form, standardize=standardize)
    with torch.no_grad():
        for name, value in head.state_dict().items():
            if value.dtype == torch.float32:
                noise = torch.randn(value.shape, generator=generator)
                positive = name.endswith(("running_var", "scale"))
                value.copy_(noise.abs() + 0.5 if positive else noise)
    return head.eval()


@pytest.fixture
def features():
    """Two depths of one image whose right half differs from its left."""
    generator = torch.Generator().manual_seed(0)
    fine = torch.randn(1, 6, 16, 16, generator=generator) * 0.3
    coarse = torch.randn(1, 10, 8, 8, generator=generator) * 0.3
    fine[:, :3, :, 8:] += 2
    coarse[:, 4:, :, 4:] += 2
    return Features((fine, coarse), (4, 8), (1.5, 3.5), ("fine", "coarse"))


@pytest.mark.parametrize(
    ("case", "form"),
    [
        ("default", "plain"),
        ("batch_norm", "batch_norm"),
        ("multiple_layer", "three_layers"),
    ],
)
@torch.no_grad()
def test_pixel_logits_are_those_of_the_authors(golden, case, form):
    case = golden(f"pixelhead_{case}")
    head = PixelHead([64], form=form).eval()
    head.load_state_dict(case.state())
    seen = Features((case.x,), (8,), (3.5,), ("last",))
    case.close("pixel_logits", head(seen))


def test_one_hidden_layer_has_the_published_names():
    state = PixelHead([64], form="one_layer").state_dict()
    assert state["conv3.0.weight"].shape == (16, 64, 1, 1)
    assert state["conv3.1.running_mean"].shape == (16,)
    assert state["conv4.weight"].shape == (2, 16, 1, 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("standardize", [False, True])
@torch.no_grad()
def test_every_form_reads_all_depths_on_the_finest_grid(features, form, standardize):
    head = head_of([6, 10], form, standardize=standardize)
    coarse = torch.nn.functional.interpolate(
        features.last, (16, 16), mode="bilinear", align_corners=False
    )
    x = torch.cat([features.maps[0], coarse], 1)
    if standardize:
        x = (x - head.shift.view(1, -1, 1, 1)) / head.scale.view(1, -1, 1, 1)
    for name in ("bn", "conv1", "conv2", "conv3", "conv4"):
        if name in dict(head.named_children()):
            x = head.get_submodule(name)(x)
    torch.testing.assert_close(head(features), x, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_one_depth_is_classified_where_its_cells_are(features, form):
    """Hidden layers see cells, not cells moved onto the nominal grid."""
    head = head_of([10], form)
    moved = Features((features.last,), (8,), (0.0,), ("coarse",))
    nominal = Features((features.last,), (8,), (3.5,), ("coarse",))
    torch.testing.assert_close(
        head(moved), moved.straight(head(nominal)), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_logits_at_points_are_the_map_there(features, form):
    head = head_of([6, 10], form, standardize=True)
    points = torch.tensor([[1.5, 1.5], [29.5, 41.5], [3.5, 1.5]])
    at, full = head.at_points(features, points), head(features)[0]
    torch.testing.assert_close(at[0], full[:, 0, 0])
    torch.testing.assert_close(at[1], full[:, 7, 10])
    if form != "plain":  # which reads the coarse map between the fine map's cells too
        between = (full[:, 0, 0] + full[:, 1, 0]) / 2
        torch.testing.assert_close(at[2], between)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("standardize", [False, True])
def test_strokes_move_the_map_of_every_form(features, form, standardize):
    head = head_of([6, 10], form, standardize=standardize)
    before = head.state_dict()
    before = {key: value.clone() for key, value in before.items()}
    canvas = np.zeros((64, 64), np.uint8)
    canvas[8:56, 8], canvas[8:56, 56] = 2, 1  # foreground left
    labelled = labelled_pixels(
        canvas, scale=(1, 1), translate=(0, 0), downsample=(1, 1)
    )
    refined = refined_copy(head, features)
    list(finetune(refined, features, labelled, FinetuneConfig(prior=0.01)))
    left, right = refined_map(refined, features)[2:14, [2, 14]].mean(0)
    assert left > 0.8
    assert right < 0.2
    was = refined_map(head, features)[2:14, [2, 14]].mean(0)
    assert left - right > was[0] - was[1]
    same = [
        key
        for key, value in refined.state_dict().items()
        if torch.equal(value, before[key])
    ]
    assert set(before) - set(same) <= {"conv4.weight", "conv4.bias"}
    assert all(torch.equal(head.state_dict()[key], before[key]) for key in before)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_can_be_built_into_a_model(form):
    spec = ModelSpec(
        encoder="resnet18",
        classes=("a", "b"),
        heads=("cam", "pixelcam"),
        taps=("layer2", "layer3"),
        options={"pixelcam": {"form": form, "maps": 1}},
    )
    model = Model(spec).eval()
    x = torch.randn(2, 3, 48, 64)
    assert model.raw(x).maps.shape == (2, 2, 3, 4)
    with torch.no_grad():
        values = get_method("pixelcam").map(model, model.encoder(x), 1)
    assert values.shape == (2, 3, 4)
    assert 0 <= values.min() <= values.max() <= 1


def test_another_form_is_refused_in_words():
    with pytest.raises(ConfigError, match="three_layers"):
        PixelHead([4], form="two_layers")
