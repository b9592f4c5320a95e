"""Images of several splits together, with their references."""

import numpy as np
import pytest
from PIL import Image

from napari_wsol.errors import DatasetError
from napari_wsol.evaluation.benchmark.dataset import load_evaluation_set

CLASSES = ("dark", "bright")


@pytest.fixture
def root(tmp_path):
    """Three images with masks; “both” repeats one of “first”."""
    for name in ("a", "b", "c"):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / f"{name}.png")
        Image.fromarray(np.ones((8, 8), np.uint8)).save(tmp_path / f"{name}-mask.png")
    for split, names in (("first", "ab"), ("both", "bc")):
        folder = tmp_path / split
        folder.mkdir()
        lists = {
            "image_ids": [f"{name}.png" for name in names],
            "class_labels": [f"{name}.png,{int(name > 'a')}" for name in names],
            "localization": [f"{name}.png,{name}-mask.png" for name in names],
        }
        for key, lines in lists.items():
            (folder / f"{key}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def load(root, *, may_overlap=True):
    places = [(root, "first"), (root / "both", None)]
    return load_evaluation_set(root, places, classes=CLASSES, may_overlap=may_overlap)


def test_an_image_of_two_splits_counts_once(root):
    found = load(root)
    assert [item.id for item in found.samples] == ["a.png", "b.png", "c.png"]
    assert [item.labels for item in found.samples] == [(1, 0), (0, 1), (0, 1)]
    assert set(found.truth.masks) == {"a.png", "b.png", "c.png"}
    assert found.splits == ("first",)
    assert found.data == root.name


def test_some_images_keep_their_own_references(root):
    found = load(root)
    some = found.only(found.samples[1:])
    assert [item.id for item in some.samples] == ["b.png", "c.png"]
    assert set(some.truth.masks) == {"b.png", "c.png"}


def test_an_image_twice_is_refused_where_it_matters(root):
    with pytest.raises(DatasetError, match=r"“b\.png” is in several of the splits"):
        load(root, may_overlap=False)
    (root / "both" / "class_labels.txt").write_text("b.png,0\nc.png,1\n")
    with pytest.raises(DatasetError, match=r"“b\.png” has other classes in one split"):
        load(root)


def test_two_images_of_one_name_are_refused(root):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / "both" / "b.png")
    (root / "both" / "image_ids.txt").write_text("b.png\n")
    (root / "both" / "localization.txt").unlink()
    with pytest.raises(DatasetError, match=r"Two images are called “b\.png”"):
        load(root)
