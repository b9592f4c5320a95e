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
class MethodFacts:
    """What the list of methods says of one.

    Attributes:
        name: key in the table of methods.
        title: the name as its paper writes it.
        is_probability: whether its values are probabilities.
        reads_layers: whether it can be read at a layer of one's choice.
        slow: whether it takes minutes.
        note: what a reader of its maps must know; empty if nothing.
    """

    name: str
    title: str
    is_probability: bool
    reads_layers: bool
    slow: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything installed.

    Attributes:
        cards: of the models.
        methods: all that there are.
        devices: (title, name); the best first.
    """

    cards: tuple[Card, ...]
    methods: tuple[MethodFacts, ...]
    devices: tuple[tuple[str, str], ...]


def read_catalogue() -> Catalogue:
    """Look up what is installed; takes seconds the first time."""
    # napari's Vectors layer imports it at first use: not while a person waits.
    import pandas  # noqa: F401

    from napari_wsol.methods import get_method, list_methods
    from napari_wsol.zoo import list_models

    methods = tuple(
        MethodFacts(
            item.name,
            item.title,
            item.is_probability,
            item.reads_layers,
            item.slow,
            item.note,
        )
        for item in map(get_method, list_methods())
    )
    return Catalogue(tuple(list_models()), methods, _devices())


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
