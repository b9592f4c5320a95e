"""Reads weight files without running anything that is in them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import safetensors

from napari_wsol.checkpoints.archives import Tensors, open_archive
from napari_wsol.checkpoints.families import modern_names
from napari_wsol.checkpoints.pickles import (
    ForeignObjectError,
    StoredNumbers,
    StoredTensor,
)
from napari_wsol.config import WEIGHT_SUFFIXES
from napari_wsol.errors import MalformedError, ModelError
from napari_wsol.files import check_file, read_whole
from napari_wsol.files.foreign import kind_of_file

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from torch import Tensor

    State = dict[str, Tensor]

MOST_NESTED = 6
"""Tables in tables that are looked into: trainers of trainers use two."""

HEADER_BYTES = 16 << 20
"""Of the list of tensors in a safetensors file; 100,000 of them."""

SETTINGS_BYTES = 1 << 20
"""Of the settings beside a checkpoint, which a person wrote."""

SHARED = 4
"""How often the same numbers may be told as weights: tied ones are told twice."""


def read_state(path: Path) -> State:
    """The tensors of a file by name, flat: what nests them stands before, with a dot.

    Nothing that the file names is imported, called or built.

    Args:
        path: safetensors, or any file of ``torch.save``, however old.

    Raises:
        ModelError: it cannot be read, holds more than data, or no weights; says what
            to do.
    """
    try:
        check_file(path)
        if path.suffix == ".safetensors":
            state = read_safetensors(path)
        else:
            state = _read_torch(path)
    except FileNotFoundError as error:
        raise ModelError(f"There is no file {path}.") from error
    except (OSError, MalformedError) as error:
        raise _unreadable(path, error) from error
    if not state:
        raise ModelError(
            f"{path.name} holds no weights. In its authors' code, save "
            "model.state_dict()."
        )
    return modern_names(state)


def read_safetensors(path: Path) -> State:
    """The tensors of a safetensors file.

    Raises:
        OSError: it cannot be read, or is no file.
        MalformedError: it is damaged.
    """
    opened: Any  # safetensors has no types of its own
    with _opened(path) as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


def read_metadata(path: Path) -> dict[str, str]:
    """What is said of the tensors of a safetensors file; no number is read.

    Raises:
        OSError: it cannot be read, or is no file.
        MalformedError: it is damaged.
    """
    with _opened(path) as file:
        return file.metadata() or {}


@contextmanager
def _opened(path: Path) -> Generator[Any]:
    size = check_file(path)
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > min(size, HEADER_BYTES):
        raise MalformedError("it is cut off or damaged")
    try:
        with safetensors.safe_open(path, "pt") as opened:  # type: ignore[reportUnknownVariableType]
            yield opened
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise MalformedError(f"it is cut off or damaged ({error})") from error


def _read_torch(path: Path) -> State:
    archive = open_archive(path)
    stored = dict(_stored_in(archive.contents.plain, "", MOST_NESTED, set()))
    if not stored and archive.contents.passed:
        raise ForeignObjectError(archive.contents.passed[0])
    told = Counter[StoredNumbers]()
    for item in stored.values():
        told[item.numbers] += math.prod(item.shape)
    if any(shown > SHARED * numbers.count for numbers, shown in told.items()):
        raise MalformedError("it tells the same numbers as many weights")
    tensors = Tensors(archive)
    return {key: tensors.tensor(item) for key, item in stored.items()}


def _stored_in(
    found: object, before: str, depth: int, seen: set[int]
) -> Iterator[tuple[str, StoredTensor]]:
    """Every tensor that has a name, also in tables of tables and in lists of them."""
    if not depth or id(found) in seen:
        return
    seen.add(id(found))  # a table may lie in itself, or in many others
    table: dict[object, object] = {}
    if isinstance(found, Mapping):
        table = dict(cast("Mapping[object, object]", found))
    elif isinstance(found, list | tuple):
        rows = enumerate(cast("list[object]", found))
        table = {at: x for at, x in rows if not isinstance(x, StoredTensor)}
    for key, item in table.items():
        if isinstance(item, StoredTensor):
            yield f"{before}{key}", item
        yield from _stored_in(item, f"{before}{key}.", depth - 1, seen)


def _unreadable(path: Path, error: Exception) -> ModelError:
    foreign = kind_of_file(path)
    if foreign is not None:
        return ModelError(f"{path.name} {foreign}.")
    if isinstance(error, ForeignObjectError):
        return _holds_object(path, str(error))
    if isinstance(error, OSError):
        return ModelError(
            f"{path.name} cannot be read ({error.strerror or error}): check that the "
            "disk is still there and that you may read it."
        )
    if path.suffix in (".yaml", ".yml"):
        return ModelError(
            f"{path.name} holds settings, not weights, and may hold Python objects, "
            "which are not opened. Give the folder that it lies in."
        )
    if "cut off" in str(error):
        return ModelError(f"{path.name} is cut off or damaged: copy it again.")
    return ModelError(
        f"{path.name} is no weight file that can be read: {error}. Give a file of "
        f"torch.save ({', '.join(WEIGHT_SUFFIXES)}), or the folder that its authors' "
        "code wrote."
    )


def _holds_object(path: Path, name: str) -> ModelError:
    if name.startswith("torch._utils._rebuild"):
        return ModelError(
            f"{path.name} holds weights that are sparse, quantized or of another kind "
            f"that is not read ({name}): save them as plain real numbers."
        )
    return ModelError(
        f"{path.name} holds a Python object ({name}), not only weights. "
        "Opening it would run code from the file, so it is not opened. Load it "
        "where you trust it, in its authors' code, and save "
        "torch.save(model.state_dict(), FILE): that file can be imported."
    )


def settings_text(path: Path) -> dict[str, str]:
    """The plain ``key: value`` lines of a YAML file, read as text.

    Such files hold Python objects, which only an unsafe loader would build.
    """
    try:
        text = read_whole(path, SETTINGS_BYTES).decode("utf-8", "replace")
    except (OSError, MalformedError):
        return {}
    lines = text.splitlines()
    found = (re.match(r"\s*(\w+):\s*([\w.+-]+)\s*$", line) for line in lines)
    return {match[1]: match[2] for match in found if match is not None}
