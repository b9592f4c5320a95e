"""``python -m napari_wsol.doctor.probe``: torch, and what is loaded with it.

A build of torch may end the process that loads it, and plugins may do anything: this
runs in a process of its own.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from napari_wsol.doctor.finding import Finding, quoted, tell
from napari_wsol.errors import ModelError, one_of_many

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def devices() -> Iterator[Finding]:
    """A small convolution on each device, compared with what it must give."""
    import torch

    yield Finding("torch", "ok", f"torch {torch.__version__} loads.")
    names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    for name in ("cpu", *names):
        yield _tried(name)


def _tried(name: str) -> Finding:
    import torch

    mend = (
        "Choose the device cpu, or install a torch that was built for this card: "
        "https://pytorch.org."
    )
    if name == "cpu":
        mend = "Install torch again: pip install --force-reinstall torch."
    rows = torch.arange(8.0)[:, None].expand(8, 8)[None, None]
    expected = 9 * (rows[..., :-2, :-2] + 1)
    try:
        kernel = torch.ones(1, 1, 3, 3, device=name)
        found = torch.nn.functional.conv2d(rows.to(name), kernel).cpu()
    except torch.OutOfMemoryError:
        mend = "Close other programs that use it, or choose the device cpu."
        return Finding("torch", "warning", f"The memory of {name} is full.", mend)
    except RuntimeError as error:
        said = " ".join(str(error).split())
        return Finding("torch", "fault", f"{name} does not work.", mend, said)
    if not torch.equal(found, expected):
        return Finding("torch", "fault", f"{name} computes wrong figures.", mend)
    return Finding("torch", "ok", f"{name} computes what it must.")


def extensions() -> Iterator[Finding]:
    """The plugins that add methods or encoders."""
    from napari_wsol.registry import plugins

    mend = "Update or mend it, or take it away; without it, all else works."
    for item in plugins():
        name = f"The plugin {quoted(item.name)}"
        if item.problem:
            text = f"{name} was left out."
            yield Finding("plugins", "fault", text, mend, item.problem)
        else:
            yield Finding("plugins", "ok", f"{name} loads.")


def models(*, fast: bool) -> Iterator[Finding]:
    """Digests of all installed models, and whether they compute what they did."""
    from napari_wsol.zoo import installed_folders

    for folder in installed_folders():
        found: list[Finding] = []

        def failed(reason: str, folder: Path = folder, found: list[Finding] = found):  # noqa: ANN202
            text = f"The model {quoted(folder.name)} is damaged."
            mend = "Copy its whole folder again; one that is bundled comes back with: "
            mend += "pip install --force-reinstall --no-deps napari-wsol."
            found.append(Finding("models", "fault", text, mend, reason))

        with one_of_many(failed):
            _verify(folder, fast=fast)
            text = f"The model {quoted(folder.name)} is intact."
            found.append(Finding("models", "ok", text))
        yield from found


def _verify(folder: Path, *, fast: bool) -> None:
    from napari_wsol.files import sha256_of
    from napari_wsol.zoo import WEIGHTS, read_card, verify

    card = read_card(folder)
    if not fast:
        verify(card)
    elif sha256_of(folder / WEIGHTS) != card.sha256:
        raise ModelError("The weights are not those of the card.")


if __name__ == "__main__":
    for each in (devices(), extensions(), models(fast="--fast" in sys.argv)):
        for one in each:
            tell(one)
