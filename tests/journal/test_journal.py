"""Entries reach the disk in their order, and are found again."""

from __future__ import annotations

import hashlib
import threading
import time

import numpy as np
import pytest

from napari_wsol.errors import ExportError, ModelError
from napari_wsol.journal import (
    JournalLibrary,
    RoundMade,
    SettingsChanged,
    StartedAfresh,
    StatusChanged,
    Undone,
    replayed,
)
from napari_wsol.journal.segments import SEGMENT_BYTES


def test_nothing_is_written_before_the_first_entry(library, image):
    journal = library.open(image)
    assert journal.entries == ()
    assert journal.notes == ()
    journal.close()
    assert not library.folder.exists()
    assert library.find(image.fingerprint) is None


def test_entries_come_back_in_their_order(library, image, again, painting):
    journal = library.open(image)
    first = [painting.stroke_made(1), painting.stroke_made(2), Undone(number=2)]
    painting.put(journal, *first)
    journal.close()
    second = library.open(image)
    assert painting.plain(second.entries) == painting.plain(first)
    painting.put(second, painting.stroke_made(3))
    second.close()
    assert painting.plain(again().entries) == painting.plain(
        [*first, painting.stroke_made(3)]
    )
    assert again().notes == ()
    assert len(list(journal.folder.glob("*.jsonl"))) == 1


def test_the_fingerprint_is_the_image_whatever_its_name(
    library, painting, image, made, put
):
    put(library.open(image), made(1))
    other = painting.image_facts(name="renamed.tiff", path=None)
    assert len(JournalLibrary(library.folder).find(other.fingerprint).folder.name) == 24
    stranger = painting.image_facts("f" * 64)
    assert library.open(stranger).entries == ()
    assert len(library.open(other).entries) == 1


def test_one_knows_what_is_saved(library, image, made):
    journal = library.open(image)
    told, threads = [], set()

    @journal.changed.connect
    def _(saved):
        told.append(saved)
        threads.add(threading.current_thread().name)

    assert journal.saved.last is None
    before = time.time()
    journal.append(made(1))
    assert journal.flush()
    assert (told[-1].pending, told[-1].problem) == (0, "")
    assert before - 1 <= told[-1].last <= time.time() + 1
    assert threads == {"napari-wsol journal"}
    assert journal.saved == told[-1]


def test_a_listener_that_fails_does_not_stop_the_writing(library, image, made, again):
    journal = library.open(image)

    def fail(_saved):
        raise RuntimeError("a window that is gone")

    journal.changed.connect(fail)
    for number in (1, 2, 3):
        journal.append(made(number))
        assert journal.flush()
    journal.close()
    assert len(again().entries) == 3


def test_a_thousand_strokes_are_read_again(library, image, made, put):
    journal = library.open(image)
    put(journal, *(made(number) for number in range(1, 1001)))
    journal.close()
    journal = library.open(image)
    work = replayed(image.canvas_shape, journal.entries)
    assert len(work.strokes.strokes) == 1000


def test_numbers_that_are_none_can_be_written(library, image, put, again):
    values = {"loss": float("nan"), "best": np.float32(0.5), "at": np.array([1, 2])}
    journal = library.open(image)
    put(journal, SettingsChanged(values=values))
    journal.close()
    (read,) = again().entries
    assert read.values == {"loss": "nan", "best": 0.5, "at": [1, 2]}


def test_a_full_segment_is_sealed(library, image, put, again):
    journal = library.open(image)
    text = "x" * (SEGMENT_BYTES // 4)
    for part in range(6):
        put(journal, SettingsChanged(values={"part": part, "text": text}))
    journal.close()
    first, second = sorted(journal.folder.glob("*.jsonl"))
    sealed = first.read_bytes()
    assert SEGMENT_BYTES <= len(sealed) < 1.5 * SEGMENT_BYTES
    assert [item.values["part"] for item in again().entries] == list(range(6))
    journal = library.open(image)
    put(journal, StartedAfresh())
    journal.close()
    assert first.read_bytes() == sealed
    assert len(again().entries) == 7
    assert len(list(journal.folder.glob("*.jsonl"))) == 2
    assert second.stat().st_size < SEGMENT_BYTES


def test_many_threads_may_append(library, image, again):
    journal = library.open(image)

    def work(name):
        for part in range(50):
            journal.append(SettingsChanged(values={name: part}))

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    found = [item.values for item in again().entries]
    for name in "abcd":
        parts = [item[name] for item in found if name in item]
        assert parts == list(range(50))


def test_an_entry_after_closing_is_written_all_the_same(
    library, image, again, painting
):
    journal = library.open(image)
    painting.put(journal, painting.stroke_made(1))
    journal.close()
    journal.close()
    painting.put(journal, painting.stroke_made(2))
    journal.close()
    assert painting.plain(again().entries) == painting.plain(
        [painting.stroke_made(1), painting.stroke_made(2)]
    )


def test_the_same_image_is_opened_twice_by_one_window(library, image, made, put, again):
    first = library.open(image)
    first.append(made(1))
    second = library.open(image)
    assert len(second.entries) == 1
    assert second.folder == first.folder
    put(second, made(2))
    second.close()
    assert len(again().entries) == 2


def test_two_windows_write_to_two_folders(library, image, made, put, plain):
    first = library.open(image)
    put(first, made(1))
    other = JournalLibrary(library.folder).open(image)
    assert other.entries == ()
    assert "Another window" in " ".join(other.notes)
    put(other, made(7), made(8))
    put(first, made(2))
    assert other.folder == first.folder.with_name(first.folder.name + "-2")
    first.close()
    other.close()
    # The newest goes on; the other is named.
    late = StatusChanged(status="stroked")
    journal = library.open(image)
    put(journal, late)
    journal.close()
    journal = library.open(image)
    assert plain(journal.entries)[-1] == late.to_dict()
    assert "other work on this image" in " ".join(journal.notes)
    assert len(library.summaries()) == 2


def test_two_windows_that_begin_at_once_do_not_mix(library, image, made, put):
    first, second = library.open(image), JournalLibrary(library.folder).open(image)
    put(first, made(1))
    put(second, made(1, label=1))
    assert first.folder != second.folder
    assert "Another window" in " ".join(second.notes)
    assert first.notes == ()
    assert len(first.entries) == len(second.entries) == 0


def test_the_lock_of_a_dead_process_does_not_block(library, image, child):
    code = "import sys; from painting import paint; paint(sys.argv[1])"
    process = child(code, library.folder)
    while int(process.stdout.readline().replace("open", "0")) < 3:
        pass
    busy = library.open(image)
    assert "Another window" in " ".join(busy.notes)
    busy.close()
    process.kill()
    process.wait()
    journal = library.open(image)
    assert len(journal.entries) >= 3
    assert journal.folder.name == image.stem


def test_summaries_say_how_far_the_work_is(library, painting, image, made, put):
    put(library.open(image), made(1), made(2), Undone(number=2))
    put(
        library.open(painting.image_facts("e" * 64, name="other.png")),
        StatusChanged(status="reviewed"),
    )
    put(library.open(painting.image_facts("d" * 64)), SettingsChanged(values={"a": 1}))
    found = library.find(image.fingerprint)
    assert (found.strokes, found.rounds, found.status) == (1, 0, "untouched")
    assert found.name == "tissue.png"
    assert library.find("e" * 64).status == "reviewed"
    assert library.find("d" * 64) is None  # settings alone are no work
    assert {item.name for item in library.summaries()} == {"tissue.png", "other.png"}


def test_starting_afresh_leaves_nothing_that_counts(library, image, made, put):
    put(library.open(image), made(1), StartedAfresh())
    assert library.find(image.fingerprint) is None
    assert len(library.open(image).entries) == 2


def test_the_default_folder_is_that_of_the_models(monkeypatch, tmp_path):
    from napari_wsol.paths import data_folder

    monkeypatch.setenv("NAPARI_WSOL_JOURNALS", str(tmp_path))
    assert JournalLibrary().folder == tmp_path
    monkeypatch.delenv("NAPARI_WSOL_JOURNALS")
    assert JournalLibrary().folder == data_folder() / "journals"
    monkeypatch.delenv("NAPARI_WSOL_HOME")
    assert JournalLibrary().folder == data_folder() / "journals"


def test_the_head_of_a_round_comes_back(library, image):
    import torch

    state = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}
    metadata = {"round": "1", "z": "last", "a": "first", "model": "glands"}
    journal = library.open(image)
    name, digest = journal.save_head(1, state, metadata)
    assert journal.save_head(1, dict(reversed(state.items())), metadata) == (
        name,
        digest,
    )
    other, _ = journal.save_head(1, {"weight": torch.zeros(1)}, metadata)
    assert other != name  # no head replaces another one
    entry = RoundMade(
        index=1,
        model="glands",
        model_sha256="aa",
        target="benign",
        head=name,
        head_sha256=digest,
    )
    read, facts = journal.load_head(entry)
    assert {key: value.tolist() for key, value in read.items()} == {
        key: value.tolist() for key, value in state.items()
    }
    assert facts == metadata
    (journal.folder / name).write_bytes(b"damaged")
    with pytest.raises(ModelError, match="damaged"):
        journal.load_head(entry)


HEADERS = {
    "deep": b"[" * 100_000,
    "no table": b"[1]",
    "no tensors": b'{"__metadata__": {"a": 1}}',
    "nothing": b"",
    "a hole": b'{"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}',
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_head_of_any_bytes_is_told_in_words(tmp_path, image, header):
    """Its digest may be right: whoever made the file made the journal, too."""
    data = len(header).to_bytes(8, "little") + header
    journal = JournalLibrary(tmp_path / "journals").open(image)
    journal.append(StatusChanged(status="stroked"))
    assert journal.flush()
    (journal.folder / "round.safetensors").write_bytes(data)
    entry = RoundMade(
        index=1,
        model="m",
        model_sha256="a",
        target="t",
        head="round.safetensors",
        head_sha256=hashlib.sha256(data).hexdigest(),
    )
    with pytest.raises(ModelError, match="head of round 1"):
        journal.load_head(entry)
    journal.close()


def test_a_head_that_cannot_be_written_says_so(tmp_path, image):
    import torch

    (tmp_path / "journals").write_text("a file")
    journal = JournalLibrary(tmp_path / "journals").open(image)
    with pytest.raises(ExportError, match="round 1"):
        journal.save_head(1, {"weight": torch.ones(1)}, {})


def test_a_store_needs_neither_torch_nor_a_window(child):
    code = (
        "import sys; from painting import *; "
        "print({'torch', 'napari', 'qtpy', 'zarr'} & set(sys.modules))"
    )
    assert child(code).communicate(timeout=60)[0] == "set()\n"
