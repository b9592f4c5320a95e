"""A session is composed: one class that speaks for its parts."""

from __future__ import annotations

import inspect

import psygnal
import pytest

from napari_wsol import Session
from napari_wsol.errors import NoImageError
from napari_wsol.session.comparison import Comparison
from napari_wsol.session.document import Document
from napari_wsol.session.jobs import SessionJobs


def words(text: str) -> list[str]:
    return text.split()


SIGNALS = words(
    """bag_changed device_full dismissed_changed earlier_changed exported
    figures_changed finetune_step heatmap_changed image_changed image_replaced
    job_changed list_changed localized model_changed mpp_changed pins_changed
    reference_changed rounds_changed saved_changed scored scribbles_changed
    settings_changed slide_moved status_changed tissue_changed train_evaluated
    train_step"""
)

READ = words(
    """awaits_rounds bag can_redo can_undo canvas dismissed drawn_on earlier heatmaps
    is_aside is_busy is_gradual is_large is_replaced job journal journals kept
    lists_folder mapped model mpp pins possible_views reference result
    round_index rounds saved scores scribbles slide stale status stroke_counts
    strokes tissue undo_steps work worklist"""
)

VERBS = words(
    """add_map brush cancel clear clear_reference close compare dismiss doubt estimate
    export figure figures fill finetune grow heatmap held_out import_annotations
    import_model learn_beside leave localize look_at occlude open others plan
    propose put redo release remember_list remembered_lists remove_map report
    reread resume revert save_map save_model score set_memory set_mpp set_pins
    set_reference set_scribbles set_status set_tissue start_afresh table train
    trust undo use use_bag use_list without_tiles"""
)


@pytest.fixture
def session():
    made = Session(journals=False)
    yield made
    made.close(wait=True)


def test_it_is_one_class():
    assert Session.__mro__ == (Session, object)


def test_its_names_are_those_that_others_use():
    public = {name for name in dir(Session) if not name.startswith("_")}
    assert public == {*SIGNALS, *READ, *VERBS, "live", "settings"}
    found = {
        name
        for name in public
        if isinstance(inspect.getattr_static(Session, name), psygnal.Signal)
    }
    assert found == set(SIGNALS)


def test_whatever_a_part_tells_has_a_name_at_the_session():
    parts = [Comparison, Document, SessionJobs]
    told = {
        name
        for part in parts
        for name, value in vars(part).items()
        if isinstance(value, psygnal.Signal)
    }
    assert told <= set(SIGNALS)


def test_what_is_known_can_be_read_before_anything_is_open_and_never_set(session):
    for name in READ:
        getattr(session, name)
        with pytest.raises(AttributeError, match="read only"):
            setattr(session, name, None)
    assert session.strokes == ()
    assert session.status == "untouched"


def test_verbs_have_the_signature_and_the_words_of_the_part_that_knows():
    assert inspect.signature(Session.put) == inspect.signature(Document.put)
    assert Session.put.__doc__ == Document.put.__doc__
    assert Session.open.__doc__ == SessionJobs.open.__doc__
    undocumented = [name for name in VERBS if not getattr(Session, name).__doc__]
    assert undocumented == []


@pytest.mark.parametrize("verb", ["undo", "redo", "clear"])
def test_before_an_image_is_open_a_verb_says_what_to_do(session, verb):
    with pytest.raises(NoImageError, match="Open an image first"):
        getattr(session, verb)()


def test_nothing_is_told_when_somebody_begins_to_listen(session, tissue):
    told = []
    for name in SIGNALS:
        if name != "job_changed":
            getattr(session, name).connect(lambda *_, name=name: told.append(name))
    session.open(tissue, name="tissue").result(60)
    assert sorted(told) == ["image_changed", "rounds_changed"]
