"""One image of many: stopped, taken over and published, it is the same in the end."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from fixtures.models import small_card
from PIL import Image

from napari_wsol.batch import ImageJob, ResultsFolder, SlideSettings, any_large
from napari_wsol.config import SlideConfig
from napari_wsol.errors import (
    ClaimLostError,
    JobCancelledError,
    MethodUnavailableError,
)
from napari_wsol.inference.appearance import appearance_of


@pytest.fixture(autouse=True)
def small_slides(monkeypatch):
    monkeypatch.setattr("napari_wsol.slides.large.LARGE_PIXELS", 10_000)


@pytest.fixture
def path(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (200, 260, 3)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "slide.png")
    return tmp_path / "slide.png"


@pytest.fixture
def job(path, tmp_path, small_model):
    def make(out="out", **how):
        settings = SlideSettings(
            model=small_model,
            methods=("pcam", "cam"),
            cut=SlideConfig(core=64, tissue_only=False),
            top=2,
            **how,
        )
        return ImageJob(ResultsFolder(tmp_path / out), path, settings)

    return make


def bytes_of(folder):
    return {
        item.relative_to(folder): item.read_bytes()
        for item in sorted(folder.rglob("*"))
        if item.is_file() and item.name != "row.json" and "provenance" not in item.name
    }


class StopAfter:
    """Raises when so many tiles are finished."""

    def __init__(self, tiles):
        self.tiles, self.done = tiles, 0

    def report(self, done, _total, _text):
        self.done = done

    def check(self):
        if self.done >= self.tiles:
            raise JobCancelledError("stopped")


def test_stopped_twice_it_ends_with_the_same_bytes(job, tmp_path):
    assert job("whole").run()["status"] == "ok"
    for tiles in (3, 11):
        stop = StopAfter(tiles)
        with pytest.raises(JobCancelledError):
            job().run(stop.report, stop.check)
        assert not (tmp_path / "out" / "slide").exists()
        assert not list((tmp_path / "out" / ".localized").glob("*/claim.*"))
    seen = []
    row = job().run(lambda done, _total, _text: seen.append(done))
    assert seen[0] == 11  # none of them is done again
    assert row["tiles"] == "20"
    assert "11 tiles were finished by an earlier run" in row["notes"]
    assert bytes_of(tmp_path / "out" / "slide") == bytes_of(
        tmp_path / "whole" / "slide"
    )
    assert not (tmp_path / "out" / ".localized").exists()


def test_who_lost_the_claim_writes_nothing(job, tmp_path):
    first = job(stale_seconds=1.0)

    def taken_over(done, _total, _text):
        if done == 5:
            (claim,) = (tmp_path / "out").glob(".localized/*/claim.1")
            claim.with_name("claim.2").write_text("{}")
            time.sleep(0.3)  # a heartbeat

    with pytest.raises(ClaimLostError):
        first.run(taken_over)
    assert not (tmp_path / "out" / "slide").exists()


def test_what_was_left_half_written_is_written_anew(job, tmp_path):
    stop = StopAfter(4)
    with pytest.raises(JobCancelledError):
        job().run(stop.report, stop.check)
    (draft,) = (tmp_path / "out").glob(".localized/*/results")
    (draft / "slide_pcam_bright_regions.csv").write_text("half a")
    (draft / ".slide_pcam_bright.set.part").mkdir()
    (draft / "slide_pcam_all_heatmap.zarr").mkdir()
    job().run()
    job("whole").run()
    assert bytes_of(tmp_path / "out" / "slide") == bytes_of(
        tmp_path / "whole" / "slide"
    )


def test_a_finished_image_gives_its_row_without_work(job):
    row = job().run()
    steps = []
    assert job().run(lambda *step: steps.append(step))["seconds"] == row["seconds"]
    assert not steps


def test_images_that_were_looked_at_wait_open_but_not_all(job, monkeypatch):
    monkeypatch.setattr("napari_wsol.slides.large.LARGE_PIXELS", 100_000)
    jobs = [job() for _ in range(3)]
    opened = [item.open() for item in jobs]
    monkeypatch.setattr("napari_wsol.batch.job.KEPT_PIXELS", 60_000)
    assert not any_large(jobs)
    kept = [item.open() is slide for item, slide in zip(jobs, opened, strict=True)]
    assert kept == [True, False, False]
    monkeypatch.setattr("napari_wsol.slides.large.LARGE_PIXELS", 10_000)
    assert any_large(jobs)


def test_the_size_of_a_pixel_that_was_given_is_in_the_provenance(job, tmp_path):
    job(mpp=0.5).run()
    (path,) = (tmp_path / "out" / "slide").glob("*pcam*provenance*.json")
    assert json.loads(path.read_text("utf-8"))["provenance"]["image"]["mpp"] == 0.5


def test_views_are_averaged_of_images_and_refused_of_slides(job, tmp_path, monkeypatch):
    with pytest.raises(MethodUnavailableError, match="choose one view"):
        job(views=4).run()
    monkeypatch.setattr("napari_wsol.slides.large.LARGE_PIXELS", 1_000_000)
    row = job("out", views=4).run()
    assert "4 views" in row["notes"]
    (record,) = (tmp_path / "out" / row["folder"]).glob("*pcam*provenance.json")
    assert json.loads(record.read_text("utf-8"))["provenance"]["views"] == 4
    one, again = job("out").run(), job("out", views=4).run()
    assert one["folder"] != row["folder"] == again["folder"]


def test_an_image_unlike_the_training_images_is_told(job, path, small_model):
    appearance = appearance_of(small_model, [path] * 10, "ten of one")
    small_model.card = replace(small_card(small_model), appearance=appearance)
    assert "looks different" not in job("like").run()["notes"]
    Image.fromarray(np.full((200, 260, 3), 130, np.uint8)).save(path)
    said = job("unlike").run()["notes"]
    assert "looks different" in said
    assert "away from theirs" in said
