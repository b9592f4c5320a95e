"""Tables of slides: names without ending, bags before slides, patients."""

from __future__ import annotations

import pytest

from napari_wsol.data.datasets import load_images
from napari_wsol.data.folds import Grouping, split_folds
from napari_wsol.errors import DatasetError


def touch(folder, *names) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def write(folder, *lines):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "labels.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_name_without_ending_is_a_bag_or_else_a_slide(tmp_path):
    touch(tmp_path, "slides/a.svs", "slides/b.one.tif", "h5/a.h5", "b.one.txt")
    table = write(tmp_path, "slide,label,patient", "a,x,p1", "b.one,y,p2")
    found = load_images(table).samples
    assert [item.path.relative_to(tmp_path).as_posix() for item in found] == [
        "h5/a.h5",
        "slides/b.one.tif",
    ]
    assert [item.group for item in found] == ["p1", "p2"]
    assert [item.id for item in found] == ["a", "b.one"]


def test_what_is_listed_with_its_path_is_taken(tmp_path):
    touch(tmp_path, "slides/a.svs", "slides/b.svs", "h5/a.h5")
    table = write(tmp_path, "slide,label", "slides/a.svs,x", "slides/b.svs,y")
    found = load_images(table).samples
    assert [item.path.name for item in found] == ["a.svs", "b.svs"]
    assert [item.group for item in found] == ["", ""]


def test_tables_of_clam_are_read(tmp_path):
    touch(tmp_path, "h5_files/s1.h5", "h5_files/s2.h5")
    write(tmp_path, "case_id,slide_id,label", "c1,s1,normal", "c2,s2,tumour")
    found = load_images(tmp_path)
    assert found.classes == ("normal", "tumour")
    assert [item.group for item in found.samples] == ["c1", "c2"]
    assert found.said == ""  # no data set of others was recognised


def test_two_bags_of_a_name_are_not_guessed_among(tmp_path):
    touch(tmp_path, "study/h5/a.h5", "study/more/a.h5", "elsewhere/a.h5")
    table = write(tmp_path / "study", "slide,label", "a,x")
    with pytest.raises(DatasetError, match=r"names “a”, which may be .*h5.a\.h5.*"):
        load_images(table)
    found = load_images(table, features=tmp_path / "elsewhere").samples
    assert found[0].path == tmp_path / "elsewhere" / "a.h5"
    with pytest.raises(DatasetError, match=r"Line 2 .*“b”, which does not exist"):
        load_images(write(tmp_path / "study", "slide,label", "b,x"))


def test_a_folder_for_each_class_may_hold_bags(tmp_path):
    touch(tmp_path, "normal/a.h5", "tumour/deep/b.h5", "tumour/.c.h5")
    found = load_images(tmp_path).samples
    assert [item.id for item in found] == ["normal/a.h5", "tumour/deep/b.h5"]


def test_folds_never_split_the_patients_of_a_table(tmp_path):
    names = [f"s{at}" for at in range(24)]
    touch(tmp_path, *(f"{name}.h5" for name in names))
    rows = [f"{name},{'xy'[at % 2]},p{at // 4}" for at, name in enumerate(names)]
    samples = load_images(write(tmp_path, "slide,label,patient", *rows)).samples
    groups = Grouping().of(samples)
    for fold in split_folds(samples, groups, 3, classes=("x", "y")):
        learnt = {item.group for item in fold.train}
        assert len(learnt) == 4
        assert not learnt & set(fold.groups)
