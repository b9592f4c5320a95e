"""Bags that are made: which tiles, where they lie, what they hold, in which files."""

import os
import signal
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from napari_wsol.config import SlideConfig
from napari_wsol.encoders import preprocess
from napari_wsol.errors import (
    ConfigError,
    ImageError,
    JobCancelledError,
    UnknownNameError,
)
from napari_wsol.images.bags import lattice_of, open_bag
from napari_wsol.images.cache import TileCache
from napari_wsol.images.preprocessing import Preprocessing
from napari_wsol.images.readers import open_slide
from napari_wsol.images.resample import read_region
from napari_wsol.images.tissue import tissue_mask
from napari_wsol.inference.bags import check_bag
from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import Model, ModelSpec, evaluating
from napari_wsol.slides.bag_maker import make_bag, tile_model

h5py = pytest.importorskip("h5py")

TILE, UM = 64, 0.5


@pytest.fixture
def tiles(small_model):
    """The small network on tiles of 64 pixels at 0.5 µm."""
    return tile_model(small_model, mpp=UM, tile=TILE)


@pytest.fixture
def slide(tmp_path, section):
    path = tmp_path / "slides" / "section.png"
    path.parent.mkdir()
    Image.fromarray(section).save(path)
    return path


@pytest.fixture
def encoded(tiles):
    """How many tiles went through the network, batch by batch."""
    counts = []
    tiles.encoder.backbone.register_forward_hook(
        lambda _module, inputs, _output: counts.append(len(inputs[0]))
    )
    return counts


def read(path):
    """Features, coords and attributes of the coords, as TRIDENT's own reader has it."""
    with h5py.File(path, "r") as file:
        coords = file["coords"]
        return file["features"][:], coords[:], dict(coords.attrs)


def test_the_layout_is_that_of_trident(slide, tiles, tmp_path):
    path = make_bag(slide, tiles, tmp_path / "out", mpp=0.25)
    name = "20x_64px_0px_overlap/features_mobilenet_v2/section.h5"
    assert path.relative_to(tmp_path / "out").as_posix() == name
    features, coords, told = read(path)
    assert (features.dtype, coords.dtype) == (np.float32, np.int64)
    assert features.shape == (len(coords), tiles.encoder.channels[-1])
    assert told["patch_size"] == TILE
    assert told["patch_size_level0"] == 2 * TILE
    assert told["level0_magnification"] == 40
    assert told["target_magnification"] == 20
    assert told["overlap"] == 0
    assert [item.name for item in path.parent.iterdir()] == ["section.h5"]


def test_our_own_reader_knows_slide_and_network(slide, tiles, tmp_path):
    bag = open_bag(make_bag(slide, tiles, tmp_path / "out", mpp=0.25))
    assert bag.image_shape == (600, 820)
    assert bag.is_told
    assert (bag.side, bag.tile) == (2 * TILE, TILE)
    assert bag.encoder == "mobilenet_v2"
    assert bag.sha256 == tiles.encoder_fingerprint()
    assert lattice_of(bag).is_exact
    bag.check((600, 820), "section.png")


def vector_of(tiles, pixels):
    """That of a tile, (D,)."""
    how = tiles.preprocessing
    batch = preprocess(torch.from_numpy(pixels[None].copy()), how.mean, how.std)
    with evaluating(tiles), torch.inference_mode():
        return tiles.encoder.vectors(batch)[0].numpy()


@pytest.mark.parametrize("step", [1, 2])
def test_a_vector_is_that_of_the_pixels_at_its_corner(slide, tiles, tmp_path, step):
    rng = np.random.default_rng(2)
    light = np.kron(rng.integers(0, 200, (9, 13)), np.ones((48, 48), int))
    noise = rng.integers(0, 55, (*light.shape, 3))
    section = (light[..., None] + noise).astype(np.uint8)
    Image.fromarray(section).save(slide)
    config = SlideConfig(tissue_only=False)
    path = make_bag(slide, tiles, tmp_path / "out", mpp=UM / step, config=config)
    features, coords, _ = read(path)
    off = vector_of(tiles, section[5 : 5 + TILE, 9 : 9 + TILE])
    assert np.abs(features - off).max(1).min() > 2e-5  # elsewhere it is another one
    image = open_slide(slide)
    for vector, (x, y) in zip(features, coords.tolist(), strict=True):
        pixels = section[y : y + TILE, x : x + TILE]
        if step > 1:
            assert (y % step, x % step) == (0, 0)
            pixels = read_region(image, y // step, x // step, TILE, TILE, float(step))
        assert np.abs(vector_of(tiles, pixels) - vector).max() < 1e-6


@pytest.mark.parametrize(("um", "side"), [(0.25, 128), (0.5, 64), (0.31, 103)])
def test_a_tile_is_as_large_as_its_um_a_pixel_say(slide, tiles, tmp_path, um, side):
    path = make_bag(slide, tiles, tmp_path / "out", mpp=um)
    bag = open_bag(path)
    assert read(path)[2]["patch_size_level0"] == side
    assert bag.side == pytest.approx(TILE * UM / um)
    steps = np.diff(np.unique(bag.corners[:, 0]))
    assert abs(steps - bag.side).max() < 1
    assert lattice_of(bag).is_exact


def test_tissue_is_encoded_once_and_glass_never(slide, tiles, encoded, tmp_path):
    path = make_bag(slide, tiles, tmp_path / "out", mpp=UM)
    _, coords, _ = read(path)
    assert sum(encoded) == len(coords) == len({tuple(at) for at in coords})
    mask = tissue_mask(open_slide(slide), 2.0)
    mask = mask.repeat(2, 0).repeat(2, 1)
    for x, y in coords:
        assert mask[max(0, y - 4) : y + TILE + 4, max(0, x - 4) : x + TILE + 4].any()
    assert not (coords[:, 0] > 460 + TILE).any()  # glass
    inner = {(x, y) for x, y in coords.tolist() if 60 <= x <= 390 and 50 <= y <= 480}
    assert len(inner) >= 5 * 6  # all of the tissue


def test_a_bag_that_is_there_is_not_made_again(slide, tiles, encoded, tmp_path):
    first = make_bag(slide, tiles, tmp_path / "out", mpp=UM)
    before, count = first.read_bytes(), sum(encoded)
    stamp = first.stat().st_mtime_ns
    assert make_bag(slide, tiles, tmp_path / "out", mpp=UM) == first
    assert (sum(encoded), first.stat().st_mtime_ns) == (count, stamp)
    other = make_bag(slide, tiles, tmp_path / "other", mpp=UM)
    assert other.read_bytes() == before


def test_another_bag_of_that_name_is_refused(slide, tiles, tmp_path, section):
    out = tmp_path / "out"
    path = make_bag(slide, tiles, out, mpp=UM)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"section\.h5” is of another slide"):
        make_bag(slide, tiles, out, mpp=0.45)  # another cut, also of 20×
    with pytest.raises(ConfigError, match="another slide"):
        make_bag(slide, tiles, out, mpp=UM, config=SlideConfig(tissue_only=False))
    with torch.no_grad():
        next(tiles.encoder.backbone.parameters()).add_(0.1)
    tiles._encoder_sha = None
    with pytest.raises(ConfigError, match="encoder"):
        make_bag(slide, tiles, out, mpp=UM)
    Image.fromarray(section[::-1]).save(slide)
    with pytest.raises(ConfigError, match="take another folder"):
        make_bag(slide, tiles, out, mpp=UM)
    assert path.read_bytes() == before


def test_the_layout_of_clam_has_a_tensor_too(slide, tiles, tmp_path):
    out = tmp_path / "out"
    path = make_bag(slide, tiles, out, mpp=UM, layout="clam")
    assert path == out / "h5_files" / "section.h5"
    features, coords, _ = read(path)
    tensor = torch.load(out / "pt_files" / "section.pt", weights_only=True)
    assert tensor.dtype == torch.float32
    assert np.array_equal(tensor.numpy(), features)
    same = read(make_bag(slide, tiles, tmp_path / "trident", mpp=UM))
    assert np.array_equal(features, same[0])
    assert np.array_equal(coords, same[1])


def test_without_a_pixel_size_it_says_what_to_give(slide, tiles, tmp_path):
    with pytest.raises(ImageError, match=r"section\.png.*--slide-mpp"):
        make_bag(slide, tiles, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UnknownNameError, match="trident, clam"):
        make_bag(slide, tiles, tmp_path / "out", mpp=UM, layout="tridnet")


def test_glass_alone_has_no_bag_unless_all_is_wanted(slide, tiles, tmp_path):
    Image.fromarray(np.full((300, 400, 3), 245, np.uint8)).save(slide)
    out = tmp_path / "out"
    with pytest.raises(ImageError, match="--no-tissue"):
        make_bag(slide, tiles, out, mpp=UM)
    assert not [*out.rglob("*.h5"), *out.rglob("*.tiles")]
    config = SlideConfig(tissue_only=False)
    bag = open_bag(make_bag(slide, tiles, out, mpp=UM, config=config))
    assert len(bag) == (300 // TILE) * (400 // TILE)


def test_an_image_smaller_than_a_tile_is_one(slide, tiles, tmp_path, section):
    Image.fromarray(section[100:140, 100:150]).save(slide)
    config = SlideConfig(tissue_only=False)
    bag = open_bag(make_bag(slide, tiles, tmp_path / "out", mpp=UM, config=config))
    assert len(bag) == 1
    assert bag.corners.tolist() == [[0, 0]]
    bag.check((40, 50), "section.png")


def test_stopped_and_resumed_each_tile_is_encoded_once(slide, tiles, encoded, tmp_path):
    whole = read(make_bag(slide, tiles, tmp_path / "whole", mpp=UM))
    total, out = sum(encoded), tmp_path / "out"
    encoded.clear()

    def stop(done, _total, _text):
        if done == 7:
            raise JobCancelledError("Stopped.")

    with pytest.raises(JobCancelledError):
        make_bag(slide, tiles, out, mpp=UM, report=stop)
    assert not [*out.rglob("*.h5")]
    seen = []
    path = make_bag(
        slide, tiles, out, mpp=UM, report=lambda *told: seen.append(told[:2])
    )
    assert sum(encoded) == total
    assert seen[0] == (8, total)
    found = read(path)
    assert found[0].tobytes() == whole[0].tobytes()
    assert np.array_equal(found[1], whole[1])


SCRIPT = """
import sys
from pathlib import Path
import torch
from napari_wsol.methods import Model, ModelSpec, evaluating
from napari_wsol.slides.bag_maker import make_bag, tile_model

torch.set_num_threads(1)
torch.manual_seed(0)
model = Model(ModelSpec(encoder="mobilenet_v2", classes=("a", "b"),
                        taps=("features.3",))).eval()
tiles = tile_model(model, mpp=0.5, tile=32)
def report(done, total, text):
    print(done, total, flush=True)
print(make_bag(Path(sys.argv[1]), tiles, Path(sys.argv[2]), mpp=0.5, report=report))
"""


def run_script(slide, out, kill_at=None):
    """Lines that the script printed until it ended or was killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(slide), str(out)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    lines = []
    for line in process.stdout:
        lines.append(line.strip())
        if len(lines) == kill_at:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.stdout.close()
    process.wait()
    return lines


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.slow
def test_killed_it_ends_with_the_same_bytes(slide, tmp_path):
    whole = run_script(slide, tmp_path / "whole")
    run_script(slide, tmp_path / "killed", kill_at=20)
    last = run_script(slide, tmp_path / "killed")
    assert int(last[0].split()[0]) >= 20  # none of the 20 was encoded again
    files = [(tmp_path / at).rglob("*.h5") for at in ("whole", "killed")]
    first, second = (next(found) for found in files)
    assert whole[-1] == str(first)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_slide(tiles, tmp_path, monkeypatch):
    budget = 8 << 20  # of decoded tiles, whatever the slide
    monkeypatch.setattr(TileCache.__init__, "__defaults__", (budget,))
    spec = replace(tiles.spec, taps=("features.1",), tile=512)
    wide, peaks = Model(spec).eval(), []
    for side in (2000, 6000):
        path = tmp_path / f"{side}.tif"
        rng = np.random.default_rng(0)
        block = rng.integers(60, 200, (500, 500, 3)).astype(np.uint8)
        image = np.tile(block, (side // 500, side // 500, 1))
        tifffile.imwrite(path, image, tile=(256, 256), photometric="rgb")
        del image
        config = SlideConfig(tissue_only=False)
        tracemalloc.start()
        bag = open_bag(make_bag(path, wide, tmp_path / "out", mpp=UM, config=config))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert len(bag) == 11**2
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 6000 * 6000 * 3 / 4


def test_tiles_that_are_damaged_are_left_out_and_told(tmp_path, tiles, section):
    path = tmp_path / "damaged.tif"
    tifffile.imwrite(
        path,
        section[:512, :512],
        tile=(128, 128),
        photometric="rgb",
        compression="zlib",
    )
    config = SlideConfig(tissue_only=False)
    whole = open_bag(make_bag(path, tiles, tmp_path / "whole", mpp=UM, config=config))
    with tifffile.TiffFile(path) as file:
        start, size = file.pages[0].dataoffsets[5], file.pages[0].databytecounts[5]
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\0" * size)
    target = make_bag(path, tiles, tmp_path / "out", mpp=UM, config=config)
    bag = open_bag(target)
    lost = {(y, x) for y in (128, 192) for x in (128, 192)}
    there = {tuple(at) for at in whole.corners.tolist()}
    assert there - {tuple(at) for at in bag.corners.tolist()} == lost
    with h5py.File(target, "r") as file:
        assert "4 tiles could not be read" in file.attrs["notes"]


def test_a_slide_of_which_nothing_can_be_read_has_no_bag(tmp_path, tiles, section):
    path = tmp_path / "damaged.tif"
    tifffile.imwrite(path, section[:256, :256], tile=(128, 128), compression="zlib")
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        parts = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    with path.open("r+b") as file:
        for start, size in parts:
            file.seek(start)
            file.write(b"\0" * size)
    config = SlideConfig(tissue_only=False)
    for _ in range(2):  # also where the log of the first try is there
        with pytest.raises(ImageError, match=r"(?i)copy (it again|or download)"):
            make_bag(path, tiles, tmp_path / "out", mpp=UM, config=config)
    assert not [*(tmp_path / "out").rglob("*.h5")]


def test_vectors_pooled_in_another_way_are_of_another_network(slide, tmp_path):
    models = []
    for pooling in ("mean", "cls"):
        torch.manual_seed(0)
        spec = ModelSpec(
            encoder="deit_tiny", classes=("a", "b"), heads=("attention_mil",)
        )
        spec = replace(spec, pooling=pooling, tile=32, mpp=UM)
        models.append(Model(spec).eval())
    path = make_bag(slide, models[0], tmp_path, mpp=UM)
    check_bag(models[0], open_bag(path))
    with pytest.raises(ImageError, match="another folder of features"):
        check_bag(models[1], open_bag(path))


def test_a_mil_model_reads_the_bag_that_its_network_made(slide, tmp_path):
    torch.manual_seed(0)
    spec = ModelSpec(
        encoder="mobilenet_v2",
        classes=("a", "b"),
        heads=("attention_mil",),
        taps=("features.3",),
        tile=TILE,
        mpp=UM,
    )
    model = Model(spec).eval()
    bag = open_bag(make_bag(slide, model, tmp_path / "out", mpp=UM))
    check_bag(model, bag)
    config = SlideConfig(tissue_only=False)
    whole = make_bag(slide, model, tmp_path / "whole", mpp=UM, config=config)
    found, expected = localize(model, whole), localize(model, slide, mpp=UM)
    assert found.scores == pytest.approx(expected.scores, abs=1e-5)
    one, two = (x.heatmaps["attention_mil"] for x in (found, expected))
    middles = open_bag(whole).corners + (TILE - 1) / 2
    values = np.array([[one.at(*at), two.at(*at)] for at in middles])
    assert np.abs(values[:, 0] - values[:, 1]).max() < 1e-4
    torch.manual_seed(1)
    with pytest.raises(ImageError, match="made by"):
        check_bag(Model(spec).eval(), bag)


def test_a_model_of_tiles_shares_weights_and_says_its_cut(small_model):
    made = tile_model(small_model, mpp=None, tile=None)
    assert (made.spec.tile, made.spec.mpp) == (256, 0.5)
    own = next(small_model.encoder.parameters())
    assert next(made.encoder.parameters()).data_ptr() == own.data_ptr()
    again = tile_model(made, mpp=1.0, tile=None)
    assert (again.spec.tile, again.spec.mpp) == (256, 1.0)
    assert again.encoder_fingerprint() == made.encoder_fingerprint()
    assert small_model.encoder.taps == ("features.3", "features.6")


def test_a_transformer_sees_a_tile_whole():
    how = Preprocessing()
    spec = ModelSpec(encoder="deit_small", classes=("a",), heads=(), preprocessing=how)
    model = Model(spec).eval()
    made = tile_model(model, mpp=None, tile=64)
    assert model.encoder.window == model.encoder.fixed_size  # as it was
    assert made.encoder.backbone.window is None


def test_vectors_have_no_tiles_to_encode(slide, tmp_path):
    model = Model(
        ModelSpec(encoder="vectors:16", classes=("a", "b"), heads=("attention_mil",))
    )
    with pytest.raises(ConfigError, match="reads vectors of tiles"):
        make_bag(slide, model, tmp_path / "out", mpp=UM)
