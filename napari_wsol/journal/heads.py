"""Pixel heads of rounds: one file each in the journal's folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING, cast

from napari_wsol.errors import ModelError
from napari_wsol.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from napari_wsol.journal.entries import RoundMade

_PATTERN = "round-*.safetensors"
_LENGTH = 8
"""Bytes that hold the length of a file's header, which is padded to as many."""


def head_bytes(state: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> bytes:
    """A state as the content of a safetensors file; the same state, the same bytes."""
    import safetensors.torch

    data = safetensors.torch.save(
        {name: value.detach().cpu().contiguous() for name, value in state.items()},
        dict(metadata),
    )
    # The library writes metadata in an order that changes from run to run.
    end = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    header = json.dumps(
        json.loads(data[_LENGTH:end]), sort_keys=True, separators=(",", ":")
    ).encode("ascii")
    header += b" " * (-len(header) % _LENGTH)
    return len(header).to_bytes(_LENGTH, "little") + header + data[end:]


def write_head(folder: Path, index: int, data: bytes) -> tuple[str, str]:
    """Writes a file that is there as a whole or not at all.

    Its name holds its digest, so that no head ever replaces another one.

    Returns:
        Name and sha256.

    Raises:
        OSError: it cannot be written.
    """
    digest = hashlib.sha256(data).hexdigest()
    path = folder / f"round-{index:04d}-{digest[:12]}.safetensors"
    with whole_file(path) as draft:
        draft.write_bytes(data)
    return path.name, digest


def read_head(
    folder: Path, made: RoundMade
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The head of a round, and what was said of it.

    Raises:
        ModelError: there is none, or it is not the one that was written.
    """
    import safetensors.torch

    where = f"The head of round {made.index}"
    if not made.head:
        raise ModelError(f"{where} was not kept; refine again to get it.")
    try:
        data = (folder / made.head).read_bytes()
    except OSError as error:
        raise ModelError(
            f"{where} ({made.head} in “{folder}”) cannot be read ({error.strerror}); "
            "refine again to get it."
        ) from error
    if hashlib.sha256(data).hexdigest() != made.head_sha256:
        raise ModelError(
            f"{where} ({made.head} in “{folder}”) is damaged; refine again to get it."
        )
    end = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    header = cast("dict[str, dict[str, str]]", json.loads(data[_LENGTH:end]))
    return safetensors.torch.load(data), header.get("__metadata__", {})


def copy_heads(source: Path, target: Path) -> None:
    """Copies all heads of a folder to another one.

    Raises:
        OSError: one cannot be read or written.
    """
    for path in sorted(source.glob(_PATTERN)):
        with whole_file(target / path.name) as draft:
            shutil.copyfile(path, draft)
