import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_wsol.errors import DatasetError
from napari_wsol.evaluation import load_references


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


@pytest.fixture
def data(tmp_path):
    """A split whose paths start two folders above it, with several kinds of masks."""
    for name in ("a", "b"):
        save(tmp_path / "images" / f"{name}.png", np.zeros((4, 6, 3)))
    half = np.zeros((4, 6))
    half[:2] = 1
    save(tmp_path / "masks" / "a1.png", half)
    save(tmp_path / "masks" / "a2.png", half[::-1, ::-1] * 255)
    save(tmp_path / "masks" / "b.png", np.repeat(half[..., None] * 255, 3, axis=2))
    save(tmp_path / "masks" / "b_ignore.png", np.ones((4, 6)))
    split = tmp_path / "folds" / "fold-0" / "valpx"
    split.mkdir(parents=True)
    (split / "localization.txt").write_text(
        "images/a.png,masks/a1.png\n"
        "images/b.png,masks/b.png,masks/b_ignore.png\n\n"
        "images/a.png,masks/a2.png\n"
    )
    return split


def test_masks_of_one_image_are_added_up(data):
    first, second = load_references(data.parent, "valpx")
    assert first.id == "images/a.png"
    assert first.image.is_file()
    assert first.mask().all()
    assert first.ignore() is None
    assert second.mask().sum() == 12
    assert second.ignore().all()


def test_table_with_a_mask_column(data):
    root = data.parents[2]
    (root / "set.csv").write_text(
        "path,split,label,mask\n"
        "images/a.png,test,x,masks/a1.png\n"
        "images/b.png,test,y,\n"
        "images/b.png,train,y,masks/b.png\n"
    )
    (reference,) = load_references(root / "set.csv", "test")
    assert reference.id == "images/a.png"
    assert reference.mask().sum() == 12


def test_palette_masks_are_read_by_number(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 0]], np.uint8), "P")
    image.putpalette([255, 255, 255, 0, 0, 0, 0, 0, 0])
    image.save(tmp_path / "m.png")
    save(tmp_path / "i.png", np.zeros((2, 2)))
    (tmp_path / "localization.txt").write_text("i.png,m.png\n")
    (reference,) = load_references(tmp_path)
    assert reference.mask().tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("images/a.png,", "names no mask"),
        (",masks/a.png", "names no image"),
        ("images/a.png,masks/none.png", r"Line 2 of “localization\.txt”.*none\.png"),
        ("images/a.png,1,2,3,4", "Line 2 .* boxes cannot be used"),
        ("images/a.png", "Line 2 .* has 1 field"),
    ],
)
def test_first_bad_line_is_named(data, line, message):
    good = "images/b.png,masks/b.png\n"
    (data / "localization.txt").write_text(f"{good}{line}\n")
    with pytest.raises(DatasetError, match=message):
        load_references(data)


def test_masks_that_differ_in_shape_are_refused(data):
    save(data.parents[2] / "masks" / "a2.png", np.ones((3, 3)))
    with pytest.raises(DatasetError, match=r"a2\.png"):
        load_references(data)[0].mask()


def test_damaged_mask_is_named(data):
    (data.parents[2] / "masks" / "a1.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"a1\.png.*cannot be read"):
        load_references(data)[0].mask()


def test_folder_without_lists_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="nothing to compare with"):
        load_references(tmp_path)


def test_references_of_the_real_split():
    default = Path(__file__).parents[3] / "shared"
    glas = Path(os.environ.get("WSOL_SHARED", default)) / "data" / "glas"
    if not glas.is_dir():
        pytest.skip("needs the shared GlaS images")
    references = load_references(glas / "folds" / "fold-0", "valpx")
    assert len(references) == 6
    for reference in references:
        with Image.open(reference.image) as image:
            assert reference.mask().shape == (image.height, image.width)
        assert 0 < reference.mask().mean() < 1
