import os
import sys

import pytest

from napari_wsol.errors import ExportError, JobCancelledError
from napari_wsol.export.files import check_space, staged, stem_of


@pytest.mark.parametrize(
    ("image", "target", "expected"),
    [
        ("train_1.png", "malignant", "train_1_pcam_malignant"),
        ("slide.ome.tiff", "a", "slide_pcam_a"),
        ("case.12.3", "a", "case.12.3_pcam_a"),
        ("Präparat 3 組織.svs", "Drüse", "Präparat 3 組織_pcam_Drüse"),
        ("../../etc/passwd", "a/b", "etc-passwd_pcam_a-b"),
        ("C:\\data\\x.tif", "a|b?", "C-data-x_pcam_a-b"),
        ("", "\n", "image_pcam_class"),
    ],
)
def test_names_fit_any_system(image, target, expected):
    assert stem_of(image, "pcam", target) == expected


def test_very_long_names_still_fit():
    stem = stem_of("組" * 300, "m" * 300, "é" * 300)
    assert len(f".{stem}-1000.set.part".encode()) <= 255
    assert len(f"{stem}_provenance-1000.json".encode()) <= 255


def write(folder, stem="a_b_c", text="new"):
    with staged(folder, stem) as files:
        files.add("mask", ".png").write_text(text)
        files.add("provenance", ".json").write_text(text)
        return files.publish()


def test_set_appears_complete(tmp_path):
    paths = write(tmp_path / "new" / "folder")
    assert [path.name for path in paths] == [
        "a_b_c_mask.png",
        "a_b_c_provenance.json",
    ]
    assert sorted((tmp_path / "new" / "folder").iterdir()) == sorted(paths)


def test_whole_set_gets_a_number_when_one_name_is_taken(tmp_path):
    (tmp_path / "a_b_c_regions.csv").write_text("old")
    assert [path.name for path in write(tmp_path)] == [
        "a_b_c_mask-2.png",
        "a_b_c_provenance-2.json",
    ]
    assert write(tmp_path)[0].name == "a_b_c_mask-3.png"
    assert (tmp_path / "a_b_c_regions.csv").read_text() == "old"


def test_two_exports_at_once_get_different_names(tmp_path):
    with staged(tmp_path, "a") as first, staged(tmp_path, "a") as second:
        first.add("mask", ".png").write_text("1")
        second.add("mask", ".png").write_text("2")
        paths = first.publish() + second.publish()
    assert [path.read_text() for path in paths] == ["1", "2"]


def test_file_that_appears_in_the_meantime_is_not_replaced(tmp_path):
    def export():
        with staged(tmp_path, "a") as files:
            files.add("mask", ".png").write_text("new")
            files.add("provenance", ".json").write_text("new")
            (tmp_path / "a_provenance.json").write_text("old")
            files.publish()

    with pytest.raises(ExportError, match="appeared"):
        export()
    assert [path.name for path in tmp_path.iterdir()] == ["a_provenance.json"]
    assert (tmp_path / "a_provenance.json").read_text() == "old"


@pytest.mark.parametrize("error", [JobCancelledError, KeyboardInterrupt, OSError])
def test_failure_leaves_no_trace(tmp_path, error):
    folder = tmp_path / "x" / "y"

    def export():
        with staged(folder, "a") as files:
            files.add("mask", ".png").write_text("half")
            raise error

    with pytest.raises(ExportError if error is OSError else error):
        export()
    assert list(tmp_path.iterdir()) == []


def test_failure_after_the_files_were_moved_takes_them_back(tmp_path):
    def export():
        with staged(tmp_path, "a") as files:
            files.add("mask", ".png").write_text("new")
            files.publish()
            raise JobCancelledError

    with pytest.raises(JobCancelledError):
        export()
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_a_file_is_refused_in_words(tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ExportError, match=r"in, a file\. Choose a folder"):
            write(folder)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere"
)
def test_read_only_folder_is_refused_in_words(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ExportError, match="Choose another folder"):
            write(tmp_path)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(not os.access("/proc/self", os.X_OK), reason="needs Linux")
def test_folder_of_the_system_is_refused_in_words():
    with pytest.raises(ExportError, match="/proc/self"):
        write("/proc/self/new")


def test_too_little_space_is_said_before_writing(tmp_path):
    with pytest.raises(ExportError, match="Free some space"):
        check_space(tmp_path, 2**62)
    check_space(tmp_path, 1)
