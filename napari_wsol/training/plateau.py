"""Rates that fall when a training gets no better, as PYLON was trained.

Preechakul et al. 2022 (iScience 25, 103933) and the authors' code: reduce on plateau.
The rule is that of ``torch.optim.lr_scheduler.ReduceLROnPlateau`` with its defaults: an
evaluation counts as better if it is so by at least one part in ten thousand.
"""

from __future__ import annotations

from dataclasses import dataclass

from napari_wsol.errors import ConfigError

THRESHOLD = 1e-4
"""Share of the best value that a better one must be better by."""

State = tuple[float | None, int, int]


@dataclass(slots=True)
class Plateau:
    """Counts evaluations without a better one.

    Attributes:
        by: name of the evaluation, "loss" for one that falls as it gets better.
        patience: evaluations in a row without a better one that are borne.
        best: the best value so far.
        since_best: evaluations in a row without a better one, since the last plateau.
        count: plateaus so far.
    """

    by: str
    patience: int
    best: float | None = None
    since_best: int = 0
    count: int = 0

    def look(self, values: dict[str, float]) -> bool:
        """Takes an evaluation into account.

        Args:
            values: of the evaluation, by name.

        Returns:
            Whether this one makes a plateau.

        Raises:
            ConfigError: the evaluation has not what the plateau goes by.
        """
        if self.by not in values:
            raise ConfigError(
                f"A plateau goes by “{self.by}”, which was not evaluated. Name a split "
                "for it in [data]."
            )
        value = values[self.by]
        if self._is_better(value):
            self.best, self.since_best = value, 0
            return False
        self.since_best += 1
        if self.since_best <= self.patience:
            return False
        self.since_best = 0
        return True

    def _is_better(self, value: float) -> bool:
        if self.best is None:
            return True
        if self.by == "loss":
            return value < self.best * (1 - THRESHOLD)
        return value > self.best * (1 + THRESHOLD)

    @property
    def state(self) -> State:
        """What a checkpoint keeps."""
        return self.best, self.since_best, self.count

    def restore(self, state: State) -> None:
        """Goes on from what a checkpoint kept."""
        self.best, self.since_best, self.count = state
