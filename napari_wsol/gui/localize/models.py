"""What can be chosen (models, methods and devices), and a model's card to read."""

from __future__ import annotations

import html
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QDialog, QDialogButtonBox, QTextBrowser, QVBoxLayout

from napari_wsol.gui.widgets.panel import add_buttons

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtpy.QtWidgets import QWidget

    from napari_wsol.methods import Method
    from napari_wsol.methods.card import Card


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything installed.

    Attributes:
        cards: of the models.
        methods: all that there are.
        devices: (title, name); the best first.
    """

    cards: tuple[Card, ...]
    methods: tuple[Method, ...]
    devices: tuple[tuple[str, str], ...]


def read_catalogue() -> Catalogue:
    """Look up what is installed; takes seconds the first time."""
    # napari's Vectors layer imports it at first use: not while a person waits.
    importlib.import_module("pandas")

    from napari_wsol.methods import get_method, list_methods
    from napari_wsol.zoo import list_models

    methods = tuple(map(get_method, list_methods()))
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


class CardDialog(QDialog):
    """Shows one card."""

    def __init__(self, card: Card, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"Model: {card.title}")
        self.resize(560, 620)
        self.text = QTextBrowser(self)
        self.text.setOpenExternalLinks(True)
        self.text.setHtml(card_html(card))
        QVBoxLayout(self).addWidget(self.text)
        add_buttons(self, QDialogButtonBox.StandardButton.Close)


def card_html(card: Card) -> str:
    """The card as rich text."""
    size = "any pixel size" if card.mpp is None else f"{card.mpp:g} µm a pixel"
    parts = [
        f"<h3>{html.escape(card.title)}</h3>",
        f"<p>{html.escape(card.summary)}</p>",
        "<p><b>Research use only, not for diagnosis.</b></p>",
        _list("Not good for", card.limits),
        _paragraph("Made from", card.data),
        _paragraph("Started from", card.origin),
        _paragraph("Licence", card.license),
        _figures(card.metrics),
        _paragraph("Cut", card.cut_note),
        _paragraph("Other images", card.appearance_note),
        _list("The same recipe again", card.reproducibility),
        _paragraph("Classes", ", ".join(card.classes)),
        _paragraph("Network", f"{card.encoder}, input at {size}"),
        _list("Please cite", card.citations),
        _paragraph("Folder", str(card.folder)),
        _paragraph("Weights (sha256)", card.sha256),
    ]
    return "".join(parts)


def _paragraph(title: str, text: str) -> str:
    return f"<p><b>{title}.</b> {html.escape(text)}</p>" if text else ""


def _list(title: str, lines: tuple[str, ...]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<p><b>{title}</b></p><ul>{items}</ul>"


def _figures(metrics: Mapping[str, object]) -> str:
    rows = "".join(_figure_rows(metrics, ""))
    return f"<p><b>Measured</b></p><table>{rows}</table>" if rows else ""


def _figure_rows(metrics: Mapping[str, object], prefix: str) -> list[str]:
    rows = []
    for name, value in metrics.items():
        title = f"{prefix} {name}".strip().replace("_", " ")
        if isinstance(value, dict):
            rows += _figure_rows(value, title)
            continue
        shown = f"{value:.3g}" if isinstance(value, float) else str(value)
        rows.append(
            f"<tr><td>{html.escape(title)}&nbsp;&nbsp;</td>"
            f"<td>{html.escape(shown)}</td></tr>"
        )
    return rows
