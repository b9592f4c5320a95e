"""Strokes on a slide count where they are, tile by tile, as on an image."""

import threading
import time

import numpy as np
import pytest
import tifffile
import torch
from fixtures.rounds import first_round, round_on_image

from napari_wsol import Session
from napari_wsol.config import FinetuneConfig, SlideConfig
from napari_wsol.errors import (
    JobCancelledError,
    MethodUnavailableError,
    UnreadableImageError,
)
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.encode import encode
from napari_wsol.inference.view import ModelView
from napari_wsol.journal import RoundMade
from napari_wsol.methods.pixelcam import PixelCam, PixelHead
from napari_wsol.refinement.heads import field_from
from napari_wsol.refinement.local import refined_map
from napari_wsol.refinement.on_slides.colour import KeptColour, TileColour
from napari_wsol.refinement.on_slides.descriptors import SlideDescriptors, SlideSpace
from napari_wsol.refinement.on_slides.local import LocalMap
from napari_wsol.refinement.on_slides.refine import SlideRefinement
from napari_wsol.refinement.refine import colour_on
from napari_wsol.refinement.stroke_field import (
    SAMPLED,
    StrokeField,
    grid_points,
    sample_step,
)
from napari_wsol.slides.feature_disk import FeatureDisk
from napari_wsol.slides.feature_store import FeatureStore
from napari_wsol.slides.localize import SlideWork
from napari_wsol.slides.plan import plan_slide
from napari_wsol.slides.run import SlideRun
from napari_wsol.slides.tile_log import TileLog
from napari_wsol.strokes.raster import Drawing

SHAPE = (448, 608)  # whole cells: an image pads where a slide does not


@pytest.fixture
def image(section):
    """Tissue in two tones, with glass on its right."""
    section[50:550, 80:300] //= 2
    return np.ascontiguousarray(section[30 : 30 + SHAPE[0], 20 : 20 + SHAPE[1]])


@pytest.fixture
def strokes():
    """Foreground over several tiles and their borders, background beside it."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[126:132, 70:270] = 2
    labels[300:304, 300:420] = 1
    labels[20:30, 500:560] = 1
    return labels


@pytest.fixture
def opened(image, small_model):
    """Opens the image in a session of its own, localized; closes it in the end."""
    made = []

    def make(*, journals=True, resume=False):
        session = Session(journals=journals)
        made.append(session)
        session.slide_config = SlideConfig(core=128)
        session.open(image, name="section", resume=resume).result()
        session.use(small_model).result()
        if session.is_large:
            session.set_tissue(np.ones((1, 1)))
        session.localize(["pixelcam"]).result()
        return session

    yield make
    for session in made:
        session.close(wait=True)


@pytest.fixture
def as_slide(monkeypatch):
    """Makes every image a slide from now on."""

    def turn():
        monkeypatch.setattr("napari_wsol.slides.large.LARGE_PIXELS", 10_000)

    return turn


class Counting:
    """Passes everything on to a store, and says which tiles were read."""

    def __init__(self, store):
        self.store, self.read = store, []

    def __contains__(self, index):
        return index in self.store

    def get(self, index):
        self.read.append(index)
        return self.store.get(index)

    def put(self, index, features):
        self.store.put(index, features)


class OnSlide:
    """The image cut into tiles of 128, all features kept."""

    def __init__(self, image, model, folder, core=128):
        self.image, self.model, self.folder = image, model, folder
        self.slide = open_slide(image)
        self.config = SlideConfig(core=core, tissue_only=False)
        self.plan = plan_slide(self.slide, model, self.config)
        kept = FeatureStore(self.slide, model, self.plan, FeatureDisk(folder / "cache"))
        self.store = Counting(kept)
        log = TileLog(folder / "encoded.tiles", len(self.plan.grid), {})
        run = SlideRun(
            self.slide,
            model,
            self.plan,
            (),
            log=log,
            config=self.config,
            store=self.store,
        )
        list(run.tiles())
        log.close()

    def learnt(self, strokes, settings=None, space=None, slide=None):
        descriptors = SlideDescriptors(
            slide or self.slide,
            self.model,
            self.plan,
            self.store,
            config=self.config,
            space=space,
        )
        request = first_round(strokes, settings or FinetuneConfig())
        done = SlideRefinement(descriptors, request)
        list(done.learn())
        return done

    def tiles(self, done, slide=None):
        work = SlideWork(
            slide or self.slide,
            done.model,
            ["pixelcam"],
            "bright",
            config=self.config,
            folder=self.folder,
            plan=self.plan,
            keep=lambda _plan: self.store,
            readout=done.readout,
        )
        found = list(work.tiles())
        work.log.close()
        return found

    def map(self, done):
        stride = self.model.encoder.strides[0]
        values = np.full([side // stride for side in SHAPE], np.nan, np.float32)
        for item in self.tiles(done):
            assert item.was_kept
            core = item.maps["pixelcam"][0]
            top, left = item.tile.y // stride, item.tile.x // stride
            values[top : top + core.shape[0], left : left + core.shape[1]] = core
        return values

    def features(self):
        return encode(self.slide, self.model)[0]


@pytest.fixture
def slide_of(image, small_model, tmp_path):
    """Cuts the image for the model as it is by then."""
    made = []

    def make(core=128):
        made.append(OnSlide(image, small_model, tmp_path, core))
        return made[-1]

    yield make
    for item in made:
        item.store.store.close()


def as_it_is(model):
    del model


def without_head(model):
    del model.heads[PixelCam.head]


def with_a_layer(model):
    torch.manual_seed(1)
    head = PixelHead(model.encoder.channels, form="one_layer")
    model.heads[PixelCam.head] = head.eval()


@pytest.mark.parametrize(
    ("change", "form"),
    [
        (as_it_is, "linear"),
        (as_it_is, "mlp"),
        (without_head, "linear"),
        (with_a_layer, "linear"),
    ],
)
def test_a_slide_learns_what_an_image_learns(
    slide_of, small_model, strokes, change, form
):
    change(small_model)
    settings = FinetuneConfig(head=form)
    slide = slide_of()
    expected = round_on_image(slide.image, small_model, strokes, settings)
    found = slide.map(slide.learnt(strokes, settings))
    # float16 in the log of tiles: half a thousandth at most.
    assert np.abs(found - expected.heatmap.values).max() < 1e-3
    assert found.max() - found.min() > 0.5
    alone = refined_map(expected.head, slide.features())
    assert np.abs(found - alone.numpy()).max() > 0.1  # the field says something


def test_far_from_strokes_little_is_left_to_do(slide_of, strokes):
    settings = FinetuneConfig(reach=6.0)  # whole blocks lie beyond
    slide = slide_of(core=608)
    expected = round_on_image(slide.image, slide.model, strokes, settings)
    found = slide.map(slide.learnt(strokes, settings))
    assert np.abs(found - expected.heatmap.values).max() < 1e-3


def test_colours_stay_as_far_as_there_is_room():
    kept = KeptColour(3000)
    for index in range(4):
        kept.add(index, torch.full((1, 3, 10, 10), float(index)))
    assert [at for at in range(4) if kept.get(at) is not None] == [0, 1]
    assert float(kept.get(1)[0, 0, 0, 0]) == 1.0


def test_a_session_shows_a_slide_as_it_shows_an_image(opened, as_slide, strokes):
    whole = opened(journals=False)
    whole.set_scribbles(strokes)
    expected = whole.finetune().result()
    as_slide()
    slide = opened()
    slide.set_scribbles(strokes)
    encoded = slide.work.run.encoded
    found = slide.finetune().result()
    assert slide.work.run.encoded == encoded == slide.work.count == 20
    one, other = found.heatmap.values, expected.heatmap.values
    assert one.shape == other.shape
    assert np.abs(one - other).max() < 1e-3
    assert np.abs(one - slide.rounds[0].heatmap.values).max() > 0.3
    assert slide.heatmap("pixelcam") is found.heatmap


def test_the_journal_keeps_the_field_and_the_strokes_give_the_map_again(
    opened, as_slide, strokes
):
    as_slide()
    slide = opened()
    slide.set_scribbles(strokes)
    first = slide.finetune().result()
    slide.close(wait=True)
    again = opened(resume=True)
    entries = again.journal.entries
    made = next(entry for entry in entries if isinstance(entry, RoundMade))
    field = field_from(again.journal.load_head(made)[0])
    assert torch.equal(field.points, first.stroke_field.points)
    assert torch.equal(field.weights, first.stroke_field.weights)
    until = time.perf_counter() + 30
    while len(again.rounds) < 2 and time.perf_counter() < until:
        time.sleep(0.01)
    assert np.array_equal(again.rounds[1].heatmap.values, first.heatmap.values)


def test_a_newer_stroke_stops_a_round(opened, as_slide, strokes, monkeypatch):
    monkeypatch.setattr("napari_wsol.slides.live.SHOW_EVERY", 0.0)
    as_slide()
    slide = opened()
    slide.set_scribbles(strokes)
    expected = slide.finetune().result()
    fewer = strokes.copy()
    fewer[:60] = 0
    slide.set_scribbles(fewer)
    growing, asked = threading.Event(), threading.Event()

    def hold(_name):
        growing.set()
        asked.wait(10)

    slide.heatmap_changed.connect(hold)
    first = slide.finetune()
    assert growing.wait(10)  # its first tile is shown
    slide.set_scribbles(strokes)
    second = slide.finetune()
    asked.set()
    with pytest.raises(JobCancelledError):
        first.result()
    done = second.result()
    assert [item.index for item in slide.rounds] == [0, 1, 2]
    assert np.array_equal(done.heatmap.values, expected.heatmap.values)
    assert slide.heatmap("pixelcam") is done.heatmap


def test_tiles_have_the_colour_of_the_whole_slide(section, small_model):
    image = section[:571, :803]  # the last cells are cut, the rest is mirrored
    slide = open_slide(image)
    plan = plan_slide(slide, small_model, SlideConfig(core=128, tissue_only=False))
    head = small_model.heads[PixelCam.head]
    view = ModelView(slide, small_model)
    whole = colour_on(view, view.features())
    colour = TileColour(slide, small_model, plan, head)
    stride = colour.stride
    for tile in plan.grid:
        found = colour.around(tile)
        top = (tile.y - max(0, tile.y - plan.margin)) // stride
        left = (tile.x - max(0, tile.x - plan.margin)) // stride
        rows, columns = -(-tile.height // stride), -(-tile.width // stride)
        y, x = tile.y // stride, tile.x // stride
        own = found[0, :, top : top + rows, left : left + columns]
        assert torch.allclose(
            own, whole[0, :, y : y + rows, x : x + columns], atol=1e-6
        )


def judged(session, strokes):
    """The round that four strokes give, once it was judged."""
    for label in (2, 1):
        for shift in (0, 40):
            moved = np.roll(strokes == label, shift, axis=0)
            session.put(moved, (0, 0), Drawing(label, "brush"))
    assert len(session.strokes) == 4
    session.finetune().result()
    session.revert(1).result()  # one worker: this waits for the judge
    return session.rounds[-1]


def test_a_round_on_a_slide_is_judged_as_on_an_image(
    opened, as_slide, image, small_model, strokes
):
    deep = encode(open_slide(image), small_model)[0].last[0].flatten(1)
    layer = small_model.classifier.fc
    with torch.no_grad():  # untrained, it hardly tells one cell from another
        layer.weight[0] *= 3 / (layer.weight[0] @ deep).std()
        layer.weight[1] = 0
        layer.bias.copy_(torch.tensor([-float((layer.weight[0] @ deep).mean()), 0.0]))
    expected = judged(opened(journals=False), strokes)
    as_slide()
    found = judged(opened(), strokes)
    assert found.before == pytest.approx(expected.before, abs=1e-3)
    assert found.after == pytest.approx(expected.after, abs=1e-3)
    assert set(found.after) == {"dark", "bright"}
    assert abs(found.after["dark"] - found.before["dark"]) > 0.02
    assert found.warning == expected.warning
    kinds = [(item.number, item.label) for item in found.left_out]
    assert kinds == [(item.number, item.label) for item in expected.left_out]
    assert len(kinds) == 4
    # MarkedPlaces are counted on a slide, pixels on an image.
    for one, other in zip(found.left_out, expected.left_out, strict=True):
        assert one.agreement == pytest.approx(other.agreement, abs=0.1)


def test_a_slide_is_sampled_where_the_image_would_be(image, small_model):
    plan = plan_slide(
        open_slide(image), small_model, SlideConfig(core=64, tissue_only=False)
    )
    shape = (SHAPE[0] // 4, SHAPE[1] // 4)
    space = SlideSpace()
    found = space.wants(range(len(plan.grid)), plan, 4)
    step = sample_step(shape)
    assert step > 1
    points = {tuple(point) for part in found.values() for point in part.tolist()}
    assert points == {tuple(point) for point in grid_points(shape, 4, step).tolist()}
    for index, part in found.items():
        tile = plan.grid[index]
        assert torch.all(part >= torch.tensor([tile.y, tile.x]))
    few = SlideSpace().wants([0, 30], plan, 4)
    assert sum(map(len, few.values())) == 2 * 16**2 <= SAMPLED  # all of their cells


def test_the_sample_is_read_once(slide_of, strokes):
    slide, space = slide_of(), SlideSpace()
    slide.store.read.clear()
    slide.learnt(strokes, space=space)
    assert sorted(slide.store.read) == list(range(20))
    slide.store.read.clear()
    done = slide.learnt(strokes, space=space)
    assert len(slide.store.read) == 6 + 2 + 2  # under each stroke
    fresh = slide.learnt(strokes)
    assert torch.equal(done.stroke_field.weights, fresh.stroke_field.weights)


def test_positions_far_down_a_slide_lose_no_digits():
    torch.manual_seed(0)
    field = StrokeField(4, 4, 30)
    field.looks, field.points = torch.randn(30, 4), (300 * torch.rand(30, 2)).round()
    field.weights, field.lengths = torch.randn(30), torch.tensor([0.5, 60.0])
    looks, points = torch.randn(500, 4), (300 * torch.rand(500, 2)).round()
    near = field.correction(looks, points)
    away = torch.tensor([100_000.0, 90_000.0])
    field.points = field.points + away
    far = field.correction(looks, points + away)
    assert near.abs().max() > 0.1
    assert torch.allclose(near, far, atol=1e-4)


def damaged(image, path, first):
    """A tiled TIFF whose tiles from some number on cannot be decoded."""
    tifffile.imwrite(path, image, tile=(128, 128), compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    with path.open("r+b") as file:
        for offset, count in places[first:]:
            file.seek(offset)
            file.write(b"\xff" * count)
    return open_slide(path)


def test_a_tile_whose_pixels_are_damaged_shows_nothing(slide_of, strokes, tmp_path):
    slide = slide_of()
    bad = damaged(slide.image, tmp_path / "bad.tif", -1)
    shown = slide.tiles(slide.learnt(strokes, slide=bad), bad)
    maps = {item.tile.index: item.maps for item in shown}
    assert len(maps) == 20
    # The last one, and those whose margin reaches into it.
    assert [index for index in sorted(maps) if not maps[index]] == [13, 14, 18, 19]


def test_strokes_where_the_pixels_are_damaged_do_not_count(slide_of, strokes, tmp_path):
    slide = slide_of()
    lower = damaged(slide.image, tmp_path / "lower.tif", 10)
    with pytest.raises(UnreadableImageError, match="damaged under the strokes"):
        slide.learnt(np.roll(strokes, 300, axis=0), slide=lower)
    done = slide.learnt(strokes, slide=lower)
    assert float(done.stroke_field.points[:, 0].max()) < 256
    with pytest.raises(UnreadableImageError, match="No tile"):
        slide.learnt(strokes, slide=damaged(slide.image, tmp_path / "all.tif", 0))


def test_a_tile_can_be_stopped_half_way(slide_of, strokes):
    slide = slide_of()
    done = slide.learnt(strokes)

    def stop():
        raise JobCancelledError("Stopped.")

    colour = TileColour(slide.slide, slide.model, slide.plan, done.head)
    readout = LocalMap(done.head, done.stroke_field, colour, slide.plan, check=stop)
    with pytest.raises(JobCancelledError):
        readout.core(slide.store.get(7), slide.plan.grid[7])


def test_the_encoder_does_not_learn_on_a_slide(slide_of, strokes):
    slide = slide_of()
    with pytest.raises(MethodUnavailableError, match="frozen"):
        slide.learnt(strokes, FinetuneConfig(encoder="last_stage"))
