"""What can be chosen: models, methods and devices.

Reading it imports torch, so it is asked for on a thread of its own.
"""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_wsol.methods.card import Card


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything installed.

    Attributes:
        cards: of the models.
        titles: method → its title.
        devices: (title, name); the best first.
    """

    cards: tuple[Card, ...]
    titles: dict[str, str]
    devices: tuple[tuple[str, str], ...]


def read_catalogue() -> Catalogue:
    """Look up what is installed; takes seconds the first time."""
    # napari's Vectors layer imports it at first use: not while a person waits.
    import pandas  # noqa: F401

    from napari_wsol.methods import list_methods, method_title
    from napari_wsol.zoo import list_models

    titles = {name: method_title(name) for name in list_methods()}
    # The refined method first: it is the one that strokes can correct.
    ordered = sorted(titles, key=lambda name: (name != "pixelcam", name != "pcam"))
    return Catalogue(
        tuple(list_models()), {name: titles[name] for name in ordered}, _devices()
    )


def _devices() -> tuple[tuple[str, str], ...]:
    import torch

    found = [
        (f"GPU · {torch.cuda.get_device_name(place)}", f"cuda:{place}")
        for place in range(
            torch.cuda.device_count() if torch.cuda.is_available() else 0
        )
    ]
    if torch.backends.mps.is_available():
        found.append(("GPU · Apple", "mps"))
    if not found:
        return (("CPU", "cpu"),)
    return (("automatic", "auto"), *found, ("CPU", "cpu"))
