"""Disks that are full, read-only or gone: the system's own refusals, not ours."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from napari_wsol.journal import JournalLibrary

unix = pytest.mark.skipif(sys.platform == "win32", reason="needs limits of Unix")


def numbers(entries):
    return [entry.stroke.number for entry in entries]


LIMITED = """
import resource, signal, sys
from painting import *

folder, size = sys.argv[1], int(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = JournalLibrary(Path(folder)).open(image_facts())
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
for number in range(1, 8):
    journal.append(stroke_made(number))
    journal.flush()
print(journal.saved.pending, journal.saved.problem, flush=True)
sys.stdin.readline()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
journal.append(stroke_made(8))
print(journal.flush(), journal.saved, flush=True)
journal.close()
print(journal.saved.problem, flush=True)
"""


@unix
@pytest.mark.parametrize("size", [0, 100, 1777])
def test_what_a_full_disk_refuses_is_written_when_there_is_room(
    child, again, library, size
):
    process = child(LIMITED, library.folder, size)
    pending, problem = process.stdout.readline().split(" ", 1)
    assert int(pending) > 0
    assert "is full" in problem
    assert f"{pending} strokes are only in memory" in problem
    assert "Free some space" in problem
    # Half a line was taken away again, so that another program may read now.
    kept = [path for path in library.folder.glob("*/*.jsonl") if path.stat().st_size]
    assert all(path.read_bytes().endswith(b"\n") for path in kept)
    print(file=process.stdin, flush=True)
    assert process.stdout.readline().startswith("True Saved(pending=0")
    assert process.stdout.readline() == "\n"
    process.wait()
    found = again()
    assert numbers(found.entries) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert found.notes == ()
    assert len(list(library.folder.glob("*/*.jsonl"))) == 1


TINY_DISK = """
import subprocess, sys
from painting import *

folder = Path(sys.argv[1])


def mount(*options):
    subprocess.run(["mount", *options, "none", str(folder)], check=True)


def show(journal):
    print(journal.flush(), journal.saved.pending, journal.saved.problem, flush=True)


mount("-t", "tmpfs", "-o", "size=32k")
ballast = folder / "ballast"
ballast.write_bytes(b"x" * 20480)
journal = JournalLibrary(folder).open(image_facts())
for number in range(1, 61):
    journal.append(stroke_made(number))
    journal.flush()
show(journal)
ballast.unlink()
show(journal)
journal.close()
mount("-o", "remount,ro")
journal = JournalLibrary(folder).open(image_facts())
journal.append(stroke_made(61))
show(journal)
mount("-o", "remount,rw")
show(journal)
other = JournalLibrary(folder).open(image_facts())
print(len(other.entries), *other.notes)
journal.close()
again = JournalLibrary(folder).open(image_facts())
print(plain(again.entries) == plain(map(stroke_made, range(1, 62))), again.notes)
"""


@unix
def test_a_real_disk_gets_full_then_read_only(child, tmp_path):
    try:
        subprocess.run(["unshare", "-Urm", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system lets nobody mount a disk of their own")
    code = (
        "import os, sys; os.execvp('unshare', ['unshare', '-Urm', sys.executable, "
        "'-c', *sys.argv[1:]])"
    )
    disk = tmp_path / "disk"
    disk.mkdir()
    process = child(code, TINY_DISK, disk)
    full, freed, forbidden, allowed, other, last = process.communicate(timeout=60)[
        0
    ].splitlines()
    assert full.startswith("False ")
    assert "is full" in full
    assert freed.startswith("True 0 Only 0 MB are free")
    assert forbidden.startswith("False 1 ")
    assert "may not be written to: 1 stroke is only in memory" in forbidden
    assert "NAPARI_WSOL_HOME" in forbidden
    assert "Session(journals=FOLDER)" in forbidden
    assert allowed.startswith("True 0 ")
    assert other.startswith("0 Another window")
    assert last == "True ()"


def test_a_file_in_place_of_the_folder(library, image, made, put, again):
    library.folder.write_text("a file")
    journal = library.open(image)
    for number in (1, 2):
        journal.append(made(number))
        assert not journal.flush()
    saved = journal.saved
    assert (saved.pending, saved.last) == (2, None)
    assert "lies in, a file: 2 strokes are only in memory" in saved.problem
    assert library.folder.read_text() == "a file"
    library.folder.unlink()
    assert journal.flush()
    assert journal.saved.problem == ""
    put(journal, made(3))
    journal.close()
    assert numbers(again().entries) == [1, 2, 3]


def test_it_is_tried_again_without_being_asked(library, image, made, again):
    library.folder.write_text("a file")
    journal = library.open(image)
    journal.append(made(1))
    assert not journal.flush()
    told = []
    journal.changed.connect(told.append)
    journal.close()  # what waits is written even so
    library.folder.unlink()
    journal._thread.join(10)
    assert told[-1].pending == 0
    assert numbers(again().entries) == [1]


def test_what_waits_moves_on_when_the_image_is_opened_again(
    library, image, made, put, again
):
    library.folder.write_text("a file")
    first = library.open(image)
    first.append(made(1))
    second = library.open(image)
    assert numbers(second.entries) == [1]
    second.append(made(2))
    assert not second.flush()
    library.folder.unlink()
    put(second, made(3))
    second.close()
    assert numbers(again().entries) == [1, 2, 3]
    assert first.saved.pending == 0


def test_a_deleted_folder_is_written_again(library, image, made, put, again):
    journal = library.open(image)
    put(journal, made(1))
    journal.close()
    journal = library.open(image)
    put(journal, made(2))
    shutil.rmtree(journal.folder)
    put(journal, made(3))
    journal.close()
    assert "deleted" in " ".join(journal.notes)
    found = again()
    assert numbers(found.entries) == [1, 2, 3]
    assert found.notes == ()


def test_a_deleted_file_is_written_again_elsewhere(library, image, made, put, again):
    journal = library.open(image)
    put(journal, made(1))
    other = journal.folder / "journal-0007.jsonl"
    other.write_bytes(b"somebody else's\n")
    (journal.folder / "journal-0001.jsonl").unlink()
    put(journal, made(2))
    journal.close()
    assert other.read_bytes() == b"somebody else's\n"
    assert numbers(again().entries) == [1, 2]


def test_a_disk_that_is_away_gets_nothing_below_its_mount_point(
    library, image, made, put, again
):
    journal = library.open(image)
    put(journal, made(1))
    away = library.folder.with_name("away")
    library.folder.rename(away)
    journal.append(made(2))
    assert not journal.flush()
    assert "is gone: 1 stroke is only in memory" in journal.saved.problem
    assert not library.folder.exists()
    away.rename(library.folder)
    put(journal, made(3))
    journal.close()
    assert numbers(again().entries) == [1, 2, 3]
    assert len(list(library.folder.iterdir())) == 1


def test_somebody_elses_lines_are_not_touched(library, image, made, put, again):
    journal = library.open(image)
    put(journal, made(1))
    (path,) = journal.folder.glob("*.jsonl")
    with path.open("ab") as file:
        file.write(b"a line of another program\n")
    before = path.read_bytes()
    put(journal, made(2))
    journal.close()
    assert path.read_bytes() == before
    assert numbers(again().entries) == [1, 2]


def test_damage_is_found_when_the_journal_is_closed(library, image, made, put):
    journal = library.open(image)
    put(journal, made(1), made(2))
    (path,) = journal.folder.glob("*.jsonl")
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(bytes(data))
    told = []
    journal.changed.connect(told.append)
    journal.close()
    assert "1 lines are damaged" in journal.saved.problem
    assert told[-1] == journal.saved
    assert len(JournalLibrary(library.folder).open(image).entries) == 1


def test_a_program_that_died_before_its_first_line_leaves_no_second_folder(
    library, image, made, put
):
    (library.folder / image.stem).mkdir(parents=True)
    journal = library.open(image)
    put(journal, made(1))
    assert journal.folder.name == image.stem
