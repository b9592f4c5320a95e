"""What the writer of a journal asks of the disk, and which file it goes on with."""

from __future__ import annotations

import errno
import os
import time

import pytest

from napari_wsol.journal.lines import VERSION, header_line, line
from napari_wsol.journal.reading import Record, Segment, read_record
from napari_wsol.journal.segments import SEGMENT_BYTES, SegmentWriter, left_behind

LINES = (b"00000000 {}\n", b"00000000 []\n")


@pytest.fixture
def disk(monkeypatch):
    """The sizes of files that were made safe; ``broken`` and ``room`` may be set."""

    class Disk(list[int]):
        broken = False
        room = 1 << 30

    disk, fsync, write = Disk(), os.fsync, os.write

    def may_fsync(file):
        if disk.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(file)
        disk.append(os.fstat(file).st_size)

    def may_write(file, data):
        if not disk.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = write(file, data[: disk.room])
        disk.room -= done
        return done

    monkeypatch.setattr(os, "fsync", may_fsync)
    monkeypatch.setattr(os, "write", may_write)
    return disk


@pytest.fixture
def writer(tmp_path, image):
    writer = SegmentWriter(tmp_path, image, Record(tmp_path))
    yield writer
    writer.close()


def test_lines_count_once_they_are_safe(writer, image, disk):
    assert (writer.path, writer.size) == (None, 0)
    assert writer.write(LINES) == (2, None)
    end = len(header_line(image)) + sum(map(len, LINES))
    assert disk[-1] == end == writer.size == writer.path.stat().st_size


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such bits")
def test_a_journal_is_no_program(writer):
    writer.write(LINES)
    assert writer.path.stat().st_mode & 0o111 == 0


def test_a_program_without_standard_input_writes_to_descriptor_0(writer, disk):
    kept = os.dup(0)
    os.close(0)
    try:
        assert writer.write(LINES) == (2, None)
        assert disk[-1] == os.fstat(0).st_size == writer.size
        assert writer.write(LINES) == (2, None)
        assert disk[-1] == writer.path.stat().st_size
        writer.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(0)
    finally:
        os.dup2(kept, 0)
        os.close(kept)
    assert writer.path.name == "journal-0001.jsonl"


def test_the_disk_is_not_asked_where_nothing_is_new(writer, disk):
    writer.write(LINES)
    asked = len(disk)
    assert writer.write([]) == (0, None)
    assert len(disk) == asked
    assert writer.write(LINES[:1]) == (1, None)
    assert len(disk) == asked + 1


def test_a_disk_that_breaks_at_the_first_line_is_told_as_it_is(writer, tmp_path, disk):
    disk.broken = True
    written, error = writer.write(LINES)
    assert (written, error.errno) == (0, errno.EIO)
    assert list(tmp_path.iterdir()) == []
    disk.broken = False
    assert writer.write(LINES) == (2, None)
    assert writer.path.name == "journal-0001.jsonl"


def test_lines_that_may_not_be_safe_are_written_to_another_file(writer, tmp_path, disk):
    writer.write(LINES[:1])
    first = writer.path
    disk.broken = True
    written, error = writer.write(LINES)
    assert (written, error.errno) == (0, errno.EIO)
    disk.broken = False
    assert writer.write(LINES) == (2, None)
    assert writer.path != first
    assert len(list(tmp_path.iterdir())) == 2


def test_half_a_line_is_taken_away_again(writer, disk):
    writer.write(LINES[:1])
    before = writer.path.read_bytes()
    disk.room = len(LINES[0]) + 5
    written, error = writer.write(LINES)
    assert (written, error.errno) == (1, errno.ENOSPC)
    assert writer.path.read_bytes() == before + LINES[0]
    assert writer.size == len(before) + len(LINES[0])
    disk.room = 1 << 30
    assert writer.write(LINES[1:]) == (1, None)
    assert writer.path.read_bytes() == before + LINES[0] + LINES[1]


def test_after_half_a_line_that_stays_one_goes_on_in_another_file(
    writer, disk, monkeypatch
):
    def refuse(_file, _size):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    writer.write(LINES[:1])
    first = writer.path
    disk.room = 5
    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", refuse)
        written, error = writer.write(LINES)
    assert (written, error.errno) == (0, errno.ENOSPC)
    assert first.read_bytes().endswith(LINES[0] + LINES[0][:5])
    disk.room = 1 << 30
    assert writer.write(LINES) == (2, None)
    assert writer.path.name == "journal-0002.jsonl"
    assert writer.start == 0


def test_one_does_not_go_on_with_a_file_that_has_grown_since_it_was_read(
    tmp_path, image
):
    path = tmp_path / "journal-0001.jsonl"
    path.write_bytes(header_line(image))
    record = read_record(tmp_path)
    with path.open("ab") as file:
        file.write(b"a line of another program\n")
    before = path.read_bytes()
    writer = SegmentWriter(tmp_path, image, record)
    assert writer.write(LINES) == (2, None)
    writer.close()
    assert path.read_bytes() == before
    assert writer.path.name == "journal-0002.jsonl"


def test_two_ends_that_are_set_aside_in_one_second_are_both_kept(
    tmp_path, image, monkeypatch
):
    monkeypatch.setattr(time, "strftime", lambda *_: "now")
    path = tmp_path / "journal-0001.jsonl"
    path.write_bytes(header_line(image))
    for torn in (b"one half", b"another"):
        with path.open("ab") as file:
            file.write(torn)
        writer = SegmentWriter(tmp_path, image, read_record(tmp_path))
        assert writer.write([line({"n": 1, "type": "undone"})]) == (1, None)
        writer.close()
    kept = [item.read_bytes() for item in sorted(tmp_path.glob("*.damaged-now*"))]
    assert sorted(kept) == [b"another", b"one half"]


def test_a_file_is_sealed_when_it_is_full_and_not_before(writer, image, disk):
    rest = SEGMENT_BYTES - len(header_line(image)) - 1
    assert writer.write([b"x" * (rest - 1) + b"\n"]) == (1, None)
    assert writer.size == SEGMENT_BYTES - 1
    assert writer.write([b"\n", b"\n"]) == (2, None)
    assert writer.path.name == "journal-0002.jsonl"
    assert SEGMENT_BYTES in disk
    assert writer.size == len(header_line(image)) + 1


@pytest.mark.parametrize(
    ("short", "name"), [(1, "journal-0001.jsonl"), (0, "journal-0002.jsonl")]
)
def test_one_goes_on_with_an_earlier_file_until_it_is_full(
    tmp_path, image, short, name
):
    path = tmp_path / "journal-0001.jsonl"
    header = header_line(image)
    size = SEGMENT_BYTES - short
    path.write_bytes(header + b"\n" * (size - len(header)))
    record = Record(tmp_path, segments=[Segment(path, size, size, VERSION)])
    writer = SegmentWriter(tmp_path, image, record)
    assert writer.write(LINES[:1]) == (1, None)
    writer.close()
    assert writer.path.name == name
    assert writer.start == (size if short else 0)


def test_a_file_that_is_still_empty_is_nobodys_to_go_on_with(tmp_path, image):
    empty = tmp_path / "journal-0001.jsonl"
    empty.touch()
    writer = SegmentWriter(tmp_path, image, left_behind(tmp_path))
    assert writer.write(LINES) == (2, None)
    writer.close()
    assert writer.path.name == "journal-0002.jsonl"
    assert empty.stat().st_size == 0


def test_nothing_is_known_of_a_file_that_cannot_be_read(tmp_path):
    path = tmp_path / "journal-0001.jsonl"
    path.mkdir()
    record = read_record(tmp_path)
    assert record.segments == [Segment(path, 0, 0, 0)]
    assert not record.is_writable
    assert "cannot be read" in " ".join(record.notes)


def test_files_of_two_images_in_one_folder_are_left_as_they_are(tmp_path, painting):
    ours = header_line(painting.image_facts())
    theirs = header_line(painting.image_facts("f" * 64))
    (tmp_path / "journal-0001.jsonl").write_bytes(ours)
    (tmp_path / "journal-0002.jsonl").write_bytes(ours)
    assert read_record(tmp_path).is_writable
    (tmp_path / "journal-0002.jsonl").write_bytes(theirs)
    record = read_record(tmp_path)
    assert not record.is_writable
    assert "journal-0002.jsonl belongs to another image" in " ".join(record.notes)
