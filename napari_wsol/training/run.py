"""From a recipe and images to a model folder, with checkpoints on the way."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, TypedDict, Unpack, cast
from uuid import uuid4

import torch
from msgspec import Struct

from napari_wsol.checkpoints import read_state
from napari_wsol.devices import choose_device
from napari_wsol.errors import (
    ConfigError,
    ExportError,
    ImageError,
    MalformedError,
    ignore_failure,
)
from napari_wsol.files import free_name, unwritable, write_whole
from napari_wsol.files.parsing import Count, parse_json, read_text, typed
from napari_wsol.images.bags import is_bag
from napari_wsol.inference.appearance import appearance_of
from napari_wsol.methods import Model
from napari_wsol.methods.card import Card
from napari_wsol.paths import models_folder
from napari_wsol.training.bags import as_bags
from napari_wsol.training.distributed import team as join_team
from napari_wsol.training.images_cache import load_training_images
from napari_wsol.training.initial import initial_model
from napari_wsol.training.measuring import (
    evaluate,
    measure,
    methods_of,
    score_of,
    split_images,
)
from napari_wsol.training.recipe import check_splits, with_seed
from napari_wsol.training.summary import summarize
from napari_wsol.training.teachers import teacher_maps
from napari_wsol.training.trainer import Trainer
from napari_wsol.zoo import load_model, read_card, save_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from napari_wsol.data.datasets import LabelledImages
    from napari_wsol.errors import Failed
    from napari_wsol.jobs import Progress
    from napari_wsol.training.distributed import Team
    from napari_wsol.training.recipe import Recipe
    from napari_wsol.training.trainer import TrainStep

LEFT_OUT = "Images that could not be used were left out:"
"""What the card of a model begins with where it says which."""

CHECKPOINT, LOG, SUMMARY = "checkpoint.pt", "metrics.jsonl", "summary.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How good the weights of a step are, on images that they do not learn from.

    Attributes:
        step: batches done.
        values: "localization" and "classification", in percent, and "loss"; those that
            the recipe has splits for.
        best: whether these weights are the best so far.
    """

    step: int
    values: dict[str, float]
    best: bool


def _ignore(_evaluation: Evaluation) -> None:
    """An evaluation that nobody watches; the log has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Who is told about a training.

    Attributes:
        say: called with (done, total, what is being done).
        step: called after every step.
        evaluated: called after every evaluation.
        failed: called with an image that cannot be used and is left out.
    """

    say: Progress
    step: Callable[[TrainStep], None]
    evaluated: Callable[[Evaluation], None] = _ignore
    failed: Failed = ignore_failure


class Options(TypedDict):
    """What one training and those of several seeds are told alike."""

    init: Path | None
    resume: bool
    device: str
    say: Progress
    step: Callable[[TrainStep], None]
    evaluated: Callable[[Evaluation], None]
    failed: Failed


def train(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    images: LabelledImages | None = None,
    init: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    say: Progress,
    step: Callable[[TrainStep], None],
    evaluated: Callable[[Evaluation], None] = _ignore,
    failed: Failed = ignore_failure,
) -> Card:
    """Trains a model and writes its folder into ``out``.

    Stopped half-way (KeyboardInterrupt or any error in a callback), a checkpoint is
    left from which ``resume`` goes on to the same weights. Under ``torchrun`` each
    process learns from a part of every batch, and the first one writes.

    Args:
        recipe: what and how.
        data: folder that the recipe's paths start from.
        out: made if it is not there.
        images: what is learnt from; the recipe's training split by default.
        init: initial weights of the encoder.
        resume: whether to go on from the checkpoint in ``out``.
        device: "auto", "cpu", "cuda", "cuda:1", "mps"; under ``torchrun`` with GPUs
            "auto" is one for each process.
        say: called with (done, total, what is being done).
        step: called after every step.
        evaluated: called after every evaluation.
        failed: called once with each image that cannot be used, and why. It is left
            out, and the card says so; under ``torchrun`` an error.

    Raises:
        ConfigError: ``out`` holds another training and ``resume`` was not asked for.
        DatasetError, ImageError, ModelError: what cannot be read.
        ExportError: what cannot be written.
    """
    check_splits(recipe, data, train=images is None)
    with join_team() as team:
        if team.writes:
            _prepare(out, recipe, resume=resume)
        team.agree(claim=True)  # nobody goes on before the folder is there
        left_out: dict[str, str] = {}

        def leave_out(name: str, reason: str) -> None:
            if name not in left_out:
                left_out[name] = reason
                failed(name, reason)

        watcher = Watcher(say=say, step=step, evaluated=evaluated, failed=leave_out)
        images = images or split_images(recipe, data, recipe.data.train)
        trainer = _trainer(
            recipe,
            images,
            init,
            folder=data,
            device=_device(device, team),
            team=team,
            watcher=watcher,
        )
        if resume:
            trainer.load(out / CHECKPOINT)
        _learn(trainer, recipe, data, out, watcher)
        card = None
        if team.writes:
            paths = [x.path for x in images.samples if not is_bag(x.path)]
            card = _finish(
                trainer, recipe, data, out, watcher, learnt=paths, left_out=left_out
            )
        team.agree(claim=True)
        return card or read_card(out / recipe.name)


def _device(name: str, team: Team) -> torch.device:
    if team.world > 1:
        if name == "auto":
            name = f"cuda:{team.local}" if torch.cuda.is_available() else "cpu"
        elif name != "cpu" or torch.cuda.is_available():
            raise ConfigError(
                "Under torchrun leave the device out: each process takes its own GPU, "
                "or the CPU where there is none."
            )
    return choose_device(name)


def _trainer(
    recipe: Recipe,
    data: LabelledImages,
    init: Path | None,
    *,
    folder: Path,
    device: torch.device,
    team: Team,
    watcher: Watcher,
) -> Trainer:
    teacher, say = None, watcher.say
    if recipe.seeds is not None and recipe.seeds.model:
        teacher = load_model(recipe.seeds.model, device=str(device))
    # Of several processes each would have to leave out the same.
    failed = watcher.failed if team.world == 1 else None
    weights = read_state(init) if init is not None else None
    if recipe.train.freeze_encoder and recipe.data.features:
        if not team.writes:
            team.agree(claim=True)  # the first process makes the bags
        model = initial_model(recipe, weights).to(device)
        with as_bags(data.samples, model, recipe, folder, say, watcher.failed) as bags:
            data = replace(data, samples=tuple(bags))
        if not bags:
            raise ImageError("No slide can be used. Is mpp missing in [data]?")
        if team.writes:
            team.agree(claim=True)
    images = load_training_images(data, recipe, say, failed)
    maps = None
    if teacher is not None:
        maps = teacher_maps(teacher, images, recipe, say)
    say(0, 0, "choosing seeds" if recipe.seeds is not None else "preparing")
    return Trainer(recipe, images, weights, maps=maps, device=device, team=team)


def _learn(
    trainer: Trainer, recipe: Recipe, data: Path, out: Path, watcher: Watcher
) -> None:
    """Runs the remaining steps; leaves a checkpoint whatever happens."""
    path, team = out / CHECKPOINT, trainer.team
    if team.writes:
        _shorten(out / LOG, trainer)
    try:
        if _is_due(trainer):  # stopped between a step and its evaluation
            _evaluate(trainer, recipe, data, out, watcher)
        for progress in trainer.run():
            if team.writes:
                _log(out, asdict(progress))
            if _is_due(trainer):
                _evaluate(trainer, recipe, data, out, watcher)
            if team.writes:
                if progress.step % recipe.train.checkpoint_every == 0:
                    trainer.save(path)
                watcher.step(progress)
    finally:
        if team.writes and not trainer.torn:  # half a step cannot be gone on from
            with suppress(*([ExportError] if trainer.is_over else [])):
                trainer.save(path)  # a full disk does not cost a finished model


def _is_due(trainer: Trainer) -> bool:
    """Whether the weights as they are have still to be evaluated."""
    every = trainer.config.evaluate_every
    if not every or not trainer.step or trainer.judged == trainer.step:
        return False
    return trainer.step % every == 0 or trainer.step == trainer.config.steps


def _evaluate(
    trainer: Trainer, recipe: Recipe, data: Path, out: Path, watcher: Watcher
) -> None:
    """The first process evaluates; all learn whether to slow down, or to stop.

    Whoever is told may stop the training by an error; all that a checkpoint keeps is
    settled before.
    """
    values: dict[str, float] = {}
    best = falls = False
    if trainer.team.writes:
        model = trainer.present_model()
        values = evaluate(model, recipe, data, watcher.say, watcher.failed)
        best = trainer.judge(score_of(values, recipe.train.select))
        falls = recipe.train.schedule == "plateau" and trainer.plateau.look(values)
    if trainer.team.agree(claim=falls):
        trainer.lower_rates()
    trainer.judged = trainer.step
    trainer.stopped = trainer.team.agree(claim=trainer.stopped)
    if trainer.team.writes:
        _log(out, {"step": trainer.step, "evaluation": values, "best": best})
        watcher.evaluated(Evaluation(step=trainer.step, values=values, best=best))


def _log(out: Path, row: dict[str, object]) -> None:
    with (out / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


class LogLine(Struct):
    """A line of the log: a step, or an evaluation after one.

    Attributes:
        step: batches done.
        losses: each part of the loss on the batch, by head; None of an evaluation.
        accuracy: see :class:`~napari_wsol.training.trainer.TrainStep`.
        evaluation: see :class:`Evaluation`; None of a step.
        best: whether the evaluated weights are the best so far.
        text: as it stands in the file.
    """

    step: Count
    losses: dict[str, float] | None = None
    accuracy: float | None = None
    evaluation: dict[str, float] | None = None
    best: bool = False
    text: str = ""


def read_log(path: Path) -> list[LogLine]:
    """What a log says; none where it cannot be read.

    A line that was cut off, the last of a process that was killed, is left out.
    """
    found: list[LogLine] = []
    try:
        lines = read_text(path).splitlines()
    except (OSError, MalformedError):
        return found
    for text in lines:
        with suppress(MalformedError):
            line = typed(parse_json(text), LogLine)
            line.text = text
            found.append(line)
    return found


def _shorten(path: Path, trainer: Trainer) -> None:
    """Drops what the log says of steps that the checkpoint does not know."""
    if not path.is_file():
        return
    kept = [
        f"{line.text}\n"
        for line in read_log(path)
        if line.step <= (trainer.step if line.evaluation is None else trainer.judged)
    ]
    write_whole(path, "".join(kept))


def _finish(
    trainer: Trainer,
    recipe: Recipe,
    data: Path,
    out: Path,
    watcher: Watcher,
    *,
    learnt: Sequence[Path],
    left_out: Mapping[str, str],
) -> Card:
    model = trainer.finished_model()
    metrics = measure(model, recipe, data, watcher.say, watcher.failed)
    if "cut" in metrics:
        model.spec = replace(model.spec, cut=cast("float", metrics.pop("cut")))
    if trainer.eigencam is not None:
        explained = round(trainer.eigencam.explained, 4)
        metrics["eigencam_explained_variance"] = explained
    if trainer.best is not None:
        metrics["selected_by"] = recipe.train.select
        metrics["selected_step"] = trainer.best.step
    appearance = appearance_of(
        model,
        learnt,
        recipe.data.train,
        mpp=recipe.data.mpp,
        report=watcher.say,
        failed=watcher.failed,
    )
    card = card_of(recipe, metrics, methods_of(model, recipe))
    card = replace(card, appearance=appearance)
    if left_out:
        listed = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        card = replace(card, limits=(*card.limits, f"{LEFT_OUT} {listed}"))
    return _saved(model, card, out, recipe)


def _saved(model: Model, card: Card, out: Path, recipe: Recipe) -> Card:
    """Saves a model; where that fails, among the user's own, but as an ExportError."""
    try:
        return save_model(model, card, out, recipe=recipe.text)
    except ExportError as error:
        kept, then = out / CHECKPOINT, "free some space and --resume, which saves them"
        with suppress(ExportError):
            free = replace(card, name=free_name(models_folder() / card.name).name)
            kept = save_model(model, free, recipe=recipe.text).folder
            then = f"copy it to {out}, or use “{free.name}” of your own models"
        if not kept.exists():
            raise
        raise ExportError(f"{error} The weights are kept in {kept}: {then}.") from error


def train_seeds(
    recipe: Recipe, data: Path, out: Path, seeds: Sequence[int], **how: Unpack[Options]
) -> dict[str, object]:
    """Trains a model for each seed, in ``out/seed-0`` and so on, one after another.

    With ``resume``, finished seeds stay as they are, and the one that was stopped goes
    on. The arguments are those of :func:`train`.

    Returns:
        What ``out/summary.json`` holds: mean and spread of every figure of the cards.

    Raises:
        ConfigError: no seeds, one twice, or several processes.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise ConfigError(f"Give different seeds, at least one, not {list(seeds)}.")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("Under torchrun train one seed at a time: leave --seeds out.")
    metrics: dict[int, Mapping[str, object]] = {}
    resume = how.get("resume", False)
    for number in seeds:
        one, folder = with_seed(recipe, number), out / f"seed-{number}"
        if resume and (folder / recipe.name).is_dir():
            metrics[number] = read_card(folder / recipe.name).metrics
            continue
        how["resume"] = resume and (folder / CHECKPOINT).is_file()
        metrics[number] = train(one, data, folder, **how).metrics
    summary = summarize(metrics)
    write_whole(out / SUMMARY, json.dumps(summary, indent=2) + "\n")
    return summary


def _prepare(out: Path, recipe: Recipe, *, resume: bool) -> None:
    if (out / recipe.name).exists():
        raise ConfigError(
            f"{out / recipe.name} holds a finished model. Choose another --out."
        )
    if resume and not (out / CHECKPOINT).is_file():
        raise ConfigError(f"There is no {CHECKPOINT} in {out} to resume from.")
    if not resume and (out / CHECKPOINT).exists():
        raise ConfigError(
            f"{out} holds an unfinished training. Add --resume to go on with it, "
            "or choose another --out."
        )
    rehearse(recipe, out)
    with unwritable(f"“{out}” cannot be made", ". Choose another --out."):
        out.mkdir(parents=True, exist_ok=True)


def rehearse(recipe: Recipe, out: Path) -> None:
    """Refuses, by our errors, what could not be saved once it is trained."""
    model = Model(recipe.model)
    card = card_of(recipe, {}, methods_of(model, recipe))
    there = next(path for path in (out, *out.parents) if path.is_dir())
    trial = there / f".rehearsal.{uuid4().hex[:12]}.part"
    try:
        read_card(save_model(model, card, trial, recipe=recipe.text).folder)
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def card_of(
    recipe: Recipe, metrics: dict[str, object], methods: Sequence[str] | None = None
) -> Card:
    """The card: what a person wrote in the recipe, and what was measured."""
    names = tuple(methods or recipe.model.heads)
    made = {
        "name": recipe.name,
        "spec": recipe.model,
        "methods": names,
        "primary": names[-1],
        "metrics": metrics,
    }
    wrong = "The recipe's [card] has a wrong entry"
    twice = sorted(made.keys() & recipe.card.keys())
    if twice:
        raise ConfigError(f"{wrong}: {twice[0]} is told by the training.")
    words = {"title": recipe.name, "summary": "", **recipe.card}
    try:
        return typed({**words, **made}, Card, closed=True)
    except MalformedError as error:
        raise ConfigError(f"{wrong}: {error}.") from error
