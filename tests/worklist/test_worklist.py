"""Lists of images: made from names, told by content, remembered."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from napari_wsol.errors import ImageError
from napari_wsol.journal import (
    ImageFacts,
    JournalLibrary,
    RoundMade,
    StatusChanged,
    StrokeMade,
)
from napari_wsol.strokes.canvas import Canvas
from napari_wsol.strokes.stroke import StrokeList
from napari_wsol.worklist.items import WorkList
from napari_wsol.worklist.saved import list_of_folder, remember_list, saved_lists
from napari_wsol.worklist.status import Fingerprints, StatusSearch, fingerprint_of

WAIT = 30


def picture(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (24, 32, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def names(worklist):
    return [worklist.relative(item) for item in worklist]


def stroked(library, path, *, status=None, rounds=0):
    """One stroke on an image, as a journal keeps it."""
    canvas = Canvas.over((24, 32))
    image = ImageFacts(
        fingerprint=fingerprint_of(path),
        name=path.name,
        path=str(path),
        shape=(24, 32),
        canvas_shape=canvas.shape,
        canvas_scale=canvas.scale,
        canvas_translate=canvas.translate,
        mpp=None,
    )
    journal = library.open(image)
    labels = np.zeros(canvas.shape, np.uint8)
    labels[2:4, 2:9] = 2
    stroke = StrokeList.empty(canvas.shape).made(labels, label=2, tool="brush")
    journal.append(StrokeMade(stroke=stroke))
    for index in range(rounds):
        journal.append(
            RoundMade(index=index + 1, model="m", model_sha256="0", target="a")
        )
    if status:
        journal.append(StatusChanged(status=status))
    journal.close()


def searched(worklist, library, known):
    search = StatusSearch(worklist, library, known)
    search.start()
    assert search.join(WAIT)
    return {item.name: item.status for item in worklist}


def test_a_thousand_files_are_listed_without_opening_one(tmp_path):
    for number in range(1000):
        (tmp_path / f"case {number}.svs").touch()  # no image at all: never opened
    worklist = WorkList.of_folder(tmp_path)
    assert len(worklist) == 1000
    assert names(worklist)[8:12] == [f"case {n}.svs" for n in (8, 9, 10, 11)]
    assert worklist.counts["untouched"] == 1000


def test_a_folder_gives_images_and_not_their_references(tmp_path):
    for name in ("b10.png", "B2.png", "b2_mask.png", "b10_anno.bmp", "lone_mask.png"):
        (tmp_path / name).touch()
    for name in ("notes.txt", ".hidden.png", "sub/c.tif", "masks/b2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "d.zarr" / "0").mkdir(parents=True)
    (tmp_path / "dicom").mkdir()
    for part in range(3):
        (tmp_path / "dicom" / f"{part}.dcm").touch()
    flat = WorkList.of_folder(tmp_path)
    assert names(flat) == ["B2.png", "b10.png", "d.zarr", "lone_mask.png"]
    deep = WorkList.of_folder(tmp_path, recursive=True)
    assert names(deep) == [
        "B2.png",
        "b10.png",
        "d.zarr",
        "dicom",
        "lone_mask.png",
        "sub/c.tif",
    ]


def test_a_folder_without_images_says_so(tmp_path):
    with pytest.raises(ImageError, match="no image in"):
        WorkList.of_folder(tmp_path)
    with pytest.raises(ImageError, match="cannot be read"):
        WorkList.of_folder(tmp_path / "missing")


def test_files_and_tables_give_lists_too(tmp_path):
    worklist = WorkList.of_files([tmp_path / "x" / "2.png", tmp_path / "10.png"])
    assert names(worklist) == ["10.png", "x/2.png"]
    text = tmp_path / "list.txt"
    text.write_text("# mine\n\nx/2.png\n10.png\nx/2.png\n", "utf-8")
    assert names(WorkList.of_table(text)) == ["x/2.png", "10.png"]
    table = tmp_path / "list.csv"
    table.write_text(
        "id;image;set_aside\n1;10.png;yes\n2;x/2.png;\n3;/far/3.png;0\n", "utf-8-sig"
    )
    found = WorkList.of_table(table)
    assert names(found) == ["10.png", "x/2.png", "/far/3.png"]
    assert [item.set_aside for item in found] == [True, False, False]
    plain = tmp_path / "plain.csv"
    plain.write_text("10.png\nx/2.png\n", "utf-8")
    assert names(WorkList.of_table(plain)) == ["10.png", "x/2.png"]
    for bad in (tmp_path / "empty.txt", tmp_path / "missing.txt"):
        if bad.name == "empty.txt":
            bad.touch()
        with pytest.raises(ImageError, match="list"):
            WorkList.of_table(bad)


def test_a_published_data_set_lists_its_images_and_says_so(tmp_path):
    for name in ("train_1", "train_1_anno", "testA_1", "other"):
        picture(tmp_path / f"{name}.bmp")
    rows = ["train_1,1, benign,x", "testA_1,2, malignant,x"]
    table = tmp_path / "Grade.csv"
    table.write_text("\n".join(["name,patient ID, grade (GlaS), y", *rows]))
    for found in (WorkList.of_folder(tmp_path), WorkList.of_table(table)):
        assert names(found) == ["train_1.bmp", "testA_1.bmp"]
        assert found.note == "This is GlaS: 2 images of 2 patients, masks of 1."
    table.write_text(table.read_text().replace("benign", "bening"))
    found = WorkList.of_folder(tmp_path)
    assert "“bening”" in found.note
    assert len(found) == 3  # to be looked at all the same


def test_statuses_come_from_journals_by_content(tmp_path):
    paths = [picture(tmp_path / "in" / f"{n}.png", n) for n in range(5)]
    (tmp_path / "in" / "broken.png").write_bytes(b"")
    library = JournalLibrary(tmp_path / "journals")
    stroked(library, paths[1])
    stroked(library, paths[2], rounds=1, status="refined")
    stroked(library, paths[3], status="reviewed")
    paths[1].rename(tmp_path / "in" / "renamed.png")
    shutil.copy(paths[3], tmp_path / "in" / "copy.png")
    worklist = WorkList.of_folder(tmp_path / "in")
    index = tmp_path / "journals" / "fingerprints.json"
    assert searched(worklist, library, Fingerprints(index)) == {
        "0.png": "untouched",
        "2.png": "refined",
        "3.png": "reviewed",
        "4.png": "untouched",
        "broken.png": "untouched",
        "copy.png": "reviewed",
        "renamed.png": "stroked",
    }
    assert worklist.counts == {
        "untouched": 3,
        "stroked": 1,
        "refined": 1,
        "reviewed": 2,
    }


def test_no_file_is_read_twice(tmp_path):
    paths = [picture(tmp_path / "in" / f"{n}.png", n) for n in range(3)]
    library, index = (
        JournalLibrary(tmp_path / "journals"),
        tmp_path / "journals" / "index.json",
    )
    stroked(library, paths[1])
    searched(WorkList.of_folder(tmp_path / "in"), library, Fingerprints(index))
    # Other content of the same size and time: only who reads it would see.
    told = paths[2].stat()
    paths[2].write_bytes(b"x" * told.st_size)
    import os

    os.utime(paths[2], ns=(told.st_atime_ns, told.st_mtime_ns))
    known = Fingerprints(index)
    assert known.of(paths[2])
    again = WorkList.of_folder(tmp_path / "in")
    assert searched(again, library, known)["1.png"] == "stroked"
    paths[2].write_bytes(b"changed")
    assert known.of(paths[2]) == ""
    index.write_text("{damaged", "utf-8")
    assert Fingerprints(index).of(paths[1]) == ""


def test_nothing_is_read_where_nothing_was_done(tmp_path):
    picture(tmp_path / "in" / "a.png")
    worklist = WorkList.of_folder(tmp_path / "in")
    searched(worklist, JournalLibrary(tmp_path / "journals"), Fingerprints(None))
    assert worklist[0].fingerprint == ""


def test_the_search_can_be_stopped(tmp_path):
    paths = [picture(tmp_path / "in" / f"{n}.png", n) for n in range(20)]
    library = JournalLibrary(tmp_path / "journals")
    stroked(library, paths[0])
    worklist, ended = WorkList.of_folder(tmp_path / "in"), []
    search = StatusSearch(
        worklist, library, Fingerprints(None), lambda: ended.append(1)
    )
    worklist.changed.connect(lambda _row: search.cancel())
    search.start()
    assert search.join(WAIT)
    assert ended == []
    assert sum(bool(item.fingerprint) for item in worklist) <= 2


def test_the_next_untouched_image_is_found_round_the_corner(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.png").touch()
    worklist = WorkList.of_folder(tmp_path)
    worklist.learn(1, status="stroked")
    worklist.learn(4, note="It is damaged.")
    assert worklist.next_untouched(None) == 0
    assert worklist.next_untouched(0) == 2
    assert worklist.next_untouched(3) == 0
    for row in (0, 2, 3):
        worklist.learn(row, status="refined")
    assert worklist.next_untouched(1) is None
    assert worklist.after(0, -1) is None
    assert worklist.after(3) == 4
    assert worklist.after(4) is None


def test_a_list_is_remembered_with_what_is_set_aside(tmp_path):
    for name in ("a.png", "b.png", "sub/a.png"):
        picture(tmp_path / "in" / name)
    saved = tmp_path / "lists"
    worklist = list_of_folder(tmp_path / "in", saved, recursive=True)
    worklist.set_aside(2)
    worklist.go_to(1)
    file = remember_list(worklist, saved)
    assert remember_list(worklist, saved) == file  # one file a list
    assert json.loads(file.read_text("utf-8"))["set_aside"] == ["sub/a.png"]
    picture(tmp_path / "in" / "aa.png")  # came since
    (found,) = saved_lists(saved)
    again = found.open()
    assert names(again) == ["a.png", "aa.png", "b.png", "sub/a.png"]
    assert [item.set_aside for item in again] == [False, False, False, True]
    assert again.current == 2  # b.png, where one was
    (saved / "damaged.json").write_text("{", "utf-8")
    assert len(saved_lists(saved)) == 1


def test_a_folder_that_was_moved_is_known_again(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        picture(tmp_path / "in" / name)
    saved = tmp_path / "lists"
    worklist = list_of_folder(tmp_path / "in", saved)
    worklist.set_aside(1)
    remember_list(worklist, saved)
    (tmp_path / "in").rename(tmp_path / "elsewhere")
    (found,) = saved_lists(saved)
    with pytest.raises(ImageError, match="choose it where it is now"):
        found.open()
    assert [x.set_aside for x in found.open(tmp_path / "elsewhere")] == [0, 1, 0]
    moved = list_of_folder(tmp_path / "elsewhere", saved)
    assert [item.set_aside for item in moved] == [False, True, False]
    for name in ("x.png", "y.png"):
        picture(tmp_path / "other" / name)
    other = list_of_folder(tmp_path / "other", saved)
    assert not any(item.set_aside for item in other)


def test_copies_are_set_aside_together(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    worklist = WorkList.of_folder(tmp_path)
    told = []
    worklist.changed.connect(told.append)
    for row in (0, 1):
        worklist.learn(row, fingerprint="same")
    worklist.set_aside(0)
    assert worklist.is_aside("same")
    assert len(worklist.held_out) == 2
    worklist.set_status("same", "refined")
    assert worklist.counts["refined"] == 2
    assert told == [0, 1, 0, 1, 0, 1]
