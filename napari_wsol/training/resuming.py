"""Checkpoint files: written all or nothing, read without running their code."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, cast

import torch

from napari_wsol.errors import ExportError, ModelError
from napari_wsol.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from torch import Tensor

FORMAT = 3
"""Version of the checkpoint file."""


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint; the one that was there stays until the new one is whole.

    Raises:
        ExportError: it cannot be written.
    """
    try:
        with whole_file(path) as draft, draft.open("wb") as file:
            torch.save({"format": FORMAT, **state}, file)
    except (OSError, RuntimeError) as error:
        raise ExportError(
            f"The checkpoint {path} cannot be written: {error}. Is the disk full?"
        ) from error


def read_checkpoint_state(path: Path, belongs: dict[str, object]) -> dict[str, Any]:
    """The state of a checkpoint, on the CPU.

    Args:
        path: the file.
        belongs: entries that must be the same: what the training was started with.

    Raises:
        ModelError: it is damaged, or of another training; says in what they differ.
    """
    try:
        state: Any = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises many kinds for a damaged file
        raise ModelError(
            f"The checkpoint {path} cannot be read ({error}). "
            "Start again without --resume."
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ModelError(
            f"The checkpoint {path} is of another version. "
            "Start again without --resume, in another folder."
        )
    for what, expected in belongs.items():
        if state.get(what) != expected:
            raise ModelError(
                f"The checkpoint {path} belongs to another {what}. Give what the "
                "training was started with, or start again without --resume, in "
                "another folder."
            )
    return cast("dict[str, Any]", state)


def digest(tensors: Iterable[Tensor]) -> str:
    """sha256 of the values of tensors on the CPU, in order."""
    found = hashlib.sha256()
    for item in tensors:
        found.update(item.detach().contiguous().numpy().tobytes())
    return found.hexdigest()
