"""How a session gets new models: from their authors' files, or by training them."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_wsol.jobs import JobKind
from napari_wsol.session.state import SessionState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future
    from typing import Unpack

    from napari_wsol.config import InferenceConfig
    from napari_wsol.jobs import JobRunner, Report
    from napari_wsol.methods.card import Card
    from napari_wsol.training.job import Training


class ModelMaker(SessionState):
    """The part of a session that makes models.

    Signals:
        train_step: a :class:`~napari_wsol.training.pretrain.TrainStep`.
        train_evaluated: an :class:`~napari_wsol.training.run.Evaluation`.
    """

    train_step = Signal(object)
    train_evaluated = Signal(object)

    config: InferenceConfig
    _runner: JobRunner

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

            how.setdefault("device", self.config.device)
            return run_training(
                recipe,
                data,
                out,
                how,
                report=report,
                step=self.train_step.emit,
                evaluated=self.train_evaluated.emit,
            )

        return self._runner.submit(JobKind.TRAIN, work)
