"""The image's prediction, read through a map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_wsol.images.readers import open_slide
from napari_wsol.inference.encode import encode
from napari_wsol.inference.read_through import contradiction, prediction_through
from napari_wsol.inference.whole_image import localize


@pytest.fixture
def seen(small_model, tissue):
    slide = open_slide(tissue)
    features, geometry = encode(slide, small_model)
    found = localize(small_model, slide, ["pixelcam"])
    return small_model, features, geometry, found.heatmaps["pixelcam"]


def with_values(heatmap, values):
    return replace(heatmap, values=np.asarray(values, np.float32))


def test_through_a_full_map_it_is_the_prediction_of_the_image(seen):
    model, features, geometry, heatmap = seen
    full = with_values(heatmap, np.ones_like(heatmap.values))
    found = prediction_through(model, features, geometry, full)
    expected = model.probabilities(features)[0]
    assert list(found) == list(model.classes)
    assert np.allclose(list(found.values()), expected.detach().numpy(), atol=1e-5)


def test_through_a_part_only_its_cells_are_pooled(seen):
    model, features, geometry, heatmap = seen
    values = np.zeros_like(heatmap.values)
    values[: len(values) // 2] = 1.0
    found = prediction_through(model, features, geometry, with_values(heatmap, values))
    head = model.classifier
    maps = head.class_maps(features)[0].detach()
    stride = features.strides[head.map_index(features)]
    rows = round((len(values) // 2) * heatmap.scale[0] / stride)
    logits = head.pool_maps(maps[:, :rows].flatten(1))
    expected = torch.softmax(logits, -1)
    assert np.allclose(list(found.values()), expected.numpy(), atol=0.02)


def test_through_an_empty_map_there_is_nothing_to_say(seen):
    model, features, geometry, heatmap = seen
    empty = with_values(heatmap, np.zeros_like(heatmap.values))
    assert prediction_through(model, features, geometry, empty) == {}


@pytest.mark.parametrize(
    ("before", "after", "marked", "words"),
    [
        ({"a": 0.9, "b": 0.1}, {"a": 0.2, "b": 0.8}, True, "“b” (0.80)"),
        ({"a": 0.9, "b": 0.1}, {"a": 0.7, "b": 0.3}, True, ""),
        ({"a": 0.55, "b": 0.45}, {"a": 0.1, "b": 0.9}, True, ""),
        ({"a": 0.9, "b": 0.1}, {}, False, "nothing is marked as a gland"),
        ({}, {}, False, ""),
        ({}, {}, True, ""),
    ],
)
def test_contradictions_are_told(seen, before, after, marked, words):
    heatmap = with_values(seen[3], np.full_like(seen[3].values, float(marked)))
    told = contradiction(before, after, heatmap, "a gland")
    assert (words in told) if words else told == ""
