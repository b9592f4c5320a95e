"""One person's work on one image: the only object that the window talks to.

Every call that takes time returns a Future and runs on the session's one worker thread,
which owns torch. Results are put in place in one step at the end of a job, so a job
that fails or is stopped leaves everything as it was. Signals are emitted on whichever
thread makes the change.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_wsol.config import ExportConfig, InferenceConfig
from napari_wsol.errors import ImageError, UnknownNameError
from napari_wsol.images.known_sizes import remember
from napari_wsol.images.readers import open_slide
from napari_wsol.jobs import LOCALIZES, REFINES, JobKind, JobRunner
from napari_wsol.session.judging import JudgingState
from napari_wsol.session.models import ModelMaker
from napari_wsol.session.preferences import keep_memory_bytes, memory_bytes
from napari_wsol.session.proposals import GuidanceState
from napari_wsol.session.samples import SampleState
from napari_wsol.session.state import REFINED
from napari_wsol.session.tools import StrokeTools

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from napari_wsol.config import FinetuneConfig
    from napari_wsol.images.readers import Source
    from napari_wsol.images.slide import Slide
    from napari_wsol.inference.whole_image import Localization
    from napari_wsol.jobs import JobStatus, Report
    from napari_wsol.methods import Model
    from napari_wsol.refinement.rounds import Round

WORK = (*LOCALIZES, *REFINES, JobKind.JUDGE)
"""Kinds of jobs whose answers are void once image or model change."""


class Session(GuidanceState, JudgingState, SampleState, StrokeTools, ModelMaker):
    """State of the work, and the verbs that change it.

    Args:
        config: tile size, device, memory budget; the defaults if None, with the budget
            that the person chose.
        threads: CPU threads for torch; its own default if None. A viewer wants one
            core left for itself.
        journals: folder of the journals of strokes and rounds; True for the one in the
            user's data, False where nothing shall be written.

    Signals:
        those of :class:`GuidanceState`, :class:`SampleState` and
            :class:`ModelMaker`, and
        exported: paths written.
        job_changed: a :class:`JobStatus`.
        finetune_step: a :class:`FinetuneStep`.
    """

    exported = Signal(object)
    job_changed = Signal(object)
    finetune_step = Signal(object)

    def __init__(
        self,
        config: InferenceConfig | None = None,
        *,
        threads: int | None = None,
        journals: str | Path | bool = True,
    ) -> None:
        super().__init__(journals)
        self.config = config or InferenceConfig(memory_bytes=memory_bytes())
        self._threads = threads
        self._owns_slide = False
        self._job: JobStatus | None = None
        self._opening: Future[Slide] | None = None
        self._runner = JobRunner(self._on_job, self._prepare)

    @property
    def job(self) -> JobStatus | None:
        """The latest status of the latest job."""
        return self._job

    @property
    def is_busy(self) -> bool:
        """Whether a job runs or waits."""
        return self._runner.is_busy

    def open(
        self,
        source: Source,
        *,
        name: str | None = None,
        mpp: float | None = None,
        reader: str | None = None,
        rgb: bool | None = None,
        resume: bool = False,
    ) -> Future[Slide]:
        """Opens an image; strokes, heatmaps and rounds of the one before are dropped.

        They stay in its journal: opened again in this session, it goes on where it was.

        Args:
            source: path, array, list of arrays (largest first), or a slide.
            name: shown and used in file names.
            mpp: µm a level-0 pixel.
            reader: name of a reader to force.
            rgb: whether the last axis holds colours.
            resume: whether to go on where an earlier session stopped; without, that
                work waits as :attr:`earlier`.
        """

        def work(report: Report) -> Slide:
            slide = open_slide(source, name=name, mpp=mpp, reader=reader, rgb=rgb)
            slide.fingerprint()  # Asked for by the window, which must not wait for it.
            report.check()
            self._leave_image()
            before, owned = self._slide, self._owns_slide
            self._slide, self._owns_slide = slide, slide is not source
            self._mpp = None
            self._forget_slide()
            self._forget_result()
            self._begin_strokes(slide, resume=resume)
            if before is not None and before is not slide and owned:
                before.close()  # a slide that was handed in is its owner's to close
            self.image_changed.emit()
            return slide

        self._opening = self._runner.submit(
            JobKind.OPEN, work, replaces=(JobKind.OPEN, *WORK)
        )
        return self._opening

    def use(self, model: str | Path | Model) -> Future[Model]:
        """Loads a model; heatmaps and rounds are dropped, strokes stay."""

        def work(report: Report) -> Model:
            # Whatever is imported now does not delay the first stroke.
            importlib.import_module("napari_wsol.refinement.refine")
            from napari_wsol.refinement.finetune import warm_up

            loaded = self._load(model)
            warm_up()
            report.check()
            self._model = loaded
            self._forget_result()
            self.model_changed.emit()
            return loaded

        return self._runner.submit(JobKind.USE, work, replaces=(JobKind.USE, *WORK))

    def set_mpp(self, mpp: float | None) -> None:
        """Sets µm a level-0 pixel, where the person knows better; remembered.

        Raises:
            ImageError: not a length.
        """
        if mpp is not None and not 0.01 <= mpp <= 100:
            raise ImageError(
                f"{mpp:g} µm a pixel cannot be: microscopes give about 0.1 to 10."
            )
        self._mpp, slide = mpp, self._slide
        self.mpp_changed.emit()
        if slide is not None:
            self._runner.submit(JobKind.REMEMBER_SIZE, lambda _: remember(slide, mpp))

    def set_memory(self, count: int) -> Future[None]:
        """How many bytes images may take in memory; remembered for the next sessions.

        The features of a slide that is open keep the budget that they began with.

        Raises:
            ConfigError: it is too small.
        """
        self.config = replace(self.config, memory_bytes=count)

        def work(report: Report) -> None:
            report.check()
            self._cache.budget_bytes = self.config.cache_bytes
            keep_memory_bytes(count)

        return self._runner.submit(JobKind.REMEMBER_MEMORY, work)

    def localize(
        self, methods: Sequence[str] | None = None, target: str | None = None
    ) -> Future[Localization]:
        """Runs methods on one encoding of the image.

        Args:
            methods: names; those that the model was made for by default.
            target: class; the most probable by default.
        """

        def work(report: Report) -> Localization:
            from napari_wsol.inference import whole_image as inference

            slide, model = self._need_slide(), self._need_model()
            if self.is_large:
                found = self._localize_slide(methods, target, report)
                self._bring_back(report)
                return found
            result = inference.localize(
                model,
                slide,
                methods,
                target,
                mpp=self.mpp,
                config=self.config,
                cache=self._cache,
                report=report,
                check=report.check,
            )
            report.check()
            self._present(result)
            self._bring_back(report)
            self._begin_with_others(report)
            return result

        return self._runner.submit(
            JobKind.LOCALIZE, work, replaces=(*LOCALIZES, JobKind.JUDGE)
        )

    def finetune(
        self, config: FinetuneConfig | None = None, *, live: bool = False
    ) -> Future[Round]:
        """Refits the pixel head to the strokes as they are now: one more round.

        A newer call stops an older one. The features come from the cache.

        Args:
            config: :attr:`settings` if None.
            live: whether it only follows a stroke, and nobody asked for it: the job is
                called "Following" then.
        """
        settings = config or self.settings
        with self._pen:
            scribbles, strokes = self._scribbles, self.strokes

        def work(report: Report) -> Round:
            from napari_wsol.refinement.refine import refine

            slide, model = self._need_slide(), self._need_model()
            self._check_teaches()
            others = self.others() if settings.others else None
            index = self._rounds[-1].index + 1 if self._rounds else 1
            step = self.finetune_step.emit
            if self.is_large:
                done = self._refine_slide(
                    settings, scribbles, index, report, step, others=others
                )
            else:
                done = refine(
                    slide,
                    model,
                    scribbles,
                    self._need_canvas(),
                    settings,
                    target=self._need_result().target,
                    index=index,
                    mpp=self.mpp,
                    config=self.config,
                    cache=self._cache,
                    report=report,
                    step=step,
                    others=others,
                )
            report.check()
            done = self._record(done, strokes)
            self._add_round(done)
            self._show(done)
            self._learnt(done)
            self._judge_later(done, strokes)
            return done

        kind = JobKind.FOLLOW if live else JobKind.REFINE
        return self._runner.submit(kind, work, replaces=(*REFINES, JobKind.JUDGE))

    def _again(self) -> Future[Round]:
        return self.finetune(live=True)

    def revert(self, index: int) -> Future[Round]:
        """Shows an earlier or later round again; no round is lost.

        A newer call stops an older one that still waits.
        """

        def work(report: Report) -> Round:
            report.check()
            for item in self._rounds:
                if item.index == index:
                    self._show(item)
                    return item
            raise UnknownNameError(
                f"There is no round {index}; there are {len(self._rounds)}, from 0."
            )

        return self._runner.submit(JobKind.REVERT, work, replaces=(JobKind.REVERT,))

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
        settings = config or ExportConfig(method=self._export_method())
        if formats is not None:
            settings = replace(settings, formats=tuple(formats))

        def work(report: Report) -> tuple[Path, ...]:
            from napari_wsol.export import export_heatmap

            paths = export_heatmap(
                Path(folder),
                self.heatmap(settings.method),
                self._need_slide(),
                settings,
                self._provenance(settings.method),
                report=report,
            )
            self.exported.emit(paths)
            return paths

        return self._runner.submit(JobKind.EXPORT, work)

    def cancel(self) -> None:
        """Stops the running job and all that wait; finished tiles are kept."""
        self._runner.cancel()

    def close(self, *, wait: bool = False) -> None:
        """Stops everything; harmless when called again.

        Strokes that are not on the disk yet are written first.
        """
        self._runner.close(wait=wait)
        self._end_strokes()
        self._drop_spilled()

    def _prepare(self) -> None:
        # torch is imported here, on the worker, so that a window opens at once.
        import torch

        from napari_wsol.inference.cache import FeatureCache

        if self._threads is not None:
            torch.set_num_threads(self._threads)
        self._cache = FeatureCache(self.config.cache_bytes)

    def _load(self, model: str | Path | Model) -> Model:
        from napari_wsol.methods import Model
        from napari_wsol.zoo import load_model

        if isinstance(model, Model):
            return model
        return load_model(model, device=self.config.device)

    def _provenance(self, method: str) -> dict[str, object]:
        from napari_wsol.session.provenance import provenance_of

        return provenance_of(
            self._need_slide(),
            self._need_model(),
            self._result,
            method=method,
            mpp=self.mpp,
            current=self._current_round() if method == REFINED else None,
        )

    def _on_job(self, status: JobStatus) -> None:
        self._job = status
        self.job_changed.emit(status)
