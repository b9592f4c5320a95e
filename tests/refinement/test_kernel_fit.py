"""MarkedPlaces that weigh more than others."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from napari_wsol.refinement.kernel_fit import (
    MarkedPlaces,
    Variances,
    balanced,
    evenness,
    fit_places,
)


def places(count=12, foreground=3, seed=0):
    draw = torch.Generator().manual_seed(seed)
    labels = torch.zeros(count, dtype=torch.int64)
    labels[:foreground] = 1
    return MarkedPlaces(
        torch.randn(count, 4, generator=draw) / 2 + labels[:, None] / 2,
        200 * torch.rand(count, 2, generator=draw),
        torch.randn(count, generator=draw),
        labels,
    )


def solved(found, **options):
    run = fit_places(found, **{"prior": 1.0, "reach": 60.0, "steps": 50} | options)
    losses = []
    while True:
        try:
            losses.append(next(run))
        except StopIteration as finished:
            return finished.value, losses


def twice(found, which):
    """The places with some of them there twice."""
    return MarkedPlaces(
        *(
            torch.cat([item, item[which]])
            for item in (found.looks, found.points, found.offset, found.labels)
        )
    )


def test_a_count_of_two_is_a_place_that_is_there_twice():
    found = places()
    which = torch.tensor([0, 5, 7])
    counts = torch.ones(12)
    counts[which] = 2
    weighted, _ = solved(replace(found, counts=counts))
    doubled, _ = solved(twice(found, which))
    merged = doubled[:12].clone()
    merged[which] += doubled[12:]
    torch.testing.assert_close(weighted, merged, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_the_rarer_kind_weighs_more(monkeypatch, exponent):
    monkeypatch.setattr("napari_wsol.refinement.kernel_fit.BALANCE", exponent)
    found = balanced(places())
    fore, back = found.counts[:3], found.counts[3:]
    assert float(found.counts.sum()) == pytest.approx(12, abs=1e-4)
    # Nine of one kind and three of the other: 3 for 1, or its root.
    assert float(fore[0] / back[0]) == pytest.approx(3**exponent, abs=1e-5)
    assert torch.allclose(fore, fore[0])
    assert torch.allclose(back, back[0])


def test_counts_given_before_are_kept_within_a_kind():
    given = torch.ones(12)
    given[4] = 0.25
    found = balanced(replace(places(), counts=given))
    assert float(found.counts[4] / found.counts[5]) == pytest.approx(0.25)
    assert float(found.counts.sum()) == pytest.approx(float(given.sum()), abs=1e-4)


def test_one_kind_alone_stays_as_it_is():
    assert balanced(places(foreground=0)).counts is None


def test_a_balanced_fit_is_convex_and_moves_towards_the_rarer_kind():
    found = places()
    found = replace(found, offset=torch.zeros(12))
    plain, _ = solved(found)
    even, losses = solved(balanced(found))
    assert all(b <= a for a, b in pairwise(losses))
    assert float(even.sum()) > float(plain.sum())


def test_without_the_linear_kernel_only_places_nearby_are_reached():
    found = places()
    weights, _ = solved(found, variances=Variances(linear=0))
    assert not torch.allclose(weights, solved(found)[0], atol=1e-3)


def test_what_holds_everywhere_grows_with_how_even_both_kinds_are():
    alone = [evenness(places(foreground=count)) for count in (0, 12)]
    assert alone == [0, 0]
    grows = [evenness(places(count=60, foreground=count)) for count in range(1, 20)]
    assert all(0 < a <= b for a, b in pairwise(grows))
    few = Variances.of(places(count=60, foreground=5))
    assert few.constant < 1e-6  # one to eleven
    assert 0.3 < few.linear < 0.31
    assert grows[-1] == 1
    assert evenness(places(count=60, foreground=41)) == grows[18]  # 41 to 19
    counts = torch.ones(12)
    counts[3:] = 1 / 3  # weights count, and not places: 3 to 3
    assert evenness(replace(places(), counts=counts)) == 1
    assert Variances.of(places(count=60, foreground=25)) == Variances()
    assert Variances.of(places(foreground=12)) == Variances(linear=0.2, constant=0)
    assert Variances.of(places(foreground=0)) == Variances(linear=0.3, constant=0)
    assert evenness(places(count=0, foreground=0)) == 0
