"""Four threads use one session on two images: every journal says what there was.

Nobody can know which image is open when a call arrives. But what a call changes is
changed on one image, and the journal of that image says so, and no other does. Each
stroke and each set of settings carries a number of its own, so that one finds where it
went. The two images differ in shape and in pixel size.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fixtures.models import small_card
from PIL import Image
from typer.testing import CliRunner

from napari_wsol import Session, WsolError
from napari_wsol.cli import app
from napari_wsol.config import FinetuneConfig, InferenceConfig
from napari_wsol.journal import (
    RoundMade,
    SettingsChanged,
    StrokeMade,
    read_record,
    replayed,
)
from napari_wsol.strokes.raster import Drawing
from napari_wsol.strokes.stroke import drawn
from napari_wsol.zoo import save_model

if TYPE_CHECKING:
    from pathlib import Path

    from napari_wsol.journal import Record

THREADS, CALLS, PARTS = 4, 2_000, 10
WAIT = 60
SHAPES = {"a": (64, 96), "b": (88, 72)}
MPP = {"a": 0.5, "b": 0.25}
STATUSES = ("untouched", "stroked", "refined", "reviewed")
VERBS = {
    "open": 4,
    "use": 1,
    "localize": 6,
    "brush": 20,
    "fill": 8,
    "scribbles": 8,
    "undo": 10,
    "redo": 6,
    "clear": 2,
    "settings": 8,
    "live": 6,
    "status": 8,
    "finetune": 10,
    "revert": 3,
}
"""How often each is called, relative to the others."""


def settings(mark: int) -> FinetuneConfig:
    """Settings that are known by a number, and quick to learn with."""
    return FinetuneConfig(steps=2, local=False, prior=1 + mark / 1e6)


def marked(y: int, x: int, mark: int) -> tuple[float, float]:
    """A point that tells a number below 10,000: a journal keeps hundredths."""
    return y + mark // 100 / 100, x + mark % 100 / 100


@dataclass
class Call:
    """A call that made something with a number of its own.

    Attributes:
        what: "stroke" or "settings".
        mark: its number.
        image: the image that was open before and after; None where it changed.
    """

    what: str
    mark: int
    image: str | None


@dataclass
class Person:
    """Somebody at one of the threads.

    Attributes:
        calls: those that made something.
        futures: what was promised.
        errors: what was raised at once.
    """

    session: Session
    images: dict[str, Path]
    number: int
    calls: list[Call] = field(default_factory=list)
    futures: list[Future[Any]] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._draw = random.Random(self.number)
        self._mark = self.number

    def work(self, count: int) -> None:
        """So many calls, drawn with the person's own seed."""
        for _ in range(count):
            (verb,) = self._draw.choices(list(VERBS), VERBS.values())
            try:
                found = getattr(self, verb)()
            except Exception as error:  # noqa: BLE001 - judged by the test
                self.errors.append(error)
            else:
                if isinstance(found, Future):
                    self.futures.append(found)
            if self._draw.random() < 0.3:
                time.sleep(self._draw.random() * 0.004)

    def _next(self) -> int:
        self._mark += THREADS
        return self._mark

    def _place(self, image: str) -> tuple[int, int]:
        height, width = SHAPES[image]
        return self._draw.randrange(4, height - 8), self._draw.randrange(4, width - 8)

    def _made(self, what: str, mark: int, before: object) -> None:
        slide = self.session.slide
        name = slide.name if slide is before and slide is not None else None
        self.calls.append(Call(what, mark, name))

    def open(self) -> object:
        name = self._draw.choice("ab")
        return self.session.open(
            self.images[name], name=name, mpp=MPP[name], resume=True
        )

    def use(self) -> object:
        return self.session.use("small")

    def localize(self) -> object:
        return self.session.localize(["pixelcam"], "bright")

    def brush(self) -> None:
        mark, before = self._next(), self.session.slide
        (y, x), label = self._place("a"), self._draw.choice((0, 1, 1, 2, 2))
        path = [marked(y, x, mark), (y + 3.0, x + 6.0)]
        if self.session.brush(path, label, 3) is not None:
            self._made("stroke", mark, before)

    def fill(self) -> None:
        mark, before = self._next(), self.session.slide
        (y, x), label = self._place("b"), self._draw.choice((1, 2))
        corners = [marked(y, x, mark), (y, x + 5.0), (y + 5.0, x + 3.0)]
        if self.session.fill(corners, label) is not None:
            self._made("stroke", mark, before)

    def scribbles(self) -> object:
        """Only the image whose shape the canvas has can take it."""
        image, mark = self._draw.choice("ab"), self._next()
        labels = np.zeros(SHAPES[image], np.uint8)
        y, x = self._place(image)
        labels[y : y + 4, x : x + 5] = 2
        labels[:3, :20] = 1
        drawing = Drawing(2, "brush", (marked(y, x, mark),))
        return self.session.set_scribbles(labels, drawing)

    def undo(self) -> None:
        self.session.undo()

    def redo(self) -> None:
        self.session.redo()

    def clear(self) -> None:
        self.session.clear()

    def settings(self) -> None:
        mark, before = self._next(), self.session.slide
        self.session.settings = settings(mark)
        self._made("settings", mark, before)

    def live(self) -> None:
        self.session.live = self._draw.random() < 0.5

    def status(self) -> None:
        self.session.set_status(self._draw.choice(STATUSES))

    def finetune(self) -> object:
        return self.session.finetune(live=self._draw.random() < 0.5)

    def revert(self) -> object:
        return self.session.revert(self._draw.randrange(4))


def mark_of(entry: object) -> int | None:
    """The number that a stroke or settings were made with."""
    if isinstance(entry, StrokeMade):
        if entry.stroke.path:
            hundreds, ones = (round(100 * (at % 1)) for at in entry.stroke.path[0])
            return 100 * hundreds + ones
        return None
    if isinstance(entry, SettingsChanged) and "refinement" in entry.values:
        return round((float(entry.values["refinement"]["prior"]) - 1) * 1e6)
    return None


def until_idle(session: Session) -> None:
    until = time.monotonic() + WAIT
    while session.is_busy:
        assert time.monotonic() < until, "the session does not come to rest"
        time.sleep(0.002)


def state_of(session: Session) -> dict[str, object]:
    """What a session says of the open image."""
    return {
        "strokes": [stroke.to_dict() for stroke in session.strokes],
        "canvas": _digest(session.scribbles),
        "status": session.status,
        "live": session.live,
        "prior": session.settings.prior,
        "redo": session.can_redo,
    }


def state_from(record: Record) -> dict[str, object]:
    """The same from its journal."""
    work = replayed(record.image.canvas_shape, record.entries)
    strokes = work.strokes
    is_stroked = work.status == "untouched" and strokes.strokes
    return {
        "strokes": [stroke.to_dict() for stroke in strokes.strokes],
        "canvas": _digest(strokes.canvas),
        "status": "stroked" if is_stroked else work.status,
        "live": work.settings["live"],
        "prior": work.settings["refinement"]["prior"],
        "redo": strokes.can_redo,
    }


def _digest(canvas: np.ndarray | None) -> str:
    if canvas is None or not canvas.any():
        return ""
    return hashlib.sha256(canvas.tobytes()).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """What four persons left.

    Attributes:
        images: files, by their names.
        folders: of the journals, by the images' names.
        persons: those who worked.
        states: of the open image after each part, as said and as written.
        rounds: of the open image after each part, as said and as written.
    """

    images: dict[str, Path]
    folders: dict[str, Path]
    persons: list[Person]
    states: list[tuple[dict[str, object], dict[str, object]]]
    rounds: list[tuple[list[object], list[object]]]

    def entries(self, image: str) -> list[object]:
        return list(read_record(self.folders[image]).entries)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    found = {}
    for seed, (name, shape) in enumerate(SHAPES.items()):
        rng = np.random.default_rng(seed)
        pixels = rng.integers(60, 120, (*shape, 3)).astype(np.uint8)
        pixels[20:44, 30:60] += 100
        found[name] = folder / f"{name}.png"
        Image.fromarray(pixels).save(found[name])
    return found


@pytest.fixture(scope="module")
def outcome(images, new_small_model, tmp_path_factory):
    place = tmp_path_factory.mktemp("threads")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAPARI_WSOL_HOME", str(place / "home"))
        model = new_small_model()
        save_model(model, small_card(model, model.spec.heads))
        yield _worked(images, place / "journals")


def _worked(images: dict[str, Path], journals: Path) -> Outcome:
    session = Session(InferenceConfig(device="cpu"), threads=1, journals=journals)
    persons = [Person(session, images, number) for number in range(THREADS)]
    session.use("small").result(WAIT)
    folders = {name: _begun(session, images, name) for name in "ab"}
    states, rounds = [], []
    for _ in range(PARTS):
        threads = [
            threading.Thread(target=person.work, args=(CALLS // THREADS // PARTS,))
            for person in persons
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until_idle(session)
        assert session.journal is not None
        assert session.slide is not None
        assert session.journal.flush()
        record = read_record(folders[session.slide.name])
        states.append((state_of(session), state_from(record)))
        written = replayed(record.image.canvas_shape, record.entries).rounds
        digests = {made.index: made.map_sha256 for made in written}
        said = [item for item in session.rounds if item.index]
        rounds.append(
            (
                [(item.index, _digest(item.heatmap.values)) for item in said],
                [(item.index, digests.get(item.index)) for item in said],
            )
        )
    session.close(wait=True)
    return Outcome(images, folders, persons, states, rounds)


def _begun(session: Session, images: dict[str, Path], name: str) -> Path:
    """A first round on an image, so that there is something to go on with."""
    session.open(images[name], name=name, mpp=MPP[name]).result(WAIT)
    session.localize(["pixelcam"], "bright").result(WAIT)
    session.brush([(25, 35), (40, 50)], 2, 5)
    session.brush([(5, 5), (5, 50)], 1, 5)
    session.live = not session.live
    session.settings = settings(900_000 + len(name))
    session.settings = settings(900_000)
    session.finetune().result(WAIT)
    until_idle(session)
    assert session.journal is not None
    return session.journal.folder


def test_no_error_is_unexpected(outcome):
    raised = [error for person in outcome.persons for error in person.errors]
    futures = [future for person in outcome.persons for future in person.futures]
    failed = [future.exception(WAIT) for future in futures]
    strange = [
        repr(error)
        for error in (*raised, *failed)
        if error is not None and not isinstance(error, WsolError)
    ]
    assert strange == []
    done = [error for error in failed if error is None]
    assert len(done) > 50  # something was done


def test_each_image_has_one_journal(outcome):
    folders = outcome.folders["a"].parent.iterdir()
    assert {path for path in folders if path.is_dir()} == set(outcome.folders.values())


def test_every_journal_replays_to_what_the_session_said(outcome):
    for said, written in outcome.states:
        assert said == written


def test_every_map_is_the_one_that_was_written_down(outcome):
    for said, written in outcome.rounds:
        assert said == written


@pytest.mark.parametrize("what", ["stroke", "settings"])
def test_everything_is_in_the_journal_of_the_image_it_was_done_on(outcome, what):
    """Once, and in no other; what changes with the image may hold for both of them."""
    kind = StrokeMade if what == "stroke" else SettingsChanged
    where: dict[int, list[str]] = {}
    for image in "ab":
        for entry in outcome.entries(image):
            mark = mark_of(entry)
            if isinstance(entry, kind) and mark is not None:
                where.setdefault(mark, []).append(image)
    calls = [c for person in outcome.persons for c in person.calls if c.what == what]
    assert len(calls) > 50
    astray = {}
    for call in calls:
        found = where.get(call.mark, [])
        if call.image is not None:
            is_right = found == [call.image]
        else:  # settings go with the person to the next image, a stroke stays
            is_right = len(found) == 1 or (found and what == "settings")
        if not is_right:
            astray[call.mark] = (call.image, found)
    assert astray == {}


@pytest.mark.parametrize("image", "ab")
def test_all_strokes_lie_on_their_image_and_clearing_clears_all(outcome, image):
    made = []
    entries = outcome.entries(image)
    numbers = [item.stroke.number for item in entries if isinstance(item, StrokeMade)]
    assert numbers == sorted(set(numbers))
    for place, entry in enumerate(entries):
        if isinstance(entry, StrokeMade):
            made.append(entry.stroke)
            assert entry.stroke.fits(SHAPES[image])
            if entry.stroke.tool == "clear":
                after = replayed(SHAPES[image], entries[: place + 1]).strokes
                assert not after.canvas.any()
    assert len(made) > 20


@pytest.mark.parametrize("image", "ab")
def test_rounds_learnt_from_their_images_strokes_alone(outcome, image):
    entries = outcome.entries(image)
    strokes = {
        item.stroke.number: item.stroke
        for item in entries
        if isinstance(item, StrokeMade)
    }
    rounds = [item for item in entries if isinstance(item, RoundMade)]
    assert rounds
    for made in rounds:
        assert set(made.strokes) <= set(strokes)
        canvas = drawn([strokes[number] for number in made.strokes], SHAPES[image])
        assert made.facts["strokes_sha256"] == _digest(canvas)
        assert made.facts["mpp"] == MPP[image]
        assert made.others == ()


@pytest.mark.parametrize("image", "ab")
def test_the_last_rounds_are_learnt_again_with_the_same_map(outcome, image, tmp_path):
    work = replayed(SHAPES[image], outcome.entries(image))
    for made in work.rounds[-3:]:
        done = CliRunner().invoke(
            app,
            [
                *("replay", str(outcome.folders[image]), "--round", str(made.index)),
                *("--out", str(tmp_path / str(made.index))),
            ],
        )
        assert done.exit_code == 0, done.output


@pytest.mark.parametrize("image", "ab")
def test_the_next_session_finds_what_the_journal_says(outcome, image):
    folder = outcome.folders[image]
    written = state_from(read_record(folder))
    session = Session(journals=folder.parent)
    try:
        session.open(outcome.images[image], name=image, resume=True).result(WAIT)
        assert state_of(session) == written
    finally:
        session.close(wait=True)
