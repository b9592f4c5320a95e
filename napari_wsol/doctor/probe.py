"""``python -m napari_wsol.doctor.probe WHAT``: loads libraries, or code of others.

A library may end the process that loads it, and a plugin do anything: this is run in a
process of its own.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from napari_wsol.doctor.finding import Finding, tell
from napari_wsol.errors import ConfigError, install, one_of_many

if TYPE_CHECKING:
    from collections.abc import Iterator

READERS = {
    "imagecodecs": ("", "compressed pixels"),
    "openslide": ("slides", "slides of MRXS, VMS and others"),
    "pydicom": ("dicom", "films in DICOM"),
    "wsidicom": ("dicom", "slides in DICOM"),
    "h5py": ("h5", "features in HDF5"),
}
"""Modules, the extra that brings each, and what is read with it."""


def readers() -> Iterator[Finding]:
    """What can be read, and what another extra would add."""
    for module, (extra, kind) in READERS.items():
        mend = install(extra) if extra else f"pip install {module}"
        text = f"No {kind} without {module}: {mend}"
        try:
            import_module(module)
            yield Finding("readers", "ok", f"{module} reads {kind}.")
        except ModuleNotFoundError as error:
            yield Finding("readers", "warning" if extra else "fault", text, str(error))
        except Exception as error:  # noqa: BLE001 - a broken library raises anything
            yield Finding("readers", "fault", text, str(error))


def torch_devices() -> Iterator[Finding]:
    """A small convolution on each device."""
    import torch

    from napari_wsol.devices import choose_device

    names = ["cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))]
    for name in [*names, *["mps"] * torch.backends.mps.is_available()]:
        try:
            choose_device(name)
        except ConfigError as error:
            text = f"{name} does not work: use another, or a torch built for it."
            if isinstance(error.__cause__, torch.OutOfMemoryError):
                text = f"The memory of {name} is full: close what uses it, or use cpu."
            yield Finding("torch", "fault", text, str(error))
        else:
            yield Finding("torch", "ok", f"torch {torch.__version__} works on {name}.")


def extensions() -> Iterator[Finding]:
    """Plugins that load, and models that compute what they did."""
    from napari_wsol.registry import plugins
    from napari_wsol.zoo import installed_folders, read_card, verify

    for item in plugins():
        text = f"“{item.name}” was left out: update it, or take it away."
        bad = Finding("plugins", "fault", text, item.problem)
        yield bad if item.problem else Finding("plugins", "ok", f"“{item.name}” loads.")
    for folder in installed_folders():
        said: list[str] = []
        with one_of_many(said.append):
            verify(read_card(folder))
            yield Finding("models", "ok", f"“{folder.name}” is intact.")
        text = (
            f"“{folder.name}” is damaged. Copy its whole folder again; where it came "
        )
        text += "with napari-wsol, install that again (pip install --force-reinstall)."
        yield from (Finding("models", "fault", text, why) for why in said)


if __name__ == "__main__":
    checks = {"readers": readers, "torch": torch_devices, "plugins": extensions}
    tell(checks[sys.argv[1]]())
