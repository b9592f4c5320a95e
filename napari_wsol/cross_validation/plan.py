"""What a cross-validation is made of, and whether a folder holds the same one."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsol.data.published import named_split
from napari_wsol.errors import ConfigError, MalformedError, ModelError
from napari_wsol.evaluation.benchmark.dataset import load_evaluation_set
from napari_wsol.files import sha256_of, unwritable, write_whole
from napari_wsol.files.parsing import read_json
from napari_wsol.files.tables import lines_of
from napari_wsol.training.recipe import dump_recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_wsol.data.datasets import Sample
    from napari_wsol.data.folds import Fold, Grouping
    from napari_wsol.evaluation.benchmark.dataset import EvaluationSet
    from napari_wsol.training.recipe import Recipe

PLAN, RESULT = "folds.json", "cross_validation.json"
FOR_RESUMING = ("settings_sha256", "held_out")
"""Entries of the plan that the figures' file says otherwise, or need not say."""


def check_alone(what: str) -> None:
    """Refuses several processes, of ``what``, by a ConfigError."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(f"{what} trains in one process: leave torchrun.")


def check_recipe(recipe: Recipe) -> None:
    """Refuses what would look at images that a fold holds out.

    Raises:
        ConfigError: the recipe goes by evaluations, or several processes train.
    """
    check_alone("A cross-validation")
    how = recipe.train
    if how.select != "last":
        raise ConfigError(
            f"This recipe selects its weights by {how.select}, on images that a "
            "cross-validation learns from or measures. Set select to “last”, and "
            "patience to 0."
        )
    if how.schedule == "plateau":
        raise ConfigError(
            "This recipe lowers its rates by evaluations on images that a "
            "cross-validation learns from or measures. Choose another schedule than "
            "“plateau”."
        )


def evaluation_set_of(
    recipe: Recipe, data: Path, splits: Sequence[str]
) -> EvaluationSet:
    """All images, those of several splits once.

    Args:
        recipe: names splits, and the classes.
        data: folder that the names start from.
        splits: others than the recipe's; none for those.

    Raises:
        DatasetError: names the first line that cannot be used.
    """
    where, named = recipe.data, list(splits)
    places: list[tuple[Path, str | None]] = [(data, name) for name in named]
    if not places:
        every = (where.train, *where.validation, where.localization)
        named = [name for name in (*every, where.classification) if name]
        named = list(dict.fromkeys(named))
        places = [named_split(data, name) for name in named]
    measured = load_evaluation_set(
        data,
        places,
        classes=where.classes,
        multi_label=recipe.model.multi_label,
        may_overlap=True,
        features=where.bags_in(data),
    )
    return replace(measured, splits=tuple(named))


def plan_of(
    recipe: Recipe,
    measured: EvaluationSet,
    grouping: Grouping,
    folds: Sequence[Fold],
    *,
    init: Path | None,
    seed: int,
) -> dict[str, object]:
    """All that the figures depend on, without a path of this machine.

    Raises:
        ModelError: there are no initial weights where they should be.
    """
    table, settings = grouping.table, dump_recipe(replace(recipe, card={}))
    return {
        "recipe": recipe.name,
        "settings_sha256": hashlib.sha256(settings.encode()).hexdigest(),
        "initial_weights_sha256": digest_of(init),
        "data": measured.data,
        "splits": list(measured.splits),
        "grouping": {"table": table.name, "column": grouping.column}
        if table is not None
        else {"pattern": grouping.pattern}
        if grouping.pattern
        else {"groups": "as published"},
        "seed": seed,
        "held_out": [
            {
                sample.id: group
                for sample, group in zip(fold.held_out, fold.groups, strict=True)
            }
            for fold in folds
        ],
    }


def digest_of(init: Path | None) -> str:
    """Sha256 of initial weights, "" of none; a ModelError if they are not there."""
    if init is not None and not init.is_file():
        raise ModelError(f"There are no initial weights at {init}. Check the path.")
    return sha256_of(init) if init is not None else ""


def prepare(out: Path, plan: dict[str, object], *, resume: bool) -> None:
    """Makes the folder, or checks that what it holds is the same undertaking.

    Raises:
        ConfigError: it holds something else, or nothing to resume.
        ExportError: it cannot be written.
    """
    if (out / RESULT).exists():
        raise ConfigError(
            f"{out} holds a finished cross-validation. Choose another --out."
        )
    stored = out / PLAN
    if resume:
        compare(stored, plan, "cross-validation")
        return
    if stored.exists() or (out / "fold-1").exists():
        raise ConfigError(
            f"{out} holds an unfinished cross-validation. Add --resume to go on with "
            "it, or choose another --out."
        )
    write_text(stored, json.dumps(plan, indent=1) + "\n")


def compare(stored: Path, plan: dict[str, object], what: str) -> None:
    """Refuses, by a ConfigError, what was begun with another plan than this."""
    try:
        before = read_json(stored, dict[str, object])
    except (OSError, MalformedError) as error:
        raise ConfigError(
            f"There is no {what} in {stored.parent} to resume ({error})."
        ) from error
    for key, value in plan.items():
        if before.get(key) != value:
            raise ConfigError(
                f"The {what} in {stored.parent} was started with another entry "
                f"“{key}”. Give what it was started with, or choose another --out."
            )


def list_of(
    samples: Sequence[Sample], data: Path, classes: Sequence[str], *, multi_label: bool
) -> str:
    """A table of images and labels; paths start from the data's folder."""
    rows: list[Sequence[object]] = [["path", *(classes if multi_label else ["label"])]]
    for sample in samples:
        hot = sample.labels
        told = hot if multi_label else [classes[hot.index(1)]]
        rows.append([relative(sample.path, data), *told])
    return lines_of(rows)


def relative(path: Path, folder: Path) -> str:
    """A path as it is listed in a folder."""
    return Path(os.path.relpath(path, folder)).as_posix()


def write_text(path: Path, text: str) -> None:
    """Writes a text file all or nothing, and its folder.

    Raises:
        ExportError: it cannot be written.
    """
    with unwritable(f"“{path}” cannot be written", "."):
        write_whole(path, text)
