"""Our ROAD beside that of grad-cam, which took it from its authors' code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from napari_wsol.evaluation.road import imputed, road

pytestmark = pytest.mark.oracles


def test_guesses_are_those_of_the_authors():
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer

    rng = np.random.default_rng(0)
    pixels = rng.standard_normal((3, 23, 31)).astype(np.float32)
    theirs = NoisyLinearImputer(noise=0.0)
    for share in (0.1, 0.5, 0.9):
        gone = rng.random((23, 31)) < share
        mask = torch.from_numpy((~gone).astype(np.float32))
        wanted = theirs(torch.from_numpy(pixels), mask).numpy()
        np.testing.assert_allclose(imputed(pixels, gone), wanted, atol=1e-5)


def test_the_figure_is_that_of_grad_cam():
    from pytorch_grad_cam.metrics.road import ROADCombined

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(3))
    net = nn.Sequential(net, nn.Flatten(), nn.Linear(72, 2), nn.Softmax(1)).eval()
    with torch.no_grad():
        net[2].weight.mul_(20)
    rng = np.random.default_rng(1)
    pixels = rng.standard_normal((3, 32, 40)).astype(np.float32)

    def probability(batch):
        with torch.no_grad():
            return net(torch.from_numpy(batch))[:, 1].numpy()

    found, wanted = [], []
    for _ in range(4):
        heatmap = rng.permutation(32 * 40).reshape(32, 40).astype(np.float32) / 1280
        heatmap[8:20, 10:25] += rng.uniform(-1, 1)
        heatmap = (heatmap - heatmap.min()) / np.ptp(heatmap)
        found.append(road(probability, pixels, heatmap))
        x, maps = torch.from_numpy(pixels)[None], heatmap[None]
        (one,) = ROADCombined()(x, maps, [lambda output: output[1]], net)
        wanted.append(float(one))
    np.testing.assert_allclose(found, wanted, atol=5e-3)  # the noise is another
    assert np.ptp(wanted) > 0.02
