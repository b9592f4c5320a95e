"""Files that were cut off, damaged, or are of another version."""

from __future__ import annotations

import base64
import json
import zlib

import numpy as np
import pytest
from fixtures.memory import peak_mb

from napari_wsol.journal import RoundMade, read_record, replayed
from napari_wsol.journal.reading import STROKES_BYTES


@pytest.fixture
def path(library, image, made, put):
    """A journal of six strokes."""
    journal = library.open(image)
    put(journal, *(made(number) for number in range(1, 7)))
    journal.close()
    (path,) = journal.folder.glob("*.jsonl")
    return path


def numbers(entries):
    return [entry.stroke.number for entry in entries]


def with_crc(values):
    data = json.dumps(values).encode()
    return b"%08x %s\n" % (zlib.crc32(data), data)


def contents(folder):
    return {item.name: item.read_bytes() for item in folder.glob("journal-*")}


def test_a_tail_torn_at_any_byte_loses_the_last_stroke_only(path):
    whole = path.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    assert len(whole) - start > 100
    for end in range(start, len(whole)):
        path.write_bytes(whole[:end])
        record = read_record(path.parent)
        assert numbers(record.entries) == [1, 2, 3, 4, 5]
        assert record.is_writable
        assert bool(record.notes) == (end > start)


def test_a_torn_tail_is_set_aside_at_the_first_entry(
    path, library, image, again, painting
):
    whole = path.read_bytes()
    path.write_bytes(whole[:-50])
    journal = library.open(image)
    assert "cut off" in " ".join(journal.notes)
    assert path.read_bytes() == whole[:-50]  # reading changes nothing
    assert list(path.parent.glob("*.damaged-*")) == []
    painting.put(journal, painting.stroke_made(6, label=1))
    journal.close()
    (aside,) = path.parent.glob("journal-0001.damaged-*")
    start = whole.rindex(b"\n", 0, -1) + 1
    assert aside.read_bytes() == whole[start:-50]
    assert numbers(again().entries) == [1, 2, 3, 4, 5, 6]
    assert again().entries[-1].stroke.label == 1
    assert again().notes == ()


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_costs_no_more_than_its_line(path, image, library, seed):
    rng = np.random.default_rng(seed)
    data = bytearray(path.read_bytes())
    starts = [0, *(at + 1 for at, byte in enumerate(data) if byte == 10)]
    at = int(rng.integers(starts[1], starts[-2] - 1))
    data[at] ^= 1 << int(rng.integers(8))
    path.write_bytes(bytes(data))
    journal = library.open(image)
    hit = int(np.searchsorted(starts, at, side="right")) - 1
    lost = {hit, hit + 1} if at + 1 in starts else {hit}
    assert set(numbers(journal.entries)) == {1, 2, 3, 4, 5, 6} - lost
    assert f"{hit + 1}" in " ".join(journal.notes)
    assert "damaged" in " ".join(journal.notes)
    assert replayed(image.canvas_shape, journal.entries).strokes.last_number == 6
    journal.close()


def test_after_damage_in_the_middle_one_goes_on_in_the_same_file(
    path, library, image, again, painting
):
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = b"00000000" + lines[3][8:]
    path.write_bytes(b"".join(lines))
    journal = library.open(image)
    assert "Line 4 of journal-0001.jsonl" in " ".join(journal.notes)
    painting.put(journal, painting.stroke_made(7))
    journal.close()
    assert journal.saved.problem == ""
    assert numbers(again().entries) == [1, 2, 4, 5, 6, 7]
    assert path.read_bytes().startswith(b"".join(lines))


def test_a_damaged_first_line_leaves_the_journal_and_takes_its_strokes_over(
    path, library, image, again, painting
):
    data = b"x" + path.read_bytes()[1:]
    path.write_bytes(data)
    head = path.with_name("round-0001-aa.safetensors")
    head.write_bytes(b"a head")
    journal = library.open(image)
    assert "first line" in " ".join(journal.notes)
    assert numbers(journal.entries) == [1, 2, 3, 4, 5, 6]
    assert not journal.folder.exists()
    painting.put(journal, painting.stroke_made(7))
    journal.close()
    assert path.read_bytes() == data
    assert journal.folder.name == f"{image.stem}-2"
    assert (journal.folder / head.name).read_bytes() == b"a head"
    assert numbers(again().entries) == [1, 2, 3, 4, 5, 6, 7]
    assert again().folder == journal.folder


def test_a_newer_version_is_left_alone(path, library, image, again, painting):
    lines = path.read_bytes().splitlines(keepends=True)
    header = json.loads(lines[0][9:])
    lines[0] = with_crc({**header, "version": 3, "image": "in words"})
    data = b"".join(lines)
    path.write_bytes(data)
    journal = library.open(image)
    assert journal.entries == ()
    assert "version 3" in " ".join(journal.notes)
    assert "update napari-wsol" in " ".join(journal.notes)
    assert library.find(image.fingerprint) is None
    painting.put(journal, painting.stroke_made(1))
    journal.close()
    assert contents(path.parent) == {path.name: data}
    assert numbers(again().entries) == [1]
    assert library.find(image.fingerprint).strokes == 1
    assert any("version 3" in " ".join(item.notes) for item in library.summaries())


@pytest.mark.parametrize("stub", [b"", b"\0" * 300, b'1c291ca3 {"format":"nap'])
def test_a_file_that_was_just_begun_is_passed_over(
    path, library, again, stub, painting
):
    second = path.with_name("journal-0002.jsonl")
    second.write_bytes(stub)
    journal = library.open(painting.image_facts())
    assert numbers(journal.entries) == [1, 2, 3, 4, 5, 6]
    painting.put(journal, painting.stroke_made(7))
    journal.close()
    assert second.read_bytes() == stub
    assert numbers(again().entries) == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("junk", [b"\n", b"hello\nworld\n", b"\n\n\n", b"\xff" * 99])
def test_foreign_files_never_raise(library, image, made, put, junk):
    folder = library.folder / image.stem
    folder.mkdir(parents=True)
    (folder / "journal-0001.jsonl").write_bytes(junk)
    (folder / "journal-0002.jsonl").mkdir()
    journal = library.open(image)
    assert journal.entries == ()
    assert journal.notes
    put(journal, made(1))
    journal.close()
    assert (folder / "journal-0001.jsonl").read_bytes() == junk
    assert library.find(image.fingerprint).strokes == 1


def test_strokes_on_another_grid_are_left_alone(path, library, painting, made, put):
    data = path.read_bytes()
    other = painting.image_facts(canvas_shape=(20, 30), canvas_scale=(2.0, 2.0))
    journal = library.open(other)
    assert journal.entries == ()
    assert "grid of 40 × 60 cells" in " ".join(journal.notes)
    put(journal, made(1))
    journal.close()
    assert path.read_bytes() == data


def test_an_unknown_entry_is_left_out_and_named(path, library, image):
    with path.open("ab") as file:
        file.write(with_crc({"n": 7, "type": "dance", "time": ""}))
        file.write(with_crc({"n": 8, "type": "undone", "time": ""}))
    journal = library.open(image)
    assert numbers(journal.entries) == [1, 2, 3, 4, 5, 6]
    assert "“dance”" in " ".join(journal.notes)
    assert "Line 9" in " ".join(journal.notes)


STRANGE = [
    {"type": "undone", "number": -1},
    {"type": "undone", "number": "3"},
    {"type": "undone", "number": 10**40},
    {"type": "undone"},
    {"type": "status", "status": "finished"},
    {"type": "dismissed", "y": 1.0, "x": None, "radius": 2.0},
    {"type": "dismissed", "y": float("nan"), "x": 1.0, "radius": 2.0},
    {"type": "stroke", "stroke": []},
    {"type": "stroke", "stroke": {"number": 1}},
    {"type": "settings", "values": [1]},
    {"type": "round", "index": 1},
    {"type": 5},
    {"type": ["stroke"]},
    {"time": []},
]


@pytest.mark.parametrize("values", STRANGE, ids=str)
def test_a_sound_line_of_wrong_values_is_left_out_and_told(path, values):
    with path.open("ab") as file:
        file.write(with_crc({"n": 7, **values}))
        file.write(with_crc({"n": 8, "type": "undone", "number": 6}))
    record = read_record(path.parent)
    assert len(record.entries) == 7
    assert record.is_writable
    (note,) = record.notes
    assert "Line 8" in note
    assert "left out" in note


@pytest.mark.slow
def test_cells_that_no_canvas_has_are_not_unpacked(path, made):
    packed = base64.b64encode(zlib.compress(bytes(400_000_000), 9)).decode()
    stroke = made(7).stroke.to_dict()
    room = STROKES_BYTES // 200_000_000
    full = base64.b64encode(zlib.compress(bytes(200_000_000), 9)).decode()
    before = peak_mb()
    with path.open("ab") as file:
        file.write(with_crc({"type": "stroke", "stroke": {**stroke, "runs": packed}}))
        for _ in range(room + 3):
            file.write(with_crc({"type": "stroke", "stroke": {**stroke, "runs": full}}))
    record = read_record(path.parent)
    assert len(record.entries) == 6 + room
    assert len(record.notes) == 1 + 3
    assert peak_mb() - before < 1024


def test_a_canvas_that_no_image_has_makes_no_journal(path, library):
    lines = path.read_bytes().splitlines(keepends=True)
    header = json.loads(lines[0][9:])
    header["image"]["canvas_shape"] = [10**6, 10**6]
    path.write_bytes(b"".join([with_crc(header), *lines[1:]]))
    record = read_record(path.parent)
    assert record.image is None
    assert not record.is_writable
    assert "first line" in " ".join(record.notes)
    assert len(library.summaries()) == 1


def test_a_line_that_was_written_twice_counts_once(path, library, image):
    line = path.read_bytes().splitlines(keepends=True)[-1]
    second = path.with_name("journal-0002.jsonl")
    header = path.read_bytes().splitlines(keepends=True)[0]
    second.write_bytes(header + line)
    assert numbers(library.open(image).entries) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("values", [{}, {"n": "7"}, {"n": None}, {"n": 2.5}])
def test_a_line_without_a_number_does_not_count_on(path, values):
    header = path.read_bytes().splitlines(keepends=True)[0]
    path.write_bytes(header + with_crc({"type": "dance", "time": "", **values}))
    assert read_record(path.parent).last_number == 0


def test_an_image_with_the_same_start_of_its_fingerprint_has_its_own_journal(
    path, library, painting, made, put
):
    theirs = painting.image_facts(painting.FINGERPRINT[:-8] + "f" * 8)
    assert theirs.stem == path.parent.name
    (library.folder / f"{theirs.stem}-9").mkdir()
    assert library.find(theirs.fingerprint) is None
    journal = library.open(theirs)
    assert journal.entries == ()
    put(journal, made(1))
    journal.close()
    assert journal.folder != path.parent
    assert library.find(painting.FINGERPRINT).strokes == 6
    assert library.find(theirs.fingerprint).strokes == 1


VERSION_1 = """\
508340bb {"format":"napari-wsol journal","version":1,"image":{"fingerprint":\
"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",\
"name":"tissue.png","path":null,"shape":[40,60],"canvas_shape":[40,60],\
"canvas_scale":[1.0,1.0],"canvas_translate":[0.0,0.0],"mpp":null},\
"software":"napari-wsol 0.1.0","time":"2025-11-05T08:00:00.000+00:00"}
3badc5a2 {"n":1,"type":"stroke","time":"2025-11-05T08:00:01.000+00:00","stroke":\
{"number":1,"label":2,"tool":"brush","runs":[[3,4,9,2],[4,5,8,2]],\
"path":[[3.0,4.0],[4.0,8.5]],"time":"2025-11-05T08:00:01.000+00:00"}}
41945697 {"n":2,"type":"stroke","time":"2025-11-05T08:00:02.000+00:00","stroke":\
{"number":2,"label":0,"tool":"erase","runs":[[4,5,6,0]],"path":[],\
"time":"2025-11-05T08:00:02.000+00:00"}}
3b878195 {"n":3,"type":"round","time":"2025-11-05T08:00:03.000+00:00","index":1,\
"model":"glands","model_sha256":"aa","target":"benign","head":"","head_sha256":"",\
"map_sha256":"cc","settings":{"steps":40},"strokes":[1,2],"others":[],"facts":{}}
"""


def test_a_journal_of_version_1_is_migrated_while_it_is_read(
    library, image, made, put, again
):
    folder = library.folder / image.stem
    folder.mkdir(parents=True)
    path = folder / "journal-0001.jsonl"
    path.write_text(VERSION_1, newline="")
    journal = library.open(image)
    assert ["version 1" in note for note in journal.notes] == [True]
    first, second, third = journal.entries
    assert first.stroke.runs.tolist() == [[3, 4, 9, 2], [4, 5, 8, 2]]
    assert first.stroke.path == ((3.0, 4.0), (4.0, 8.5))
    assert (first.stroke.width, first.stroke.seconds) == (0.0, 0.0)
    assert second.stroke.tool == "erase"
    assert isinstance(third, RoundMade)
    canvas = replayed(image.canvas_shape, journal.entries).strokes.canvas
    assert canvas.sum() == 2 * (5 + 3 - 1)
    put(journal, made(3))
    journal.close()
    assert path.read_text() == VERSION_1
    new = (folder / "journal-0002.jsonl").read_text().splitlines()
    assert json.loads(new[0][9:])["version"] == 2
    assert json.loads(new[1][9:])["n"] == 4
    later = again()
    assert [entry.kind for entry in later.entries] == [
        "stroke",
        "stroke",
        "round",
        "stroke",
    ]
    assert np.array_equal(later.entries[0].stroke.runs, first.stroke.runs)
