"""Features are kept, found again tomorrow, never half, and never of something else."""

import os
import shutil
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch

from napari_wsol.config import SlideConfig
from napari_wsol.encoders import Features
from napari_wsol.images.readers import open_slide
from napari_wsol.slides import feature_store as module
from napari_wsol.slides.feature_disk import FeatureDisk
from napari_wsol.slides.feature_store import FeatureStore, keep_features
from napari_wsol.slides.plan import plan_slide
from napari_wsol.slides.readouts import unpack

NOTHING_IN_MEMORY = 1


@pytest.fixture
def disk(tmp_path):
    return FeatureDisk(tmp_path / "cache")


@pytest.fixture
def store(section, small_model, disk):
    """Opens the store of a slide, as often as asked."""
    opened = []

    def make(image=section, *, disk=disk, core=128, **how):
        slide = open_slide(image, name="section")
        plan = plan_slide(slide, small_model, SlideConfig(core=core, tissue_only=False))
        how = {"memory_bytes": NOTHING_IN_MEMORY, **how}
        opened.append(FeatureStore(slide, small_model, plan, disk, **how))
        return opened[-1]

    yield make
    for item in opened:
        item.close()


def features_of(small_model, seed=0, side=20):
    """Random maps as the small model's encoder would give them."""
    drawn = torch.Generator().manual_seed(seed)
    encoder = small_model.encoder
    maps = tuple(
        torch.randn(1, count, side * 8 // stride, side * 8 // stride, generator=drawn)
        for count, stride in zip(encoder.channels, encoder.strides, strict=True)
    )
    return Features(maps, encoder.strides, encoder.offsets, encoder.taps)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.maps, other.maps, strict=True))


def test_what_is_kept_is_found_tomorrow(store, small_model):
    today = store()
    kept = {index: features_of(small_model, index) for index in (0, 3, 17)}
    for index, features in kept.items():
        today.put(index, features)
    today.close()
    tomorrow = store()
    assert len(tomorrow) == 3
    assert 1 not in tomorrow
    assert tomorrow.get(1) is None
    for index, features in kept.items():
        found = tomorrow.get(index)
        assert same(found, features)
        assert found.strides == features.strides
        assert found.names == features.names


def test_tiles_of_any_size_come_back_as_they_were(store, small_model):
    first = store()
    small = features_of(small_model, side=3)
    first.put(2, small)
    first.close()
    assert same(store().get(2), small)


@pytest.mark.parametrize("change", ["pixels", "core", "weights"])
def test_features_of_something_else_are_not_found(store, small_model, section, change):
    first = store()
    first.put(0, features_of(small_model))
    first.close()
    if change == "pixels":
        section[0, 0] = 0
    elif change == "weights":
        small_model._encoder_sha = None
        with torch.no_grad():
            next(small_model.encoder.parameters()).mul_(1.01)
    assert 0 not in store(core=64 if change == "core" else 128)


def test_a_slide_with_many_features_keeps_bfloat16(store, small_model, monkeypatch):
    monkeypatch.setattr(module, "SMALL_BYTES", 1000)
    first = store()
    features = features_of(small_model)
    first.put(0, features)
    first.close()
    found = store().get(0)
    for values, original in zip(found.maps, features.maps, strict=True):
        assert values.dtype == torch.float32
        assert torch.equal(values, original.bfloat16().float())


def test_memory_gives_the_same_as_the_disk(store, small_model, monkeypatch):
    monkeypatch.setattr(module, "SMALL_BYTES", 1000)
    features = features_of(small_model)
    quick = store(memory_bytes=10_000_000)
    quick.put(0, features)
    from_memory = quick.get(0)
    quick.close()
    assert same(from_memory, store().get(0))


def test_memory_stays_under_its_budget_and_forgets_the_longest_unused(
    store, small_model
):
    one = sum(item.nbytes for item in features_of(small_model).maps)
    tiles = store(disk=None, memory_bytes=2 * one)
    tiles.put(0, features_of(small_model, 0))
    tiles.put(1, features_of(small_model, 1))
    tiles.get(0)
    tiles.put(2, features_of(small_model, 2))
    assert [index in tiles for index in (0, 1, 2)] == [True, False, True]
    assert len(tiles) == 2


@pytest.mark.parametrize("damage", ["cut", "bit", "gone"])
def test_a_damaged_tile_is_not_given(store, small_model, disk, damage):
    first = store()
    first.put(0, features_of(small_model, 0))
    first.put(1, features_of(small_model, 1))
    first.close()
    chunk = disk.folder / first.key / "features.zarr" / "0" / "c.0.0.0.0"
    content = chunk.read_bytes()
    if damage == "cut":
        chunk.write_bytes(content[: len(content) // 2])
    elif damage == "bit":
        at = len(content) // 2
        chunk.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    else:
        chunk.unlink()
    again = store()
    assert again.get(0) is None
    assert 0 not in again
    assert again.damaged == 1
    assert same(again.get(1), features_of(small_model, 1))
    again.put(0, features_of(small_model, 0))
    again.close()
    assert same(store().get(0), features_of(small_model, 0))


def test_a_damaged_tile_is_encoded_and_kept_again(job, section, store, disk, tmp_path):
    kept = store()
    first = job(section, store=kept)
    list(first.run.tiles())
    kept.close()
    (disk.folder / kept.key / "features.zarr" / "0" / "c.5.0.0.0").write_bytes(b"no")
    kept = store()
    folder = tmp_path / "again"
    folder.mkdir()
    second = job(section, store=kept, folder=folder)
    done = list(second.run.tiles())
    assert second.run.encoded == 1
    assert len(done) == len(second.log) == len(second.plan.grid)
    assert kept.get(5) is not None


def test_a_second_method_tomorrow_encodes_nothing(job, section, store, tmp_path):
    kept = store()
    list(job(section, methods=("cam",), store=kept).run.tiles())
    kept.close()
    folder = tmp_path / "tomorrow"
    folder.mkdir()
    fresh = job(section, methods=("pcam", "pixelcam"), folder=folder)
    list(fresh.run.tiles())
    folder = tmp_path / "kept"
    folder.mkdir()
    second = job(section, methods=("pcam", "pixelcam"), store=store(), folder=folder)
    assert all(item.was_kept for item in second.run.tiles())
    assert second.run.encoded == 0
    for index in range(len(fresh.plan.grid)):
        one, other = (
            unpack(item.log.read(index), item.planes, item.plan.grid[index])
            for item in (fresh, second)
        )
        for name, values in one.items():
            assert np.abs(values - other[name]).max() < 1e-3


def test_the_longest_unused_slide_goes_first_and_an_open_one_never(
    store, small_model, disk
):
    keys = []
    for shade in (10, 20, 30):
        one = store(np.full((600, 820, 3), shade, np.uint8))
        one.put(0, features_of(small_model, shade))
        one.close()
        keys.append(one.key)
        used = disk.folder / one.key / "used"
        os.utime(used, (shade, shade))
    opened = store(np.full((600, 820, 3), 10, np.uint8))  # the oldest, now in use
    a_slide = disk.slides()[0].nbytes
    disk.budget_bytes = int(4.5 * a_slide)
    current = store()
    current.put(0, features_of(small_model))
    current.put(1, features_of(small_model, 1))
    current.flush()
    left = {item.key for item in disk.slides()}
    assert left == {keys[0], keys[2], current.key}
    assert 0 in opened
    assert current.notes == []


@pytest.mark.parametrize("full", ["budget", "disk"])
def test_a_full_disk_is_said_and_work_goes_on(
    store, small_model, disk, monkeypatch, full
):
    if full == "budget":
        disk.budget_bytes = 100
    else:
        usage = shutil.disk_usage(disk.folder.parent)._replace(free=500_000_000)
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    tiles = store(memory_bytes=10_000_000)
    tiles.put(0, features_of(small_model))
    tiles.flush()
    tiles.put(1, features_of(small_model))
    assert len(tiles.notes) == 1
    assert "no more room" in tiles.notes[0]
    assert same(tiles.get(1), features_of(small_model))  # memory goes on
    tiles.close()
    assert len(store()) == 0


def test_an_error_while_writing_goes_on_without_the_disk(store, small_model, disk):
    tiles = store(memory_bytes=10_000_000)
    tiles.put(0, features_of(small_model))
    tiles.flush()
    shutil.rmtree(disk.folder)
    disk.folder.write_text("in the way")
    tiles.put(1, features_of(small_model, 1))
    tiles.close()
    assert len(tiles.notes) == 1


def test_budgets_come_from_the_configuration(section, small_model, tmp_path):
    slide = open_slide(section)
    for nbytes, kept in ((0, 0), (10**9, 1)):
        config = SlideConfig(core=128, tissue_only=False, disk_bytes=nbytes)
        plan = plan_slide(slide, small_model, config)
        for count in (0, kept):  # today and tomorrow
            tiles = keep_features(slide, small_model, plan, config, tmp_path / "cache")
            assert len(tiles) == count
            tiles.put(0, features_of(small_model))
            tiles.close()


def test_a_folder_that_cannot_be_written_is_said(store, small_model, tmp_path):
    (tmp_path / "file").write_text("in the way")
    tiles = store(disk=FeatureDisk(tmp_path / "file" / "cache"))
    assert "cannot be written" in tiles.notes[0]
    tiles.put(0, features_of(small_model))
    assert tiles.get(0) is None


def test_clear_spares_what_is_open(store, small_model, disk):
    first = store()
    first.put(0, features_of(small_model))
    first.flush()
    assert disk.clear() == 0
    first.close()
    (kept,) = disk.slides()
    assert kept.name == "section"
    assert disk.clear() == kept.nbytes > 0
    assert disk.slides() == []


def test_a_process_that_is_gone_holds_nothing(store, small_model, disk):
    first = store()
    first.put(0, features_of(small_model))
    first.flush()
    (mark,) = (disk.folder / first.key).glob("open.*")
    long_ago = time.time() - 3600
    os.utime(mark, (long_ago, long_ago))
    assert disk.clear() > 0


@pytest.mark.slow
def test_a_killed_process_leaves_whole_tiles(tmp_path):
    code = textwrap.dedent("""
        import sys
        import numpy as np, torch
        from pathlib import Path
        from napari_wsol.encoders import Features
        from napari_wsol.images.readers import open_slide
        from napari_wsol.methods import Model, ModelSpec
        from napari_wsol.config import SlideConfig
        from napari_wsol.slides.plan import plan_slide
        from napari_wsol.slides.feature_disk import FeatureDisk
        from napari_wsol.slides.feature_store import FeatureStore, keep_features

        torch.manual_seed(0)
        spec = ModelSpec(encoder="mobilenet_v2", classes=("a", "b"), heads=("cam",),
                         taps=("features.3",))
        model = Model(spec).eval()
        slide = open_slide(np.zeros((4096, 4096, 3), np.uint8))
        plan = plan_slide(slide, model, SlideConfig(core=128, tissue_only=False))
        store = FeatureStore(slide, model, plan, FeatureDisk(Path(sys.argv[1])),
                             memory_bytes=1)
        encoder = model.encoder

        def features(index):
            side = (128 + 2 * plan.margin) // 4
            generator = torch.Generator().manual_seed(index)
            maps = (torch.randn(1, 24, side, side, generator=generator),)
            return Features(maps, encoder.strides, encoder.offsets, encoder.taps)

        if sys.argv[2] == "write":
            print("begun", flush=True)
            for index in range(1024):
                store.put(index, features(index))
        else:
            kept = [index for index in range(1024) if index in store]
            for index in kept:
                assert torch.equal(store.get(index).maps[0], features(index).maps[0])
            print(len(kept), store.damaged)
        store.close()
    """)
    command = [sys.executable, "-c", code, str(tmp_path / "cache")]
    writing = subprocess.Popen([*command, "write"], stdout=subprocess.PIPE)
    writing.stdout.readline()
    time.sleep(0.5)
    writing.kill()
    writing.wait()
    read = subprocess.run(
        [*command, "read"], capture_output=True, text=True, check=True
    )
    kept, damaged = map(int, read.stdout.split())
    assert 0 < kept < 1024
    assert damaged == 0
