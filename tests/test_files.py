"""Files that are written as a whole, and names that are free."""

from itertools import islice

import pytest

from napari_wsol.files import free_name, numbered, whole_file, whole_folder, write_whole


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_text_and_bytes_are_written_as_they_are_with_their_folder(tmp_path):
    path = tmp_path / "new" / "table.csv"
    write_whole(path, "µm\r\n")
    assert path.read_bytes() == "µm\r\n".encode()
    write_whole(path, b"\0\n")
    assert path.read_bytes() == b"\0\n"
    assert names_in(path.parent) == ["table.csv"]


def test_what_fails_leaves_the_old_file_and_no_draft(tmp_path):
    path = tmp_path / "file"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError), whole_file(path) as draft:
        draft.write_text("half and \ud800", "utf-8")
    assert names_in(tmp_path) == ["file"]
    assert path.read_text() == "old"


def test_nothing_written_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "file"):
        pass
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "no" / "a") as draft:
        draft.write_bytes(b"")
    assert names_in(tmp_path) == []


def test_a_folder_appears_complete_or_not_at_all(tmp_path):
    with whole_folder(tmp_path / "a") as draft:
        (draft / "one").write_text("1")
        assert not (tmp_path / "a").exists()
    assert names_in(tmp_path / "a") == ["one"]
    with pytest.raises(OSError, match="empty"), whole_folder(tmp_path / "a") as draft:
        (draft / "two").write_text("2")
    assert names_in(tmp_path) == ["a"]
    assert names_in(tmp_path / "a") == ["one"]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "file"
    with whole_file(path) as first, whole_file(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # it was done last


def test_a_file_may_be_read_by_whom_the_system_says(tmp_path):
    write_whole(tmp_path / "ours", "")
    (tmp_path / "any").write_text("")
    modes = {(tmp_path / name).stat().st_mode for name in ("ours", "any")}
    assert len(modes) == 1


def test_names_are_numbered_from_the_second_on(tmp_path):
    assert list(islice(numbered("a"), 3)) == ["a", "a-2", "a-3"]
    path = tmp_path / "summary.csv"
    assert free_name(path) == path
    path.touch()
    (tmp_path / "summary-2.csv").touch()
    assert free_name(path) == tmp_path / "summary-3.csv"
