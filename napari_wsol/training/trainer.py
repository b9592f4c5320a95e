"""Training from image-level labels: a generator that a job or a command consumes.

Every head learns jointly on one encoder, each by its loss
(:mod:`napari_wsol.training.objectives`); the pixel head from seeds drawn afresh at
every step. The random numbers of step n depend on the seed and n alone, so that a
training that is resumed goes on exactly as it would have. The next batch is made on a
thread while the network learns from this one.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from napari_wsol.encoders import BagEncoder, Features, nominal_offset, on_grid
from napari_wsol.errors import ConfigError
from napari_wsol.methods import Model
from napari_wsol.methods.partial_loss import IGNORE, partial_cross_entropy
from napari_wsol.methods.pixelcam import PixelHead
from napari_wsol.training.bags import encode_bag
from napari_wsol.training.batches import Batches, number_of, sampler_of
from napari_wsol.training.distributed import Team
from napari_wsol.training.images_cache import TrainingImages
from napari_wsol.training.initial import initial_model, place_cells
from napari_wsol.training.objectives import GATE, LOSSES, Lesson, loss_of
from napari_wsol.training.optimizing import (
    Plateau,
    build_optimizer,
    highest_rate,
    set_rates,
)
from napari_wsol.training.resuming import (
    digest,
    read_checkpoint_state,
    write_checkpoint,
)
from napari_wsol.training.seeding import planes, seed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.methods import Head
    from napari_wsol.training.batches import TrainBatch
    from napari_wsol.training.crops import TrainImage
    from napari_wsol.training.recipe import Recipe

CHANNEL_AXIS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainStep:
    """Progress of a training.

    Attributes:
        step: batches done.
        steps: batches in all.
        epoch: how often as many images as there are have been shown, from 0.
        losses: each part of the loss on this batch, by head.
        accuracy: share of this batch that the image classifier gets right (of its
            labels, where an image may have several); None where none classifies.
    """

    step: int
    steps: int
    epoch: int
    losses: dict[str, float]
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Best:
    """The best weights that an evaluation found so far.

    Attributes:
        step: batches done then.
        score: of the evaluation.
        weights: the averaged ones.
    """

    step: int
    score: float
    weights: dict[str, Tensor]


class Trainer:
    """A training that can be stepped, saved and resumed.

    Args:
        recipe: what to train and how.
        images: from :func:`napari_wsol.training.images_cache.load_training_images`.
        init: state dict whose encoder entries are the initial weights; random ones
            from the recipe's seed without it.
        maps: of a finished model (:func:`napari_wsol.training.teachers.teacher_maps`),
            where the recipe's seeds come from one.
        device: that it runs on.
        team: the processes that train together.
    """

    def __init__(
        self,
        recipe: Recipe,
        images: Sequence[TrainImage],
        init: dict[str, Tensor] | None = None,
        *,
        maps: Sequence[Heatmap | Tensor] | None = None,
        device: torch.device | None = None,
        team: Team | None = None,
    ) -> None:
        self.recipe, self.team = recipe, team or Team()
        self.config = recipe.train
        self.model = initial_model(recipe, init)
        if isinstance(images, TrainingImages):
            self.labels = images.labels
            images.check(self.model)
        else:
            self.labels = torch.stack([item.label for item in images])
        self._sampler = sampler_of(recipe, self.labels, self.team.world)
        self.config = recipe.train.counted(self._sampler.epoch)
        self._start = digest([*self.model.state_dict().values(), self.labels])
        place_cells(self.model, images, recipe)
        self.images, self.eigencam = seed(self.model, images, recipe, maps)
        self.device = device or torch.device("cpu")
        self.model.to(self.device)
        if self.config.freeze_encoder:
            self.model.encoder.requires_grad_(requires_grad=False)
        self.step = self.judged = self.since_best = 0
        self.best: Best | None = None
        self.stopped = self.torn = False
        self.plateau = Plateau(self.config.plateau_by, self.config.plateau_patience)
        self.average = _copy(self.model.state_dict())
        self._learner = Learner(self.model, recipe)
        self._parallel: nn.Module = self._learner
        if self.team.world > 1:
            self._parallel = DistributedDataParallel(
                self._learner, find_unused_parameters=True
            )
        self._batches = Batches(
            recipe,
            self.model,
            self.images,
            self.labels,
            sampler=self._sampler,
            share=self.team,
        )
        self.optimizer = build_optimizer(self.model, self.config)
        self._set_precision()

    def _set_precision(self) -> None:
        scales = self.config.amp == "cuda" and self.device.type == "cuda"
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=scales)
        self._low = torch.float16 if scales else torch.bfloat16
        self._mixed = scales or self.config.amp == "bfloat16"

    def run(self) -> Iterator[TrainStep]:
        """The remaining steps."""
        self._set_mode()
        if self.is_over:
            return
        with ThreadPoolExecutor(1, "batches") as pool:
            ahead = pool.submit(self._batches.of_step, self.step)
            while not self.is_over:
                batch = ahead.result()
                if self.step + 1 < self.config.steps:
                    ahead = pool.submit(self._batches.of_step, self.step + 1)
                self._set_mode()  # an evaluation may have come between
                yield self._one_step(batch)

    def _set_mode(self) -> None:
        self._parallel.train()
        if self.config.freeze_encoder:
            self.model.encoder.eval()

    @property
    def is_over(self) -> bool:
        """Whether all steps are done, or no better weights are expected."""
        return self.stopped or self.step >= self.config.steps

    @property
    def epoch(self) -> int:
        """How often as many images as there are have been shown."""
        return self.step // self._sampler.epoch

    def _one_step(self, batch: TrainBatch) -> TrainStep:
        # For layers that drop out: other numbers in every process.
        number = number_of(self.recipe, self.step)
        torch.manual_seed(number + 1_000_000_007 * self.team.rank)
        set_rates(
            self.optimizer, self.config, self.step, self.epoch, self.plateau.count
        )
        self.optimizer.zero_grad()
        losses, logits = self._losses(batch)
        total = torch.stack(list(losses.values())).sum()
        if not bool(torch.isfinite(total)):
            raise ConfigError(
                f"The loss at step {self.step + 1} is not a number "
                f"({', '.join(losses)}): lower the learning rates, or set amp to "
                "“off”."
            )
        self.torn = True
        self._scaler.scale(total).backward()
        self._scaler.unscale_(self.optimizer)
        if self.config.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        epoch = self.epoch
        self.step += 1
        self._update_average()
        self.torn = False
        return self._progress(epoch, losses, logits, batch.labels)

    def _losses(self, batch: TrainBatch) -> tuple[dict[str, Tensor], Tensor | None]:
        seeds, pixels = batch.seeds, batch.pixels
        weight = 1.0
        if seeds is not None and self.team.world > 1:
            count = (seeds != IGNORE).sum().float().to(self.device)
            total = self.team.total(count)
            weight = float(count * self.team.world / total.clamp_min(1))
        placed = (
            [item.to(self.device) for item in pixels]
            if isinstance(pixels, list)
            else pixels.to(self.device)
        )
        with torch.autocast(self.device.type, self._low, enabled=self._mixed):
            return self._parallel(
                placed,
                batch.labels.to(self.device),
                self.labels[batch.order].to(self.device),
                None if seeds is None else seeds.to(self.device),
                weight,
            )

    def _progress(
        self,
        epoch: int,
        losses: dict[str, Tensor],
        logits: Tensor | None,
        labels: Tensor,
    ) -> TrainStep:
        multi = self.recipe.model.multi_label
        right = (
            -1.0
            if logits is None
            else share_right(logits, labels.to(self.device), multi_label=multi)
        )
        values = torch.stack([item.detach().float() for item in losses.values()])
        if self.team.world > 1:
            both = torch.cat([values, values.new_tensor([right])])
            both = self.team.total(both) / self.team.world
            values, right = both[:-1], float(both[-1])
        return TrainStep(
            step=self.step,
            steps=self.config.steps,
            epoch=epoch,
            losses=dict(zip(losses, map(float, values), strict=True)),
            accuracy=None if logits is None else right,
        )

    def _update_average(self) -> None:
        # Early on the average follows quickly, or it would remember random heads.
        decay = min(self.config.average, self.step / (self.step + 10))
        with torch.no_grad():
            for key, value in self.model.state_dict().items():
                if value.is_floating_point() and self.config.average:
                    self.average[key].lerp_(value, 1 - decay)
                else:
                    self.average[key].copy_(value)

    def judge(self, score: float | None) -> bool:
        """Takes an evaluation of the present weights into account.

        Args:
            score: what weights are selected by; None where the last ones are taken.

        Returns:
            Whether they are the best so far; of equal ones, the latest are.
        """
        if score is None:
            return True
        previous = self.best.score if self.best is not None else None
        is_best = previous is None or score >= previous
        if is_best:
            self.best = Best(self.step, score, _copy(self.average))
        is_better = previous is None or score > previous
        self.since_best = 0 if is_better else self.since_best + 1
        self.stopped = 0 < self.config.patience <= self.since_best
        return is_best

    def lower_rates(self) -> None:
        """After a plateau; the training ends when rates have fallen to the floor."""
        self.plateau.count += 1
        highest = highest_rate(self.optimizer, self.config, self.plateau.count)
        self.stopped = self.stopped or highest <= self.config.floor

    def present_model(self) -> Model:
        """A model with the averaged weights as they are now."""
        return self._with(self.average)

    def finished_model(self) -> Model:
        """A model with the weights that were selected."""
        return self._with(self.average if self.best is None else self.best.weights)

    def _with(self, weights: dict[str, Tensor]) -> Model:
        result = Model(self.model.spec)
        result.load_state_dict(weights)
        return result.eval().to(self.device)

    def _belongs(self) -> dict[str, object]:
        """What a checkpoint must have in common with this training."""
        return {
            "recipe": self.recipe.text,
            "seed": self.config.seed,
            "number of processes": self.team.world,
            "data set, or other initial weights (--init)": self._start,
        }

    def save(self, path: Path) -> None:
        """Writes a checkpoint, all or nothing.

        Raises:
            ExportError: it cannot be written.
        """
        best, plateau = self.best, self.plateau
        state: dict[str, Any] = {
            **self._belongs(),
            "step": self.step,
            "offsets": self.model.encoder.offsets,
            "spec_offsets": self.model.spec.offsets,
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "best": None if best is None else (best.step, best.score, best.weights),
            "since_best": self.since_best,
            "judged": self.judged,
            "plateau": (plateau.best, plateau.since_best, plateau.count),
            "stopped": self.stopped,
        }
        write_checkpoint(path, state)

    def load(self, path: Path) -> None:
        """Goes on from a checkpoint.

        Raises:
            ModelError: it is damaged, or of another training.
        """
        state = read_checkpoint_state(path, self._belongs())
        self.step = state["step"]
        self.model.encoder.offsets = state["offsets"]
        self.model.spec = replace(self.model.spec, offsets=state["spec_offsets"])
        self.model.load_state_dict(state["model"])
        for key, value in state["average"].items():
            self.average[key].copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        if state["best"] is not None:
            self.best = Best(*state["best"])
        self.since_best, self.judged = state["since_best"], state["judged"]
        self.stopped = state["stopped"]
        plateau = self.plateau
        plateau.best, plateau.since_best, plateau.count = state["plateau"]


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in state.items()}


class Learner(nn.Module):
    """A model and the losses of its heads; what is run by several processes at once.

    Args:
        model: what is trained.
        recipe: says by which losses.
    """

    def __init__(self, model: Model, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.losses = {
            name: loss_of(name, recipe.model, recipe.losses.get(name))
            for name in recipe.model.heads
        }
        self._dropout = recipe.train.dropout
        self._gated = "sat" in self.losses and GATE in model.encoder.layers

    def forward(
        self,
        pixels: Tensor | Sequence[Tensor],
        labels: Tensor,
        all_labels: Tensor,
        seeds: Tensor | None,
        seed_weight: float,
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """The loss of each head, and the image logits.

        Args:
            pixels: (N, C, S, S) in [0, 1], or N bags (C, H, W) or (n, D).
            labels: (N, K) of 0 and 1.
            all_labels: those of the whole batch, all processes' together.
            seeds: (N, S, S) labels of pixels, or None.
            seed_weight: of their loss: how many more seeds this part of the batch has
                than the mean over all processes.

        Returns:
            Scalars by head; and (N, K) logits of the first head that classifies.
        """
        features, gate = self._encode(pixels)
        seen = tuple(map(self._dropped, features))
        losses: dict[str, Tensor] = {}
        first: Tensor | None = None
        for name, module in self.model.heads.items():
            head, config = cast("Head", module), self.losses[name]
            if isinstance(head, PixelHead):
                loss = self._seed_loss(head, features[0], cast("Tensor", seeds))
                losses[name] = config.weight * seed_weight * loss
                continue
            logits = torch.cat([head(item) for item in seen])
            first = logits.detach() if first is None else first
            lesson = Lesson(self.model, head, seen, gate, labels, all_labels, config)
            losses[name] = config.weight * LOSSES[config.loss](lesson, logits)
        return losses, first

    def _encode(
        self, pixels: Tensor | Sequence[Tensor]
    ) -> tuple[tuple[Features, ...], Tensor | None]:
        encoder, how = self.model.encoder, self.model.preprocessing
        device = self.model.device
        mean, std = planes(how.mean).to(device), planes(how.std).to(device)
        if isinstance(encoder, BagEncoder):
            bags = [((x - mean) / std)[0] if x.ndim > 2 else x for x in pixels]
            return tuple(encode_bag(encoder, item) for item in bags), None
        x = (cast("Tensor", pixels) - mean) / std
        with encoder.also((GATE,) if self._gated else ()):
            found: Features = encoder(x)
        gate = None
        if self._gated:
            gate = found.maps[found.names.index(GATE)]
            found = found.select(encoder.taps)
        if how.size is not None:
            found = stretched(found, how.size)
        return (found,), gate

    def _dropped(self, features: Features) -> Features:
        """What image heads see: whole channels are dropped (Dropout2d)."""
        if not self._dropout:
            return features
        maps = tuple(
            functional.dropout2d(item, self._dropout, self.training)
            for item in features.maps
        )
        return replace(features, maps=maps)

    @staticmethod
    def _seed_loss(head: PixelHead, features: Features, seeds: Tensor) -> Tensor:
        shape = (int(seeds.shape[-2]), int(seeds.shape[-1]))
        stride = head.read(features).strides[0]
        logits = on_grid(head(features), stride, shape, 1)
        return partial_cross_entropy(logits.movedim(CHANNEL_AXIS, -1), seeds)


def stretched(features: Features, size: int) -> Features:
    """Each map stretched over the whole of a fixed input, as at inference."""
    strides = tuple(size / item.shape[-1] for item in features.maps)
    offsets = tuple(nominal_offset(item) for item in strides)
    return Features(features.maps, strides, offsets, features.names)


def share_right(logits: Tensor, labels: Tensor, *, multi_label: bool) -> float:
    """Share of the images, or of their labels, that image logits get right.

    Args:
        logits: (N, K), or (N, 1) of the second of two classes.
        labels: (N, K) of 0 and 1.
        multi_label: whether every class is a question of its own.
    """
    if multi_label:
        return float(((logits > 0) == (labels > 0)).float().mean())
    if logits.shape[1] == 1:
        logits = functional.pad(logits, (1, 0))
    return float((logits.argmax(1) == labels.argmax(1)).float().mean())
