"""A slide read tile by tile gives what it gives as a whole, whatever happens."""

import numpy as np
import pytest
import torch

from napari_wsol.errors import MethodUnavailableError
from napari_wsol.inference.whole_image import localize
from napari_wsol.slides.order import TileQueue
from napari_wsol.slides.readouts import CLASSIFIER, planes_of, unpack


def whole_map(job, name):
    """(channels, h, w) of a plane, put together from the log."""
    plane = next(item for item in job.planes if item.name == name)
    rows, columns = (-(-side // plane.stride) for side in job.plan.seen.shape)
    result = np.full((plane.channels, rows, columns), np.nan, np.float32)
    for index in job.log.done:
        tile = job.plan.grid[int(index)]
        core = unpack(job.log.read(int(index)), job.planes, tile)[name]
        top, left = tile.y // plane.stride, tile.x // plane.stride
        result[:, top : top + core.shape[1], left : left + core.shape[2]] = core
    return result


@pytest.mark.parametrize("core", [64, 128, 256])
def test_tiled_equals_whole(job, section, small_model, core):
    tiled = job(section, core=core)
    assert len(list(tiled.run.tiles())) == len(tiled.plan.grid)
    whole = localize(small_model, section, ["cam", "pcam", "pixelcam"], "bright")
    for name in ("pcam", "pixelcam"):
        found = whole_map(tiled, name)[-1]
        assert np.abs(found - whole.heatmaps[name].values).max() < 1e-3
    scores = whole_map(tiled, "cam")[1]
    low, high = whole.heatmaps["cam"].raw_range
    assert (
        np.abs((scores - low) / (high - low) - whole.heatmaps["cam"].values).max()
        < 1e-3
    )


def test_the_maps_of_every_class_are_kept_until_one_is_chosen(
    job, section, small_model
):
    every = job(section)
    list(every.run.tiles())
    for target, name in enumerate(small_model.classes):
        one = localize(small_model, section, ["pcam"], name).heatmaps["pcam"].values
        assert np.abs(whole_map(every, "pcam")[target] - one).max() < 1e-3


def test_the_classifiers_own_maps_are_kept(job, section, small_model):
    tiled = job(section)
    list(tiled.run.tiles())
    maps = torch.from_numpy(whole_map(tiled, CLASSIFIER)).flatten(1)
    logits = small_model.classifier.pool_maps(maps)
    expected = localize(small_model, section, ["cam"]).scores
    found = dict(zip(small_model.classes, logits.softmax(0).tolist(), strict=True))
    assert found == pytest.approx(expected, abs=1e-3)


def test_glass_is_left_out(job, section):
    tiled = job(section, tissue_only=True)
    assert 0 < tiled.plan.count < len(tiled.plan.grid)
    list(tiled.run.tiles())
    assert tiled.run.encoded == tiled.plan.count
    values = whole_map(tiled, "pixelcam")[0]
    stride = next(item.stride for item in tiled.planes if item.name == "pixelcam")
    assert np.isfinite(
        values[100 // stride : 500 // stride, 80 // stride : 440 // stride]
    ).all()
    assert np.isnan(values[:, 700 // stride :]).all()


def test_stopped_and_run_again_gives_the_same_bytes(job, section, tmp_path):
    once = job(section)
    list(once.run.tiles())
    folder = tmp_path / "again"
    folder.mkdir()
    first = job(section, folder=folder)
    running = first.run.tiles()
    for _ in range(7):
        next(running)
    running.close()
    first.log.close()
    with (folder / "slide.tiles").open("ab") as file:
        file.write(b"half a record")
    second = job(section, folder=folder)
    assert len(second.log) == 7
    list(second.run.tiles())
    assert second.run.encoded == len(second.plan.grid) - 7
    for index in range(len(once.plan.grid)):
        assert once.log.read(index) == second.log.read(index)


def test_a_log_of_another_run_is_begun_anew(job, section):
    first = job(section, methods=("cam",))
    list(first.run.tiles())
    first.log.close()
    assert not len(job(section, methods=("pcam",)).log)


def test_what_is_looked_at_comes_first(job, section):
    tiled = job(section, core=64)
    tiled.run.queue.look_at(tiled.plan.tiles_of(300, 500, 420, 700))
    done = [item.tile for item in tiled.run.tiles()]
    inside = [
        tile.y + tile.height > 300
        and tile.y < 420
        and tile.x + tile.width > 500
        and tile.x < 700
        for tile in done
    ]
    count = sum(inside)
    assert count >= 6
    assert all(inside[:count])
    assert len(done) == len(tiled.plan.grid)


def test_panning_reorders_a_running_queue(job, section):
    tiled = job(section, core=64, ahead=1)
    running = tiled.run.tiles()
    next(running)
    tiled.run.queue.look_at(tiled.plan.tiles_of(560, 780, 600, 820))
    soon = [next(running).tile.index for _ in range(3)]  # two were being read already
    assert soon[-1] == len(tiled.plan.grid) - 1


def test_a_queue_of_a_million_tiles_is_quick():
    queue = TileQueue(np.ones((1000, 1000), np.bool_), done=range(0, 1_000_000, 2))
    queue.look_at((500.0, 500.0, 502.0, 502.0))
    row, column = divmod(queue.pop(), 1000)
    assert abs(row - 500) <= 2
    assert abs(column - 500) <= 2
    assert len(queue) == 499_999


def test_what_needs_the_whole_image_says_so(small_model):
    with pytest.raises(MethodUnavailableError, match="Grad-CAM looks at the whole"):
        planes_of(small_model, ["gradcam"])


class Kept(dict):
    """A store in memory that rounds nothing."""

    def put(self, index, features):
        self[index] = features


def test_kept_features_need_no_encoding(job, section, tmp_path):
    store = Kept()
    first = job(section, store=store)
    list(first.run.tiles())
    folder = tmp_path / "second"
    folder.mkdir()
    second = job(section, store=store, folder=folder)
    done = list(second.run.tiles())
    assert second.run.encoded == 0
    assert all(item.was_kept for item in done)
    for index in range(len(first.plan.grid)):
        one, other = (
            unpack(item.log.read(index), item.planes, item.plan.grid[index])
            for item in (first, second)
        )
        for name, values in one.items():
            assert np.allclose(values, other[name], atol=2e-3)


class Small:
    """A device's memory that suffices for so many tiles at once, and fails so often.

    What torch raises is real; only the graphics card is not there.
    """

    def __init__(self, encoder, *, most: int, failures: int) -> None:
        self.most, self.failures, self.sizes = most, failures, []
        encoder.register_forward_pre_hook(self._on_batch)

    def _on_batch(self, _module, inputs) -> None:
        size = len(inputs[0])
        self.sizes.append(size)
        if size > self.most and self.failures > 0:
            self.failures -= 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")


def values_of(run):
    return {item.tile.index: item.maps for item in run.tiles()}


def test_where_memory_does_not_suffice_fewer_tiles_go_at_once(
    job, section, small_model, tmp_path
):
    for name in ("all", "less"):
        (tmp_path / name).mkdir()
    expected = values_of(job(section, batch=4, folder=tmp_path / "all").run)
    memory = Small(small_model.encoder, most=1, failures=99)
    work = job(section, batch=4, folder=tmp_path / "less")
    found = values_of(work.run)
    first = memory.sizes.index(4)
    assert memory.sizes[first:][:7] == [4, 2, 1, 1, 2, 1, 1]
    assert set(memory.sizes[first:][7:]) == {1}
    assert work.run.notes == []
    assert found.keys() == expected.keys()
    for index, maps in expected.items():
        for name, values in maps.items():
            np.testing.assert_allclose(values, found[index][name], atol=1e-4)


def test_where_no_tile_has_room_the_processor_does_the_work(job, section, small_model):
    memory = Small(small_model.encoder, most=0, failures=1)
    work = job(section, batch=1)
    assert len(values_of(work.run)) == len(work.plan.grid)
    assert len(memory.sizes) == 1 + len(work.plan.grid)
    (note,) = work.run.notes
    assert "the processor did the work" in note
