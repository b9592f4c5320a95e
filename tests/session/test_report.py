"""The report: one HTML file, whole in itself, for any image; nothing of a patient."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from fixtures.models import small_card
from PIL import Image
from typer.testing import CliRunner

from napari_wsol import Session
from napari_wsol.cli import app
from napari_wsol.config import InferenceConfig
from napari_wsol.errors import NoResultError
from napari_wsol.zoo import save_model

WAIT = 60
VOID = {"meta", "link", "img", "br", "hr"}


class Page(HTMLParser):
    """What a page is made of: its tags must close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    def all(self, name):
        return [attrs for tag, attrs in self.tags if tag == name]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, small_model):
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "user"))
    save_model(small_model, small_card(small_model, ("pixelcam", "cam")))


@pytest.fixture
def session():
    session = Session(InferenceConfig(device="cpu"))
    yield session
    session.close(wait=True)


@pytest.fixture
def worked(session, tissue, strokes, tmp_path):
    """An image, two maps, a former one, a reference, strokes and a round."""
    path = tmp_path / "Mueller^Anna" / "a<b>.png"
    path.parent.mkdir()
    Image.fromarray(tissue).save(path)
    session.open(path, mpp=0.5).result(WAIT)
    session.use("small").result(WAIT)
    session.localize(["pixelcam", "cam"], "bright").result(WAIT)
    session.set_scribbles(strokes).result(WAIT)
    session.finetune().result(WAIT)
    mask = np.zeros(tissue.shape[:2], np.uint8)
    mask[40:80, 60:100] = 1
    session.set_reference(mask, name="by <hand>").result(WAIT)
    other = tmp_path / "map.npy"
    np.save(other, mask)
    session.add_map(other, target="bright").result(WAIT)
    return session


@pytest.mark.slow
def test_all_is_in_one_file_and_nothing_comes_from_outside(worked, tmp_path):
    path = worked.report(tmp_path / "out.html", {"cam": 0.25}).result(WAIT)
    text = path.read_text("utf-8")
    page = Page(text)
    words = " ".join(" ".join(page.text).split())
    assert "Mueller" not in text
    assert str(tmp_path) not in text
    assert "a<b>.png" in words  # as text, and not as a tag
    assert "by <hand>" in words
    assert words.count("Research use only, not for diagnosis.") == 2
    pictures = page.all("img")
    assert len(pictures) == 1 + 3 + 1  # image, maps, strokes
    assert all(one["src"].startswith("data:image/jpeg;base64,") for one in pictures)
    assert all(one["alt"] for one in pictures)
    share = 100 * np.mean(worked.heatmap("cam").values >= 0.25)
    assert f"{share:.1f} % at or above 0.25" in words
    for name, score in worked.result.scores.items():
        assert f"{name} {score:.3f}" in words
    figures = worked.figures()["pixelcam"]
    assert f"{figures.fixed['pxap']:.1f}" in words
    assert f"{figures.at(0.5)['image_dice']:.3f}" in words
    assert "1 of foreground, 2 of background" in words
    assert f"{worked.rounds[1].loss[-1]:.3f}" in words
    assert worked.slide.fingerprint() in words
    assert "From elsewhere: map.npy, sha256" in words
    links = {key for _, attrs in page.tags for key in attrs} & {"href", "src", "action"}
    assert links == {"href", "src"}
    assert [one["href"] for one in page.all("link")] == ["data:,"]
    assert not page.all("script")
    (policy,) = (x["content"] for x in page.all("meta") if "http-equiv" in x)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe")
    assert not re.search(r"url\(|@import|https?:", text)
    assert all("scope" in one for one in page.all("th"))
    assert len(page.all("h1")) == 1
    assert page.all("html")[0]["lang"] == "en"
    again = worked.report(tmp_path / "out.html").result(WAIT)
    assert again != path  # nothing is overwritten
    assert path.read_text("utf-8") == text


@pytest.mark.parametrize(
    "shape",
    [(24, 600), (1500, 16), pytest.param((700, 700), marks=pytest.mark.slow)],
)
def test_any_image_fits_into_three_megabytes(session, tmp_path, shape):
    rng = np.random.default_rng(0)
    session.open(rng.integers(0, 255, (*shape, 3)).astype(np.uint8)).result(WAIT)
    for number in range(10 if shape == (700, 700) else 1):
        noise = rng.random((shape[0] // 2, shape[1] // 2))
        session.add_map(noise, name=f"map-{number}").result(WAIT)
    path = session.report(tmp_path / "out.html").result(WAIT)
    assert path.stat().st_size <= 3_000_000
    assert '<h2 id="model">' not in path.read_text("utf-8")


def test_without_maps_there_is_nothing_to_report(session, tissue, tmp_path):
    session.open(tissue).result(WAIT)
    with pytest.raises(NoResultError, match="Localize first"):
        session.report(tmp_path / "out.html").result(WAIT)
    assert not list(tmp_path.glob("*.html"))


def test_a_report_of_an_export_is_made_again(worked, tmp_path):
    worked.export(tmp_path / "out", ("png",)).result(WAIT)
    pixels = worked.heatmap("pixelcam").values
    worked.close(wait=True)
    out = tmp_path / "report.html"
    given = ["report", str(tmp_path / "out"), "--out", str(out)]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    words = " ".join(" ".join(Page(out.read_text("utf-8")).text).split())
    assert f"{100 * np.mean(pixels >= 0.5):.1f} % at or above 0.50" in words
    assert "1 of foreground, 2 of background" in words


@pytest.mark.slow
def test_a_browser_has_nothing_to_complain_of(worked, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None and not os.environ.get("NAPARI_WSOL_BROWSER"):
        pytest.skip("there is no chromium; NAPARI_WSOL_BROWSER makes that a failure")
    assert browser is not None
    path = worked.report(tmp_path / "out.html").result(WAIT)

    def console(page):
        done = subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--v=0",
             f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr",
             "--dump-dom", page.as_uri()],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        return done.stdout, re.findall(r".*CONSOLE.*", done.stderr)

    dom, said = console(path)
    assert said == []
    assert "Research use only" in dom
    # What would come from outside is refused, and the browser says so.
    bad = tmp_path / "bad.html"
    image = '<img src="https://example.org/a.png" alt="">'
    bad.write_text(path.read_text("utf-8").replace("</main>", f"{image}</main>"))
    assert any("Content Security Policy" in line for line in console(bad)[1])
