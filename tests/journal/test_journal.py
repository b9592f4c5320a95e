"""Entries reach the disk in their order, and are found again."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from napari_wsol.errors import ExportError, ModelError
from napari_wsol.journal import (
    RoundMade,
    SettingsChanged,
    StartedAfresh,
    StatusChanged,
    Store,
    Undone,
    folded,
)
from napari_wsol.journal.segments import SEGMENT_BYTES


def test_nothing_is_written_before_the_first_entry(store, image):
    journal = store.open(image)
    assert journal.entries == ()
    assert journal.notes == ()
    journal.close()
    assert not store.folder.exists()
    assert store.find(image.fingerprint) is None


def test_entries_come_back_in_their_order(store, image, again, painting):
    journal = store.open(image)
    first = [painting.stroke_made(1), painting.stroke_made(2), Undone(number=2)]
    painting.put(journal, *first)
    journal.close()
    second = store.open(image)
    assert painting.plain(second.entries) == painting.plain(first)
    painting.put(second, painting.stroke_made(3))
    second.close()
    assert painting.plain(again().entries) == painting.plain(
        [*first, painting.stroke_made(3)]
    )
    assert again().notes == ()
    assert len(list(journal.folder.glob("*.jsonl"))) == 1


def test_the_fingerprint_is_the_image_whatever_its_name(
    store, painting, image, made, put
):
    put(store.open(image), made(1))
    other = painting.image_facts(name="renamed.tiff", path=None)
    assert len(Store(store.folder).find(other.fingerprint).folder.name) == 24
    stranger = painting.image_facts("f" * 64)
    assert store.open(stranger).entries == ()
    assert len(store.open(other).entries) == 1


def test_one_knows_what_is_saved(store, image, made):
    journal = store.open(image)
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


def test_a_listener_that_fails_does_not_stop_the_writing(store, image, made, again):
    journal = store.open(image)

    def fail(_saved):
        raise RuntimeError("a window that is gone")

    journal.changed.connect(fail)
    for number in (1, 2, 3):
        journal.append(made(number))
        assert journal.flush()
    journal.close()
    assert len(again().entries) == 3


def test_a_thousand_strokes_are_read_again(store, image, made, put):
    journal = store.open(image)
    put(journal, *(made(number) for number in range(1, 1001)))
    journal.close()
    journal = store.open(image)
    work = folded(image.canvas_shape, journal.entries)
    assert len(work.strokes.strokes) == 1000


def test_numbers_that_are_none_can_be_written(store, image, put, again):
    values = {"loss": float("nan"), "best": np.float32(0.5), "at": np.array([1, 2])}
    journal = store.open(image)
    put(journal, SettingsChanged(values=values))
    journal.close()
    (read,) = again().entries
    assert read.values == {"loss": "nan", "best": 0.5, "at": [1, 2]}


def test_a_full_segment_is_sealed(store, image, put, again):
    journal = store.open(image)
    text = "x" * (SEGMENT_BYTES // 4)
    for part in range(6):
        put(journal, SettingsChanged(values={"part": part, "text": text}))
    journal.close()
    first, second = sorted(journal.folder.glob("*.jsonl"))
    sealed = first.read_bytes()
    assert SEGMENT_BYTES <= len(sealed) < 1.5 * SEGMENT_BYTES
    assert [item.values["part"] for item in again().entries] == list(range(6))
    journal = store.open(image)
    put(journal, StartedAfresh())
    journal.close()
    assert first.read_bytes() == sealed
    assert len(again().entries) == 7
    assert len(list(journal.folder.glob("*.jsonl"))) == 2
    assert second.stat().st_size < SEGMENT_BYTES


def test_many_threads_may_append(store, image, again):
    journal = store.open(image)

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


def test_an_entry_after_closing_is_written_all_the_same(store, image, again, painting):
    journal = store.open(image)
    painting.put(journal, painting.stroke_made(1))
    journal.close()
    journal.close()
    painting.put(journal, painting.stroke_made(2))
    journal.close()
    assert painting.plain(again().entries) == painting.plain(
        [painting.stroke_made(1), painting.stroke_made(2)]
    )


def test_the_same_image_is_opened_twice_by_one_window(store, image, made, put, again):
    first = store.open(image)
    first.append(made(1))
    second = store.open(image)
    assert len(second.entries) == 1
    assert second.folder == first.folder
    put(second, made(2))
    second.close()
    assert len(again().entries) == 2


def test_two_windows_write_to_two_folders(store, image, made, put, plain):
    first = store.open(image)
    put(first, made(1))
    other = Store(store.folder).open(image)
    assert other.entries == ()
    assert "Another window" in " ".join(other.notes)
    put(other, made(7), made(8))
    put(first, made(2))
    assert other.folder == first.folder.with_name(first.folder.name + "-2")
    first.close()
    other.close()
    # The newest goes on; the other is named.
    late = StatusChanged(status="stroked")
    journal = store.open(image)
    put(journal, late)
    journal.close()
    journal = store.open(image)
    assert plain(journal.entries)[-1] == late.to_dict()
    assert "other work on this image" in " ".join(journal.notes)
    assert len(store.summaries()) == 2


def test_two_windows_that_begin_at_once_do_not_mix(store, image, made, put):
    first, second = store.open(image), Store(store.folder).open(image)
    put(first, made(1))
    put(second, made(1, label=1))
    assert first.folder != second.folder
    assert "Another window" in " ".join(second.notes)
    assert first.notes == ()
    assert len(first.entries) == len(second.entries) == 0


def test_the_lock_of_a_dead_process_does_not_block(store, image, child):
    code = "import sys; from painting import paint; paint(sys.argv[1])"
    process = child(code, store.folder)
    while int(process.stdout.readline().replace("open", "0")) < 3:
        pass
    busy = store.open(image)
    assert "Another window" in " ".join(busy.notes)
    busy.close()
    process.kill()
    process.wait()
    journal = store.open(image)
    assert len(journal.entries) >= 3
    assert journal.folder.name == image.stem


def test_summaries_say_how_far_the_work_is(store, painting, image, made, put):
    put(store.open(image), made(1), made(2), Undone(number=2))
    put(
        store.open(painting.image_facts("e" * 64, name="other.png")),
        StatusChanged(status="reviewed"),
    )
    put(store.open(painting.image_facts("d" * 64)), SettingsChanged(values={"a": 1}))
    found = store.find(image.fingerprint)
    assert (found.strokes, found.rounds, found.status) == (1, 0, "untouched")
    assert found.name == "tissue.png"
    assert store.find("e" * 64).status == "reviewed"
    assert store.find("d" * 64) is None  # settings alone are no work
    assert {item.name for item in store.summaries()} == {"tissue.png", "other.png"}


def test_starting_afresh_leaves_nothing_that_counts(store, image, made, put):
    put(store.open(image), made(1), StartedAfresh())
    assert store.find(image.fingerprint) is None
    assert len(store.open(image).entries) == 2


def test_the_default_folder_is_that_of_the_models(monkeypatch, tmp_path):
    from napari_wsol.paths import data_folder

    monkeypatch.setenv("NAPARI_WSOL_JOURNALS", str(tmp_path))
    assert Store().folder == tmp_path
    monkeypatch.delenv("NAPARI_WSOL_JOURNALS")
    assert Store().folder == data_folder() / "journals"
    monkeypatch.delenv("NAPARI_WSOL_HOME")
    assert Store().folder == data_folder() / "journals"


def test_the_head_of_a_round_comes_back(store, image):
    import torch

    state = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}
    metadata = {"round": "1", "z": "last", "a": "first", "model": "glands"}
    journal = store.open(image)
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


def test_a_head_that_cannot_be_written_says_so(tmp_path, image):
    import torch

    (tmp_path / "journals").write_text("a file")
    journal = Store(tmp_path / "journals").open(image)
    with pytest.raises(ExportError, match="round 1"):
        journal.save_head(1, {"weight": torch.ones(1)}, {})


def test_a_store_needs_neither_torch_nor_a_window(child):
    code = (
        "import sys; from painting import *; "
        "print({'torch', 'napari', 'qtpy', 'zarr'} & set(sys.modules))"
    )
    assert child(code).communicate(timeout=60)[0] == "set()\n"
