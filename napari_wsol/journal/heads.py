"""Pixel heads of rounds: one file each in the journal's folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING

from msgspec import Struct, field

from napari_wsol.errors import ModelError, told_as
from napari_wsol.files import read_whole, whole_file
from napari_wsol.files.parsing import parse_json, typed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from napari_wsol.journal.entries import RoundMade

_PATTERN = "round-*.safetensors"
_LENGTH = 8
"""Bytes that hold the length of a file's header, which is padded to as many."""


HEAD_BYTES = 1 << 30
"""Of a file; with the last stage of an encoder it has some 100 MB."""


class _Header(Struct):
    """What is looked at of the header of a file."""

    metadata: dict[str, str] = field(
        name="__metadata__", default_factory=dict[str, str]
    )


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

    def told(error: Exception) -> ModelError:
        why = error.strerror if isinstance(error, OSError) else error
        return ModelError(
            f"{where} ({made.head} in “{folder}”) cannot be read ({why}); "
            "refine again to get it."
        )

    with told_as(told, but=ModelError):
        data = read_whole(folder / made.head, HEAD_BYTES)
        if hashlib.sha256(data).hexdigest() != made.head_sha256:
            raise ModelError(
                f"{where} ({made.head} in “{folder}”) is damaged; refine again to get "
                "it."
            )
        end = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
        header = typed(parse_json(data[_LENGTH:end]), _Header)
        return safetensors.torch.load(data), header.metadata


def copy_heads(source: Path, target: Path) -> None:
    """Copies all heads of a folder to another one.

    Raises:
        OSError: one cannot be read or written.
    """
    for path in sorted(source.glob(_PATTERN)):
        with whole_file(target / path.name) as draft:
            shutil.copyfile(path, draft)
