import os
from pathlib import Path

import pytest

from napari_wsol.data.datasets import load_images
from napari_wsol.errors import DatasetError


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"never opened")


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


# --- split folders ---------------------------------------------------------------


@pytest.fixture
def split(tmp_path):
    """folds/fold-0/train, whose paths start at the data set's folder."""
    touch(tmp_path, "images/a.png", "images/b.png", "images/ü c.png")
    folder = tmp_path / "folds" / "fold-0" / "train"
    write(folder / "image_ids.txt", "images/b.png", "images/a.png", "images/ü c.png")
    write(
        folder / "class_labels.txt",
        "images/a.png,0",
        "images/b.png,1",
        "images/ü c.png,1",
    )
    # Listed, but absent: whoever opens masks fails.
    write(folder / "localization.txt", "images/a.png,masks/none.png")
    return folder


def test_split_folder_is_read_in_the_listed_order(split, tmp_path):
    data = load_images(split.parent, "train")
    assert [sample.id for sample in data.samples] == [
        "images/b.png",
        "images/a.png",
        "images/ü c.png",
    ]
    assert [sample.labels for sample in data.samples] == [(0, 1), (1, 0), (0, 1)]
    assert data.samples[0].path == tmp_path / "images" / "b.png"
    assert data.classes == ("0", "1")
    assert data.multi_label is False
    assert load_images(split) == data


def test_class_names_are_given_or_listed(split, tmp_path):
    assert load_images(split, classes=["no", "yes"]).classes == ("no", "yes")
    write(tmp_path / "classes.txt", "benign", "malignant")
    assert load_images(split).classes == ("benign", "malignant")


def test_images_elsewhere_need_the_root(split, tmp_path):
    moved = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    moved.mkdir()
    (tmp_path / "images").rename(moved / "images")
    with pytest.raises(DatasetError, match=r"Pass the folder .* as `root`"):
        load_images(split)
    assert load_images(split, root=moved).samples[1].path == moved / "images" / "a.png"


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("class_labels.txt", ["images/a.png,0", "images/b.png"], "Line 2 of “class_"),
        ("class_labels.txt", ["images/a.png,-1"], "Line 1 .* number of its class"),
        ("class_labels.txt", ["images/a.png,0"], "Line 1 of “image_ids.*no class"),
        ("image_ids.txt", ["images/a.png", "images/no.png"], "no class"),
        ("image_ids.txt", ["images/no.png"], "no class|does not exist"),
        ("image_ids.txt", ["images/a.png", "images/a.png"], "listed twice"),
        ("image_ids.txt", [""], "lists no images"),
        ("image_ids.txt", ["images/b.png", "images/b.png"], "Line 2 of.*listed twice"),
        ("class_labels.txt", ["images/a.png,0", "images/a.png,1"], "Line 2 .*class 1"),
    ],
)
def test_first_bad_line_of_a_split_is_named(split, name, lines, message):
    write(split / name, *lines)
    with pytest.raises(DatasetError, match=message):
        load_images(split)


def test_missing_image_is_named(split, tmp_path):
    (tmp_path / "images" / "a.png").unlink()
    with pytest.raises(DatasetError, match=r"Line 2 .*images/a\.png.*does not exist"):
        load_images(split)


def test_missing_list_is_named(split):
    (split / "image_ids.txt").unlink()
    with pytest.raises(DatasetError, match=r"image_ids\.txt” is missing"):
        load_images(split)


def test_too_few_class_names_are_refused(split):
    with pytest.raises(DatasetError, match="class number 1, but there are only 1"):
        load_images(split, classes=["benign"])


# --- tables ----------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    touch(tmp_path, "img/a.png", "img/b.png", "img/c.png")
    return tmp_path


def test_table_of_class_names(folder):
    write(
        folder / "labels.csv",
        "path,label,mask",
        "img/a.png,tumour,gone.png",
        'img/b.png,"normal, old",gone.png',
    )
    data = load_images(folder)
    assert data.classes == ("normal, old", "tumour")
    assert [sample.labels for sample in data.samples] == [(0, 1), (1, 0)]
    assert data.samples[0].path == folder / "img" / "a.png"
    assert not data.multi_label


def test_table_of_joined_names_is_multi_label(folder):
    write(folder / "labels.csv", "path,label", "img/a.png,x|y", "img/b.png,y")
    data = load_images(folder, classes=["y", "x"])
    assert [sample.labels for sample in data.samples] == [(1, 1), (1, 0)]
    assert data.multi_label


def test_table_of_flags(folder):
    write(
        folder / "some.csv",
        "image,file,official_split,Mass,Nodule,mask",
        "1,img/a.png,train,0,1,",
        "1,img/b.png,test,0,0,",
        "1,img/c.png,test,1,1,",
    )
    data = load_images(folder, "test")
    assert data.classes == ("Mass", "Nodule")
    assert [sample.labels for sample in data.samples] == [(0, 0), (1, 1)]
    assert data.multi_label
    chosen = load_images(folder / "some.csv", "train", classes=["Nodule"])
    assert chosen.classes == ("Nodule",)
    assert chosen.samples[0].labels == (1,)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("column", ["Path", "slide", "image", "filename", "FILE"])
def test_tables_as_other_programs_write_them(folder, mark, column):
    rows = [[column, "Age", "Mass", "Nodule"], ["img/a.png", "61", "1.0", ""]]
    rows += [["img/b.png", "7", "", "0.0"], ["img/c.png", "35", "0", "1"]]
    write(folder / "labels.csv", *map(mark.join, rows))
    data = load_images(folder)
    assert data.classes == ("Mass", "Nodule")
    assert [sample.labels for sample in data.samples] == [(1, 0), (0, 0), (0, 1)]


def test_an_image_may_be_without_findings(folder):
    rows = ["img/a.png;Mass|Nodule", "img/b.png;No Finding", "img/c.png;"]
    write(folder / "labels.tsv", "Path;Label", *rows)
    data = load_images(folder)
    assert data.classes == ("Mass", "Nodule")
    assert [sample.labels for sample in data.samples] == [(1, 1), (0, 0), (0, 0)]
    with pytest.raises(DatasetError, match="has 2 classes, but one is wanted"):
        load_images(folder, multi_label=False)
    named = load_images(folder, classes=["Mass", "Nodule", "No Finding"])
    assert [sample.labels for sample in named.samples][1:] == [(0, 0, 1), (0, 0, 0)]


def test_table_named_like_the_split(folder):
    write(folder / "train.csv", "path,label", "img/a.png,x", "img/b.png,y")
    write(folder / "test.csv", "path,label", "img/c.png,y")
    assert [sample.id for sample in load_images(folder, "test").samples] == [
        "img/c.png"
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,a,b", "img/a.png,1.0,", "img/b.png,-1,0"], "Line 3 .*“-1”.* “a”"),
        (["path,label", "img/a.png,x", "img/no.png,x"], "Line 3 .*img/no.png"),
        (["path,label", "img/a.png"], "Line 2 .* has 1 fields"),
        (["path,a,b", "img/a.png,1,0", "img/b.png,1,2"], "Line 3 .*“2”.*column “b”"),
        (["path,age", "img/a.png,61"], "no column of labels"),
        (["name,label", "img/a.png,x"], "no column “path”"),
        (["path,label"], "no rows"),
        (["path,label", "img/a.png,x", "img/a.png,y"], "listed twice"),
    ],
)
def test_first_bad_row_of_a_table_is_named(folder, lines, message):
    write(folder / "labels.csv", *lines)
    with pytest.raises(DatasetError, match=message):
        load_images(folder)


def test_tables_of_boxes_list_an_image_once_a_box(folder):
    write(
        folder / "boxes.csv",
        "path,label,x,y,w,h",
        "img/a.png,mass,1,2,3,4",
        "img/b.png,normal,,,,",
        "img/a.png,mass,5,6,7,8",
    )
    data = load_images(folder)
    assert [sample.id for sample in data.samples] == ["img/a.png", "img/b.png"]
    assert data.classes == ("mass", "normal")
    write(
        folder / "boxes.csv",
        "path,Mass,Nodule,xmin,mask",
        "img/a.png,1,0,1,no.png",
        "img/a.png,0,1,1,no.png",
    )
    with pytest.raises(DatasetError, match=r"Line 3 .*a\.png” other classes"):
        load_images(folder)


def test_unknown_class_is_named(folder):
    write(folder / "labels.csv", "path,label", "img/a.png,x", "img/b.png,z")
    with pytest.raises(DatasetError, match=r"Line 3 .*“z”.*x, y"):
        load_images(folder, classes=["x", "y"])


def test_split_that_cannot_be_told_is_refused(folder):
    write(folder / "labels.csv", "path,label", "img/a.png,x")
    with pytest.raises(DatasetError, match="no column “split”"):
        load_images(folder, "test")
    write(folder / "labels.csv", "path,label,split", "img/a.png,x,train")
    with pytest.raises(DatasetError, match="It has train"):
        load_images(folder, "test")


def test_several_classes_where_one_is_wanted_are_refused(folder):
    write(folder / "labels.csv", "path,a,b", "img/a.png,1,0", "img/b.png,1,1")
    with pytest.raises(DatasetError, match=r"img/b\.png” has 2 classes"):
        load_images(folder, multi_label=False)
    write(folder / "labels.csv", "path,a,b", "img/a.png,1,0", "img/b.png,0,1")
    assert load_images(folder, multi_label=True).multi_label


# --- a folder for each class -----------------------------------------------------


def test_folder_for_each_class(tmp_path):
    touch(
        tmp_path,
        "train/benign/b.png",
        "train/benign/deep/a.JPG",
        "train/malignant/c.tif",
        "train/malignant/notes.txt",
        "train/masks/c.png",
        "train/.hidden/x.png",
    )
    data = load_images(tmp_path, "train")
    assert data.classes == ("benign", "malignant")
    assert [sample.id for sample in data.samples] == [
        "benign/b.png",
        "benign/deep/a.JPG",
        "malignant/c.tif",
    ]
    assert data.samples[2].labels == (0, 1)
    assert load_images(tmp_path / "train") == data
    turned = load_images(tmp_path, "train", classes=["malignant", "benign"])
    assert turned.samples[0].id == "malignant/c.tif"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/x.png"], "holds no data set"),
        (["a/x.png", "masks/x.png"], "holds no data set"),
        (["a/x.png", "b/x.txt"], "“.*b” has no images"),
    ],
)
def test_folders_that_are_no_classes_are_refused(tmp_path, names, message):
    touch(tmp_path, *names)
    with pytest.raises(DatasetError, match=message):
        load_images(tmp_path)


def test_split_that_does_not_exist_is_refused(tmp_path):
    touch(tmp_path, "train/a/x.png", "train/b/y.png")
    with pytest.raises(DatasetError, match="no split “test”"):
        load_images(tmp_path, "test")
    with pytest.raises(DatasetError, match="There is no folder"):
        load_images(tmp_path / "nowhere")


# --- real data -------------------------------------------------------------------


@pytest.fixture
def shared():
    default = Path(__file__).parents[3] / "shared"
    folder = Path(os.environ.get("WSOL_SHARED", default)) / "data"
    if not folder.is_dir():
        pytest.skip("needs the shared images")
    return folder


def test_real_histology_folds(shared):
    for fold in range(5):
        folder = shared / "glas" / "folds" / f"fold-{fold}"
        sizes = [
            len(load_images(folder, split).samples)
            for split in ("train", "valcl", "valpx")
        ]
        assert sum(sizes) >= 85
    folder = shared / "glas" / "folds" / "fold-0"
    data = load_images(folder, "train", classes=["benign", "malignant"])
    assert len(data.samples) == 67
    assert not data.multi_label


def test_real_chest_films(shared):
    data = load_images(shared / "nih14", "test")
    assert len(data.classes) == 14
    assert data.multi_label
