"""The source of the open image changes: the next job reads it, nothing mixes."""

from __future__ import annotations

import json
import os
import threading

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_wsol import Session, localize
from napari_wsol.config import ExportConfig, FinetuneConfig, SlideConfig
from napari_wsol.errors import ImageChangedError, ImageError, NoResultError
from napari_wsol.images.readers import open_slide
from napari_wsol.journal import StrokeMade, read_record
from napari_wsol.session.maps import AS_IT_WAS

WAIT = 60


@pytest.fixture
def other(tissue):
    """Another image of the same shape, with the square elsewhere."""
    return np.ascontiguousarray(tissue[::-1, ::-1])


@pytest.fixture
def session(small_model, tmp_path):
    session = Session(journals=tmp_path / "journals")
    session.use(small_model).result(WAIT)
    yield session
    session.close(wait=True)


@pytest.fixture
def anew(small_model, tmp_path):
    """Another session, which knows of nothing."""
    session = Session(journals=tmp_path / "others")
    session.use(small_model).result(WAIT)
    yield session
    session.close(wait=True)


def png(path, pixels):
    Image.fromarray(pixels).save(path)


def tiff(path, pixels):
    tifffile.imwrite(path, pixels, tile=(32, 32), photometric="rgb")


class InFile:
    """An image that is a file."""

    def __init__(self, folder, pixels, write, name) -> None:
        self.source = folder / name
        self._write = write
        self.change(pixels)

    def change(self, pixels) -> None:
        self._write(self.source, pixels)


class InMemory:
    """An image that is an array, as the layer of a viewer holds one."""

    def __init__(self, pixels) -> None:
        self.source = pixels.copy()

    def change(self, pixels) -> None:
        self.source[...] = pixels


@pytest.fixture(params=["png", "tiff", "array"])
def image(request, tissue, tmp_path):
    if request.param == "png":
        return InFile(tmp_path, tissue, png, "a.png")
    if request.param == "tiff":
        return InFile(tmp_path, tissue, tiff, "a.tif")
    return InMemory(tissue)


@pytest.fixture
def localized(session, image, strokes):
    """With maps and a round of the image as it is first."""
    session.open(image.source, name="mine", mpp=0.5).result(WAIT)
    session.localize(["cam", "pixelcam"]).result(WAIT)
    session.set_scribbles(strokes).result(WAIT)
    session.finetune(FinetuneConfig(steps=3)).result(WAIT)
    return session


def same_as_anew(session, pixels, model):
    """Whether the maps are those of these pixels in a session of their own."""
    found = localize(model, open_slide(pixels), ["cam", "pixelcam"], mpp=0.5)
    return all(
        np.array_equal(session.heatmap(name).values, found.heatmaps[name].values)
        for name in found.heatmaps
    )


def record_of(paths):
    path = next(path for path in paths if path.suffix == ".json")
    return json.loads(path.read_text("utf-8"))


def test_localizing_reads_the_new_pixels(localized, image, other, small_model):
    before, folder = localized.slide.fingerprint(), localized.journal.folder
    image.change(other)
    localized.localize(["cam", "pixelcam"]).result(WAIT)
    assert localized.slide.fingerprint() != before
    assert localized.drawn_on == localized.mapped == localized.slide.fingerprint()
    assert (localized.slide.name, localized.mpp) == ("mine", 0.5)
    assert same_as_anew(localized, other, small_model)
    assert not localized.is_replaced
    assert localized.stale == frozenset()
    # Strokes and rounds stay with the image as it was.
    assert localized.strokes == ()
    assert [item.index for item in localized.rounds] == [0]
    assert len(read_record(folder).entries) >= 4
    assert localized.journal.folder != folder


def test_the_image_as_it_was_comes_back_with_its_strokes(
    localized, image, other, tissue, small_model
):
    strokes = localized.strokes
    image.change(other)
    localized.localize(["cam", "pixelcam"]).result(WAIT)
    image.change(tissue)
    localized.localize(["cam", "pixelcam"]).result(WAIT)
    assert [item.number for item in localized.strokes] == [
        item.number for item in strokes
    ]
    localized.revert(0).result(WAIT)
    assert same_as_anew(localized, tissue, small_model)


def test_refining_teaches_nothing_of_other_pixels(localized, image, other):
    told, values = [], localized.heatmap("pixelcam").values
    localized.image_replaced.connect(lambda: told.append(localized.stale))
    folder = localized.journal.folder
    image.change(other)
    with pytest.raises(ImageChangedError, match="localize again"):
        localized.finetune(FinetuneConfig(steps=3)).result(WAIT)
    assert told == [{"cam", "pixelcam"}]
    assert localized.is_replaced
    assert np.array_equal(localized.heatmap("pixelcam").values, values)
    assert AS_IT_WAS in localized.heatmap("pixelcam").notes
    assert [e for e in read_record(folder).entries if isinstance(e, StrokeMade)]
    for asked in (lambda: localized.grow(60, 80, 2), localized.finetune):
        with pytest.raises(ImageChangedError):
            asked().result(WAIT)
    with pytest.raises(ImageChangedError):
        localized.propose()


def test_strokes_after_the_change_belong_to_the_new_image(
    localized, image, other, strokes, anew
):
    drawn = np.ascontiguousarray(strokes[::-1, ::-1])
    image.change(other)
    assert localized.reread().result(WAIT)
    assert not localized.reread().result(WAIT)
    localized.set_scribbles(drawn).result(WAIT)
    localized.localize(["pixelcam"]).result(WAIT)
    made = localized.finetune(FinetuneConfig(steps=3)).result(WAIT)
    assert localized.status == "refined"
    anew.open(other, mpp=0.5).result(WAIT)
    anew.localize(["pixelcam"]).result(WAIT)
    anew.set_scribbles(drawn).result(WAIT)
    wanted = anew.finetune(FinetuneConfig(steps=3)).result(WAIT)
    assert np.array_equal(made.heatmap.values, wanted.heatmap.values)


def test_an_export_names_the_image_that_its_map_is_of(
    localized, image, other, tmp_path
):
    before, values = localized.slide.fingerprint(), localized.heatmap("cam").values
    image.change(other)
    formats = ("tiff",)
    for method, index in (("cam", None), ("pixelcam", 1)):
        paths = localized.export(
            tmp_path / "out", formats, ExportConfig(method=method)
        ).result(WAIT)
        record = record_of(paths)
        assert record["image"]["fingerprint"] == before
        assert record["provenance"]["image"]["fingerprint"] == before
        assert record["provenance"]["image"]["mpp"] == 0.5
        assert set(record["provenance"]["scores"]) == {"dark", "bright"}
        refinement = record["provenance"]["refinement"]
        assert (refinement or {}).get("round") == index
        assert AS_IT_WAS in record["notes"]
    assert localized.stale == {"cam", "pixelcam"}
    assert np.array_equal(localized.heatmap("cam").values, values)
    localized.localize(["cam"]).result(WAIT)
    record = record_of(localized.export(tmp_path / "out", formats).result(WAIT))
    assert record["image"]["fingerprint"] == localized.slide.fingerprint() != before
    assert AS_IT_WAS not in record["notes"]


def test_a_file_that_was_only_touched_is_the_same_image(localized, image):
    if isinstance(image, InMemory):
        pytest.skip("an array has no time")
    document = localized.slide
    os.utime(image.source, ns=(1, 1))
    localized.localize(["cam", "pixelcam"]).result(WAIT)
    localized.finetune(FinetuneConfig(steps=3)).result(WAIT)
    assert localized.slide is document
    assert len(localized.rounds) == 3


def test_another_shape_is_taken_up(session, tissue, small_model, tmp_path):
    path = tmp_path / "a.png"
    png(path, tissue)
    session.open(path, mpp=0.5).result(WAIT)
    session.localize(["cam"]).result(WAIT)
    png(path, tissue[:90, :120])
    export = session.export(tmp_path / "out", ["png"])
    assert record_of(export.result(WAIT))["image"]["shape"] == [131, 157]
    session.localize(["cam", "pixelcam"]).result(WAIT)
    assert session.canvas.shape == (90, 120)
    assert session.heatmap("cam").image_shape == (90, 120)
    assert same_as_anew(session, tissue[:90, :120].copy(), small_model)


def test_pixels_that_come_from_elsewhere_are_taken_up(
    session, tissue, other, small_model
):
    """As where somebody puts another array into the layer."""
    session.open(tissue, name="mine", mpp=0.5).result(WAIT)
    session.localize(["cam", "pixelcam"]).result(WAIT)
    assert not session.reread(tissue.copy(), name="mine", mpp=0.5).result(WAIT)
    assert session.stale == frozenset()
    assert session.reread(other, name="mine", mpp=0.5).result(WAIT)
    assert session.stale == {"cam", "pixelcam"}
    session.localize(["cam", "pixelcam"]).result(WAIT)
    assert same_as_anew(session, other, small_model)
    other[...] = tissue
    session.localize(["cam", "pixelcam"]).result(WAIT)
    assert same_as_anew(session, tissue, small_model)


def test_pixels_that_cannot_be_used_are_never_passed_over(session, tissue, tmp_path):
    session.open(tissue, name="mine", mpp=0.5).result(WAIT)
    session.localize(["cam"]).result(WAIT)
    before = session.slide.fingerprint()
    with pytest.raises(ImageError, match="stack"):
        session.reread(np.zeros((5, 40, 40, 3), np.uint8)).result(WAIT)
    assert session.stale == {"cam"}
    for asked in (session.localize, session.finetune):
        with pytest.raises(ImageError, match="stack"):
            asked().result(WAIT)
    record = record_of(session.export(tmp_path / "out", ["png"]).result(WAIT))
    assert record["image"]["fingerprint"] == before
    assert AS_IT_WAS in record["notes"]


def test_an_image_that_changes_while_it_is_read_gives_no_map(
    session, tissue, other, small_model
):
    """Neither shown, nor kept for the next time that the image is as it was."""
    pixels = tissue.copy()
    session.open(pixels, name="mine", mpp=0.5).result(WAIT)
    changed = threading.Event()

    def change(status):
        if status.kind.name == "LOCALIZE" and status.done and not changed.is_set():
            changed.set()
            pixels[...] = other

    session.job_changed.connect(change)
    with pytest.raises(ImageChangedError, match="while it was being read"):
        session.localize(["cam", "pixelcam"]).result(WAIT)
    assert session.heatmaps == {}
    with pytest.raises(NoResultError):
        session.heatmap("cam")
    session.localize(["cam", "pixelcam"]).result(WAIT)
    assert same_as_anew(session, other, small_model)
    pixels[...] = tissue
    session.localize(["cam", "pixelcam"]).result(WAIT)
    assert same_as_anew(session, tissue, small_model)


@pytest.mark.parametrize("is_file", [True, False])
@pytest.mark.slow
def test_no_tile_of_other_pixels_is_kept_for_a_slide(
    section, small_model, monkeypatch, tmp_path, is_file
):
    monkeypatch.setattr("napari_wsol.slides.large.LARGE_PIXELS", 100_000)
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path))
    flipped = np.ascontiguousarray(section[::-1])
    source = pixels = section.copy()
    if is_file:
        source = tmp_path / "a.tif"
        tiff(source, section)

    def put(image):
        if is_file:
            tiff(source, image)
        else:
            pixels[...] = image

    session = Session()
    session.slide_config = SlideConfig(core=64)
    session.open(source, name="section").result(WAIT)
    session.use(small_model).result(WAIT)
    changed = threading.Event()

    def change(status):
        if status.kind.name == "LOCALIZE" and status.done >= 3 and not changed.is_set():
            changed.set()
            put(flipped)

    session.job_changed.connect(change)
    with pytest.raises(ImageChangedError):
        session.localize(["cam"]).result(WAIT)
    session.localize(["cam"]).result(WAIT)
    found = session.heatmap("cam").values
    put(section)
    session.localize(["cam"]).result(WAIT)
    first = session.heatmap("cam").values
    session.close(wait=True)
    for values, image in ((found, flipped), (first, section)):
        fresh = Session(journals=False)
        monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / f"{image[0, 0]}"))
        fresh.slide_config = SlideConfig(core=64)
        fresh.open(image).result(WAIT)
        fresh.use(small_model).result(WAIT)
        fresh.localize(["cam"]).result(WAIT)
        assert np.array_equal(values, fresh.heatmap("cam").values)
        fresh.close(wait=True)
