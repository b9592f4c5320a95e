"""Read-outs of the classifier: the authors' numbers, and ours where theirs slipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_wsol.methods import Model, ModelSpec, NetworkInput, get_method, map_of
from napari_wsol.methods.gradients import activation_and_gradient

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features

OFFICIAL = {
    "CAM": "cam",
    "GradCAM": "gradcam",
    "XGradCAM": "xgradcam",
    "LayerCAM": "layercam",
}


def normalised(values: Tensor) -> Tensor:
    return (values - values.min()) / (values.max() - values.min())


def shown(x: Tensor) -> NetworkInput:
    return NetworkInput(lambda: x, lambda *_: None, lambda: None)


class Case:
    """A golden case's network on its input, as the authors place its maps."""

    def __init__(self, golden, name: str, encoder: str, *, background: bool) -> None:
        self.golden = golden(name)
        spec = ModelSpec(
            encoder=encoder,
            classes=("a", "b"),
            options={"cam": {"background": background}},
            offsets=(3.5,),
        )
        self.model = Model(spec).eval()
        for part, prefix in (
            (self.model.encoder, "encoder."),
            (self.model.heads["cam"], "classification_head."),
        ):
            state, own = self.golden.part(prefix), part.state_dict()
            # Inception's layers are there twice, under "features." too.
            twice = [
                key for key in state if key not in own and key.startswith("features.")
            ]
            part.load_state_dict({k: v for k, v in state.items() if k not in twice})
        self.x = self.golden.x
        with torch.inference_mode():
            self.features: Features = self.model.encoder(self.x)

    @torch.inference_mode()
    def map(self, name: str, target: int) -> Tensor:
        """(h, w) by one of our methods."""
        return map_of(
            get_method(name), self.model, self.features, target, shown(self.x)
        )[0]

    def weighted(self, weights: Tensor, activation: Tensor) -> Tensor:
        return torch.einsum("nc,nchw->nhw", weights, activation).relu()[0]


@pytest.fixture(scope="module")
def plain(golden) -> Case:
    return Case(golden, "wsol_cam_resnet50_bg0", "wsol_resnet50", background=False)


@pytest.fixture(scope="module")
def with_background(golden) -> Case:
    return Case(golden, "wsol_cam_resnet50_bg1", "wsol_resnet50", background=True)


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("official", ["GradCAM", "XGradCAM", "LayerCAM"])
def test_gradient_maps_are_the_authors(
    official, target, background, plain, with_background
):
    case = with_background if background else plain
    found = case.map(OFFICIAL[official], target)
    case.golden.close(f"{official}_raw_cls{target}", found)
    case.golden.close(f"{official}_cls{target}", normalised(found))


def test_the_features_and_logits_are_the_authors(with_background):
    with_background.golden.close("act_target", with_background.features.last[:, ::128])
    with torch.inference_mode():
        logits = with_background.model.image_logits(with_background.features)
    with_background.golden.close("cl_logits", logits)


@pytest.mark.parametrize("target", [0, 1])
def test_cam_reads_the_row_of_its_class(plain, with_background, target):
    """The authors' row is off by one where there is a background row; ours is not."""
    plain.golden.close(f"CAM_raw_cls{target}", plain.map("cam", target))
    rows = with_background.model.heads["cam"].fc.weight
    with torch.inference_mode():
        last = with_background.features.last
        official = torch.einsum("c,nchw->nhw", rows[target], last)[0]
        right = torch.einsum("c,nchw->nhw", rows[target + 1], last)[0]
    ours = with_background.map("cam", target)
    with_background.golden.close(f"CAM_raw_cls{target}", official)
    assert torch.allclose(ours, right, atol=1e-5)
    assert (normalised(ours) - normalised(official)).abs().max() > 0.1
    # Grad-CAM, which the authors read from the right logit, agrees with our CAM.
    cells = last[0, 0].numel()
    expected = with_background.golden.outputs[f"GradCAM_raw_cls{target}"]
    assert np.abs(ours.relu().numpy() / cells - expected).max() < 1e-5


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("target", [0, 1])
def test_gradcampp_divides_as_its_paper_does(
    target, background, plain, with_background, golden
):
    """The authors' code loses the division; here are both numbers."""
    case = with_background if background else plain
    a, g = activation_and_gradient(case.model, case.features, target, None)
    lost = case.weighted((g**2 * g.relu()).sum((2, 3)), a)
    case.golden.close(f"GradCAMpp_cls{target}", normalised(lost))
    raw = case.golden.outputs[f"GradCAMpp_raw_cls{target}"]
    assert np.allclose(lost, raw, rtol=1e-3, atol=1e-9)
    ours = case.map("gradcam++", target)
    assert (normalised(ours) - normalised(lost)).abs().max() > 0.1
    if not background and target == 1:
        paper = golden("wsol_gradcampp_paper_formula")
        paper.close("paper_raw", ours)
        assert np.allclose(lost, paper.outputs["official_raw"], rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("target", [0, 1])
def test_smooth_gradcampp_is_the_authors(target, background, plain, with_background):
    case = with_background if background else plain
    found = case.map("smoothgradcam++", target)
    case.golden.close(f"SmoothGradCAMpp_cls{target}", normalised(found))


def test_smooth_gradcampp_weighs_the_last_copy_where_the_paper_weighs_the_image(plain):
    a, g = activation_and_gradient(plain.model, plain.features, 1, None)
    shares = g**2 / (2 * g**2 + a.sum((2, 3), keepdim=True) * g**3)
    paper = plain.weighted((shares * g.relu()).sum((2, 3)), a)
    official = plain.golden.outputs["SmoothGradCAMpp_cls1"]
    # Behind GAP the gradient is the same for all copies: only the activations differ.
    difference = np.abs(normalised(paper).numpy() - official).max()
    assert difference == pytest.approx(0.0715, abs=1e-3)


@pytest.mark.slow
def test_scorecam_is_the_authors(golden):
    case = Case(golden, "wsol_scorecam_resnet50", "wsol_resnet50", background=False)
    found = case.map("scorecam", 1)
    case.golden.close("ScoreCAM_cls1", normalised(found))


@pytest.mark.slow
def test_inception_maps_are_the_authors(golden):
    case = Case(golden, "wsol_cam_inceptionv3", "wsol_inceptionv3", background=False)
    with torch.inference_mode():
        case.golden.close("cl_logits", case.model.image_logits(case.features))
    for official in ("CAM", "GradCAM", "LayerCAM"):
        found = case.map(OFFICIAL[official], 1)
        case.golden.close(f"{official}_cls1", normalised(found))
    a, g = activation_and_gradient(case.model, case.features, 1, None)
    lost = case.weighted((g**2 * g.relu()).sum((2, 3)), a)
    case.golden.close("GradCAMpp_cls1", normalised(lost))
    ours = normalised(case.map("gradcam++", 1))
    assert (ours - normalised(lost)).abs().max() > 1e-3
