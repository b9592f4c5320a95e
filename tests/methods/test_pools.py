"""Heads that pool class maps, against what the authors' code gave."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from napari_wsol.encoders import Features
from napari_wsol.errors import ConfigError
from napari_wsol.methods.cam import GapHead
from napari_wsol.methods.deepmil import DeepMilHead
from napari_wsol.methods.gap import MeanHead
from napari_wsol.methods.lse import LseHead
from napari_wsol.methods.maxpool import MaxHead
from napari_wsol.methods.prm import PrmHead
from napari_wsol.methods.wildcat import WildcatHead


def features(*maps):
    strides = tuple(8.0 for _ in maps)
    return Features(maps, strides, tuple(3.5 for _ in maps), tuple(map(str, maps)))


def loaded(head, case):
    head.load_state_dict(case.state())
    return head.eval()


def one_map(values):
    """A head with one class whose map is the one given."""
    return features(torch.as_tensor(values, dtype=torch.float32)[None, None])


def identity(kind, **options):
    head = kind(1, 1, **options)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.fill_(1.0 if parameter.ndim == 4 else 0.0)
    return head


CONV = {"GAP": MeanHead, "MaxPool": MaxHead, "LogSumExp": LseHead, "PRM": PrmHead}


@pytest.mark.parametrize(
    ("name", "background"),
    [
        ("GAP", False),
        ("GAP", True),
        ("MaxPool", False),
        ("MaxPool", True),
        ("LogSumExp", False),
        ("PRM", False),
    ],
)
@torch.no_grad()
def test_pooled_class_maps_are_those_of_the_authors(golden, name, background):
    case = golden(f"pool_{name}_bg{int(background)}")
    head = loaded(CONV[name](32, 3, background=background), case)
    seen = features(case.x)
    case.close("logits", head(seen))
    maps = head.class_maps(seen)
    assert np.allclose(case.outputs["cams"][:, int(background) :], maps, atol=1e-4)


@pytest.mark.parametrize("background", [False, True])
@torch.no_grad()
def test_a_linear_layer_on_the_mean_is_that_of_the_authors(golden, background):
    case = golden(f"pool_WGAP_bg{int(background)}")
    head = loaded(GapHead(32, 3, background=background), case)
    case.close("logits", head(features(case.x)))


@pytest.mark.parametrize("name", ["WildCat", "WildCat_kmin0"])
@torch.no_grad()
def test_wildcat_adds_the_minimum_that_the_authors_code_loses(golden, name):
    case = golden(f"pool_{name}_bg0")
    about = case.about["config"]
    options = {key: about[key] for key in ("modalities", "kmax", "kmin", "alpha")}
    head = loaded(WildcatHead(32, 3, **options), case)
    seen = features(case.x)
    maps = head.class_maps(seen)
    case.close("cams", maps)

    theirs = WildcatHead(32, 3, **(options | {"alpha": 0.0}))
    case.close("logits", loaded(theirs, case)(seen))

    cells = maps.flatten(2).sort(-1).values
    lowest = round(options["kmin"] * cells.shape[-1])
    minimum = cells[..., :lowest].mean(-1) if lowest else torch.zeros(2, 3)
    paper = torch.from_numpy(case.outputs["logits"]) + 0.6 * minimum
    torch.testing.assert_close(head(seen), paper, atol=1e-4, rtol=0)
    assert lowest == 0 or (head(seen) - theirs(seen)).abs().min() > 0.05


@torch.no_grad()
def test_wildcat_drops_the_background_row(golden):
    case = golden("pool_WildCat_kmin0_bg1")
    head = loaded(WildcatHead(32, 3, background=True, kmin=0), case)
    seen = features(case.x)
    case.close("logits", head(seen))
    maps = head.class_maps(seen)
    assert np.allclose(case.outputs["cams"][:, 1:], maps, atol=1e-4)


def test_wildcat_counts_cells_by_share_or_number():
    ramp = one_map(torch.arange(10.0).view(2, 5))
    share = identity(WildcatHead, modalities=1, kmax=0.2, kmin=0.3, alpha=1.0)
    assert share(ramp).item() == pytest.approx(8.5 + 1)
    number = identity(WildcatHead, modalities=1, kmax=3, kmin=99, alpha=0.5)
    assert number(ramp).item() == pytest.approx(8 + 4.5 / 2)
    least = identity(WildcatHead, modalities=1, kmax=0.01, kmin=0.0)
    assert least(ramp).item() == 9


@pytest.mark.parametrize("gated", [False, True])
@torch.no_grad()
def test_deepmil_attends_as_the_authors_do(golden, gated):
    case = golden("pool_DeepMil_gated_bg0" if gated else "pool_DeepMil_bg0")
    head = loaded(DeepMilHead(32, 3, mid_channels=16, gated=gated), case)
    seen = features(case.x)
    case.close("logits", head(seen))
    case.close("cams", head.class_maps(seen))


def test_lse_lies_between_mean_and_maximum_and_does_not_overflow():
    values = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    for r, expected in ((1e-3, 1.5), (1e3, 3.0)):
        found = identity(LseHead, r=r)(one_map(values)).item()
        assert found == pytest.approx(expected, abs=2e-3)
    huge = identity(LseHead)(one_map(values * 1e4)).item()
    assert huge == pytest.approx(3e4 - math.log(4) / 10)


def test_prm_takes_a_map_smaller_than_its_window():
    assert identity(PrmHead)(one_map([[1.0, 5.0]])).item() == 5


@pytest.mark.parametrize(
    ("kind", "options", "word"),
    [(LseHead, {"r": 0}, "positive"), (WildcatHead, {"kmax": 0}, "kmax")],
)
def test_impossible_options_are_refused_in_words(kind, options, word):
    with pytest.raises(ConfigError, match=word):
        kind(4, 2, **options)
