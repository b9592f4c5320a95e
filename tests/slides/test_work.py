"""From the first look to the files, with kills and pans between."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import zarr

from napari_wsol.config import SlideConfig
from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.slides.large import is_large
from napari_wsol.slides.live import LIVE_CELLS, LiveMap
from napari_wsol.slides.localize import SlideWork

CONFIG = SlideConfig(core=128, tissue_only=False)


@pytest.fixture
def work(small_model, tmp_path, section):
    def make(image=section, folder="work", config=CONFIG, **how):
        from napari_wsol.images.readers import open_slide

        slide = open_slide(image, name="section.png")
        return SlideWork(
            slide, small_model, config=config, folder=tmp_path / folder, **how
        )

    return make


def test_heatmaps_are_those_of_the_whole_image(work, section, small_model):
    job = work(target="bright")
    list(job.tiles())
    whole = localize(small_model, section, target="bright")
    for name, expected in whole.heatmaps.items():
        found = job.heatmap(name)
        assert np.abs(found.values - expected.values).max() < 1e-3
        assert found.scale == expected.scale
        assert found.translate == expected.translate
        assert found.is_probability == expected.is_probability
        assert np.abs(job.full(name)[...] - job.live[name].values).max() == 0


def test_a_first_look_lies_where_the_tiles_will(work, small_model):
    image = np.full((2000, 3000, 3), 90, np.uint8)
    image[400:1200, 1800:2600] = 230
    job = work(image, target="bright")
    found = job.look()
    assert "coarser" in found.notes[0]
    values = found.heatmaps["pixelcam"].resized((200, 300))
    inside, outside = values[50:110, 190:250], values[130:190, 20:150]
    fine = localize(small_model, image, ["pixelcam"], "bright")
    sign = np.sign(
        fine.heatmaps["pixelcam"].resized((200, 300))[50:110, 190:250].mean()
        - fine.heatmaps["pixelcam"].resized((200, 300))[130:190, 20:150].mean()
    )
    assert sign * (inside.mean() - outside.mean()) > 0


def test_an_unfinished_map_is_empty_where_nothing_is_and_says_so(work):
    job = work(target="bright")
    running = job.tiles()
    for _ in range(4):
        next(running)
    running.close()
    values = job.heatmap("pixelcam").values
    assert (values[:32] > 0).any()
    assert not values[64:].any()
    assert any("4 of 35 tiles" in note for note in job.notes)


def test_glass_is_never_marked_but_a_lumen_may_be(work, section):
    section[250:310, 200:260] = 245  # empty, but inside of tissue
    job = work(section, config=SlideConfig(core=256), target="bright")
    first = job.look()
    assert first.heatmaps["pixelcam"].at(20, 20) > 0  # unmasked, what the model says
    for _ in range(2):  # before any tile is there, and when all are
        values = job.heatmap("pixelcam").resized((600, 820))
        assert not values[:30, :400].any()
        assert not values[100:500, 490:].any()
        assert (values[265:295, 215:245] > 0).all()
        assert (values[100:200, 100:400] > 0).all()
        list(job.tiles())
    full = job.full("pixelcam")[...]
    assert np.isnan(full[:7, :100]).all()
    assert np.array_equal(np.nan_to_num(full), job.heatmap("pixelcam").values)


def test_until_a_tile_is_there_the_first_look_shows(work):
    job = work(target="bright", config=SlideConfig(core=128))  # glass is left out
    first = job.look()
    before = job.heatmap("pixelcam")
    tissue, glass = before.values[20:100, 20:100], before.values[:, 170:]
    assert tissue.std() > 0
    assert not glass.any()
    expected = first.heatmaps["pixelcam"].resized((600, 820))[80:400:4, 80:400:4]
    assert np.abs(tissue - expected).mean() < 0.1
    running = job.tiles()
    done = next(running).tile
    after = job.heatmap("pixelcam").values
    running.close()
    rows, columns = (slice(at // 4, at // 4 + 32) for at in (done.y, done.x))
    live = job.live["pixelcam"].values[rows, columns]
    assert np.array_equal(after[rows, columns], np.nan_to_num(live))
    assert np.array_equal(after[96:], before.values[96:])
    assert any("first look" in note for note in job.notes)


def test_the_maps_become_sharded_ome_zarr(work, tmp_path, section, small_model):
    job = work(target="bright", config=SlideConfig(core=64, tissue_only=False))
    out = tmp_path / "out"
    list(job.tiles(out))
    paths = job.finish(out)
    assert set(paths) == {"cam", "pcam", "pixelcam"}
    group = zarr.open_group(paths["pcam"], mode="r")
    place = group.attrs["ome"]["multiscales"][0]["datasets"][0]
    scale, translate = (item for item in place["coordinateTransformations"])
    array = group["0"]
    assert array.shards is not None
    whole = localize(small_model, section, ["pcam"], "bright").heatmaps["pcam"]
    assert scale["scale"][1:] == list(whole.scale)
    assert translate["translation"][1:] == list(whole.translate)
    assert np.abs(np.asarray(array[0], np.float32) - whole.values).max() < 1e-3
    assert json.loads(json.dumps(group.attrs["napari-wsol"]))["method"] == "pcam"


def test_coarser_levels_are_means(work, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_wsol.slides.heatmap_store._COARSEST", 40)
    job = work(target="bright")
    list(job.tiles())
    group = zarr.open_group(job.finish(tmp_path / "out")["pcam"], mode="r")
    levels = [np.asarray(group[str(n)][0], np.float32) for n in range(3)]
    fine = levels[0][:74, :102]
    mean = fine.reshape(37, 2, 51, 2).mean((1, 3))
    assert np.abs(levels[1][:37, :51] - mean).max() < 1e-3
    assert max(levels[-1].shape) <= 40 or "3" in group


def test_a_large_map_is_shown_coarser(work, monkeypatch):
    monkeypatch.setattr("napari_wsol.slides.live.LIVE_CELLS", 2000)
    job = work(target="bright")
    list(job.tiles())
    live = job.live["pixelcam"]
    assert live.step > 1
    assert live.values.size <= 2000 < LIVE_CELLS
    heatmap = job.heatmap("pixelcam")
    fine = job.full("pixelcam")[...]
    stride = heatmap.scale[0] / live.step
    assert heatmap.translate[0] == (stride * live.step - 1) / 2
    block = fine[: live.step, : live.step].mean()
    assert live.values[0, 0] == pytest.approx(block, abs=1e-3)
    assert isinstance(live, LiveMap)


@pytest.mark.parametrize(
    ("shape", "tiles"), [((40, 100), (1, 3)), ((100, 40), (3, 1)), ((60, 57), (2, 2))]
)
def test_a_first_look_takes_whole_tiles_and_one_at_least(shape, tiles):
    from napari_wsol.images.readers import open_slide
    from napari_wsol.slides.coarse import first_look

    spec = ModelSpec(
        encoder="amil_cnn", classes=("a", "b"), heads=("attention_mil",), tile=28
    )
    image = np.full((*shape, 3), 90, np.uint8)
    found = first_look(open_slide(image), Model(spec).eval(), ["attention_mil"])
    assert found.heatmaps["attention_mil"].values.shape == tiles


def test_what_is_large(small_model):
    from napari_wsol.images.readers import open_slide

    class Wide:
        def __init__(self, shape):
            self.shape, self.mpp, self.name = shape, None, "wide"

    assert not is_large(open_slide(np.zeros((500, 500), np.uint8)), small_model)
    assert is_large(Wide((4000, 4000)), small_model)


SCRIPT = """
import sys
from pathlib import Path
import numpy as np
import torch
from napari_wsol.images.readers import open_slide
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.config import SlideConfig
from napari_wsol.slides.localize import SlideWork

torch.set_num_threads(1)
torch.manual_seed(0)
model = Model(ModelSpec(encoder="mobilenet_v2", classes=("a", "b"),
                        heads=("cam", "pcam"), taps=("features.6",))).eval()
rng = np.random.default_rng(0)
image = rng.integers(0, 255, (700, 900, 3)).astype(np.uint8)
folder = Path(sys.argv[1])
job = SlideWork(open_slide(image, name="noise"), model, folder=folder / "log",
                config=SlideConfig(core=64, tissue_only=False))
print("start", job.done, flush=True)
for item in job.tiles(folder / "out"):
    print("tile", item.tile.index, flush=True)
for name, path in job.finish(folder / "out").items():
    print("written", path, flush=True)
print("encoded", job.run.encoded, flush=True)
"""


def run_script(folder, kill_after=None):
    """Lines that the script printed until it ended or was killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    lines = []
    for line in process.stdout:
        lines.append(line.split())
        if kill_after is not None and len(lines) > kill_after:
            time.sleep(0.003)
            os.kill(process.pid, signal.SIGKILL)
            break
    process.stdout.close()
    process.wait()
    return lines


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted((folder / "out").rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_killed_anywhere_it_ends_with_the_same_bytes(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    complete = run_script(whole)
    total = sum(line[0] == "tile" for line in complete)
    seen = []
    for after in (3, 25, 40):
        lines = run_script(killed, kill_after=after)
        seen.append(int(lines[0][1]))
    last = run_script(killed)
    finished = int(last[0][1])
    assert finished > seen[-1] > seen[1] > 0
    assert int(last[-1][1]) == total - finished  # none was computed twice
    assert files(whole) == files(killed)
