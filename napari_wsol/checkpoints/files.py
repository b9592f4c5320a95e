"""Reads weight files without running anything that is in them."""

from __future__ import annotations

import logging
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy._core import multiarray
from torch.serialization import safe_globals

from napari_wsol.checkpoints.pickles import as_protocol_2
from napari_wsol.config import WEIGHT_SUFFIXES
from napari_wsol.errors import ModelError
from napari_wsol.foreign import kind_of_file

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    State = dict[str, Tensor]

logger = logging.getLogger(__name__)

NESTS = ("state_dict", "model_state_dict", "model", "net")
"""Entries under which training scripts put the weights."""

# PCAM's checkpoints hold their best scores as numpy scalars. What numpy needs to
# rebuild plain numbers runs no code of the file.
_NUMBERS: list[Any] = [
    np.dtype,
    np.ndarray,
    *(getattr(np.dtypes, name) for name in dir(np.dtypes) if name.endswith("DType")),
    *(
        (getattr(multiarray, name), f"{module}.{name}")
        for name in ("scalar", "_reconstruct")
        for module in ("numpy._core.multiarray", "numpy.core.multiarray")
    ),
]


def read_file(path: Path) -> Mapping[str, object]:
    """What a weight file holds: a dict of tensors, numbers and more dicts.

    Args:
        path: safetensors, or any file of ``torch.save``, however old.

    Raises:
        ModelError: it cannot be read, or holds more than data; says what to do.
    """
    if not path.is_file():
        raise ModelError(f"There is no file {path}.")
    foreign = kind_of_file(path)
    if foreign is not None:
        raise ModelError(f"{path.name} {foreign}.")
    try:
        if path.suffix == ".safetensors":
            return cast("Mapping[str, object]", safetensors.torch.load_file(path))
        found = _read_torch(path)
    except ModelError:
        raise
    except Exception as error:  # torch, zipfile and safetensors raise many kinds
        raise _unreadable(path, error) from error
    if not isinstance(found, Mapping):
        raise ModelError(
            f"{path.name} holds {type(found).__name__}, not named weights. In its "
            "authors' code, save model.state_dict()."
        )
    return cast("Mapping[str, object]", found)


def _read_torch(path: Path) -> object:
    with safe_globals(_NUMBERS), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about protocols, which are dealt with here
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if "Unsupported operand" not in str(error):
                raise
            logger.debug("%s: rewritten as protocol 2 (%s)", path, error)
            return torch.load(
                as_protocol_2(path), map_location="cpu", weights_only=True
            )


def _unreadable(path: Path, error: Exception) -> ModelError:
    words = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    named = re.search(r"GLOBAL ([\w.]+) was not an allowed global", words)
    if named is not None:
        return ModelError(
            f"{path.name} holds a Python object ({named[1]}), not only weights. "
            "Opening it would run code from the file, so it is not opened. Load it "
            "where you trust it, in its authors' code, and save "
            "torch.save(model.state_dict(), FILE): that file can be imported."
        )
    if path.suffix in (".yaml", ".yml"):
        return ModelError(
            f"{path.name} holds settings, not weights, and may hold Python objects, "
            "which are not opened. Give the folder that it lies in."
        )
    if isinstance(error, zipfile.BadZipFile | EOFError) or "PytorchStream" in words:
        return ModelError(f"{path.name} is cut off or damaged: copy it again.")
    return ModelError(
        f"{path.name} is no weight file that can be read: give a file of torch.save "
        f"({', '.join(WEIGHT_SUFFIXES)}) or the folder that its authors' code wrote. "
        f"({words.splitlines()[0][:120] if words else type(error).__name__})"
    )


def tensors_in(found: Mapping[str, object]) -> State:
    """The weights in a file, wherever they are nested, without ``module.``.

    Returns:
        Name → tensor; empty if there are none.
    """
    for nest in NESTS:
        inner = found.get(nest)
        if isinstance(inner, Mapping):
            state = tensors_in(cast("Mapping[str, object]", inner))
            if state:
                return state
    state = {key: item for key, item in found.items() if isinstance(item, torch.Tensor)}
    if state and all(key.startswith("module.") for key in state):
        # torch.nn.DataParallel puts it before every name.
        state = {key.removeprefix("module."): item for key, item in state.items()}
    return state


def read_state(path: Path) -> State:
    """The weights of a file, flat.

    Raises:
        ModelError: it cannot be read or holds none.
    """
    state = tensors_in(read_file(path))
    if not state:
        raise ModelError(
            f"{path.name} holds no weights. In its authors' code, save "
            "model.state_dict()."
        )
    return state


def settings_text(path: Path) -> dict[str, str]:
    """The plain ``key: value`` lines of a YAML file, read as text.

    Such files hold Python objects, which only an unsafe loader would build.
    """
    if not path.is_file():
        return {}
    lines = path.read_text("utf-8", errors="replace").splitlines()
    found = (re.match(r"\s*(\w+):\s*([\w.+-]+)\s*$", line) for line in lines)
    return {match[1]: match[2] for match in found if match is not None}
