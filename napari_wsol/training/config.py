"""Tables of a recipe: optimising, changing images, and seeds for the pixel head."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, replace
from itertools import pairwise

from napari_wsol.errors import ConfigError
from napari_wsol.training.pseudo_labels import PseudoLabelConfig

OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("cosine", "step", "drops", "plateau", "constant")
SAMPLINGS = ("batch", "epoch")
GROUPS = ("heads", "published")
PRECISIONS = ("off", "cuda", "bfloat16")
EVALUATIONS = ("localization", "classification", "loss")
SELECTIONS = ("last", *EVALUATIONS)
STYLES = ("histology", "pixelcam", "pylon", "pcam", "none")
STEPS = 100
"""Batches of a training whose recipe says nothing."""

SEEDERS = ("eigencam", "cam", "self")
READ_BY = {
    "tap": ("eigencam",),
    "foreground": ("eigencam",),
    "components": ("eigencam",),
    "partition": ("eigencam",),
    "top": ("eigencam", "self"),
    "bottom": ("eigencam", "self"),
    "fraction": ("eigencam", "self"),
    "model": ("cam", "self"),
    "method": ("cam",),
    "draw": ("cam",),
    "normal_class": ("cam",),
    "smooth": ("eigencam", "self"),
}
"""Which seeders read an entry; the others refuse it."""


def one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    """Refuses a word that is not in a closed list.

    Raises:
        ConfigError: names the choices.
    """
    if value not in known:
        raise ConfigError(f"{what} is one of {', '.join(known)}, not “{value}”.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How it is optimised.

    Attributes:
        steps: batches in all; of a recipe that does not count in epochs.
        epochs: how often all images are shown, instead of ``steps``; 0 for those.
        batch: images a batch; of each process where several train together.
        sampling: "batch": each batch is drawn afresh from all images, none twice while
            there are enough; so a batch of one draws with replacement. "epoch": as
            published, all images in a new order, epoch after epoch; the last batch is
            filled up with the first of that order.
        balanced: whether images are drawn with replacement, all classes alike (CLAM).
        tiles: at most so many of a bag or slide are seen at a step; 0 for all of a bag.
        crop: side of a crop, in pixels of the network's input.
        optimizer: "adamw", "adam" or "sgd".
        momentum: of SGD.
        nesterov: whether SGD looks ahead (PixelCAM does).
        groups: "heads": the heads learn at ``head_learning_rate``, the encoder at
            ``learning_rate``. "published": so do the encoder's layers that the authors
            of PixelCAM train faster (:mod:`napari_wsol.training.optimizing`).
        learning_rate: of the encoder, at its highest.
        head_learning_rate: of the heads, at its highest.
        weight_decay: of all weights.
        freeze_encoder: whether the encoder stays as it is, its batch statistics
            included, and the heads alone learn.
        dropout: share of the features' channels that the image heads do not see at a
            step (PixelCAM's ``spatial_dropout``); the pixel head sees all.
        schedule: after the warm-up: "cosine" down to a tenth; "step", lower every
            ``step_epochs`` epochs down to ``floor`` (PixelCAM); "drops", lower at the
            epochs ``drops`` (PCAM); "plateau", lower when evaluations get no better
            (PYLON); or "constant".
        step_epochs: epochs between two steps. An epoch is as many batches as show
            every image once.
        step_factor: what rates are multiplied by at a step, drop or plateau.
        floor: of "step", rates never fall below it; of "plateau", the training ends
            when the highest rate has fallen to it.
        drops: epochs, counted from 0, that begin with lower rates.
        plateau_by: which evaluation "plateau" goes by: "loss", "localization" or
            "classification".
        plateau_patience: evaluations in a row without a better one that "plateau"
            bears; the next one lowers the rates.
        warmup: first steps during which the rates rise from 0.
        average: decay of the running average of the weights that becomes the model;
            0 takes the last weights.
        jitter: strength of the colour changes of the style "histology".
        clip: largest norm of the gradient; 0 for any.
        amp: mixed precision. "off"; "cuda": 16-bit floats with scaled gradients on
            NVIDIA GPUs, nothing elsewhere; "bfloat16": everywhere.
        seed: of every random choice.
        checkpoint_every: steps between two checkpoints.
        evaluate_every: steps between two evaluations on the splits ``localization``
            and ``classification`` of the data, and one after the last step; 0 for none.
        evaluate_epochs: the same in epochs; 0 to go by ``evaluate_every``.
        patience: stop after so many evaluations without a better one; 0 to go on.
        select: the weights that become the model: "last", or those of the evaluation
            with the best "localization" (PxAP of the last head), "classification"
            (accuracy, or mean AUC of several labels) or "loss" (the mean cross-entropy
            of the first head that classifies, on the split ``classification``). Of
            equal ones, the latest.
    """

    steps: int = STEPS
    epochs: int = 0
    batch: int = 16
    sampling: str = "batch"
    balanced: bool = False
    tiles: int = 0
    crop: int = 224
    optimizer: str = "adamw"
    momentum: float = 0.9
    nesterov: bool = False
    groups: str = "heads"
    learning_rate: float = 1e-4
    head_learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    freeze_encoder: bool = False
    dropout: float = 0.0
    schedule: str = "cosine"
    step_epochs: int = 5
    step_factor: float = 0.1
    floor: float = 1e-6
    drops: tuple[int, ...] = ()
    plateau_by: str = "loss"
    plateau_patience: int = 1
    warmup: int = 10
    average: float = 0.95
    jitter: float = 0.2
    clip: float = 5.0
    amp: str = "off"
    seed: int = 0
    checkpoint_every: int = 20
    evaluate_every: int = 0
    evaluate_epochs: int = 0
    patience: int = 0
    select: str = "last"

    def __post_init__(self) -> None:
        counted = (self.steps, self.batch, self.crop, self.checkpoint_every)
        if min(*counted, self.tiles + 1) < 1:
            words = "Steps, batch, crop and checkpoints count from 1, tiles from 0."
            raise ConfigError(words)
        if not 0 <= self.average < 1:
            raise ConfigError(f"The average lies in [0, 1), not {self.average}.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"Dropout is a share in [0, 1), not {self.dropout}.")
        one_of("The sampling", self.sampling, SAMPLINGS)
        one_of("The optimizer", self.optimizer, OPTIMIZERS)
        one_of("The schedule", self.schedule, SCHEDULES)
        one_of("The grouping", self.groups, GROUPS)
        one_of("Mixed precision (amp)", self.amp, PRECISIONS)
        one_of("What is selected", self.select, SELECTIONS)
        self._check_epochs()
        self._check_rates()
        self._check_schedule()
        self._check_evaluations()

    @property
    def evaluates(self) -> bool:
        """Whether there are evaluations on the way."""
        return bool(self.evaluate_every or self.evaluate_epochs)

    def counted(self, epoch: int) -> TrainConfig:
        """The same with everything counted in steps.

        Args:
            epoch: steps an epoch.
        """
        return replace(
            self,
            steps=self.epochs * epoch or self.steps,
            epochs=0,
            evaluate_every=self.evaluate_epochs * epoch or self.evaluate_every,
            evaluate_epochs=0,
        )

    def _check_epochs(self) -> None:
        if min(self.epochs, self.evaluate_epochs) < 0:
            raise ConfigError("Epochs are 0 or more.")
        if self.epochs and self.steps != STEPS:
            raise ConfigError("Give either steps or epochs, not both.")
        if self.evaluate_epochs and self.evaluate_every:
            raise ConfigError("Give either evaluate_every or evaluate_epochs.")

    def _check_rates(self) -> None:
        if self.learning_rate <= 0 or self.head_learning_rate <= 0:
            raise ConfigError("Learning rates are above 0.")
        if self.step_epochs < 1 or not 0 < self.step_factor <= 1:
            raise ConfigError(
                "Rates step every epoch at most, by a factor in (0, 1], not every "
                f"{self.step_epochs} by {self.step_factor}."
            )
        if self.nesterov and self.optimizer != "sgd":
            raise ConfigError(f"Nesterov's momentum is for sgd, not {self.optimizer}.")
        if not 0 <= self.momentum < 1 or (self.nesterov and not self.momentum):
            raise ConfigError(
                f"The momentum lies in [0, 1), above 0 for Nesterov's: not "
                f"{self.momentum}."
            )
        if self.clip < 0:
            raise ConfigError(
                f"Gradients are clipped above 0, not at {self.clip}; 0 for none."
            )

    def _check_schedule(self) -> None:
        if bool(self.drops) != (self.schedule == "drops") or (
            any(one >= other for one, other in pairwise((0, *self.drops)))
        ):
            raise ConfigError(
                "The schedule “drops”, and no other, needs “drops”: the epochs with "
                f"lower rates, rising and above 0, not {list(self.drops)}."
            )
        one_of("What a plateau goes by", self.plateau_by, EVALUATIONS)
        if self.plateau_patience < 0:
            raise ConfigError("The patience of a plateau is 0 or more.")
        if self.schedule != "plateau":
            return
        if not self.evaluates or self.step_factor == 1:
            raise ConfigError(
                "A plateau is seen by evaluations and lowers the rates: set "
                "evaluate_epochs (or evaluate_every) and a step_factor below 1."
            )

    def _check_evaluations(self) -> None:
        if min(self.evaluate_every, self.patience, self.warmup) < 0:
            raise ConfigError("Evaluations, patience and warm-up are 0 or more.")
        if self.select != "last" and not self.evaluates:
            raise ConfigError(
                f"To select by {self.select}, set evaluate_every to a number of steps."
            )
        if self.patience and self.select == "last":
            raise ConfigError(
                "Patience needs to know what counts: select “localization”, "
                "“classification” or “loss”, or set patience to 0."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """How images are changed afresh at every step.

    Attributes:
        style: "histology": crops of any place, the eight symmetries of the square, and
            changes of colour. As published: "pixelcam", "pylon" and "pcam", for models
            with an input of one size (:mod:`napari_wsol.training.augment`). "none": as
            they are, for such models and for tiles.
        shift: of models of tiles: whether the grid of tiles begins at a random place of
            the image at every step, whatever the style, instead of lying about its
            middle as at inference. A-MIL's does not move.
    """

    style: str = "histology"
    shift: bool = False

    def __post_init__(self) -> None:
        one_of("The style", self.style, STYLES)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedConfig:
    """Which pixels teach the pixel head before anybody drew a stroke.

    Attributes:
        seeder: "eigencam" (first principal component of the features over the whole
            training set; uses no label), "cam" (as published: the maps of a finished
            model, each of its image's true class) or "self" (a finished PixelCAM model
            teaches the next).
        tap: the feature map that Eigen-CAM reads.
        foreground: "darker" or "lighter": which end of the component is foreground.
            The component knows no sign; whoever writes the recipe looks at a few maps
            and decides.
        components: weights of the first components that Eigen-CAM adds up, each of
            unit variance and turned to the same end; a negative weight takes the
            other end.
        partition: weight, beside them, of the image's own partition by normalised
            cuts, of unit variance; 0 for none.
        top: share of an image's cells, from the foreground end, that seeds come from;
            of "eigencam" and "self".
        bottom: the same from the other end.
        fraction: share of the pixels drawn afresh at every step; of "eigencam" and
            "self".
        model: name or folder of the finished model; of "cam" and "self".
        method: which of its maps "cam" reads.
        draw: how "cam" draws pixels from a map, a table of its own ([seeds.draw]).
        normal_class: the class whose images show no disease, where ``draw`` treats
            those apart.
        smooth: standard deviation, in pixels of the network's input, of the Gaussian
            that "eigencam" and "self" smooth their maps with; 0 for none.
    """

    seeder: str = "eigencam"
    tap: str = ""
    foreground: str = "darker"
    components: tuple[float, ...] = (1.0,)
    partition: float = 0.0
    top: float = 0.35
    bottom: float = 0.35
    fraction: float = 0.02
    model: str = ""
    method: str = "cam"
    draw: PseudoLabelConfig = field(default_factory=PseudoLabelConfig)
    normal_class: str = ""
    smooth: float = 0.0

    def __post_init__(self) -> None:
        if self.seeder not in SEEDERS:
            raise ConfigError(
                f"There is no seeder “{self.seeder}”; use one of {', '.join(SEEDERS)}."
            )
        for item in fields(self):
            readers = READ_BY.get(item.name, SEEDERS)
            default = item.default
            if default is MISSING:
                default = PseudoLabelConfig()
            if self.seeder not in readers and getattr(self, item.name) != default:
                raise ConfigError(
                    f"The seeder “{self.seeder}” does not read “{item.name}”: leave it "
                    f"out. It is for {' and '.join(readers)}."
                )
        if self.foreground not in ("lighter", "darker"):
            raise ConfigError(
                f"Foreground is the “lighter” or the “darker” end, "
                f"not “{self.foreground}”."
            )
        if not (0 < self.top < 1 and 0 < self.bottom < 1 and 0 < self.fraction <= 1):
            raise ConfigError("Shares of seeds lie between 0 and 1.")
        self._check_source()

    def _check_source(self) -> None:
        if self.seeder == "eigencam" and not self.tap:
            raise ConfigError("Eigen-CAM reads a feature map: name it as “tap”.")
        if self.seeder != "eigencam" and not self.model:
            raise ConfigError(
                f"The seeder “{self.seeder}” reads a finished model: give its name or "
                "folder as “model”."
            )
        if not any(self.components) or self.partition < 0:
            raise ConfigError(
                "Eigen-CAM needs a component with a weight, and a partition of 0 or "
                "more."
            )
        if self.smooth < 0:
            raise ConfigError(f"Maps cannot be smoothed by {self.smooth} pixels.")
        if (self.draw.normal_images != "as any") != bool(self.normal_class):
            raise ConfigError(
                "To treat normal images apart, give both “normal_class” and "
                "“normal_images” of [seeds.draw]; to treat them like any, neither."
            )
