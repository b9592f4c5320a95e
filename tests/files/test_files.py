"""Files that are written as a whole, and names that are free."""

import json
import os
import subprocess
import sys
from itertools import islice

import pytest

from napari_wsol.errors import ExportError
from napari_wsol.files import (
    check_folder,
    file_set,
    free_name,
    is_reserved,
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


def test_text_that_is_no_utf8_is_written_and_read_again(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    write_whole(tmp_path / "a.json", json.dumps({"name": name}, ensure_ascii=False))
    assert json.loads((tmp_path / "a.json").read_text("utf-8"))["name"] == name


def test_longest_names_can_be_written(tmp_path):
    path = tmp_path / ("ä" * 125 + ".json")
    write_whole(path, "a")
    assert names_in(tmp_path) == [path.name]


def test_a_set_appears_as_a_whole_and_replaces_only_on_request(tmp_path):
    def write(text, *, replace):
        with file_set(tmp_path, "set") as files:
            files.add("a").write_text(text)
            files.add("b").mkdir()
            files.add("c").write_text(text)
            assert names_in(tmp_path)[1:] in ([], ["a", "b", "c"])
            files.publish(replace=replace)

    write("1", replace=False)
    with pytest.raises(FileExistsError):
        write("2", replace=False)
    assert (tmp_path / "a").read_text() == (tmp_path / "c").read_text() == "1"
    write("3", replace=True)
    assert (tmp_path / "a").read_text() == (tmp_path / "c").read_text() == "3"
    assert names_in(tmp_path) == ["a", "b", "c"]


def test_what_fails_after_it_was_replaced_comes_back(tmp_path):
    def write(text):
        with file_set(tmp_path, "set") as files:
            for name in "abc":
                files.add(name).write_text(text)
            files.publish(replace=True)
            if text == "new":
                raise KeyboardInterrupt

    write("old")
    with pytest.raises(KeyboardInterrupt):
        write("new")
    assert [(tmp_path / name).read_text() for name in "abc"] == ["old"] * 3
    assert names_in(tmp_path) == ["a", "b", "c"]


WRITE = """
from napari_wsol.files import write_whole, whole_folder, file_set

def all_of(folder, text):
    write_whole(folder / "one", text)
    with file_set(folder, "set") as files:
        for name in "abc":
            files.add(name).write_text(text)
        files.add("sub").mkdir()
        (folder / files.hidden / "sub" / "in").write_text(text)
        files.add("last").write_text(text)
        files.publish(replace=True)
    if not (folder / "whole").exists():
        with whole_folder(folder / "whole") as draft:
            (draft / "x").write_text(text)
            (draft / "y").write_text(text)

def before(folder):
    all_of(folder, "old")
    import shutil
    shutil.rmtree(folder / "whole")

def work(folder):
    all_of(folder, "new")
"""


def text_in(folder, *names):
    """What all of these files hold; they hold the same, or are not there."""
    paths = [folder / name for name in names]
    (text,) = {path.read_text() if path.exists() else "" for path in paths}
    return text


def test_killed_at_any_step_a_set_is_the_old_or_the_new_one(killed_everywhere):
    folders = killed_everywhere(WRITE)
    assert len(folders) > 30
    found = set()
    everything = ("a", "b", "c", "sub/in", "last")
    for folder in folders:
        assert text_in(folder, "one") in ("old", "new")
        assert text_in(folder, "whole/x", "whole/y") in ("", "new")
        if (folder / "last").exists():  # who finds the last one finds all
            text_in(folder, *everything)
        write_whole(folder / "next", "")
        found.add(text_in(folder, *everything))
        assert not [name for name in names_in(folder) if name.startswith(".")]
    assert found == {"old", "new"}
    assert text_in(folders[-1], "one", "whole/x", *everything) == "new"


def test_the_draft_of_a_living_writer_is_left_alone(tmp_path):
    with whole_file(tmp_path / "slow") as draft:
        write_whole(tmp_path / "quick", "2")
        draft.write_text("1")
    assert names_in(tmp_path) == ["quick", "slow"]


def test_remains_of_older_versions_go_after_a_day(tmp_path):
    name = ".model.0123456789ab.part"
    (tmp_path / name).write_text("half")
    write_whole(tmp_path / "a", "")
    assert names_in(tmp_path) == [name, "a"]
    os.utime(tmp_path / name, (0, 0))
    write_whole(tmp_path / "a", "")
    assert names_in(tmp_path) == ["a"]


def test_what_others_call_parts_stays(tmp_path):
    kept = [".a.01234567.part", ".download.part"]
    for name in kept:
        (tmp_path / name).mkdir()
        (tmp_path / name / ".moving").write_text("[[]")
        os.utime(tmp_path / name, (0, 0))
    write_whole(tmp_path / "a", "")
    assert names_in(tmp_path) == [*kept, "a"]


@pytest.mark.parametrize(
    "text", ["", "[", "[[1]]", "[" * 9999, '[["../b", [1, 2, 3]]]']
)
def test_a_note_of_what_was_renamed_may_say_anything(tmp_path, text):
    folder = tmp_path / "here"
    draft = folder / ".a.0123456789ab.part"
    draft.mkdir(parents=True)
    (draft / "in-use.lock").touch()
    (draft / ".moving").write_text(text)
    (tmp_path / "b").write_text("mine")
    write_whole(folder / "a", "")
    assert names_in(folder) == ["a"]
    assert (tmp_path / "b").exists()


def test_a_folder_for_results_is_refused_before_there_are_any(tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ExportError, match=r"in, a file\. Choose a folder"):
            check_folder(folder)
    with pytest.raises(ExportError, match=r"[Tt]oo long"):
        check_folder(tmp_path / ("x" * 300))
    check_folder(tmp_path / "new" / "folder")
    assert names_in(tmp_path) == ["file"]


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
        after = told[told.index(renamed) :]
        assert ["flushed", tmp_path.name] in after  # the names in the folder too
        kept = next(x for x in told if x[0] == "renamed" and x[-1] == "file.1")
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


def test_names_that_windows_keeps_for_itself_are_known():
    for name in ("con", "NUL", "aux.txt", "com1", "LPT9.tar.gz", "end.", "end "):
        assert is_reserved(name)
    for name in ("console", "nulls", "com10", "a.con", ".nul", "end.x"):
        assert not is_reserved(name)
