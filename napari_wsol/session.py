"""One person's work on one image: the only object that the window talks to.

Every call that takes time returns a Future and runs on the session's one worker thread,
which owns torch. Results are put in place in one step at the end of a job, so a job
that fails or is stopped leaves everything as it was. Signals are emitted on whichever
thread makes the change.
"""

from __future__ import annotations

import importlib
from concurrent import futures
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_wsol.config import ExportConfig, FinetuneConfig, InferenceConfig
from napari_wsol.errors import ImageError, UnknownNameError
from napari_wsol.images.known_sizes import remember
from napari_wsol.images.readers import open_slide
from napari_wsol.jobs import JobRunner
from napari_wsol.rounds import Canvas
from napari_wsol.session_models import ModelMaker
from napari_wsol.session_slides import SlideState
from napari_wsol.session_state import REFINED

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_wsol.images.readers import Source
    from napari_wsol.images.slide import Slide
    from napari_wsol.inference import Localization
    from napari_wsol.jobs import JobStatus, Report
    from napari_wsol.methods import Model
    from napari_wsol.rounds import Round

WORK = ("localize", "finetune")
"""Kinds of jobs whose answers are void once image or model change."""


class Session(SlideState, ModelMaker):
    """State of the work, and the verbs that change it.

    Args:
        config: tile size, device, cache budget.
        threads: CPU threads for torch; its own default if None. A viewer wants one
            core left for itself.

    Signals:
        those of :class:`SlideState` and :class:`ModelMaker`, and
        exported: paths written.
        job_changed: a :class:`JobStatus`.
        finetune_step: a :class:`FinetuneStep`.
    """

    exported = Signal(object)
    job_changed = Signal(object)
    finetune_step = Signal(object)

    def __init__(
        self, config: InferenceConfig | None = None, *, threads: int | None = None
    ) -> None:
        super().__init__()
        self.config = config or InferenceConfig()
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
    ) -> Future[Slide]:
        """Opens an image; strokes, heatmaps and rounds of the one before are dropped.

        Args:
            source: path, array, list of arrays (largest first), or a slide.
            name: shown and used in file names.
            mpp: µm a level-0 pixel.
            reader: name of a reader to force.
            rgb: whether the last axis holds colours.
        """

        def work(report: Report) -> Slide:
            slide = open_slide(source, name=name, mpp=mpp, reader=reader, rgb=rgb)
            slide.fingerprint()  # Asked for by the window, which must not wait for it.
            report.check()
            before, owned = self._slide, self._owns_slide
            self._slide, self._owns_slide = slide, slide is not source
            self._mpp = None
            self._forget_slide()
            self._canvas = Canvas.over(slide.shape)
            self._scribbles = None
            self._forget_result()
            if before is not None and before is not slide and owned:
                before.close()  # a slide that was handed in is its owner's to close
            self.image_changed.emit()
            return slide

        self._opening = self._runner.submit(
            "Opening", work, kind="open", replaces=("open", *WORK)
        )
        return self._opening

    def use(self, model: str | Path | Model) -> Future[Model]:
        """Loads a model; heatmaps and rounds are dropped, strokes stay."""

        def work(report: Report) -> Model:
            # Whatever is imported now does not delay the first stroke.
            importlib.import_module("napari_wsol.refine")
            from napari_wsol.learning.finetune import warm_up

            loaded = self._load(model)
            warm_up()
            report.check()
            self._model = loaded
            self._forget_result()
            self.model_changed.emit()
            return loaded

        return self._runner.submit(
            "Loading the model", work, kind="model", replaces=("model", *WORK)
        )

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
            self._runner.submit(
                "Remembering the pixel size", lambda _: remember(slide, mpp)
            )

    def localize(
        self, methods: Sequence[str] | None = None, target: str | None = None
    ) -> Future[Localization]:
        """Runs methods on one encoding of the image.

        Args:
            methods: names; those that the model was made for by default.
            target: class; the most probable by default.
        """

        def work(report: Report) -> Localization:
            from napari_wsol import inference

            slide, model = self._need_slide(), self._need_model()
            if self.is_large:
                return self._localize_slide(methods, target, report)
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
            return result

        return self._runner.submit(
            "Localizing", work, kind="localize", replaces=("localize",)
        )

    def set_scribbles(self, labels: npt.ArrayLike) -> Future[None]:
        """Replaces the strokes; done when it returns, while jobs go on.

        Waits for an image that is just being opened.

        Args:
            labels: (h, w) integers on the canvas or on level 0: 0 unlabelled,
                1 background, 2 foreground. Copied.
        """
        future: Future[None] = Future()
        try:
            if self._opening is not None:
                # An image that failed to open leaves the one before, with its canvas.
                futures.wait([self._opening])
            canvas, slide = self._need_canvas(), self._need_slide()
            scribbles = canvas.checked(np.asarray(labels), slide.shape)
        except Exception as error:  # noqa: BLE001 - a Future carries whatever went wrong
            future.set_exception(error)
            return future
        self._scribbles = scribbles
        self.scribbles_changed.emit()
        future.set_result(None)
        return future

    def finetune(self, config: FinetuneConfig | None = None) -> Future[Round]:
        """Refits the pixel head to the strokes as they are now: one more round.

        A newer call stops an older one. The features come from the cache.
        """
        settings = config or FinetuneConfig()
        scribbles = self._scribbles

        def work(report: Report) -> Round:
            from napari_wsol.refine import refine

            slide, model = self._need_slide(), self._need_model()
            index = self._rounds[-1].index + 1 if self._rounds else 1
            step = self.finetune_step.emit
            if self.is_large:
                done = self._refine_slide(settings, scribbles, index, report, step)
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
                )
            report.check()
            self._rounds = (*self._rounds, done)
            self._show(done)
            return done

        return self._runner.submit(
            "Refining", work, kind="finetune", replaces=("finetune",)
        )

    def revert(self, index: int) -> Future[Round]:
        """Shows an earlier or later round again; no round is lost."""

        def work(report: Report) -> Round:
            report.check()
            for item in self._rounds:
                if item.index == index:
                    self._show(item)
                    return item
            raise UnknownNameError(
                f"There is no round {index}; there are {len(self._rounds)}, from 0."
            )

        return self._runner.submit("Reverting", work)

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

        return self._runner.submit("Exporting", work)

    def cancel(self) -> None:
        """Stops the running job and all that wait; finished tiles are kept."""
        self._runner.cancel()

    def close(self, *, wait: bool = False) -> None:
        """Stops everything; harmless when called again."""
        self._runner.close(wait=wait)

    def _prepare(self) -> None:
        # torch is imported here, on the worker, so that a window opens at once.
        import torch

        from napari_wsol.feature_cache import FeatureCache

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
        from napari_wsol.provenance import provenance_of

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
