"""A recipe: all that is needed to train a model again, as a TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, TypeVar, cast

from napari_wsol.errors import ConfigError
from napari_wsol.methods.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Where the images are, relative to ``--data``.

    Attributes:
        train: folder or CSV of the training images, image-level labels only.
        validation: folders whose masks the finished model is measured on. They have
            no part in training.
        classes: names in the order of the labels.
        mpp: µm a pixel of the images, where the files do not say.
    """

    train: str
    classes: tuple[str, ...]
    validation: tuple[str, ...] = ()
    mpp: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedConfig:
    """Which pixels teach the pixel head before anybody drew a stroke.

    Attributes:
        seeder: "eigencam" (first principal component of the features over the whole
            training set; uses no label).
        tap: the feature map that it reads.
        foreground: "lighter" or "darker": which end of the component is foreground.
            The component knows no sign; whoever writes the recipe looks at a few maps
            and decides.
        top: share of an image's cells, from the foreground end, that seeds come from.
        bottom: the same from the other end.
        fraction: share of the pixels drawn afresh at every step.
    """

    seeder: str = "eigencam"
    tap: str
    foreground: str = "darker"
    top: float = 0.35
    bottom: float = 0.35
    fraction: float = 0.02

    def __post_init__(self) -> None:
        if self.seeder != "eigencam":
            raise ConfigError(f"There is no seeder “{self.seeder}”; use “eigencam”.")
        if self.foreground not in ("lighter", "darker"):
            raise ConfigError(
                f"Foreground is the “lighter” or the “darker” end, "
                f"not “{self.foreground}”."
            )
        if not (0 < self.top < 1 and 0 < self.bottom < 1 and 0 < self.fraction <= 1):
            raise ConfigError("Shares of seeds lie between 0 and 1.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How it is optimised.

    Attributes:
        steps: batches in all.
        batch: crops a batch.
        crop: side of a crop, in pixels of the network's input.
        learning_rate: of the encoder (AdamW).
        head_learning_rate: of the heads.
        weight_decay: of AdamW.
        warmup: first steps during which the rates rise from 0.
        average: decay of the running average of the weights that becomes the model;
            0 takes the last weights.
        jitter: strength of the colour changes.
        clip: largest norm of the gradient.
        seed: of every random choice.
        checkpoint_every: steps between two checkpoints.
    """

    steps: int = 100
    batch: int = 16
    crop: int = 224
    learning_rate: float = 1e-4
    head_learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup: int = 10
    average: float = 0.95
    jitter: float = 0.2
    clip: float = 5.0
    seed: int = 0
    checkpoint_every: int = 20

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.crop, self.checkpoint_every) < 1:
            raise ConfigError("Steps, batch, crop and checkpoints count from 1.")
        if not 0 <= self.average < 1:
            raise ConfigError(f"The average lies in [0, 1), not {self.average}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A model's making.

    Attributes:
        name: of the model.
        model: what is built.
        data: what it learns from.
        train: how.
        seeds: for models with a pixel head.
        card: entries of the model's card that only a person can write.
        text: the file as it was read, to be kept beside the weights.
    """

    name: str
    model: ModelSpec
    data: DataConfig
    train: TrainConfig = field(default_factory=TrainConfig)
    seeds: SeedConfig | None = None
    card: Mapping[str, object] = field(default_factory=dict[str, object])
    text: str = ""

    def __post_init__(self) -> None:
        if "pixelcam" in self.model.heads and self.seeds is None:
            raise ConfigError(
                "A pixel head learns from seeds: add a [seeds] table to the recipe."
            )
        if self.model.classes != self.data.classes:
            raise ConfigError("The model's and the data's classes are not the same.")


def read_recipe(path: Path) -> Recipe:
    """Reads a recipe.

    Raises:
        ConfigError: the file is missing, is no TOML, or has a wrong entry; says which.
    """
    try:
        text = path.read_text("utf-8")
        values = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The recipe {path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The recipe {path} is not valid TOML: {error}.") from error
    tables = {
        "data": DataConfig,
        "model": ModelSpec,
        "train": TrainConfig,
        "seeds": SeedConfig,
    }
    unknown = sorted(set(values) - {"name", "card", *tables})
    if unknown or "name" not in values:
        what = f"unknown entries {', '.join(unknown)}" if unknown else "no name"
        raise ConfigError(f"The recipe {path} has {what}.")
    built: dict[str, object] = {}
    for key, kind in tables.items():
        if key in values:
            table = dict(values[key])
            if key == "model":
                table.setdefault("classes", values.get("data", {}).get("classes", []))
            built[key] = _build(kind, table, f"{path}, [{key}]")
    missing = [key for key in ("data", "model") if key not in built]
    if missing:
        raise ConfigError(f"The recipe {path} lacks the table [{missing[0]}].")
    card = cast("Mapping[str, object]", values.get("card", {}))
    return Recipe(name=str(values["name"]), card=card, text=text, **built)  # type: ignore[arg-type]


def _build(kind: type[_T], values: Mapping[str, object], where: str) -> _T:
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(
            f"{where}: unknown entry {', '.join(unknown)}; known are "
            f"{', '.join(sorted(known))}."
        )
    try:
        if kind is ModelSpec:
            return cast("_T", ModelSpec.from_dict(values))
        return kind(
            **{
                key: tuple(cast("list[object]", value))
                if isinstance(value, list)
                else value
                for key, value in values.items()
            }
        )
    except (TypeError, ConfigError) as error:
        raise ConfigError(f"{where}: {error}") from error
