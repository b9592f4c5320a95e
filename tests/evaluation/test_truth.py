import numpy as np
import pytest
from PIL import Image

from napari_wsol.errors import DatasetError
from napari_wsol.evaluation.truth import load_truth


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


IDS = ["img/a.jpg", "img/b.jpg"]


def test_boxes_that_lie_there_unused_are_told(tmp_path):
    write(tmp_path / "labels.csv", "path,label", "img/a.jpg,Mass")
    write(
        tmp_path / "BBox_List_2017.csv", "Image Index,Finding Label,Bbox [x,y,w,h],,,"
    )
    (note,) = load_truth(tmp_path, None, IDS).notes
    assert "“BBox_List_2017.csv” lists boxes, but was not used" in note
    write(tmp_path / "boxes.csv", "image,class,x,y,w,h", "a.jpg,Mass,1,2,3,4")
    assert not load_truth(tmp_path, None, IDS).notes


@pytest.fixture
def films(tmp_path):
    """A table of labels and one of boxes that names images with another extension."""
    write(
        tmp_path / "labels.csv",
        "image,file,split,Mass,Nodule",
        "a.png,img/a.jpg,test,1,1",
        "b.png,img/b.jpg,test,0,0",
    )
    write(
        tmp_path / "boxes.csv",
        "image,class,x,y,w,h",
        "a.png,Mass,10,20,30,40.5",
        "a.png,Nodule,0,0,5,5",
        "c.png,Mass,0,0,5,5",
    )
    return tmp_path


def test_boxes_of_a_table_beside_the_labels(films):
    truth = load_truth(films, "test", IDS)
    assert not truth.masks
    (mass, nodule) = truth.boxes["img/a.jpg"]
    assert set(truth.boxes) == {"img/a.jpg"}
    assert (mass.name, mass.xywh) == ("Mass", (10, 20, 30, 40.5))
    assert nodule.where == "Line 3 of “boxes.csv”"


def test_boxes_are_brought_to_the_grid(films):
    (box, _) = load_truth(films, None, IDS).boxes["img/a.jpg"]
    assert box.on((100, 100), (50, 200)) == (20, 10, 60, 20.25)
    with pytest.raises(DatasetError, match=r"Line 2 .*outside the 30×30 .*frame"):
        box.on((30, 30), (30, 30))
    (box, _) = load_truth(films, None, IDS, frame=(200, 100)).boxes["img/a.jpg"]
    assert box.on((30, 30), (50, 50)) == (5, 5, 15, 10.125)


def test_corners_of_a_split_folder_include_the_last_pixels(tmp_path):
    write(tmp_path / "test" / "localization.txt", "img/a.jpg,1,2,3,4")
    write(tmp_path / "test" / "image_sizes.txt", "img/a.jpg,20,10")
    (box,) = load_truth(tmp_path, "test", IDS).boxes["img/a.jpg"]
    assert box.xywh == (1, 2, 3, 3)
    assert box.frame == (10, 20)
    assert box.name is None


def test_boxes_and_masks_may_stand_in_the_table_itself(tmp_path):
    write(
        tmp_path / "labels.csv",
        "path,label,x,y,w,h",
        "img/a.jpg,p,1,2,3,4",
        "img/b.jpg,q,,,,",
    )
    truth = load_truth(tmp_path, None, IDS)
    assert set(truth.boxes) == {"img/a.jpg"}
    assert truth.boxes["img/a.jpg"][0].name == "p"
    (tmp_path / "img").mkdir()
    for name in ("a.jpg", "m.png"):
        Image.fromarray(np.eye(4, dtype=np.uint8)).save(tmp_path / "img" / name)
    write(tmp_path / "labels.csv", "path,label,mask", "img/a.jpg,p,img/m.png")
    truth = load_truth(tmp_path, None, IDS[:1])
    assert truth.masks["img/a.jpg"].mask().sum() == 4


def test_no_references_are_no_error(tmp_path):
    assert load_truth(tmp_path, None, IDS) == load_truth(tmp_path, None, [])
    write(tmp_path / "labels.csv", "path,label", "img/a.jpg,p")
    truth = load_truth(tmp_path, None, IDS)
    assert (truth.masks, truth.boxes) == ({}, {})


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["image,class,x,y,w", "a,b,1,2,3"], "no column h"),
        (["class,x,y,w,h", "b,1,2,3,4"], "no column image"),
        (["image,class,x,y,w,h"], "has no rows"),
        (["image,class,x,y,w,h", "a.png,Mass,1,2,3"], "Line 2 .* 5 fields"),
        (["image,class,x,y,w,h", "a.png,Mass,1,2,0,3"], "Line 2 .*no box: x, y, w, h"),
        (["image,class,x,y,w,h", "a.png,Mass,1,2,x,3"], "Line 2 .*no box"),
        (["image,class,x,y,w,h", "a.png,Mass,1,nan,2,3"], "Line 2 .*no box"),
        (["image,class,x,y,w,h", "z.png,Mass,1,2,2,3"], "No box belongs"),
    ],
)
def test_first_bad_box_is_named(films, lines, message):
    write(films / "boxes.csv", *lines)
    with pytest.raises(DatasetError, match=message):
        load_truth(films, "test", IDS)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("img/b.jpg,masks/b.png", "Line 2 .*not both"),
        ("img/b.jpg,5,5,4,9", "Line 2 .*x0, y0, x1, y1"),
    ],
)
def test_first_bad_corner_is_named(tmp_path, line, message):
    write(tmp_path / "localization.txt", "img/a.jpg,1,2,3,4", line)
    with pytest.raises(DatasetError, match=message):
        load_truth(tmp_path, None, IDS)


def test_bad_size_is_named(tmp_path):
    write(tmp_path / "localization.txt", "img/a.jpg,1,2,3,4")
    write(tmp_path / "image_sizes.txt", "img/a.jpg,1")
    with pytest.raises(DatasetError, match=r"Line 1 of “image_sizes.*its width"):
        load_truth(tmp_path, None, IDS)


def test_boxes_of_real_chest_films(shared):
    from napari_wsol.data.datasets import load_images

    images = load_images(shared / "nih14", "test")
    ids = [sample.id for sample in images.samples]
    truth = load_truth(shared / "nih14", "test", ids, frame=(1024, 1024))
    assert len(truth.boxes) == 438
    boxes = [box for found in truth.boxes.values() for box in found]
    assert len(boxes) == 496
    assert all(box.on((454, 454), (224, 224)) for box in boxes)
