"""A recipe: all that is needed to train a model again, as a TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar, cast

import tomli_w

from napari_wsol.data.published import is_published
from napari_wsol.errors import ConfigError, DatasetError, MalformedError
from napari_wsol.files.parsing import parse_toml, read_text, typed
from napari_wsol.methods.spec import ModelSpec, plain
from napari_wsol.training.config import AugmentConfig, SeedConfig, TrainConfig
from napari_wsol.training.objectives import LossConfig, loss_of
from napari_wsol.training.pseudo_labels import PseudoLabelConfig

if TYPE_CHECKING:
    from pathlib import Path

_T = TypeVar("_T")

Table = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Where the images are, relative to ``--data``.

    Attributes:
        train: folder or CSV of the training images, image-level labels only.
        validation: folders whose masks the finished model is measured on. They have
            no part in training.
        localization: folder of the few images whose masks choose among the weights of
            one training ("valpx"); empty for none.
        classification: folder of the images whose labels do ("valcl").
        classes: names in the order of the labels.
        mpp: µm a pixel of the images, where the files do not say.
        enhance: classes whose images are shown more often (PCAM's ``enhance_index``).
        enhance_times: how many times more in an epoch; once, whatever of those classes
            an image shows.
        cache_mb: megabytes of decoded training images or vectors kept in memory.
        features: folder of the slides' bags; a frozen encoder's are made there, once.
    """

    train: str
    classes: tuple[str, ...]
    validation: tuple[str, ...] = ()
    localization: str = ""
    classification: str = ""
    mpp: float | None = None
    enhance: tuple[str, ...] = ()
    enhance_times: int = 1
    cache_mb: int = 2000
    features: str = ""

    def bags_in(self, data: Path) -> Path | None:
        """Where bags lie; None where they do not."""
        return data / self.features if self.features else None

    def __post_init__(self) -> None:
        if self.train in (self.localization, self.classification):
            raise ConfigError(
                "Weights are chosen on other images than those they learn from: give "
                "another split than the training's."
            )
        strange = [name for name in self.enhance if name not in self.classes]
        if strange:
            raise ConfigError(
                f"“{strange[0]}” of “enhance” is none of {', '.join(self.classes)}."
            )
        if self.enhance_times < 0:
            raise ConfigError(
                f"Images are shown 0 or more times more, not {self.enhance_times}."
            )
        if self.cache_mb < 1:
            raise ConfigError(f"The images need some memory, not {self.cache_mb} MB.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A model's making.

    Attributes:
        name: of the model.
        model: what is built.
        data: what it learns from.
        train: how.
        augment: how images are changed on the way.
        seeds: for models with a pixel head.
        losses: of heads that are not trained by their default.
        card: entries of the model's card that only a person can write.
        text: the file as it was read, to be kept beside the weights.
    """

    name: str
    model: ModelSpec
    data: DataConfig
    train: TrainConfig = field(default_factory=TrainConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    seeds: SeedConfig | None = None
    losses: Mapping[str, LossConfig] = field(default_factory=dict[str, LossConfig])
    card: Table = field(default_factory=dict[str, object])
    text: str = ""

    def __post_init__(self) -> None:
        if "pixelcam" in self.model.heads and self.seeds is None:
            raise ConfigError(
                "A pixel head learns from seeds: add a [seeds] table to the recipe."
            )
        if "pixelcam" not in self.model.heads and self.seeds is not None:
            raise ConfigError("There are [seeds], but no pixelcam head to learn them.")
        if self.model.classes != self.data.classes:
            raise ConfigError("The model's and the data's classes are not the same.")
        if self.seeds is not None:
            self._check_seeds(self.seeds)
        stray = [name for name in self.losses if name not in self.model.heads]
        if stray:
            raise ConfigError(f"There is a loss for {stray[0]}, which is no head.")
        for name in self.model.heads:
            loss_of(name, self.model, self.losses.get(name))
        self._check_selection()
        self._check_style()

    def _check_seeds(self, seeds: SeedConfig) -> None:
        if seeds.normal_class and seeds.normal_class not in self.data.classes:
            raise ConfigError(
                f"The normal class “{seeds.normal_class}” is none of "
                f"{', '.join(self.data.classes)}."
            )
        if self.model.tile is not None:
            raise ConfigError("Tiles are classified whole: leave pixelcam out.")
        if seeds.seeder == "cam" and self.model.multi_label:
            raise ConfigError(
                "Maps of “the” class need images that show one class each: seeds of "
                "a multi-label model come from “eigencam” or “self”."
            )

    def _check_selection(self) -> None:
        split = {
            "localization": self.data.localization,
            "classification": self.data.classification,
        }
        split["loss"] = split["classification"]
        asked = {"select": self.train.select}
        if self.train.schedule == "plateau":
            asked["plateau_by"] = self.train.plateau_by
        for entry, value in asked.items():
            if split.get(value) == "":
                needed = "classification" if value == "loss" else value
                raise ConfigError(
                    f"For {entry} = “{value}”, name a split as “{needed}” in [data]."
                )
        if self.train.evaluates and not any(split.values()):
            raise ConfigError(
                "To evaluate, name a split as “localization” or “classification” in "
                "[data], or set evaluate_every and evaluate_epochs to 0."
            )

    def _check_style(self) -> None:
        how, style = self.model.preprocessing, self.augment.style
        size = how.size if how is not None else None
        if self.augment.shift and self.model.tile is None:
            raise ConfigError(
                "Only a grid of tiles can shift: give [model] a tile, or leave shift "
                "out of [augment]."
            )
        if style == "none" and self.model.tile is not None:
            return
        if style != "histology" and (size is None or self.model.tile is not None):
            raise ConfigError(
                f"The style “{style}” is for models with an input of one size: give "
                "[model.preprocessing] a size, or choose “histology”."
            )
        if style == "pcam" and how is not None and not how.is_grey:
            raise ConfigError("The style “pcam” is for grey images: set grey.")
        if style == "pixelcam" and how is not None and how.fit != "stretch":
            raise ConfigError("The style “pixelcam” stretches images: do not pad them.")
        if style == "pcam" and self.seeds and self.seeds.seeder == "eigencam":
            raise ConfigError(
                "Eigen-CAM reads images as the network sees them, but the style “pcam” "
                "turns them before that: choose another style or seeder."
            )
        is_padded = how is not None and size is not None and how.fit == "pad"
        if is_padded and self.seeds and style != "pcam":
            raise ConfigError(
                "Seeds lie on the image, not on its padding: use the style “pcam”, or "
                "stretch images."
            )


_TABLES = {
    "data": DataConfig,
    "model": ModelSpec,
    "train": TrainConfig,
    "augment": AugmentConfig,
    "seeds": SeedConfig,
}


def read_recipe(path: Path) -> Recipe:
    """Reads a recipe.

    Raises:
        ConfigError: the file is missing, is no TOML, or has a wrong entry; says which.
    """
    try:
        text = read_text(path)
        values = parse_toml(text)
    except OSError as error:
        raise ConfigError(f"The recipe {path} cannot be read: {error}.") from error
    except MalformedError as error:
        raise ConfigError(f"The recipe {path} is not valid TOML: {error}.") from error
    unknown = sorted(set(values) - {"name", "card", "losses", *_TABLES})
    if unknown or "name" not in values:
        what = f"unknown entries {', '.join(unknown)}" if unknown else "no name"
        raise ConfigError(f"The recipe {path} has {what}.")
    built: dict[str, object] = {}
    for key, kind in _TABLES.items():
        if key in values:
            table = dict(_table(values, key, path))
            if key == "model" and "data" in built:
                own = cast("DataConfig", built["data"])
                table.setdefault("classes", own.classes)
            if key == "seeds" and "draw" in table:
                where = f"{path}, [seeds.draw]"
                draw = _table(table, "draw", path)
                table["draw"] = _build(PseudoLabelConfig, draw, where)
            built[key] = _build(kind, table, f"{path}, [{key}]")
    missing = [key for key in ("data", "model") if key not in built]
    if missing:
        raise ConfigError(f"The recipe {path} lacks the table [{missing[0]}].")
    losses = _table(values, "losses", path)
    built["losses"] = {
        head: _build(LossConfig, _table(losses, head, path), f"{path}, [losses.{head}]")
        for head in losses
    }
    card = _table(values, "card", path)
    return Recipe(name=str(values["name"]), card=card, text=text, **built)  # type: ignore[arg-type]


def _table(values: Table, key: str, path: Path) -> Table:
    try:
        return typed(values.get(key, {}), dict[str, object])
    except MalformedError as error:
        raise ConfigError(f"{path}: [{key}] is no table of entries.") from error


def dump_recipe(recipe: Recipe) -> str:
    """A recipe as TOML that reads back as the same: all entries, without comments."""
    values: dict[str, object] = {"name": recipe.name}
    for key in _TABLES:
        part = getattr(recipe, key)
        if isinstance(part, ModelSpec):
            values[key] = part.to_dict()
        elif part is not None:
            values[key] = asdict(part)
    if recipe.train.epochs:  # then nobody asked for steps
        cast("dict[str, object]", values["train"]).pop("steps")
    values["losses"] = {head: asdict(loss) for head, loss in recipe.losses.items()}
    values["card"] = recipe.card
    return tomli_w.dumps(plain(values))


def check_splits(recipe: Recipe, data: Path, *, train: bool = True) -> None:
    """Whether all that a recipe names is there, before hours are spent.

    Args:
        recipe: names folders and tables.
        data: that its paths start from.
        train: whether its training split is read.

    Raises:
        DatasetError: a folder or table is not; says what to edit.
    """
    own = recipe.data
    named = (*own.validation, own.localization, own.classification)
    for split in filter(None, (own.train if train else "", *named)):
        if not (data / split).exists() and not is_published(data):
            raise DatasetError(
                f"There is no “{split}” in {data}. Edit [data] of the recipe, where "
                "folders and classes are named, or choose the folder that its paths "
                "start from."
            )


def with_seed(recipe: Recipe, seed: int) -> Recipe:
    """The same recipe with another seed, its text included."""
    if seed == recipe.train.seed:
        return recipe
    changed = replace(recipe, train=replace(recipe.train, seed=seed))
    return replace(changed, text=dump_recipe(changed))


def _build(kind: type[_T], values: Table, where: str) -> _T:
    try:
        if kind is ModelSpec:
            return cast("_T", ModelSpec.from_dict(values))
        return typed(values, kind, closed=True)
    except MalformedError as error:
        raise ConfigError(f"{where}: {error}.") from error
