"""A training as a job of a session: where it is kept, and what becomes of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from napari_wsol.errors import ConfigError, ExportError, JobCancelledError
from napari_wsol.files import whole_folder
from napari_wsol.paths import bundled_folder, models_folder, trainings_folder
from napari_wsol.training.recipe import dump_recipe, read_recipe, with_seed
from napari_wsol.training.run import LOG, train
from napari_wsol.zoo import check_model_name, read_card

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from threading import Event

    from napari_wsol.jobs import Report
    from napari_wsol.methods.card import Card
    from napari_wsol.training.recipe import Recipe
    from napari_wsol.training.run import Evaluation
    from napari_wsol.training.trainer import TrainStep


class Training(TypedDict, total=False):
    """What else may be said of a training.

    Attributes:
        init: initial weights of the encoder; random ones without.
        resume: whether to go on from the checkpoint that an earlier one left.
        seed: instead of the recipe's.
        name: of the model, instead of the recipe's.
        device: "auto", "cpu", "cuda", "mps".
        stop: set it to stop this training and no other job.
    """

    init: Path | None
    resume: bool
    seed: int | None
    name: str | None
    device: str
    stop: Event


def is_taken(name: str, out: Path | None = None) -> bool:
    """Whether there is a model of this name in a folder, or in the list."""
    folders = (bundled_folder(), models_folder()) if out is None else (out,)
    return any((folder / name).exists() for folder in folders)


def check_name(name: str, out: Path | None = None) -> None:
    """Whether a new model may have this name.

    Args:
        name: of the model.
        out: parent of its folder; the user's own models without.

    Raises:
        ConfigError: it cannot name a folder, or a model has it already.
    """
    check_model_name(name)
    if is_taken(name, out):
        where = "" if out is None else f" in {out}"
        raise ConfigError(
            f"There is a model “{name}” already{where}. Give the new one another name."
        )


def run_training(
    recipe: Path,
    data: Path,
    out: Path | None,
    how: Training,
    *,
    report: Report,
    step: Callable[[TrainStep], None],
    evaluated: Callable[[Evaluation], None],
) -> Card:
    """Trains, and makes the result one of the user's own models unless told otherwise.

    Args:
        recipe: a TOML file.
        data: folder that the recipe's paths start from.
        out: parent of the model's folder and place of the checkpoint. Without it the
            checkpoint is in :func:`~napari_wsol.paths.trainings_folder`, and goes when
            the model is finished and among the user's own.
        how: see :class:`Training`.
        report: told of the progress; stops the training, a checkpoint is left.
        step: called after every step.
        evaluated: called after every evaluation.

    Raises:
        ConfigError: the recipe is wrong, or the name is taken.
        DatasetError, ImageError, ModelError, ExportError: see :func:`train`.
        JobCancelledError: it was stopped.
    """
    plan = _plan(recipe, how)
    stop = how.get("stop")
    check_name(plan.name, out)
    done = trainings_folder() / plan.name / plan.name
    if out is None and how.get("resume") and done.is_dir():  # it was not copied
        return _install(read_card(done))

    def say(done: int, total: int, text: str) -> None:
        if stop is not None and stop.is_set():
            raise JobCancelledError("Stopped.")
        report(done, total, text)

    def on_step(progress: TrainStep) -> None:
        step(progress)
        say(progress.step, progress.steps, "training")

    card = train(
        plan,
        data,
        out or trainings_folder() / plan.name,
        init=how.get("init"),
        resume=how.get("resume", False),
        device=how.get("device", "auto"),
        say=say,
        step=on_step,
        evaluated=evaluated,
    )
    return card if out is not None else _install(card)


def _plan(path: Path, how: Training) -> Recipe:
    plan = read_recipe(path)
    seed, name = how.get("seed"), how.get("name")
    if seed is not None:
        plan = with_seed(plan, seed)
    if name is None or name == plan.name:
        return plan
    # Two models of one title could not be told apart in a list.
    title = f"{plan.card.get('title', plan.name)} ({name})"
    plan = replace(plan, name=name, card={**plan.card, "title": title})
    return replace(plan, text=dump_recipe(plan))


def _install(card: Card) -> Card:
    """Copies a finished model, with its log, to the user's own; the rest goes."""
    work, target = trainings_folder() / card.name, models_folder() / card.name
    try:
        check_name(card.name)  # another program may have been faster
        with whole_folder(target) as draft:
            shutil.copytree(card.folder, draft, dirs_exist_ok=True)
            shutil.copy(work / LOG, draft / LOG)
    except (OSError, ConfigError) as error:
        raise ExportError(
            f"The finished model is in {card.folder}, but cannot be copied to "
            f"{target}: {error} When it can, train again and resume: it is copied then."
        ) from error
    shutil.rmtree(work, ignore_errors=True)
    return replace(card, folder=target)
