"""Many images in one session: statuses, what others teach, the score, saved heads."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from napari_wsol import Session
from napari_wsol.errors import ConfigError, ExportError, NoResultError
from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.methods.card import Card
from napari_wsol.refinement.heads import reading_digest
from napari_wsol.refinement.samples import PREFIX
from napari_wsol.worklist.items import WorkList
from napari_wsol.zoo import load_model, save_model

WAIT = 60
SHAPE = (96, 128)
SQUARES = {"a": (20, 20), "b": (50, 80), "c": (10, 70), "d": (48, 30)}


def picture(place):
    """(96, 128, 3) uint8: noise with a bright square."""
    rng = np.random.default_rng(place[0])
    image = rng.integers(60, 120, (*SHAPE, 3)).astype(np.uint8)
    image[place[0] : place[0] + 32, place[1] : place[1] + 32] += 100
    return image


def inside(place):
    mask = np.zeros(SHAPE, bool)
    mask[place[0] : place[0] + 32, place[1] : place[1] + 32] = True
    return mask


def strokes(place, count=1):
    """As many strokes of each kind: foreground on the square, background beside it."""
    labels = np.zeros(SHAPE, np.uint8)
    y, x = place
    for number in range(count):
        labels[y + 6 + 8 * number : y + 9 + 8 * number, x + 6 : x + 26] = 2
        column = 2 if x > 60 else 110
        labels[4 + 12 * number : 7 + 12 * number, column : column + 14] = 1
    return labels


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for name, place in SQUARES.items():
        Image.fromarray(picture(place)).save(tmp_path / "in" / f"{name}.png")
    return tmp_path / "in"


@pytest.fixture
def make_session(small_model, folder, monkeypatch):
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(folder.parent / "home"))
    made = []

    def make(model=small_model):
        session = Session()
        made.append(session)
        session.use(model).result(WAIT)
        return session

    yield make
    for session in made:
        session.close(wait=True)


@pytest.fixture
def session(make_session, folder):
    session = make_session()
    session.use_list(WorkList.of_folder(folder))
    return session


def work_on(session, folder, name, labels=None):
    """Opens, localizes, draws and refines; the last round."""
    session.open(folder / f"{name}.png", resume=True).result(WAIT)
    session.localize(["pixelcam"]).result(WAIT)
    if labels is None:
        return session.rounds[-1]
    session.set_scribbles(labels).result(WAIT)
    return session.finetune().result(WAIT)


def statuses(session):
    return [item.status for item in session.worklist]


def test_the_list_follows_the_work(session, folder):
    session.open(folder / "a.png").result(WAIT)
    assert session.worklist.current == 0
    assert statuses(session) == ["untouched"] * 4
    session.set_scribbles(strokes(SQUARES["a"])).result(WAIT)
    assert statuses(session)[0] == "stroked"
    session.undo()
    assert statuses(session)[0] == "untouched"
    session.redo()
    session.localize(["pixelcam"]).result(WAIT)
    session.finetune().result(WAIT)
    assert statuses(session)[0] == "refined"
    session.set_status("reviewed")
    assert statuses(session)[0] == "reviewed"
    session.clear()  # what was reviewed is not what there is now
    assert statuses(session)[0] != "reviewed"


def test_statuses_are_there_tomorrow(session, make_session, folder):
    work_on(session, folder, "b", strokes(SQUARES["b"]))
    session.open(folder / "c.png").result(WAIT)
    session.set_status("reviewed")  # right as it is, without a stroke
    session.worklist.set_aside(3)
    session.close(wait=True)
    (saved,) = session.remembered_lists()
    tomorrow = make_session()
    worklist = saved.open()
    tomorrow.use_list(worklist)
    assert tomorrow._parts.others._search.join(WAIT)
    assert statuses(tomorrow) == ["untouched", "refined", "reviewed", "untouched"]
    assert [item.set_aside for item in worklist] == [False, False, False, True]
    tomorrow.open(folder / "c.png", resume=True).result(WAIT)
    assert tomorrow.status == "reviewed"
    tomorrow.set_scribbles(strokes(SQUARES["c"])).result(WAIT)
    assert statuses(tomorrow)[2] == "stroked"


def test_an_untouched_image_starts_from_what_others_taught(session, folder):
    work_on(session, folder, "a", strokes(SQUARES["a"]))
    shown = work_on(session, folder, "b")
    values, square = shown.heatmap.resized(SHAPE), inside(SQUARES["b"])
    assert shown.index == 1
    assert (shown.learnt_from, shown.strokes) == ((), 0)
    assert (len(shown.others), shown.other_strokes) == (1, 2)
    assert values[square].mean() > 0.5 > values[~square].mean()
    first = session.rounds[0].heatmap.resized(SHAPE)
    assert values[square].mean() - values[~square].mean() > 0.2 + (
        first[square].mean() - first[~square].mean()
    )
    # Nothing was done on it: it is untouched, and its journal is empty.
    assert statuses(session)[1] == "untouched"
    assert session.stale == frozenset()
    assert session.journals.find(session.slide.fingerprint()) is None


def test_earlier_images_are_not_forgotten(session, folder):
    a = work_on(session, folder, "a", strokes(SQUARES["a"]))
    samples = session._parts.others._samples.of_all(
        [session.slide.fingerprint()], reading_digest(session.model)
    )
    # On b the square is called background: without a's strokes, b's would decide.
    other = strokes(SQUARES["b"])
    other = np.where(other > 0, 3 - other, 0).astype(np.uint8)
    replaced(session, others=0.0)
    forgot = work_on(session, folder, "b", other)
    replaced(session, others=1.0)
    remembered = session.finetune().result(WAIT)
    assert forgot.others == ()
    assert len(remembered.others) == 1
    assert a.others == ()

    def right(done):
        found = done.head.difference(samples[0].x) > 0
        return float((found == (samples[0].labels == 1)).float().mean())

    assert right(a) > 0.9
    assert right(remembered) > right(forgot) + 0.2


def replaced(session, **changes):
    session.settings = replace(session.settings, **changes)


def test_others_count_without_being_encoded_again(session, folder):
    work_on(session, folder, "a", strokes(SQUARES["a"]))
    session.open(folder / "b.png").result(WAIT)
    passes = []
    session.model.encoder.register_forward_hook(lambda *_: passes.append(1))
    session.localize(["pixelcam"]).result(WAIT)
    assert len(session.rounds) == 2
    assert len(passes) == 1


def test_samples_are_there_tomorrow_and_the_same(session, make_session, folder):
    work_on(session, folder, "a", strokes(SQUARES["a"]))
    work_on(session, folder, "c", strokes(SQUARES["c"]))
    today = work_on(session, folder, "b")
    session.close(wait=True)
    tomorrow = make_session()
    tomorrow.use_list(WorkList.of_folder(folder))
    assert tomorrow._parts.others._search.join(WAIT)
    again = work_on(tomorrow, folder, "b")
    assert again.others == today.others
    assert np.array_equal(again.heatmap.values, today.heatmap.values)


def test_one_file_of_samples_is_left_of_many_refits(session, folder):
    labels = strokes(SQUARES["a"], 3)
    for rows in (40, 60, 96):
        part = labels.copy()
        part[rows:] = 0
        work_on(session, folder, "a", part)
    kept = session.journals.folder.glob(f"*/{PREFIX}*")
    assert len(list(kept)) == 1
    session.clear()
    session.open(folder / "b.png").result(WAIT)
    assert session.others() is None  # its strokes are gone


def test_strokes_that_nobody_refined_teach_too(session, folder):
    session.open(folder / "a.png").result(WAIT)
    session.localize(["pixelcam"]).result(WAIT)
    session.set_scribbles(strokes(SQUARES["a"])).result(WAIT)
    assert len(work_on(session, folder, "b").others) == 1


def test_images_set_aside_teach_nothing_and_score(session, folder):
    told = []
    session.scored.connect(told.append)
    session.worklist.set_aside(3)
    work_on(session, folder, "d")
    session.set_scribbles(strokes(SQUARES["d"], 3)).result(WAIT)
    assert session.is_aside
    shown = session.finetune().result(WAIT)  # nothing is learnt, and nothing wrong
    assert shown is session.rounds[0]
    assert len(session.rounds) == 1
    assert session.stale == frozenset()
    (own,) = told  # the model as it was loaded
    assert (own.round, own.score.images) == (0, 1)
    assert (own.score.foreground, own.score.background) == (3, 3)
    assert session.finetune().result(WAIT) is shown
    assert len(told) == 1  # the same score again says nothing new
    shown = work_on(session, folder, "a", strokes(SQUARES["a"]))
    assert shown.others == ()
    assert told == list(session.scores)
    score = told[-1].score
    assert (score.images, score.foreground, score.background) == (1, 3, 3)
    assert score.value > 0.8
    session.worklist.set_aside(3, False)
    assert len(session.finetune().result(WAIT).others) == 1


def test_a_saved_model_gives_the_map_of_the_round(session, folder, small_model):
    replaced(session, local=False)  # what is learnt of places stays with the image
    with pytest.raises(NoResultError, match="Nothing was learnt"):
        session.save_model("mine").result(WAIT)
    work_on(session, folder, "a", strokes(SQUARES["a"]))
    shown = work_on(session, folder, "b")
    card = session.save_model("mine", "My squares").result(WAIT)
    assert card.title == "My squares"
    assert "2 strokes (1 foreground, 1 background) on 1 image" in card.data
    assert card.check["logits"]
    loaded = load_model("mine", device="cpu")
    result = localize(loaded, folder / "b.png", ["pixelcam"])
    found = result.heatmaps["pixelcam"].values
    assert np.allclose(found, shown.heatmap.values, atol=1e-5)
    own = {k: v for k, v in small_model.state_dict().items() if "pixelcam" not in k}
    state = loaded.state_dict()
    assert all(torch.equal(state[key], value) for key, value in own.items())
    with pytest.raises(ExportError, match="already"):
        session.save_model("mine").result(WAIT)
    with pytest.raises(ConfigError, match="cannot name"):
        session.save_model("no/name").result(WAIT)


def test_a_model_without_a_pixel_head_gets_one_in_the_zoo(make_session, folder):
    torch.manual_seed(0)
    spec = ModelSpec(
        encoder="mobilenet_v2",
        classes=("dark", "bright"),
        heads=("cam",),
        taps=("features.3", "features.6"),
    )
    base = save_model(
        Model(spec),
        Card(
            name="base",
            title="Base",
            summary="A classifier.",
            spec=spec,
            methods=("cam",),
            primary="cam",
            license="CC0-1.0.",
            limits=("Squares only.",),
        ),
    )
    session = make_session("base")
    replaced(session, local=False)
    session.use_list(WorkList.of_folder(folder))
    session.worklist.set_aside(3)
    session.open(folder / "d.png").result(WAIT)
    session.localize(["cam"]).result(WAIT)
    session.set_scribbles(strokes(SQUARES["d"], 3)).result(WAIT)
    session.open(folder / "a.png").result(WAIT)
    session.localize(["cam"]).result(WAIT)
    session.set_scribbles(strokes(SQUARES["a"])).result(WAIT)
    shown = session.finetune().result(WAIT)
    card = session.save_model("with-head").result(WAIT)
    assert card.methods == ("pixelcam", "cam")
    assert base.sha256[:16] in card.origin
    assert card.license.startswith("CC0-1.0.")
    assert card.limits[0] == "Squares only."
    assert card.metrics["held_out"]["images"] == 1
    loaded = load_model("with-head", device="cpu")
    assert loaded.card.metrics["strokes"] == 2
    session.use("with-head").result(WAIT)
    session.localize(["pixelcam"]).result(WAIT)
    # The model is the round: its map without any stroke is that of the round.
    found = session.rounds[0].heatmap.values
    assert np.allclose(found, shown.heatmap.values, atol=1e-5)


def test_one_image_needs_no_list(make_session, folder):
    session = make_session()
    assert session.remember_list() is None
    shown = work_on(session, folder, "a", strokes(SQUARES["a"]))
    assert shown.others == ()
    assert session.scores == ()
    card = session.save_model("alone").result(WAIT)
    assert "on 1 image" in card.data
    assert not list(session.journals.folder.glob(f"*/{PREFIX}*"))
