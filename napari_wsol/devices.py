"""Which device torch runs on, and what is said where its memory does not suffice."""

from __future__ import annotations

import logging
from traceback import clear_frames
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from napari_wsol.errors import KNOWN, ConfigError, DeviceMemoryError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

NO_ROOM = (
    "The graphics card has not enough memory for this image, so the processor did the "
    "work: slower, with the same result."
)

logger = logging.getLogger(__name__)


def _out_of_memory() -> DeviceMemoryError:
    return DeviceMemoryError(
        "The graphics card has not enough memory for this. Close other programs that "
        "use it; lower the memory budget or the tile core, or a training's batch; or "
        "choose the device “cpu”, which is slower."
    )


KNOWN[torch.OutOfMemoryError] = _out_of_memory


def choose_device(name: str = "auto") -> torch.device:
    """A device that works.

    "auto" takes a GPU only after a small convolution ran on it: an old card may be
    listed by a build that has no kernels for it.

    Raises:
        ConfigError: torch knows no such device, or it is not there.
    """
    if name != "auto":
        try:
            return _probe(name)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(
                f"The device “{name}” does not work here: {error}. "
                "Use “cpu”, or “auto” to let the program choose."
            ) from error
    for candidate in ("cuda", "mps"):
        backend = getattr(torch, candidate, None)
        if backend is None or not backend.is_available():
            continue
        try:
            return _probe(candidate)
        except RuntimeError as error:
            logger.warning("%s is there but does not work: %s", candidate, error)
    return torch.device("cpu")


def with_room(model: nn.Module, work: Callable[[], T]) -> tuple[T, tuple[str, ...]]:
    """Does something; where the device of a model is full, again on the processor.

    Args:
        model: what the work is done with; it stays on the processor then.
        work: changes nothing where it fails.

    Returns:
        What it gives, and the sentence that tells of it, if any.
    """
    try:
        return work(), ()
    except torch.OutOfMemoryError as error:
        clear_frames(error.__traceback__)  # its tensors are what fills the memory
    logger.warning(NO_ROOM)
    leave_device(model)
    return work(), (NO_ROOM,)


def leave_device(model: nn.Module) -> None:
    """Moves a model to the processor; other programs may have its memory."""
    model.to("cpu")
    give_memory_back()


def give_memory_back() -> None:
    """What torch keeps of a graphics card's memory for later is free."""
    for name in ("cuda", "mps"):
        backend = getattr(torch, name, None)
        if backend is not None and backend.is_available():
            backend.empty_cache()


def _probe(name: str) -> torch.device:
    """The device, after a small convolution gave on it what it must.

    Raises:
        RuntimeError: it gave something else.
    """
    rows = torch.arange(8.0, device=name).view(1, 1, 8, 1).expand(1, 1, 8, 8)
    found = nn.functional.conv2d(rows, torch.ones(1, 1, 3, 3, device=name))
    if not (found == 9 * (rows[..., :-2, :-2] + 1)).all():
        raise RuntimeError("a convolution gave wrong figures")
    return torch.device(name)
