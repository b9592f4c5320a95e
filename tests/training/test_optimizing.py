import numpy as np
import pytest
import torch

from napari_wsol.images.readers import open_slide
from napari_wsol.inference.encode import Geometry
from napari_wsol.inference.whole_image import make_heatmap
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.training.config import TrainConfig
from napari_wsol.training.optimizing import parameter_groups, rate


def test_the_rate_falls_as_theirs(golden):
    case = golden("pixelcam_training_misc")
    how = TrainConfig(schedule="step", step_epochs=5, floor=1e-6, warmup=0)
    rates = np.array([rate(1e-3, how, 0, epoch) for epoch in range(30)])
    np.testing.assert_allclose(rates, case.outputs["lr"], rtol=1e-5)


@pytest.mark.parametrize("name", ["resnet50", "vgg16", "inceptionv3"])
def test_the_fast_parameters_are_theirs(golden, name):
    case = golden("pixelcam_training_misc")
    spec = ModelSpec(
        encoder=f"wsol_{name}",
        classes=("normal", "tumour"),
        heads=("cam", "pixelcam"),
        options={"cam": {"background": True}},
    )
    with torch.device("meta"):  # only names are looked at
        model = Model(spec)
    groups = parameter_groups(model, 1e-3)
    wanted = case.about["param_groups"][name]
    assert [len(group["params"]) for group in groups] == [item["n"] for item in wanted]
    assert [group["lr"] for group in groups] == [item["lr"] for item in wanted]
    fast = {id(parameter) for parameter in groups[1]["params"]}
    heads = [key for key, p in model.heads.named_parameters() if id(p) in fast]
    assert len(heads) == len(wanted[1]["heads"])
    assert torch.optim.SGD(groups, momentum=0.9, nesterov=True).param_groups


def test_other_encoders_learn_at_one_rate():
    model = Model(ModelSpec(encoder="resnet18", classes=("a", "b")))
    (group,) = parameter_groups(model, 0.1)
    assert group["lr"] == 0.1
    assert len(group["params"]) == len(list(model.parameters()))


def test_a_score_is_normalised_as_theirs(golden):
    """Ours is the min–max of a heatmap; their standardiser is a sigmoid of it."""
    case = golden("pixelcam_training_misc")
    scores = torch.from_numpy(case.outputs["scoremap"])
    heatmap = make_heatmap(
        scores,
        stride=8,
        seen=Geometry((1.0, 1.0), (40, 48)),
        slide=open_slide(np.zeros((40, 48, 3), np.uint8)),
        method="cam",
        target="tumour",
    )
    case.close("normalized", heatmap.values)
    sharp = torch.from_numpy(heatmap.values)
    case.close("standardized", torch.sigmoid(5 * (2 * sharp - 1)))


def test_the_learning_rate_drops_as_published(golden):
    case = golden("pcam_loss")
    how = TrainConfig(schedule="drops", drops=(2, 4), warmup=0)
    rates = [rate(1e-4, how, 0, epoch) for epoch in range(6)]
    assert np.allclose(rates, case.outputs["lr_epoch0to5"], rtol=1e-6, atol=0)
    assert rates[:2] == [1e-4, 1e-4]
