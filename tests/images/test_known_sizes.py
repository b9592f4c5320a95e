"""A pixel size is asked for once."""

from __future__ import annotations

import datetime
import json

import numpy as np
import pytest
from PIL import Image

from napari_wsol.errors import ExportError
from napari_wsol.images.known_sizes import remember
from napari_wsol.images.readers import open_slide
from napari_wsol.paths import known_sizes_file


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "home"))


@pytest.fixture
def path(tmp_path, picture):
    path = tmp_path / "a.png"
    Image.fromarray(picture).save(path)
    return path


def test_what_was_said_is_used_again_for_a_copy_too(path, tmp_path):
    assert open_slide(path).mpp is None
    remember(open_slide(path), 0.37)
    copy = tmp_path / "copy.png"
    copy.write_bytes(path.read_bytes())
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    for known in (path, copy):
        slide = open_slide(known)
        assert slide.mpp == 0.37
        assert f"0.37 µm a pixel, as you said on {today}." in slide.notes
        assert not any("give the pixel size" in note for note in slide.notes)


def test_other_images_are_not_touched_by_it(path, tmp_path, picture):
    remember(open_slide(path), 0.37)
    for pixels in (255 - picture, picture[:-1]):
        Image.fromarray(pixels).save(tmp_path / "other.png")
        assert open_slide(tmp_path / "other.png").mpp is None


def test_arrays_are_remembered_by_their_pixels(picture):
    remember(open_slide(picture), 0.5)
    assert open_slide(picture.copy()).mpp == 0.5
    assert open_slide(255 - picture).mpp is None


def test_what_is_given_now_comes_first(path):
    remember(open_slide(path), 0.37)
    assert open_slide(path, mpp=1.5).mpp == 1.5


def test_it_can_be_changed_and_forgotten(path):
    remember(open_slide(path), 0.37)
    remember(open_slide(path), 0.5)
    assert open_slide(path).mpp == 0.5
    remember(open_slide(path), None)
    assert open_slide(path).mpp is None
    assert json.loads(known_sizes_file().read_text("utf-8"))["slides"] == {}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"slides": 3}', '{"slides": {"ab": {"shape": [1, 2]}}}',
     '{"slides": {"ab": {"shape": [1, 2], "mpp": -1, "said": "today"}}}'],
)  # fmt: skip
def test_a_damaged_file_is_put_aside_and_told(path, text):
    known_sizes_file().parent.mkdir(parents=True)
    known_sizes_file().write_text(text, "utf-8")
    slide = open_slide(path)
    assert slide.mpp is None
    assert any("kept as" in note and ".json.bad" in note for note in slide.notes)
    assert known_sizes_file().with_suffix(".json.bad").read_text("utf-8") == text
    remember(slide, 0.25)
    assert open_slide(path).mpp == 0.25
    assert not any("kept as" in note for note in open_slide(path).notes)


def test_a_folder_that_cannot_be_written_is_told(path, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "file"))
    with pytest.raises(ExportError, match="could not be kept"):
        remember(open_slide(path), 0.25)


def test_nothing_else_is_left_in_the_folder(path):
    remember(open_slide(path), 0.25)
    file = known_sizes_file()
    assert list(file.parent.iterdir()) == [file]


def test_fingerprints_are_taken_only_where_the_shape_is_known(path):
    remember(open_slide(path), 0.37)
    looked: list[object] = []

    class Lazy:
        shape, dtype = (900, 523, 3), np.dtype(np.uint8)

        def __getitem__(self, key):
            looked.append(key)
            return np.zeros((900, 523, 3), np.uint8)[key]

    open_slide(Lazy())
    assert len(looked) == 1  # The one pixel by which its values are judged.
