import numpy as np
import pytest
import torch

from napari_wsol.errors import ConfigError
from napari_wsol.methods.partial_loss import IGNORE
from napari_wsol.training.pseudo_labels import (
    SEEDERS,
    PseudoLabelConfig,
    dilate,
    draw_pseudo_labels,
    erode,
    lowest,
    otsu,
)

ALL = 10_000
"""More pixels than there are: everything that can be drawn is drawn."""

DRAWS = 10_000


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def smooth(size=24, count=2):
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij"
    )
    bump = torch.exp(-4 * ((y - 0.2) ** 2 + (x + 0.1) ** 2))
    return bump.expand(count, -1, -1).contiguous()


def as_theirs(labels):
    """Our labels with the authors' number for unlabelled pixels."""
    return labels.masked_fill(labels == IGNORE, -255).numpy()


def counts_of(labels):
    """(N,) foreground and background pixels."""
    return (labels == 1).sum((1, 2)), (labels == 0).sum((1, 2))


@pytest.fixture
def case(golden):
    return golden("pixelcam_seeders")


@pytest.fixture
def cams(case):
    return torch.from_numpy(case.outputs["cams"])


def test_otsus_threshold_is_theirs(case, cams):
    assert otsu(cams).tolist() == case.about["facts"]["otsu_on_floor255"]


@pytest.mark.parametrize(
    ("values", "threshold"),
    [((0.0, 1.0), 1), ((0.999, 1.0), 254), ((0.2, 0.6), 51)],
)
def test_otsus_threshold_never_is_an_end_of_the_scale(values, threshold):
    cam = torch.full((1, 4, 4), values[0])
    cam[0, 0] = values[1]
    assert otsu(cam).item() == threshold


def test_squares_grow_and_shrink_as_theirs(case):
    for name, change in (("dilate", dilate), ("erode", erode)):
        mask = torch.from_numpy(case.outputs[f"{name}_in"] > 0)[None]
        np.testing.assert_array_equal(
            change(mask, 3)[0].numpy(), case.outputs[f"{name}_out"] > 0
        )


@pytest.mark.parametrize(
    ("side", "times", "area"), [(11, 1, 0.2), (3, 1, 0.2), (3, 2, 0.4), (11, 0, 0.4)]
)
def test_the_threshold_seeder_draws_from_their_pixels(case, cams, side, times, area):
    config = PseudoLabelConfig(
        seeder="threshold",
        foreground=ALL,
        background=ALL,
        area=area,
        erode=side,
        erosions=times,
    )
    labels = draw_pseudo_labels(cams, config, generator())
    wanted = case.outputs[f"thr_support_k{side}_it{times}_p{area}"]
    np.testing.assert_array_equal(as_theirs(labels), wanted)


@pytest.mark.parametrize("area", [0.2, 0.4, 1])
def test_background_comes_from_their_pixels(case, cams, area):
    wanted = case.outputs[f"prob_bg_support_p{area}"]
    np.testing.assert_array_equal(lowest(cams, area).numpy(), wanted > 0)
    config = PseudoLabelConfig(foreground=0, background=ALL, area=area)
    labels = draw_pseudo_labels(cams, config, generator())
    np.testing.assert_array_equal(labels.numpy() == 0, wanted > 0)


def test_pixels_of_both_kinds_become_unlabelled(case, cams):
    config = PseudoLabelConfig(foreground=ALL, background=ALL)
    labels = draw_pseudo_labels(cams, config, generator())
    np.testing.assert_array_equal(as_theirs(labels), case.outputs["prob_all_selected"])


@pytest.mark.parametrize(
    ("name", "options", "normal"),
    [
        ("counts_n5_p0.2", {"foreground": 5, "background": 5}, None),
        ("counts_n5_p0.4", {"foreground": 5, "background": 5, "area": 0.4}, None),
        ("counts_n3_ksz3", {"foreground": 3, "background": 3, "dilate": 3}, None),
        (
            "counts_neg_partial",
            {"foreground": 5, "background": 5, "normal_images": "background"},
            [True, False],
        ),
        (
            "counts_neg_equalize",
            {
                "foreground": 7,
                "background": 2,
                "normal_images": "background",
                "equalize": True,
            },
            [True, False],
        ),
    ],
)
def test_as_many_pixels_as_theirs_are_drawn(case, cams, name, options, normal):
    facts = case.about["facts"][name]
    config = PseudoLabelConfig(**options)
    flags = None if normal is None else torch.tensor(normal).repeat(200)
    labels = draw_pseudo_labels(cams.repeat(200, 1, 1), config, generator(), flags)
    for kind, drawn in zip(("fg", "bg"), counts_of(labels), strict=True):
        counts = drawn.view(200, 2)
        # The most is exact; the least depends on overlaps, which are chance.
        assert counts.amax(0).tolist() == facts[f"{kind}_max"]
        least = np.array(facts[f"{kind}_min"])
        grown = options.get("dilate", 1) ** 2
        assert np.all(np.abs(counts.amin(0).numpy() - least) <= grown)


def chi_square(counts, expected):
    return float(((counts - expected) ** 2 / expected).sum())


def drawn_often(cams, config, times):
    """(H, W) how often each pixel became foreground and background."""
    labels = draw_pseudo_labels(cams.expand(times, -1, -1), config, generator(3))
    return torch.stack([(labels == kind).sum(0) for kind in (1, 0)]).double()


def test_foreground_is_drawn_in_proportion_to_the_map(case, cams):
    config = PseudoLabelConfig(foreground=1, background=0)
    drawn = drawn_often(cams[:1], config, DRAWS)[0]
    p = (cams[0] + 1e-6).double()
    p = p / p.sum()
    # Cells of small expectation are pooled, as the test demands.
    order = p.flatten().argsort()
    bins = (p.flatten()[order].cumsum(0) * 200).long().clamp(max=199)
    found = torch.zeros(200, dtype=torch.float64).scatter_add_(
        0, bins, drawn.flatten()[order]
    )
    expected = torch.zeros(200, dtype=torch.float64).scatter_add_(
        0, bins, DRAWS * p.flatten()[order]
    )
    used = expected > 5
    dof = int(used.sum()) - 1
    value = chi_square(found[used], expected[used])
    assert abs(value - dof) < 4 * (2 * dof) ** 0.5
    top = cams[0] >= torch.quantile(cams[0], 0.9)
    share = float(drawn[top].sum() / DRAWS)
    assert share == pytest.approx(
        case.about["facts"]["mean_draws_fg_top10pct"], abs=0.02
    )


def test_background_is_drawn_evenly_where_the_map_is_lowest(case, cams):
    config = PseudoLabelConfig(foreground=0, background=1)
    drawn = drawn_often(cams[:1], config, DRAWS)[1]
    support = torch.from_numpy(case.outputs["prob_bg_support_p0.2"][0] > 0)
    assert drawn[~support].sum() == 0
    cells = drawn[support]
    expected = torch.full_like(cells, DRAWS / len(cells))
    dof = len(cells) - 1
    assert abs(chi_square(cells, expected) - dof) < 4 * (2 * dof) ** 0.5


def test_several_pixels_are_drawn_without_replacement():
    cam = torch.tensor([[[0.7, 0.2], [0.1, 0.0]]])
    config = PseudoLabelConfig(foreground=2, background=0)
    drawn = drawn_often(cam, config, 20_000)[0].flatten() / 20_000
    p = [0.7, 0.2, 0.1]
    # The chance to be among the first two draws.
    wanted = [
        p[i] + sum(p[j] * p[i] / (1 - p[j]) for j in range(3) if j != i)
        for i in range(3)
    ]
    assert torch.allclose(drawn[:3], torch.tensor(wanted).double(), atol=0.015)
    assert drawn.sum() == 2


@pytest.mark.parametrize("seeder", SEEDERS)
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0, float("nan")])
def test_a_constant_map_gives_no_seeds(case, seeder, value):
    cams = torch.full((2, 8, 8), value)
    config = PseudoLabelConfig(seeder=seeder, erode=3)
    labels = draw_pseudo_labels(cams, config, generator())
    assert (labels == IGNORE).all()
    np.testing.assert_array_equal(
        as_theirs(labels[:1]), case.outputs["thr_constant_cam"]
    )


@pytest.mark.parametrize("seeder", SEEDERS)
def test_the_same_seed_draws_the_same_and_another_step_draws_others(seeder):
    config = PseudoLabelConfig(seeder=seeder, erode=3)
    source = generator()
    first = draw_pseudo_labels(smooth(), config, source)
    second = draw_pseudo_labels(smooth(), config, source)
    again = draw_pseudo_labels(smooth(), config, generator())
    assert first.dtype == torch.int64
    assert first.shape == (2, 24, 24)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("seeder", SEEDERS)
def test_the_lowest_area_is_obeyed(seeder):
    cams = smooth()
    for area in (0.1, 0.5):
        config = PseudoLabelConfig(
            seeder=seeder, foreground=0, background=ALL, area=area
        )
        labels = draw_pseudo_labels(cams, config, generator())
        share = float((labels == 0).float().mean())
        assert share == pytest.approx(1 if seeder == "probability" else area, abs=0.01)


def test_a_region_may_vanish_by_erosion():
    cams = torch.zeros(1, 16, 16)
    cams[0, 5:8, 5:8] = 1
    config = PseudoLabelConfig(seeder="threshold")
    foreground, background = counts_of(draw_pseudo_labels(cams, config, generator()))
    assert (foreground.item(), background.item()) == (0, 10)


@pytest.mark.parametrize("seeder", SEEDERS)
def test_normal_images_are_used_as_asked(seeder):
    normal = torch.tensor([True, False])
    found = {}
    for how in ("as any", "none", "background"):
        config = PseudoLabelConfig(seeder=seeder, erode=3, normal_images=how)
        labels = draw_pseudo_labels(smooth(), config, generator(), normal)
        found[how] = [item.tolist() for item in counts_of(labels)]
    assert found["as any"][0][0] > 0
    assert [item[0] for item in found["none"]] == [0, 0]
    assert [item[0] for item in found["background"]] == [0, 10]
    assert all(item[0][1] > 0 and item[1][1] > 0 for item in found.values())
    # That an image is normal is known without its map: a constant one does no harm.
    config = PseudoLabelConfig(seeder=seeder, normal_images="background")
    labels = draw_pseudo_labels(torch.zeros(2, 8, 8), config, generator(), normal)
    assert [item.tolist() for item in counts_of(labels)] == [[0, 0], [10, 0]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"seeder": "otsu"},
        {"normal_images": "never"},
        {"foreground": -1},
        {"dilate": 2},
        {"erode": 0},
        {"area": 0},
        {"equalize": True, "foreground": 2, "background": 3},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ConfigError):
        PseudoLabelConfig(**wrong)
