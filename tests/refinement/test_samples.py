"""Strokes of other images: gathered, kept, pooled, scored."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_wsol.config import FinetuneConfig
from napari_wsol.encoders import Features
from napari_wsol.errors import ModelError
from napari_wsol.inference.encode import Geometry
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.methods.pixelcam import PixelHead
from napari_wsol.refinement.finetune import finetune, new_head
from napari_wsol.refinement.kernel_fit import MarkedPlaces, fit_places
from napari_wsol.refinement.local import finetune_locally, refined_map
from napari_wsol.refinement.marked import Labelled
from napari_wsol.refinement.samples import (
    MOST_CELLS,
    Samples,
    gather_samples,
    load_samples,
    name_of,
    newest,
    pooled,
    score,
    stroke_cells,
)

SEEN = Geometry((2.0, 2.0), (32, 32))


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    spec = ModelSpec(
        encoder="mobilenet_v2",
        classes=("a", "b"),
        heads=("cam", "pixelcam"),
        taps=("features.3", "features.6"),
    )
    return Model(spec).eval()


def image_features(model: Model) -> Features:
    with torch.no_grad():
        return model.encoder(torch.randn(1, 3, 32, 32))


def canvas() -> np.ndarray:
    labels = np.zeros((64, 64), np.uint8)
    labels[4:8, 4:40] = 2
    labels[20:24, 10:14] = 2
    labels[40:44, 10:60] = 1
    return labels


def gathered(model, features, labels, **options) -> Samples:
    found = gather_samples(
        features,
        model,
        labels,
        scale=(1, 1),
        translate=(0, 0),
        seen=SEEN,
        **{"fingerprint": "one", **options},
    )
    assert found is not None
    return found


def planted(values, labels, strokes, fingerprint="held") -> Samples:
    """One feature a cell; a head that follows its sign can be told right from wrong."""
    return Samples(
        x=torch.tensor(values, dtype=torch.float32)[:, None],
        colour=torch.zeros(len(values), 0),
        offset=torch.zeros(len(values)),
        labels=torch.tensor(labels),
        points=torch.zeros(len(values), 2),
        strokes=torch.tensor(strokes),
        fingerprint=fingerprint,
        model="m",
    )


def test_samples_are_what_the_head_reads_and_says_under_the_strokes(model):
    features = image_features(model)
    found = gathered(model, features, canvas())
    head = model.head(PixelHead, "pixelcam")
    with torch.no_grad():
        logits = head.at_points(features, found.points)
    assert torch.allclose(found.offset, logits[:, 1] - logits[:, 0], atol=1e-5)
    # Canvas cell (40, 10) covers level-0 pixel (40, 10): (19.75, 4.75) for the network.
    first = found.points[found.labels == 0][0]
    assert first.tolist() == [19.75, 4.75]
    assert found.strokes.unique().tolist() == [0, 1, 2]
    assert found.x.shape == (len(found), sum(model.encoder.channels))


def test_without_strokes_there_are_no_samples(model):
    labels = np.zeros((64, 64), np.uint8)
    features = image_features(model)
    where = {"scale": (1, 1), "translate": (0, 0), "seen": SEEN}
    assert gather_samples(features, model, labels, fingerprint="one", **where) is None
    labels[3, 3] = 1  # one kind is enough: others may bring the other
    assert gathered(model, features, labels).labels.tolist() == [0]


def test_long_strokes_are_thinned_and_short_ones_stay():
    labels = np.zeros((400, 400), np.uint8)
    labels[10:200, 10:390] = 2
    labels[300, 300] = 2
    labels[390:394, 5:9] = 1
    cells, kinds, owners = stroke_cells(labels)
    assert MOST_CELLS <= np.count_nonzero(kinds == 1) <= MOST_CELLS + 10
    assert np.count_nonzero(kinds == 0) == 16
    assert [300, 300] in cells.tolist()
    assert np.bincount(owners).min() == 1
    long = cells[owners == owners[kinds == 1][0]]
    assert long[:, 0].min() == 10
    assert long[:, 0].max() == 199


def test_samples_come_back_from_their_file(model, tmp_path):
    features = image_features(model)
    found = gathered(model, features, canvas(), time="2024-01-01")
    path = found.save(tmp_path / "journal")
    assert path.name == f"samples-{found.digest[:16]}.safetensors"
    again = load_samples(path)
    assert again.digest == found.digest
    assert again.time == "2024-01-01"
    assert all(torch.equal(a, found.tensors[k]) for k, a in again.tensors.items())
    assert found.save(tmp_path / "journal") == path  # nothing is written twice
    later = gathered(model, features, canvas()[::-1].copy(), time="2024-02-01")
    later.save(tmp_path / "journal")
    assert newest(tmp_path / "journal", found.model).name == name_of(later.digest)
    assert newest(tmp_path / "journal", "another model") is None
    assert newest(tmp_path / "missing", found.model) is None


def test_damaged_samples_are_refused_in_words(model, tmp_path):
    path = gathered(model, image_features(model), canvas()).save(tmp_path)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    for bad in (bytes(flipped), whole[:100], b""):
        path.write_bytes(bad)
        with pytest.raises(ModelError, match="refine once"):
            load_samples(path)


def test_samples_of_another_head_are_of_another_model(model):
    features = image_features(model)
    before = gathered(model, features, canvas())
    head = PixelHead(model.encoder.channels)
    other = gathered(model.with_head("pixelcam", head), features, canvas())
    assert before.model != other.model
    assert before.digest != other.digest


def test_pooling_does_not_depend_on_the_order(model):
    parts = [
        gathered(model, image_features(model), canvas(), fingerprint=name)
        for name in ("c", "a", "b")
    ]
    one, two = pooled(parts), pooled(parts[::-1])
    assert torch.equal(one.x, two.x)
    assert one.digests == tuple(parts[i].digest for i in (1, 2, 0))
    few = pooled(parts, most=60)
    assert 54 <= len(few.labels) <= 66
    assert set(few.labels.tolist()) == {0, 1}
    assert pooled([]) is None


def taught_elsewhere(count=40, fingerprint="elsewhere") -> Samples:
    """Two features on another image: the second one alone tells what is foreground."""
    torch.manual_seed(1)
    labels = torch.arange(count) % 2
    x = torch.stack([torch.randn(count), labels.float()], dim=1)
    return Samples(
        x=x,
        colour=torch.zeros(count, 0),
        offset=torch.zeros(count),
        labels=labels,
        points=torch.stack([torch.arange(count) * 8.0, torch.zeros(count)], dim=1),
        strokes=torch.arange(count),
        fingerprint=fingerprint,
        model="m",
    )


@pytest.fixture
def halves() -> Features:
    """One channel of noise, and one that is 1 in the right half."""
    torch.manual_seed(0)
    maps = torch.randn(1, 2, 16, 16)
    maps[:, 1] = 0
    maps[:, 1, :, 8:] = 1
    return Features((maps,), (4,), (1.5,))


NOTHING = Labelled(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))


def test_other_images_teach_the_head_without_a_stroke_here(halves):
    others = pooled([taught_elsewhere()])
    head = new_head(halves)
    list(finetune(head, halves, NOTHING, FinetuneConfig(others=1.0), others=others))
    found = refined_map(head, halves)
    assert found[:, 8:].min() > 0.7
    assert found[:, :8].max() < 0.3


def test_other_images_teach_the_local_refit_its_global_part_only(halves):
    others = pooled([taught_elsewhere(), taught_elsewhere(20, "third")])
    settings = FinetuneConfig(others=1.0, reach=8.0)
    head = new_head(halves)
    *_, (_, field) = finetune_locally(head, halves, NOTHING, settings, others=others)
    assert not field.weights.any()
    found = refined_map(head, halves)
    assert found[:, 8:].min() > 0.6
    assert found[:, :8].max() < 0.4
    # A stroke here says the opposite: it is followed where it is.
    here = Labelled(torch.tensor([[30.0, 50.0], [34.0, 50.0]]), torch.zeros(2).long())
    head = new_head(halves)
    *_, (_, field) = finetune_locally(head, halves, here, settings, others=others)
    found = refined_map(head, halves, field)
    assert len(field.weights) == 2
    assert found[8, 12] < found[0, 12] - 0.1
    assert found[0, 12] > 0.5


def test_places_of_others_count_as_much_as_is_said():
    places = MarkedPlaces(
        torch.zeros(2, 1),
        torch.tensor([[0.0, 0.0], [1e4, 0.0]]),
        torch.zeros(2),
        torch.tensor([1, 1]),
    )

    def fitted(these):
        run = fit_places(these, prior=1, reach=10, steps=50)
        while True:
            try:
                next(run)
            except StopIteration as finished:
                return finished.value

    # Counting twice is being there twice.
    there = fitted(MarkedPlaces(*(getattr(places, x)[[0, 1, 1]] for x in PARTS)))
    found = fitted(replace(places, counts=torch.tensor([1.0, 2.0])))
    assert float(found[0]) == pytest.approx(float(there[0]), rel=1e-3)
    assert float(found[1]) == pytest.approx(float(there[1:].sum()), rel=1e-3)
    once = fitted(replace(places, counts=torch.ones(2)))
    assert torch.allclose(once, fitted(places))


PARTS = ("looks", "points", "offset", "labels")


def head_of_sign() -> PixelHead:
    head = PixelHead([1])
    with torch.no_grad():
        head.conv4.weight.copy_(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1))
        head.conv4.bias.zero_()
    return head


def test_every_stroke_and_both_kinds_weigh_the_same():
    # Foreground: a long stroke that is right, and two short ones, half and wholly
    # wrong. Background: three, all right.
    values = [1.0] * 50 + [1.0, -1.0] + [-1.0] + [-1.0] * 6
    labels = [1] * 53 + [0] * 6
    strokes = [0] * 50 + [1, 1] + [2] + [3, 3, 4, 4, 5, 5]
    found = score(head_of_sign(), [planted(values, labels, strokes)])
    assert found.value == pytest.approx((0.5 + 1) / 2)
    assert (found.images, found.foreground, found.background) == (1, 3, 3)


def test_few_strokes_tell_nothing():
    few = planted([1.0, -1.0], [1, 0], [0, 1])
    assert score(head_of_sign(), [few, few]).value is None
    right = score(head_of_sign(), [few, few, few])
    assert (right.value, right.images) == (1.0, 3)
    one_kind = planted([1.0] * 4, [1] * 4, [0, 1, 2, 3])
    assert score(head_of_sign(), [one_kind]).images == 0
