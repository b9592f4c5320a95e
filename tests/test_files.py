"""Files that are written as a whole, and names that are free."""

import subprocess
import sys
from itertools import islice

import pytest

from napari_wsol.files import (
    free_name,
    numbered,
    whole_file,
    whole_folder,
    write_kept,
    write_whole,
)


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


def test_the_last_three_contents_are_kept(tmp_path):
    path = tmp_path / "sizes.json"
    for number in range(5):
        write_kept(path, f"content {number}")
    kept = {name: (tmp_path / name).read_text() for name in names_in(tmp_path)}
    assert kept == {
        "sizes.json": "content 4",
        "sizes.json.1": "content 3",
        "sizes.json.2": "content 2",
    }


TOLD = """
import os, sys
from pathlib import Path
from napari_wsol import files

flush = os.fsync


def fsync(handle):
    print("flushed", Path(f"/proc/self/fd/{handle}").readlink().name, flush=True)
    flush(handle)


def heard(event, values):
    if event == "os.rename":
        print("renamed", *(Path(value).name for value in values[:2]), flush=True)


os.fsync = fsync  # the system's, not ours
sys.addaudithook(heard)
getattr(files, sys.argv[1])(Path(sys.argv[2]), "new")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="names open files as Linux does")
@pytest.mark.parametrize("write", ["write_whole", "write_kept"])
def test_bytes_are_on_the_disk_before_the_file_has_its_name(tmp_path, write):
    path = tmp_path / "file"
    path.write_text("old")
    command = [sys.executable, "-c", TOLD, write, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = [line.split() for line in done.stdout.splitlines()]
    renamed = next(line for line in told if line[0] == "renamed" and line[2] == "file")
    assert ["flushed", renamed[1]] in told[: told.index(renamed)]
    assert path.read_text() == "new"
    if write == "write_kept":
        assert told[-1] == ["flushed", tmp_path.name]  # the names in the folder too
        kept = next(line for line in told if line[-1] == "file.1")
        assert told.index(["flushed", kept[1]]) < told.index(kept)
        assert told.index(kept) < told.index(renamed)


FULL = """
import resource, signal, sys
from pathlib import Path
from napari_wsol.files import write_kept

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
write_kept(Path(sys.argv[1]), "x" * 200)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of Unix")
def test_a_disk_that_is_full_leaves_all_that_was_kept(tmp_path):
    path = tmp_path / "list.json"
    for number in range(3):
        write_kept(path, f"content {number}")
    before = {name: (tmp_path / name).read_text() for name in names_in(tmp_path)}
    command = [sys.executable, "-c", FULL, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "OSError: [Errno 27]" in done.stderr  # EFBIG: beyond what may be written
    after = {name: (tmp_path / name).read_text() for name in names_in(tmp_path)}
    assert after == before
    assert len(before) == 3
