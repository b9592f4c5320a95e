"""The side of a session that owns torch: from image and model to maps and rounds.

Everything here runs on the session's one worker thread. Results are put in place in one
step at the end of a job, so a job that fails or is stopped leaves all as it was.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import ref

import numpy as np
import torch
from psygnal import Signal

from napari_wsol.devices import NO_ROOM, give_memory_back, leave_device, with_room
from napari_wsol.errors import (
    ConfigError,
    ImageChangedError,
    ImageError,
    MethodUnavailableError,
    NoResultError,
    UnknownNameError,
    choices,
)
from napari_wsol.files import numbered
from napari_wsol.images.bags import find_bag, open_bag
from napari_wsol.images.foreign_map import read_map
from napari_wsol.images.heatmap import KEPT_CELLS
from napari_wsol.images.readers import is_as_opened, told_path
from napari_wsol.inference.appearance import likeness
from napari_wsol.inference.bags import check_bag
from napari_wsol.inference.cache import FeatureCache
from napari_wsol.inference.view import ModelView
from napari_wsol.inference.whole_image import localize
from napari_wsol.jobs import Report
from napari_wsol.methods import get_method, list_methods
from napari_wsol.methods.card import Card
from napari_wsol.methods.model import checked
from napari_wsol.refinement.finetune import warm_up
from napari_wsol.refinement.heads import weights_digest
from napari_wsol.refinement.last_stage import adapted_model
from napari_wsol.refinement.on_slides.job import LOCALIZE_FIRST
from napari_wsol.refinement.refine import RoundRequest
from napari_wsol.refinement.saved_model import save_refined
from napari_wsol.session.document import Document
from napari_wsol.session.engine import SMALL, Shows
from napari_wsol.session.judging import Judgeable
from napari_wsol.session.maps import REFINED, Before, Kept, Maps
from napari_wsol.session.provenance import provenance_of
from napari_wsol.session.rounds import RoundHistory
from napari_wsol.session.slide_engine import (
    engine_for,
    planned,
    slide_config,
    view_is_large,
)
from napari_wsol.session.state import Current
from napari_wsol.slides.expected import is_gradual, seconds_a_pixel
from napari_wsol.zoo import load_model

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from napari_wsol.config import (
        ExportConfig,
        FinetuneConfig,
        InferenceConfig,
        SlideConfig,
    )
    from napari_wsol.evaluation.occluding import Occluded
    from napari_wsol.evaluation.sanity import Trust
    from napari_wsol.images.bags import Bag
    from napari_wsol.images.foreign_map import Given
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.images.slide import Slide
    from napari_wsol.inference.appearance import Likeness
    from napari_wsol.inference.whole_image import Localization
    from napari_wsol.methods import Model
    from napari_wsol.refinement.finetune import FinetuneStep
    from napari_wsol.refinement.rounds import Round
    from napari_wsol.refinement.samples import Pooled
    from napari_wsol.session.document import Drawn
    from napari_wsol.session.engine import Engine
    from napari_wsol.session.maps import Wanted
    from napari_wsol.session.other_images import OtherImages
    from napari_wsol.session.state import State
    from napari_wsol.slides.cost import Cost
    from napari_wsol.slides.plan import SlidePlan
    from napari_wsol.strokes.annotations import Part

T = TypeVar("T")

STEPS = 10  # of insertion and deletion, where maps of the open image are checked

WHOLE = (
    "This is a slide, read tile by tile: maps are checked on images in one piece. Crop "
    "the part that matters, and open that."
)


class Worker:
    """Does the jobs of a session, one after another.

    Args:
        state: where results are put for everybody to read.
        others: the other images of the list.
        config: says how images go through the encoder, as it is wanted now.
        slide_config: says how slides are cut; None for the defaults.
        adopt: called with a document that has just become the open one.
        follow: asks for one more round from the strokes as they are.

    Signals:
        as :class:`~napari_wsol.session.session.Session` describes them.
    """

    image_changed = Signal()
    image_replaced = Signal()
    bag_changed = Signal()
    model_changed = Signal()
    localized = Signal()
    heatmap_changed = Signal(str)
    rounds_changed = Signal()
    slide_moved = Signal(object)
    finetune_step = Signal(object)
    exported = Signal(object)
    device_full = Signal(str)

    def __init__(
        self,
        state: State,
        others: OtherImages,
        *,
        config: Callable[[], InferenceConfig],
        slide_config: Callable[[], SlideConfig | None],
        adopt: Callable[[Document], None],
        follow: Callable[[], object],
    ) -> None:
        self._state, self._others = state, others
        self._config, self._slide_config = config, slide_config
        self._adopt, self._follow = adopt, follow
        self._cache = FeatureCache(config().cache_bytes)
        self._opened: dict[str, ref[Document]] = {}  # by fingerprint, the last of each
        self._released_from: torch.device | None = None
        self._is_warm = False

    # -------------------------------------------------------------- image and model

    def open(
        self, slide: Slide, *, owned: bool, resume: bool, maps: Maps | None = None
    ) -> None:
        """Makes an image the one that is worked on.

        Args:
            slide: the image.
            owned: whether it is closed when another one is opened.
            resume: whether to go on where an earlier session stopped.
            maps: that stay; none without.
        """
        fingerprint = slide.fingerprint()
        before = self._leaving()
        known = self._opened.get(fingerprint)
        earlier = None if known is None else known()
        if earlier is not None and earlier.journal is not None:
            earlier.journal.close()  # whatever waits for the disk waits without a lock
        with ExitStack() as after, ExitStack() as told:
            # Whoever holds the image's earlier document waits until this one has its
            # journal; nobody draws here before earlier strokes are back.
            with nullcontext() if earlier is None else earlier.lock:
                document = Document(slide, owned=owned, journals=self._others.journals)
                told.enter_context(document.changing())
                self._adopt(document)
                model = self._state.current.model
                left = self._swap(Current(document, model, maps or Maps()))
                after.callback(left.close)
                if before is not None:
                    after.callback(before.close, keep_slide=before.slide is slide)
                # After the swap: whoever sets it now waits for this document's lock.
                document.inherit(
                    self._state.learning if before is None else before.learning
                )
                if earlier is not None:
                    earlier.hand_over(document)
                self._opened[fingerprint] = ref(document)
            if resume or known is not None:
                document.resume()
        self._others.find(document)
        self._find_bag()
        self.rounds_changed.emit()
        self.image_changed.emit()

    def leave(self) -> None:
        """No image is worked on any more."""
        before = self._leaving()
        if before is None:
            return
        # What comes next is learnt as this was.
        self._state.learning = before.learning
        self._swap(Current(model=self._state.current.model)).close()
        before.close()
        self._others.find(None)
        self.rounds_changed.emit()
        self.image_changed.emit()

    def _leaving(self) -> Document | None:
        """The open image, which is left now; what it teaches others is kept."""
        current = self._state.current
        if current.document is not None and current.maps.result is not None:
            self._others.gather(self._engine())
        return current.document

    def use(self, model: str | Path | Card | Model, report: Report) -> Model:
        """Loads a model; maps of another one before stay, under its name."""
        if isinstance(model, str | Path | Card):
            model = load_model(model, device=self._config().device)
        model = checked(model)
        seconds_a_pixel(model)  # here: the window asks, and must not wait for torch
        report.check()
        self._released_from = None
        current = self._state.current
        self._swap(Current(current.document, model, self._kept_under(model))).close()
        self._find_bag()
        self.rounds_changed.emit()
        self.model_changed.emit()
        return model

    def _kept_under(self, model: Model) -> Maps:
        """What stays where a model is used: maps of others, under their names."""
        former, maps = self._state.current.model, self._state.current.maps
        if maps.before or not maps.heatmaps:
            return Maps()
        digest = weights_digest(model)
        kept = {key: one for key, one in maps.kept.items() if one.made_by != digest}
        before = "" if former is None else weights_digest(former)
        if former is not None and maps.live and before != digest:
            names = {one.heatmap.model for one in kept.values()}
            name = next(one for one in numbered(former.name) if one not in names)
            for method, heatmap in maps.live.items():
                one = replace(heatmap.coarser(KEPT_CELLS), model=name)
                told = self._provenance(method)
                kept[one.key] = Kept(one, told, before)
        return Maps(kept=kept)

    def use_bag(self, path: Path | None) -> Bag | None:
        """Takes the tiles of the open slide from a file, or from its pixels again."""
        current = self._state.current
        document, model = current.need()
        document.bag = None if path is None else _fitting(path, document.slide, model)
        # Maps of other tiles are only looked at.
        self._swap(replace(current, maps=replace(current.maps, result=None))).close()
        self.bag_changed.emit()
        return document.bag

    def _find_bag(self) -> None:
        """The bag beside the slide, where it is one that the model can read."""
        document, model = self._state.current.document, self._state.current.model
        if document is None or model is None:
            return
        document.bag, path = None, told_path(document.slide)
        if path is not None and (found := find_bag(path, [path.parent])) is not None:
            with suppress(ImageError, MethodUnavailableError):
                document.bag = _fitting(found, document.slide, model)

    def add_map(self, source: object, given: Given) -> Heatmap:
        """Shows a map from elsewhere beside ours, under a name that is free."""
        self.look()
        document, maps = self._state.document, self._state.current.maps
        slide, mpp = document.slide, document.known_mpp
        heatmap = read_map(source, given, slide.shape, mpp)
        maps = Maps() if maps.before else maps  # of other pixels than it
        taken = {*maps.heatmaps, *list_methods()}
        name = next(one for one in numbered(heatmap.method) if one not in taken)
        heatmap = replace(heatmap, method=name)
        told = provenance_of(slide, None, None, method=name, mpp=mpp)
        told |= {
            "target": heatmap.target,
            "origin": heatmap.notes[0],
            "given": {**given, "name": name},
        }
        self._put(replace(maps, kept={**maps.kept, name: Kept(heatmap, told)}))
        self.heatmap_changed.emit(name)
        return heatmap

    def remove_map(self, key: str) -> None:
        """Takes away a map that is kept beside ours."""
        maps = self._state.current.maps
        if key not in maps.kept:
            raise choices("kept map", key, list(maps.kept))
        rest = {name: one for name, one in maps.kept.items() if name != key}
        self._put(replace(maps, kept=rest))
        self.heatmap_changed.emit(key)

    def look(self) -> bool:
        """Takes up the pixels that the open image has by now; whether they are others.

        Raises:
            ImageError: they are others, and cannot be used.
        """
        document = self._state.current.document
        if document is None:
            return False
        try:
            fresh = document.reread()
        except ImageError:
            self._put(self._maps_left())
            self.image_replaced.emit()
            raise
        if fresh is None:
            return False
        self.open(fresh, owned=True, resume=False, maps=self._maps_left())
        self.image_replaced.emit()
        return True

    def _maps_left(self) -> Maps:
        document = self._state.document
        return self._state.current.maps.left(document.slide, document.known_mpp)

    @contextmanager
    def _reading(self) -> Generator[None]:
        """The pixels are those of the open image, from the beginning to the end.

        Raises:
            ImageChangedError: they changed meanwhile: nothing that was made of them is
                kept.
            ImageError: there are others than those of the open image, which cannot be
                used.
        """
        self.look()
        document, maps = self._state.document, self._state.current.maps
        try:
            yield
        finally:
            if not is_as_opened(document.slide):
                self._engine().discard()
                self._put(maps)
                if self.look():
                    raise ImageChangedError(
                        f"“{document.slide.name}” changed while it was being read: "
                        "localize it again."
                    )

    def take_budget(self) -> None:
        """Images may take as much memory as they may now."""
        self._cache.budget_bytes = self._config().cache_bytes

    def release(self) -> bool:
        """Takes the model off a graphics card; says whether it was on one."""
        model = self._state.current.model
        if model is None or model.device.type == "cpu":
            give_memory_back()
            return False
        self._released_from = model.device
        leave_device(model)
        return True

    # --------------------------------------------------------------------- localizing

    def localize(self, wanted: Wanted, report: Report) -> Localization:
        """Runs methods, and shows again what was learnt of the image before."""
        with self._reading():
            document, model = self._state.current.need()
            if wanted.target is None and document.has_waiting_rounds:
                target = document.waiting_target(weights_digest(model))
                wanted = wanted._replace(target=target)
            result = self._engine().localize(wanted, report)
        self._present(result)
        self.restore(report)
        self._begin_with_others(report)
        return result

    def without_tiles(
        self, places: Sequence[tuple[float, float]], report: Report
    ) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """The verdict without the tiles at these places, and with them."""
        self.look()
        self._state.current.check_maps()
        maps, engine = self._state.current.maps, self._engine()
        live = {} if maps.result is None else maps.result.heatmaps
        grid = next((x for k, x in live.items() if get_method(k).pools_tiles), None)
        if grid is None or maps.mpp != self._state.document.known_mpp:
            raise NoResultError("Localize first, with a model that weighs tiles.")
        at = np.rint((np.reshape(places, (-1, 2)) - grid.translate) / grid.scale)
        last = np.subtract(grid.values.shape, 1)
        rows, columns = np.clip(at, 0, last).astype(np.intp).T
        cells: list[int] = (rows * grid.values.shape[1] + columns).tolist()
        without = self._with_room(lambda: engine.without(cells, report))
        if not without:
            raise NoResultError("No tile is left to judge: put some of them back.")
        return without, engine.without([], report)

    def estimate(self, wanted: Wanted, report: Report) -> Cost:
        """What localizing will cost."""
        self.look()
        return self._engine().estimate(wanted, report)

    def warm_up(self) -> None:
        """What the first round would wait a second for, once a map is there."""
        if not self._is_warm and self._state.current.maps.result is not None:
            warm_up()
            self._is_warm = True

    def compare(self, report: Report) -> Likeness | None:
        """How like the training images the open image looks; None if not known."""
        view = self._view(self._state.current)
        return self._with_room(
            lambda: likeness(view.model, view.slide, mpp=view.mpp, check=report.check)
        )

    def trust(
        self, methods: Sequence[str] | None, report: Report
    ) -> Mapping[str, Trust]:
        """What can be said of maps of the open image without a reference."""
        from napari_wsol.evaluation.sanity import check_maps
        from napari_wsol.evaluation.settings import EvaluationConfig

        view, result = self._whole()
        names, target = methods or [*result.heatmaps], result.target
        how: Any = {"mpp": view.mpp, "config": view.config, "cache": view.cache}
        found = localize(
            view.model, view.slide, names, target, **how, check=report.check
        )
        wanted = EvaluationConfig(faithfulness_steps=STEPS, road=True, sanity=True)
        return self._with_room(
            lambda: check_maps(view, found, wanted, report, report.check)
        )

    def occlude(self, box: Sequence[float], report: Report) -> Occluded:
        """What the score of the class loses without a box."""
        from napari_wsol.evaluation.occluding import occlude

        (view, result), maps = self._whole(), self._state.current.maps.live
        return self._with_room(
            lambda: occlude(view, box, maps, result.target, report.check)
        )

    def _whole(self) -> tuple[ModelView, Localization]:
        """The open image, held whole, and what was found on it."""
        self.look()
        current = self._state.current
        current.check_maps()
        if self.is_large(current):
            raise ImageError(WHOLE)
        if current.maps.result is None:
            raise NoResultError(LOCALIZE_FIRST)
        return self._view(current), current.maps.result

    def restore(self, report: Report) -> None:
        """Rounds of an earlier work, now that there is a result to show them on."""
        (document, model), maps = self._state.current.need(), self._state.current.maps
        if maps.result is None or REFINED not in maps.heatmaps:
            return
        fitting = document.take_waiting(weights_digest(model), maps.result.target)
        if not fitting:
            return
        engine, history = self._engine(), self._rounds()
        if not engine.keeps_rounds:
            self._follow()  # the strokes give the last one again
            return
        for done, made in enumerate(fitting):
            report(done, len(fitting), "bringing rounds back")
            found = history.restored(made, engine)
            if found is not None:
                self._put(history.add(self._state.current.maps, found))
        maps = self._state.current.maps
        shown = maps.round(document.waiting_shown)
        if shown is not None:
            self._put(maps.showing(shown))
            self.heatmap_changed.emit(REFINED)
        self.rounds_changed.emit()

    # ------------------------------------------------------------------------- rounds

    def refine(
        self, drawn: Drawn | None, settings: FinetuneConfig | None, report: Report
    ) -> tuple[Round, Drawn | None]:
        """One round from strokes; those of an image that is left count for nothing.

        On an image that is set aside they teach nothing, and score what is shown.

        Args:
            drawn: the strokes, as they were when they were asked for.
            settings: of the refit; those of the image if None.
            report: hears of the progress; may stop it.

        Returns:
            The round, and what it has learnt from; on an image that is set aside the
            one that is shown, and None.

        Raises:
            ImageChangedError: the image has other pixels than were localized.
            NoResultError: nothing was localized yet.
        """
        self.look()
        self._state.current.check_maps()
        document = self._state.document
        if drawn is None or drawn.document is not document:
            drawn = document.drawn()
        settings = settings or document.learning.settings
        if self._others.is_aside:
            shown = self._state.current.maps.shown
            if shown is None:
                raise NoResultError(LOCALIZE_FIRST)
            self._others.score_own(self._engine(), shown)
            return shown, None
        others = self._others.others() if settings.others else None
        step = self.finetune_step.emit
        return self._learn(drawn, settings, others, report, step=step), drawn

    def judge(self, done: Round, drawn: Drawn, report: Report) -> Round:
        """What can be said of a round, while it is still shown."""
        document, model = self._state.current.need()
        if drawn.document is not document or done.settings is None:
            return done
        first = self._state.current.maps.round(0)
        engine = self._engine()
        asked = Judgeable(
            done=done,
            first=None if first is None else first.heatmap,
            settings=done.settings,
            strokes=drawn.strokes,
            canvas=document.canvas,
        )
        judged = self._with_room(lambda: engine.judge(asked, report))
        if judged is None:
            return done
        report.check()
        told = judged.told_of(done, drawn.strokes, model.finds)
        maps = self._rounds().judged(self._state.current.maps, told)
        if maps is not None:
            self._put(maps)
            self.rounds_changed.emit()
        return told

    def revert(self, index: int, report: Report) -> Round:
        """Shows an earlier or later round again.

        Raises:
            UnknownNameError: there is no such round.
        """
        report.check()
        maps = self._state.current.maps
        found = maps.round(index)
        if found is None:
            raise UnknownNameError(
                f"There is no round {index}; there are {len(maps.rounds)}, from 0."
            )
        self._show(found)
        return found

    def grow(
        self,
        document: Document,
        point: tuple[float, float],
        tolerance: float | None,
        report: Report,
    ) -> Part | None:
        """The connected place that looks alike; None where the image was left."""
        self.look()
        self._state.current.check_maps()
        if document is not self._state.document:
            return None
        engine, current = self._engine(), self._state.current
        if current.maps.result is None and not self.is_large(current):
            raise NoResultError(
                "Localize first: a region grows where the model sees the same as there."
            )
        found = self._with_room(lambda: engine.grow(point, tolerance, report))
        report.check()
        return found

    # ------------------------------------------------------------------- what is kept

    def export(
        self, folder: Path, settings: ExportConfig, report: Report
    ) -> tuple[Path, ...]:
        """Writes mask, regions, table and provenance of a heatmap.

        A map of the image as it was is written as such.
        """
        from napari_wsol.export.sets import HOLD_TISSUE, export_heatmap  # half a second

        with suppress(ImageError):  # whoever localizes hears of it
            self.look()
        maps, document = self._state.current.maps, self._state.document
        heatmap, of = maps.heatmap(settings.method), self._shown_of()
        # Tissue and strokes are of the image as it is.
        drawn = document.drawn() if maps.before is None else None
        told = self._provenance(settings.method) | (drawn.told if drawn else {})
        if any(name.startswith("tiles") for name in settings.formats):
            # They measure all maps.
            told["beside"] = {key: self._provenance(key) for key in maps.heatmaps}
        if drawn and document.tissue is not None and HOLD_TISSUE & {*settings.formats}:
            told["tissue"] = "drawn by a person"
        scribbles = drawn and drawn.scribbles
        paths = export_heatmap(
            folder,
            heatmap,
            of.slide,
            settings,
            told,
            heatmaps=maps.heatmaps,
            tissue=document.seen_tissue if drawn else None,
            strokes=None if scribbles is None else (scribbles, document.canvas),
            mpp=of.mpp,
            report=report,
        )
        self.exported.emit(paths)
        return paths

    def _shown_of(self) -> Before:
        """What the live maps are of."""
        document, maps = self._state.document, self._state.current.maps
        return maps.before or Before(
            slide=document.slide,
            mpp=document.known_mpp,
            result=maps.result,
            shown=maps.shown,
        )

    def _provenance(self, method: str) -> dict[str, object]:
        """How a map came about."""
        maps = self._state.current.maps
        kept = maps.kept.get(method)
        if kept is not None:
            return dict(kept.provenance)
        (document, model), of = self._state.current.need(), self._shown_of()
        view, work, cut = self._view(self._state.current), self._state.work, {}
        if (bag := document.bag) is not None:
            cut = {"bag": {"file": bag.path.name, "encoder": bag.encoder}}
        elif view_is_large(view):
            cut = {
                "cut": slide_config(view, self._slide_config()),
                "asked": work and work.target,
                # The tissue that a person drew is not written down.
                "is_finished": work and work.is_finished and document.tissue is None,
            }
        return provenance_of(
            of.slide,
            model,
            of.result,
            method=method,
            mpp=of.mpp if maps.before else maps.mpp,
            shown=of.shown,
            config=self._config(),
            of_slide=cut,
        )

    def run(self, work: Callable[[Model, Report], T], report: Report) -> T:
        """Whatever needs the model, where it has room."""
        self._take_device_back()
        model = self._state.current.need()[1]
        return self._with_room(lambda: work(model, report))

    def save_model(self, name: str, title: str, report: Report) -> Card:
        """Makes the round that is shown a model of the user's own.

        Raises:
            NoResultError: nothing was learnt yet.
            ConfigError: the round has a network of its own, or the name is taken.
            ExportError: it cannot be written.
        """
        current = self._state.current
        shown = current.maps.shown
        if shown is None or shown.head is None:
            raise NoResultError(
                "Nothing was learnt yet. Draw strokes and refine, or choose a later "
                "round; then it can be saved as a model."
            )
        if shown.has_network:
            raise ConfigError(
                "This round learnt a small network, which belongs to this image. "
                "Choose the linear head under Advanced and refine; that can be saved "
                "as a model."
            )
        learnt_from = self._others.trained_from(shown)
        _, model = current.need()
        if shown.stage is not None:
            model = adapted_model(model, shown.stage)
        report.check()
        return save_refined(model, shown.head, learnt_from, name, title=title)

    # ------------------------------------------------------------------ on any thread

    def save_map(self, path: Path, method: str) -> tuple[Path, ...]:
        """Writes the map of a method, as it is now, and its record."""
        from napari_wsol.export.sets import save_map  # half a second

        heatmap, of = self._state.current.maps.heatmap(method), self._shown_of()
        return save_map(path, heatmap, of.slide, self._provenance(method), of.mpp)

    def is_large(self, current: Current) -> bool:
        """Whether an image is read tile by tile under a model."""
        return view_is_large(self._view(current))

    def is_gradual(self, current: Current) -> bool:
        """Whether the maps of an image come in tile by tile under a model."""
        return current.need()[0].bag is None and is_gradual(self._view(current))

    def plan(self, current: Current) -> SlidePlan:
        """How a gradual image is cut for a model."""
        view = self._view(current)
        if not is_gradual(view):
            raise ImageError(SMALL)
        return planned(view, current.need()[0], self._slide_config())

    # -------------------------------------------------------------------- put in place

    def _begin_with_others(self, report: Report) -> None:
        """An untouched image begins with what the others taught: its first round."""
        document, maps = self._state.document, self._state.current.maps
        settings = document.learning.settings
        untouched = not document.strokes.strokes or self._others.is_aside
        is_first = not any(item.index for item in maps.rounds)
        if not (untouched and is_first and REFINED in maps.heatmaps):
            return
        if not settings.others or not self._engine().teaches_others:
            return
        others = self._others.others()
        if others is None or others.kinds < 2:
            return
        quiet = Report(report.status, _nobody)  # it is a part of the localization
        quiet.cancelled = report.cancelled
        nothing = replace(document.drawn(), strokes=(), scribbles=None)
        self._learn(nothing, settings, others, quiet, step=_nobody)

    def _learn(
        self,
        drawn: Drawn,
        settings: FinetuneConfig,
        others: Pooled | None,
        report: Report,
        *,
        step: Callable[[FinetuneStep], None],
    ) -> Round:
        """Makes a round: it is written down, shown, taught to others, and scored."""
        maps, engine = self._state.current.maps, self._engine()
        if maps.result is None:
            raise NoResultError(LOCALIZE_FIRST)
        request = RoundRequest(
            scribbles=drawn.scribbles,
            canvas=drawn.document.canvas,
            settings=settings,
            target=maps.result.target,
            index=maps.next_index,
            others=others,
        )
        try:
            done = self._with_room(lambda: engine.refine(request, maps, report, step))
            report.check()
        except BaseException:
            if self._state.current.maps is not maps:  # what was previewed of it goes
                self._put(maps)
                self.heatmap_changed.emit(REFINED)
            raise
        done = self._rounds().record(done, drawn)
        self._put(self._rounds().add(self._state.current.maps, done))
        self._show(done)
        self._others.learnt(engine, done)
        return done

    def _show(self, item: Round) -> None:
        self._put(self._rounds().show(self._state.current.maps, item))
        self.heatmap_changed.emit(REFINED)
        self.rounds_changed.emit()

    def _present(self, result: Localization) -> None:
        maps, mpp = self._state.current.maps, self._state.document.known_mpp
        self._put(maps.localized(result, mpp))
        self.localized.emit()
        self.rounds_changed.emit()

    def _preview(self, heatmap: Heatmap) -> None:
        """Shows a round that is not finished yet."""
        self._put(self._state.current.maps.previewing(heatmap))
        self.heatmap_changed.emit(REFINED)

    def _put(self, maps: Maps) -> None:
        self._state.current = replace(self._state.current, maps=maps)

    def _swap(self, current: Current) -> ExitStack:
        """Another image or model: rounds and the engine of the one before go.

        Returns:
            What is to be closed, once no lock is held: it may wait for the disk.
        """
        left = ExitStack()
        for part in (*self._state.engines.values(), self._state.history):
            if part is not None:
                left.callback(part.close)
        self._state.engines, self._state.history = {}, None
        self._state.current = current
        return left

    # ---------------------------------------------------------------- what there is

    def _view(self, current: Current) -> ModelView:
        """An image as a model sees it, as it is wanted now.

        Args:
            current: taken once: another image may be opened meanwhile.
        """
        document, model = current.need()
        return ModelView(
            document.slide, model, document.known_mpp, self._config(), self._cache
        )

    def _with_room(self, work: Callable[[], T]) -> T:
        """On the processor where the model's device is full; the person is told."""
        done, notes = with_room(self._state.current.need()[1], work)
        for note in notes:
            self.device_full.emit(note)
        return done

    def _take_device_back(self) -> None:
        """The model goes where it was before it was released, if there is room."""
        device, self._released_from = self._released_from, None
        if device is not None:
            _, model = self._state.current.need()
            try:
                model.to(device)
            except torch.OutOfMemoryError:
                leave_device(model)
                self.device_full.emit(NO_ROOM)

    def _engine(self) -> Engine:
        """Reads the open image as it is wanted now."""
        self._take_device_back()
        shows = Shows(
            document=self._state.document,
            config=self._slide_config,
            localized=self._present,
            moved=self.slide_moved.emit,
            previewed=self._preview,
        )
        known = self._state.engines
        engine = engine_for(self._view(self._state.current), known, shows)
        if type(engine) not in known:
            self._state.engines = {**known, type(engine): engine}
        return engine

    def _rounds(self) -> RoundHistory:
        """The rounds of the open image under the loaded model."""
        state = self._state
        budget = self._config().round_bytes
        if state.history is None:
            state.history = RoundHistory(*state.current.need(), budget)
        state.history.budget = budget  # as it is wanted now
        return state.history


def _fitting(path: Path, slide: Slide, model: Model) -> Bag:
    """The bag of this slide, for this model; an ImageError where it is another's."""
    bag = open_bag(path)
    bag.check(slide.shape, slide.name)
    check_bag(model, bag)
    return bag


def _nobody(item: object) -> None:
    """Progress that nobody is told of."""
    del item
