"""Folds that share no patient."""

from pathlib import Path

import numpy as np
import pytest

from napari_wsol.data.datasets import Sample
from napari_wsol.data.folds import Grouping, split_folds
from napari_wsol.errors import ConfigError, DatasetError

CLASSES = ("benign", "malignant")


def sample(name: str, label: int) -> Sample:
    hot = tuple(int(label == place) for place in range(2))
    return Sample(path=Path("images") / name, labels=hot, id=f"images/{name}")


@pytest.fixture
def cohort() -> tuple[list[Sample], list[str]]:
    """200 images of 40 patients with one to nine images each, a third malignant."""
    rng = np.random.default_rng(3)
    counts = rng.multinomial(160, rng.dirichlet(np.full(40, 3.0))) + 1
    samples, groups = [], []
    for patient, count in enumerate(counts):
        for number in range(count):
            samples.append(sample(f"p{patient:02}_{number}.png", int(patient % 3 == 0)))
            groups.append(f"p{patient:02}")
    return samples, groups


def test_no_group_is_in_two_folds_and_every_image_is_held_out_once(cohort):
    samples, groups = cohort
    of = dict(zip((item.id for item in samples), groups, strict=True))
    folds = split_folds(samples, groups, 5, classes=CLASSES)
    held = [item.id for fold in folds for item in fold.held_out]
    assert sorted(held) == sorted(item.id for item in samples)
    for fold in folds:
        outside = {of[item.id] for item in fold.train}
        assert fold.groups == tuple(of[item.id] for item in fold.held_out)
        assert not outside & set(fold.groups)
        assert len(fold.train) + len(fold.held_out) == len(samples)


def test_folds_are_alike_in_size_and_classes(cohort):
    samples, groups = cohort
    folds = split_folds(samples, groups, 5, classes=CLASSES)
    counts = np.array([np.sum([i.labels for i in f.held_out], axis=0) for f in folds])
    whole = counts.sum(axis=0)
    assert np.abs(counts / whole - 1 / 5).max() < 0.03
    sizes = counts.sum(axis=1)
    assert sizes.max() - sizes.min() <= 5


def test_the_seed_decides(cohort):
    samples, groups = cohort

    def held(seed: int) -> list[list[str]]:
        folds = split_folds(samples, groups, 5, classes=CLASSES, seed=seed)
        return [[item.id for item in fold.held_out] for fold in folds]

    assert held(0) == held(0)
    assert held(0) != held(1)


def test_images_with_several_classes_or_none_are_dealt_out():
    labels = [(1, 1), (0, 0), (1, 0), (0, 1)] * 5
    samples = [
        Sample(path=Path(f"{at}.png"), labels=hot, id=f"{at}.png")
        for at, hot in enumerate(labels)
    ]
    groups = [item.id for item in samples]
    folds = split_folds(samples, groups, 5, classes=CLASSES)
    assert [np.sum([i.labels for i in f.held_out], 0).tolist() for f in folds] == [
        [2, 2]
    ] * 5
    assert {len(fold.held_out) for fold in folds} == {4}


def test_what_cannot_be_folded_is_refused():
    samples = [sample(f"{at}.png", int(at < 2)) for at in range(6)]
    groups = ["a", "a", "b", "b", "c", "c"]
    with pytest.raises(DatasetError, match=r"3 groups \(a, b, c\), too few for 4"):
        split_folds(samples, groups, 4, classes=CLASSES)
    with pytest.raises(DatasetError, match="“malignant” would be held out of fold"):
        split_folds(samples, groups, 3, classes=CLASSES)
    with pytest.raises(ConfigError, match="two folds or more, not 1"):
        split_folds(samples, groups, 1, classes=CLASSES)


# --- what tells the group -----------------------------------------------------------


def test_a_table_names_images_by_id_or_stem(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("name,patient\ntrain_1,7\nimages/b.png,8\nother,9\nc.tif,7\n")
    samples = [sample("train_1.png", 0), sample("b.png", 0), sample("c.png", 1)]
    found = Grouping(table=table, column="patient").of(samples)
    assert found == ["7", "8", "7"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,patient\na,1\n", "“images/b” has no group: the column “patient”"),
        ("name,patient\na,1\nb,\n", "“images/b” has no group"),
        ("name,patient\na,1\nb,2\nb.png,3\n", "Line 4.*group “3”.*above into “2”"),
        ("name,person\na,1\n", "no column “patient”. Its columns are name, person"),
        ("what,patient\na,1\n", "no column image or path"),
        ("name,patient\na\n", "Line 2 of “labels.csv” has 1 fields"),
    ],
)
def test_a_table_that_leaves_an_image_without_a_group_is_refused(tmp_path, text, words):
    table = tmp_path / "labels.csv"
    table.write_text(text)
    with pytest.raises(DatasetError, match=words):
        Grouping(table=table, column="patient").of([sample("a.png", 0), sample("b", 0)])


def test_two_images_of_one_stem_are_told_apart_by_their_ids(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("path,patient\nx/1.png,a\ny/1.png,b\n")
    names = ("x/1.png", "y/1.png")
    samples = [Sample(path=Path(name), labels=(1, 0), id=name) for name in names]
    assert Grouping(table=table, column="patient").of(samples) == ["a", "b"]
    table.write_text("path,patient\n1.png,a\n")
    with pytest.raises(DatasetError, match=r"x/1\.png.*nor of 1 more"):
        Grouping(table=table, column="patient").of(samples)


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        (r"^(\d+)_", ["00000032", "00000181"]),  # of the file name
        (r"^boxed|^other", ["boxed", "other"]),  # of the whole id
    ],
)
def test_a_pattern_finds_the_group(pattern, groups):
    names = ("boxed/00000032_037.png", "other/00000181_061.png")
    samples = [Sample(path=Path(name), labels=(1,), id=name) for name in names]
    assert Grouping(pattern=pattern).of(samples) == groups


def test_a_pattern_that_misses_an_image_is_refused():
    with pytest.raises(DatasetError, match=r"“images/x.png” has no group: the pattern"):
        Grouping(pattern=r"(\d+)_").of([sample("1_2.png", 0), sample("x.png", 0)])


@pytest.mark.parametrize(
    "given",
    [
        {"table": Path("a.csv")},
        {"column": "patient"},
        {"table": Path("a.csv"), "column": "patient", "pattern": "x"},
        {"column": "patient", "pattern": "x"},
        {"pattern": "("},
    ],
)
def test_a_grouping_is_one_of_two(given):
    with pytest.raises(ConfigError, match=r"not both|no regular expression"):
        Grouping(**given)
