"""What a session is asked for: one method a job, each answered by a Future.

Jobs run on the worker thread one after another; nothing here waits for one, or imports
torch.
"""

from __future__ import annotations

from concurrent import futures
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from psygnal import Signal

from napari_wsol.config import ExportConfig
from napari_wsol.errors import NoResultError
from napari_wsol.guidance.proposals import disputes
from napari_wsol.images.known_sizes import remember
from napari_wsol.images.readers import open_slide
from napari_wsol.jobs import JobKind, JobRunner
from napari_wsol.preferences import keep
from napari_wsol.session.document import Document
from napari_wsol.session.maps import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Unpack

    import numpy.typing as npt

    from napari_wsol.config import FinetuneConfig, InferenceConfig
    from napari_wsol.evaluation.occluding import Occluded
    from napari_wsol.evaluation.sanity import Trust
    from napari_wsol.guidance.factors import Guide
    from napari_wsol.guidance.proposals import Proposal
    from napari_wsol.images.bags import Bag
    from napari_wsol.images.foreign_map import Given
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.images.readers import Opening, Source
    from napari_wsol.images.slide import Slide
    from napari_wsol.inference.appearance import Likeness
    from napari_wsol.inference.whole_image import Localization
    from napari_wsol.jobs import JobStatus, Report
    from napari_wsol.methods import Model
    from napari_wsol.methods.card import Card
    from napari_wsol.refinement.rounds import Round
    from napari_wsol.session.state import State
    from napari_wsol.session.worker import Worker
    from napari_wsol.slides.cost import Cost
    from napari_wsol.slides.plan import SlidePlan
    from napari_wsol.strokes.annotations import Imported
    from napari_wsol.strokes.raster import Drawing
    from napari_wsol.strokes.stroke import Stroke
    from napari_wsol.training.job import Training

T = TypeVar("T")


class SessionJobs:
    """The queue of a session's jobs.

    Args:
        state: what is worked on.
        make_worker: called once, on its thread, before the first job.
        config: says how images go through the encoder, as it is wanted now.

    Signals:
        job_changed: a :class:`JobStatus`.
        train_step: a TrainStep.
        train_evaluated: an Evaluation.
        exported: paths.
    """

    job_changed = Signal(object)
    train_step = Signal(object)
    train_evaluated = Signal(object)
    exported = Signal(object)

    def __init__(
        self,
        state: State,
        make_worker: Callable[[], Worker],
        config: Callable[[], InferenceConfig],
    ) -> None:
        self._state, self._config = state, config
        self._make_worker = make_worker
        self._worker: Worker  # there before the first job
        self._opening: Future[Slide] | None = None
        self.latest: JobStatus | None = None

    def start(self) -> None:
        """Begins to work; whoever wants to hear of it is connected by now."""
        self._runner = JobRunner(self._on_job, self._prepare, idle=self._look_ahead)

    def _prepare(self) -> None:
        self._worker = self._make_worker()

    def _look_ahead(self) -> None:
        self._worker.warm_up()

    def _on_job(self, status: JobStatus) -> None:
        self.latest = status
        self.job_changed.emit(status)

    def submit(self, kind: JobKind, work: Callable[[Report], T]) -> Future[T]:
        """Queues a job of another part of the session."""
        return self._runner.submit(kind, work)

    def with_model(
        self, kind: JobKind, work: Callable[[Model, Report], T]
    ) -> Future[T]:
        """Queues a job that runs the model, where there is room for it."""
        return self._runner.submit(kind, lambda report: self._worker.run(work, report))

    @property
    def is_busy(self) -> bool:
        """Whether a job runs or waits."""
        return self._runner.is_busy

    def cancel(self) -> None:
        """Stops the running job and all that wait; finished tiles are kept."""
        self._runner.cancel()

    def close(self, *, wait: bool) -> None:
        """Stops everything; harmless when called again."""
        self._runner.close(wait=wait)

    # ---------------------------------------------------------------- image and model

    def open(
        self, source: Source, *, resume: bool = False, **how: Unpack[Opening]
    ) -> Future[Slide]:
        """Opens an image; strokes, heatmaps and rounds of the one before are dropped.

        They stay in its journal: opened again in this session, it goes on where it was.

        Args:
            source: path, array, list of arrays (largest first), or a slide.
            resume: whether to go on where an earlier session stopped; without, that
                work waits as :attr:`earlier`.
            how: as ``open_slide`` takes it.
        """

        def work(report: Report) -> Slide:
            slide = open_slide(source, **how)
            slide.fingerprint()  # Asked for by the window, which must not wait for it.
            report.check()
            owned = slide is not source  # what was handed in is its owner's to close
            self._worker.open(slide, owned=owned, resume=resume)
            return slide

        self._opening = opening = self._runner.submit(JobKind.OPEN, work)
        return opening

    def leave(self) -> Future[None]:
        """Closes the image; there are no strokes, heatmaps and rounds then.

        They stay in its journal, as when another image is opened.
        """
        self._opening = None
        return self._runner.submit(JobKind.LEAVE, lambda _: self._worker.leave())

    def reread(
        self, source: Source | None = None, **how: Unpack[Opening]
    ) -> Future[bool]:
        """Looks whether the open image has other pixels by now, and takes them up.

        Localizing, refining and exporting look by themselves. Maps stay, and are told
        to be of the image as it was, until it is localized again; strokes stay in the
        journal of the image that they were drawn on.

        Args:
            source: where the pixels are from now on; where they were if None.
            how: as for :meth:`open`, of the new source.

        Returns:
            Whether they are others. It fails with ImageError where they cannot be used;
            then the next job looks again.

        Raises:
            NoImageError: nothing is open.
        """
        if source is not None:
            moved = partial(open_slide, source, **how)
            self._state.of_image(Document.read_from, moved)

        def work(report: Report) -> bool:
            report.check()
            return self._worker.look()

        return self._runner.submit(JobKind.REREAD, work)

    def use(self, model: str | Path | Card | Model) -> Future[Model]:
        """Loads a model; rounds are dropped, strokes stay, and maps of another one."""
        return self.submit(JobKind.USE, lambda report: self._worker.use(model, report))

    def set_mpp(self, mpp: float | None) -> None:
        """Sets µm a level-0 pixel, where the person knows better; remembered.

        Raises:
            ImageError: not a length.
            NoImageError: nothing is open.
        """
        slide = self._state.of_image(Document.set_mpp, mpp)
        self._runner.submit(JobKind.REMEMBER_SIZE, lambda _: remember(slide, mpp))

    def keep_memory(self, count: int) -> Future[None]:
        """Remembers how many bytes images may take in memory."""

        def work(report: Report) -> None:
            report.check()
            self._worker.take_budget()
            keep(memory_bytes=count)

        return self._runner.submit(JobKind.REMEMBER_MEMORY, work)

    def use_bag(self, path: str | Path | None) -> Future[Bag | None]:
        """Takes the tiles of the open slide from an h5 file; None for its pixels.

        One beside the slide is in use already. It fails with ImageError where the file
        is of another slide or network.
        """
        file = None if path is None else Path(path)
        return self.submit(JobKind.USE_BAG, lambda _: self._worker.use_bag(file))

    def release(self) -> Future[bool]:
        """Takes the model off the graphics card, whose memory others may need.

        Maps, strokes and rounds stay; the next job that needs the model takes it back.

        Returns:
            Whether it was on one.
        """
        return self._runner.submit(JobKind.RELEASE, lambda _: self._worker.release())

    # ---------------------------------------------------------------- maps and rounds

    def localize(
        self,
        methods: Sequence[str] | None = None,
        target: str | None = None,
        *,
        views: int = 1,
    ) -> Future[Localization]:
        """Runs methods on one encoding of the image.

        Args:
            methods: names; those that the model was made for by default.
            target: class; the most probable by default.
            views: of how many views of the image probabilities and maps are the
                average: 1, 4 (its flips) or 12 (at three sizes). Strokes are learnt
                on the image as it is. It fails with MethodUnavailableError for a
                slide that is read tile by tile.
        """
        wanted = Wanted(methods, target, views)
        return self._runner.submit(
            JobKind.LOCALIZE, lambda report: self._worker.localize(wanted, report)
        )

    def estimate(
        self, methods: Sequence[str] | None = None, target: str | None = None
    ) -> Future[Cost]:
        """What the rest of a slide will cost, from three of its tiles, which are kept.

        Takes what :meth:`localize` does. It fails with ImageError where the image is no
        slide.
        """
        wanted = Wanted(methods, target)
        return self._runner.submit(
            JobKind.ESTIMATE, lambda report: self._worker.estimate(wanted, report)
        )

    def compare(self) -> Future[Likeness | None]:
        """How like the images that the model was made from the open image looks.

        Takes about a second on a slide, and is only a hint: nothing is refused.

        Returns:
            None where the model's card does not say how they look.
        """

        def work(report: Report) -> Likeness | None:
            return self._worker.compare(report)

        return self._runner.submit(JobKind.COMPARE, work)

    def trust(
        self, methods: Sequence[str] | None = None
    ) -> Future[Mapping[str, Trust]]:
        """What can be said without a reference of maps, by default of all of the model.

        It fails with NoResultError before localizing, and with ImageError for slides.
        """
        return self._runner.submit(
            JobKind.TRUST, lambda report: self._worker.trust(methods, report)
        )

    def occlude(self, box: Sequence[float]) -> Future[Occluded]:
        """Blurs a box: what the class's score loses, and what maps claimed.

        Args:
            box: top, left, bottom, right in level-0 pixels; the first one covers
                [0, 1]. It fails as :meth:`trust` does.
        """
        return self._runner.submit(
            JobKind.TRUST, lambda report: self._worker.occlude(box, report)
        )

    def without_tiles(
        self, places: Sequence[tuple[float, float]]
    ) -> Future[tuple[Mapping[str, float], Mapping[str, float]]]:
        """Probabilities without the tiles at places (y, x), and with them.

        Only the head is run; maps stay. It fails with NoResultError before localizing
        by a method of tiles, and where no tile is left.
        """
        return self._runner.submit(
            JobKind.WITHOUT, lambda report: self._worker.without_tiles(places, report)
        )

    def finetune(
        self, config: FinetuneConfig | None = None, *, live: bool = False
    ) -> Future[Round]:
        """Refits the pixel head to the strokes as they are now: one more round.

        A newer call stops an older one. Where another image is open by the time that
        the job begins, that image's strokes count. On an image that is set aside
        nothing is learnt: its strokes score the round that is shown, which is returned.

        Args:
            config: :attr:`settings` if None.
            live: whether it only follows a stroke, and nobody asked for it.
        """
        document = self._state.current.document
        drawn = None if document is None else document.drawn()
        if config is None and document is not None:
            config = document.learning.settings

        def work(report: Report) -> Round:
            done, seen = self._worker.refine(drawn, config, report)
            if seen is not None:
                judge = partial(self._worker.judge, done, seen)
                self._runner.submit(JobKind.JUDGE, judge)
            return done

        return self._runner.submit(JobKind.FOLLOW if live else JobKind.REFINE, work)

    def revert(self, index: int) -> Future[Round]:
        """Shows an earlier or later round again; no round is lost.

        A newer call stops an older one that still waits.
        """
        return self._runner.submit(
            JobKind.REVERT, lambda report: self._worker.revert(index, report)
        )

    def add_map(
        self, source: str | Path | npt.ArrayLike, **given: Unpack[Given]
    ) -> Future[Heatmap]:
        """Shows a map of the image that was made elsewhere: like ours, never refined.

        Args:
            source: array, TIFF, npy, OME-Zarr or PNG of values; HDF5 or a table of
                patches with scores, as CLAM and TRIDENT write them.
            given: ``name`` among the maps (its file's, numbered where it is taken);
                ``target``, its class; ``scale`` and ``translate`` as of a Heatmap;
                ``answers`` by key, where it fails with UnansweredError.
        """
        return self._runner.submit(
            JobKind.ADD_MAP, lambda _: self._worker.add_map(source, given)
        )

    def remove_map(self, key: str) -> Future[None]:
        """Takes away a map of a former model or from elsewhere, by its key."""
        return self.submit(JobKind.REMOVE_MAP, lambda _: self._worker.remove_map(key))

    def restore(self) -> None:
        """Rounds of an earlier work are shown again, where they wait for it."""
        self._runner.submit(JobKind.RESTORE, self._worker.restore)

    def export(
        self,
        folder: str | Path,
        formats: Sequence[str] | None = None,
        config: ExportConfig | None = None,
    ) -> Future[tuple[Path, ...]]:
        """Writes mask, regions, table and provenance of a heatmap.

        Args:
            folder: made if it is not there; nothing in it is overwritten.
            formats: overrides those of ``config``.
            config: method, threshold, clean-up.
        """
        settings = config or ExportConfig(method=self._state.current.maps.exported)
        if formats is not None:
            settings = replace(settings, formats=tuple(formats))
        return self._runner.submit(
            JobKind.EXPORT,
            lambda report: self._worker.export(Path(folder), settings, report),
        )

    def save_map(self, path: str | Path, method: str) -> tuple[Path, ...]:
        """Writes a heatmap, by its key, and its provenance; at once, as no job.

        The path ends in .heatmap.tiff, .heatmap.ome.tiff or .heatmap.zarr, or gets the
        first of these. What is there is replaced.
        """
        return self._worker.save_map(Path(path), method)

    # ------------------------------------------------------------------------ strokes

    def set_scribbles(
        self, labels: npt.ArrayLike, drawing: Drawing | None = None
    ) -> Future[None]:
        """Replaces the strokes' canvas; done when it returns, while jobs go on.

        Waits for an image that is just being opened. See
        :meth:`Document.set_scribbles`, whose errors the future carries.
        """
        future: Future[None] = Future()
        try:
            if self._opening is not None:
                # An image that failed to open leaves the one before, with its canvas.
                futures.wait([self._opening])
            self._state.of_image(Document.set_scribbles, labels, drawing)
        except Exception as error:  # noqa: BLE001 - a Future carries whatever went wrong
            future.set_exception(error)
        else:
            future.set_result(None)
        return future

    def grow(
        self,
        y: float,
        x: float,
        label: int,
        tolerance: float | None = None,
        *,
        instead: bool = False,
    ) -> Future[Stroke | None]:
        """Labels the connected place around a point that looks alike to the model.

        Cells that have a label keep it. See :mod:`napari_wsol.refinement.grow`.

        Args:
            y: row of the level-0 pixel.
            x: its column.
            label: 1 background, 2 foreground.
            tolerance: how unlike the point a place may be; 1 is the image's average.
            instead: whether the last stroke, where it grew from the same point, is
                taken back in the same step.

        Returns:
            The stroke; None where all of the place was labelled already. It fails with
            NoResultError before the image was localized, and on slides.
        """
        asked = self._state.current.document

        def work(report: Report) -> Stroke | None:
            here = self._now(asked)
            part = self._worker.grow(here, (y, x), tolerance, report)
            if part is None:
                return None
            return here.put_grown(part, (y, x), label, instead=instead)

        return self._runner.submit(JobKind.GROW, work)

    def import_annotations(
        self,
        path: str | Path,
        labels: Mapping[str, int] | None = None,
        *,
        keep: bool = True,
    ) -> Future[Imported]:
        """Adds the annotations of a file as strokes, one each.

        Undo takes all of them back at once.

        Args:
            path: GeoJSON, as QuPath or the journal writes it, or XML of ASAP.
            labels: class → 0 left out, 1 background, 2 foreground; see
                :func:`~napari_wsol.strokes.annotations.labels_for`.
            keep: whether cells that strokes have labelled before keep their label.

        Returns:
            What became of it. It fails with AnnotationError where the file cannot be
            read, nothing in it lies on the image, or (UnclearClassesError) names of
            classes do not tell what they mean; then nothing is changed.
        """
        asked = self._state.current.document

        def work(report: Report) -> Imported:
            here = self._now(asked)
            return here.import_annotations(
                Path(path),
                labels,
                keep=keep,
                report=report,
                is_current=lambda: self._state.current.document is here,
            )

        return self._runner.submit(JobKind.IMPORT_ANNOTATIONS, work)

    def _now(self, asked: Document | None) -> Document:
        """The document of the same image that is open by now, else the one asked."""
        now = self._state.document
        is_other = asked is not None and asked.fingerprint != now.fingerprint
        return asked if asked is not None and is_other else now

    # ------------------------------------------------------------------------- models

    def import_model(
        self,
        path: str | Path,
        name: str | None = None,
        answers: Mapping[str, str] = MappingProxyType({}),
    ) -> Future[Card]:
        """Makes a model of the user's own from its authors' files; does not load it.

        Args:
            path: a checkpoint or its folder.
            name: of the new model; from the file by default.
            answers: to the questions of an :class:`UnansweredError`, by key.
        """

        def work(report: Report) -> Card:
            from napari_wsol import zoo

            report.check()
            return zoo.import_model(Path(path), name=name, answers=answers)

        return self._runner.submit(JobKind.IMPORT_MODEL, work)

    def save_model(self, name: str, title: str = "") -> Future[Card]:
        """Makes the round that is shown a model of the user's own; does not load it.

        The whole model is written, with what the round has learnt about all images.
        What it has learnt about places of this image alone stays with the image.

        Args:
            name: of the new model.
            title: for people; from the model's by default.

        Returns:
            Its card. It fails with NoResultError before the first round, ConfigError
            for a round with a network of its own or a name that is taken, and
            ExportError where it cannot be written.
        """
        return self._runner.submit(
            JobKind.SAVE_MODEL,
            lambda report: self._worker.save_model(name, title, report),
        )

    def train(
        self, recipe: Path, data: Path, out: Path | None = None, **how: Unpack[Training]
    ) -> Future[Card]:
        """Trains a model from image-level labels; stopped, it leaves a checkpoint.

        Args:
            recipe: what and how, a TOML file.
            data: folder that the recipe's paths start from.
            out: parent of the new model's folder; the user's own models by default.
            how: initial weights, seed, whether to resume: see :class:`Training`.
        """

        def work(report: Report) -> Card:
            from napari_wsol.training.job import run_training

            how.setdefault("device", self._config().device)
            step, told = self.train_step.emit, self.train_evaluated.emit
            return run_training(
                recipe, data, out, how, report=report, step=step, evaluated=told
            )

        return self._runner.submit(JobKind.TRAIN, work)

    # ------------------------------------------------------------- asked, and answered

    @property
    def is_large(self) -> bool:
        """Whether image and model make it a slide, read tile by tile."""
        current = self._state.current
        if current.document is None or current.model is None:
            return False
        return self._worker.is_large(current)

    @property
    def possible_views(self) -> tuple[int, ...]:
        """How many views of the open image the model can average; 1 of a slide."""
        model = self._state.current.model
        if model is None or self.is_large:
            return (1,)
        from napari_wsol.inference.augmentation import possible_views

        return possible_views(model)

    @property
    def is_gradual(self) -> bool:
        """Whether the maps come in tile by tile: of a slide, or because it takes long.

        See :mod:`napari_wsol.slides.expected`. An image that is held whole gives the
        same maps either way.
        """
        current = self._state.current
        if current.document is None or current.model is None:
            return False
        return self._worker.is_gradual(current)

    def plan(self) -> SlidePlan:
        """How the open image is cut where it is gradual: which tiles, and how many.

        What :meth:`localize` would do now, with the tissue and the budget of this
        session. On any thread; finding the tissue of a slide takes a while.

        Raises:
            NoImageError: nothing is open.
            NoModelError: no model is loaded.
            ImageError: the image is small enough to be read at once.
            MethodUnavailableError: the model looks at whole images only.
        """
        current = self._state.current
        current.need()
        return self._worker.plan(current)

    def propose(
        self, count: int = 5, *, methods: Sequence[str] | None = None
    ) -> list[Proposal]:
        """The places where the next stroke would teach most, the best first.

        Reads the maps and strokes as they are now, in less than a second, on any
        thread; the first call on a slide finds its tissue, too.

        Args:
            count: how many at most; there are fewer where no more are worth a stroke.
            methods: whose disagreement counts; of all maps by default.

        Raises:
            NoResultError: nothing was localized yet.
            ImageChangedError: the maps are of the image as it was.
        """
        current = self._state.current
        if current.document is None or not current.maps.heatmaps:
            raise NoResultError(
                "Localize first; then the places can be found where a stroke would "
                "teach most."
            )
        current.check_maps()
        from napari_wsol.session.proposals import proposed  # torch is there by now

        return proposed(current.document, current.maps, count, methods)

    def doubt(self, count: int = 8) -> tuple[Guide, list[Proposal]]:
        """What is known of doubt, and the places where the maps disagree most of all.

        As :meth:`propose`, whatever was stroked or dismissed; two maps at least.
        """
        current, document = self._state.current, self._state.document
        if len(current.maps.heatmaps) < 2:
            raise NoResultError("It takes two maps: tick another method and localize.")
        current.check_maps()
        from napari_wsol.session.proposals import known_of  # torch is there by now

        known, heatmaps, titles = known_of(document, current.maps, None)
        return known, disputes(known, heatmaps, count, titles)

    def look_at(self, top: float, left: float, bottom: float, right: float) -> None:
        """What the person sees, in level-0 pixels: a slide goes on there first."""
        document = self._state.current.document
        if document is not None:
            document.looked_at = (top, left, bottom, right)
        for engine in self._state.engines.values():
            engine.look_again()
