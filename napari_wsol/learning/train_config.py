"""How a model is optimised, and how its images are changed on the way: two tables."""

from __future__ import annotations

from dataclasses import dataclass

from napari_wsol.errors import ConfigError

OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("cosine", "step", "constant")
GROUPS = ("heads", "published")
PRECISIONS = ("off", "cuda", "bfloat16")
SELECTIONS = ("last", "localization", "classification")
STYLES = ("histology", "pixelcam", "pylon", "pcam")


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
        steps: batches in all.
        batch: images a batch; of each process where several train together.
        crop: side of a crop, in pixels of the network's input.
        optimizer: "adamw", "adam" or "sgd".
        momentum: of SGD.
        nesterov: whether SGD looks ahead (PixelCAM does).
        groups: "heads": the heads learn at ``head_learning_rate``, the encoder at
            ``learning_rate``. "published": so do the encoder's layers that the authors
            of PixelCAM train faster (:mod:`napari_wsol.learning.schedules`).
        learning_rate: of the encoder, at its highest.
        head_learning_rate: of the heads, at its highest.
        weight_decay: of all weights.
        schedule: after the warm-up: "cosine" down to a tenth; "step", a tenth every
            ``step_epochs`` epochs down to ``floor``; or "constant".
        step_epochs: epochs between two steps. An epoch is as many batches as show
            every image once; each batch is drawn afresh from all images.
        step_factor: of a step.
        floor: rates never step below it.
        warmup: first steps during which the rates rise from 0.
        average: decay of the running average of the weights that becomes the model;
            0 takes the last weights.
        jitter: strength of the colour changes of the style "histology".
        clip: largest norm of the gradient.
        amp: mixed precision. "off"; "cuda": 16-bit floats with scaled gradients on
            NVIDIA GPUs, nothing elsewhere; "bfloat16": everywhere.
        seed: of every random choice.
        checkpoint_every: steps between two checkpoints.
        evaluate_every: steps between two evaluations on the splits ``localization``
            and ``classification`` of the data, and one after the last step; 0 for none.
        patience: stop after so many evaluations without a better one; 0 to go on.
        select: the weights that become the model: "last", or those of the evaluation
            with the best "localization" (PxAP of the last head) or "classification".
            Of equal ones, the latest.
    """

    steps: int = 100
    batch: int = 16
    crop: int = 224
    optimizer: str = "adamw"
    momentum: float = 0.9
    nesterov: bool = False
    groups: str = "heads"
    learning_rate: float = 1e-4
    head_learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    schedule: str = "cosine"
    step_epochs: int = 5
    step_factor: float = 0.1
    floor: float = 1e-6
    warmup: int = 10
    average: float = 0.95
    jitter: float = 0.2
    clip: float = 5.0
    amp: str = "off"
    seed: int = 0
    checkpoint_every: int = 20
    evaluate_every: int = 0
    patience: int = 0
    select: str = "last"

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.crop, self.checkpoint_every) < 1:
            raise ConfigError("Steps, batch, crop and checkpoints count from 1.")
        if not 0 <= self.average < 1:
            raise ConfigError(f"The average lies in [0, 1), not {self.average}.")
        one_of("The optimizer", self.optimizer, OPTIMIZERS)
        one_of("The schedule", self.schedule, SCHEDULES)
        one_of("The grouping", self.groups, GROUPS)
        one_of("Mixed precision (amp)", self.amp, PRECISIONS)
        one_of("What is selected", self.select, SELECTIONS)
        self._check_rates()
        self._check_evaluations()

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
        if self.clip <= 0:
            raise ConfigError(f"Gradients are clipped above 0, not at {self.clip}.")

    def _check_evaluations(self) -> None:
        if min(self.evaluate_every, self.patience, self.warmup) < 0:
            raise ConfigError("Evaluations, patience and warm-up are 0 or more.")
        if self.select != "last" and not self.evaluate_every:
            raise ConfigError(
                f"To select by {self.select}, set evaluate_every to a number of steps."
            )
        if self.patience and self.select == "last":
            raise ConfigError(
                "Patience needs to know what counts: select “localization” or "
                "“classification”, or set patience to 0."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """How images are changed afresh at every step.

    Attributes:
        style: "histology": crops of any place, the eight symmetries of the square, and
            changes of colour. As published: "pixelcam", "pylon" and "pcam", for models
            with an input of one size (:mod:`napari_wsol.learning.augment`).
    """

    style: str = "histology"

    def __post_init__(self) -> None:
        one_of("The style", self.style, STYLES)
