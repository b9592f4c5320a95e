import pytest
import torch

from napari_wsol.encoders import build_encoder
from napari_wsol.training.initial import load_encoder, measure_offsets


@pytest.mark.parametrize(
    ("name", "taps"),
    [
        ("mobilenet_v2", ["features.3", "features.6", "features.13"]),
        ("resnet18", ["layer2"]),
    ],
)
def test_untrained_weights_look_where_the_padding_says(name, taps):
    torch.manual_seed(0)
    encoder = build_encoder(name, output_stride=16, taps=taps).eval()
    images = [torch.randn(1, 3, 256, 320) for _ in range(2)]
    measured = measure_offsets(encoder, images)
    for found, stride, expected in zip(
        measured, encoder.strides, encoder.offsets, strict=True
    ):
        assert abs(found - expected) < 0.12 * stride


def test_a_kernel_that_leans_is_found_out():
    """Only the lower right tap of each 3 × 3 kernel counts: it looks one pixel on."""
    torch.manual_seed(0)
    encoder = build_encoder("mobilenet_v2", taps=["features.0"]).eval()
    with torch.no_grad():
        kernel = encoder.features[0][0].weight
        keep = kernel[..., 2, 2].clone()
        kernel.zero_()
        kernel[..., 2, 2] = keep
        encoder.features[0][0].bias.fill_(3.0)  # keeps ReLU6 from cutting it off
    (offset,) = measure_offsets(encoder, [0.1 * torch.randn(1, 3, 64, 64)])
    assert encoder.offsets == (1.0,)
    assert offset == pytest.approx(2.0)


@pytest.mark.parametrize("prefix", ["", "state_dict.module.", "ema.x.backbone."])
def test_initial_weights_may_lie_under_any_prefix(small_model, prefix):
    state = small_model.encoder.state_dict()
    wanted = {key: torch.rand_like(x.float()) + 0.5 for key, x in state.items()}
    other = {f"head.{key}": torch.zeros(3) for key in wanted}
    load_encoder(
        small_model, {**{prefix + key: x for key, x in wanted.items()}, **other}
    )
    found = small_model.encoder.state_dict()
    assert all(
        torch.equal(found[key], x) for key, x in wanted.items() if "batches" not in key
    )
