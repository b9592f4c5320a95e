"""The methods of the loaded model: what it can do, and why it cannot do the rest."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from napari_wsol.gui.compat import needed
from napari_wsol.gui.widgets.elided import Choice, Fold, Tick, Words
from napari_wsol.gui.widgets.panel import fill_column, row

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from napari_wsol.evaluation.sanity import Trust
    from napari_wsol.methods import Method

LAYER_TIP = (
    "Where in the network the ticked read-outs look: the last layer is coarse and "
    "knows most of the class, earlier ones are finer. Maps at other layers that are "
    "shown already stay beside the new ones; delete a map's layer to let go of it."
)


BADGES = {
    "good": ("●", "#2fb67c"),
    "partly": ("▲", "#e69f00"),
    "bad": ("■", "#d55e00"),
    "unchecked": ("○", "#8f939a"),
}
"""What maps are worth: by shape as well as by colour."""

UNCHECKED = ("unchecked", "Not checked: “Can I believe this?” in Compare does it.")


class MethodList(QWidget):
    """Check boxes for what the model can do; what it cannot is behind a fold."""

    def __init__(self) -> None:
        super().__init__()
        self.boxes: dict[str, Tick] = {}
        self._methods: dict[str, Method] = {}
        self._wishes: dict[str, bool] = {}
        self._own, self._more = QGridLayout(), QGridLayout()
        self.layer_box = Choice()
        self._layer_label = QLabel("Layer")
        for grid in (self._own, self._more):
            grid.setHorizontalSpacing(8)
            grid.setVerticalSpacing(3)
        more, why = QWidget(), QWidget()
        layer = row(self._layer_label, self.layer_box, stretch=1, spacing=6)
        fill_column(more, self._more, layer, margins=(0, 0, 0, 4))
        self._reasons = fill_column(why, margins=(0, 0, 0, 4))
        self.more_fold = Fold(
            "More methods", more, "Other ways to read out what this model has learnt."
        )
        self.why_fold = Fold(
            "Not for this model", why, "Methods that need another model, and why."
        )
        fill_column(
            self, self._own, self.more_fold, more, self.why_fold, why, spacing=2
        )
        # Their room is there from the beginning: the model comes in a moment.
        self._own.setRowMinimumHeight(0, Tick("").sizeHint().height())
        self._offer(self.more_fold, False)
        self._offer(self.why_fold, False)
        self.show_layers(())

    # ------------------------------------------------------------------ what is chosen

    @property
    def ticked(self) -> list[str]:
        """Names of the ticked methods, in the order in which they are listed."""
        return [name for name, box in self.boxes.items() if box.isChecked()]

    def keys(self, shown: Collection[str] = ()) -> list[str]:
        """The ticked methods, those that read layers at the chosen one.

        Args:
            shown: keys whose maps are shown. A ticked method goes on being read at
                the other layers at which it is shown.
        """
        layers = self._layers()
        result = []
        for name in self.ticked:
            if not self._methods[name].reads_layers:
                result.append(name)
                continue
            result += [
                key
                for key in (_key(name, layer) for layer in layers)
                if key in shown or key == _key(name, self.layer_box.currentData())
            ]
        return result

    # ------------------------------------------------------------------- what is shown

    def show_methods(
        self,
        methods: Iterable[Method],
        own: Sequence[str],
        reasons: Mapping[str, str],
    ) -> None:
        """List the methods anew; what the person has ticked before stays ticked.

        Args:
            methods: to list.
            own: those that the model was made for; ticked where the person has not
                said otherwise. The others follow, unticked.
            reasons: why the model cannot, of those that it cannot.
        """
        self._methods = {item.name: item for item in methods}
        able = [item for item in self._methods.values() if item.name not in reasons]
        first = [item for item in able if item.name in own]
        first.sort(key=lambda item: list(own).index(item.name))
        rest = [item for item in able if item.name not in own]
        rest.sort(key=lambda item: (item.slow, item.title.casefold()))
        self._clear()
        self._fill(self._own, first)
        self._fill(self._more, rest)
        self._tick({item.name for item in first})
        self._explain(reasons)
        has_layers = any(item.reads_layers for item in able)
        self._offer(self.more_fold, bool(rest) or has_layers)
        ticked = any(self.boxes[item.name].isChecked() for item in rest)
        if self.more_fold.isEnabled() and (ticked or not first):
            self.more_fold.setChecked(True)
        self._update()

    def show_trust(self, found: Mapping[str, Trust]) -> None:
        """A badge for each method that something is known of; in words at the mouse."""
        for name, box in self.boxes.items():
            one = found.get(name)
            level, words = one.verdict if one else UNCHECKED
            told = (_tip(self._methods[name]), words, *(one.caveats if one else ()))
            box.setIcon(badge(*BADGES[level]))
            box.setToolTip(" ".join(told))

    def show_layers(self, layers: Sequence[str]) -> None:
        """The layers that can be read, finest first, the last one chosen."""
        last = f"last ({layers[-1]})" if layers else "last"
        others = [(name, name) for name in reversed(layers[:-1])]
        self.layer_box.offer([(last, None), *others], self.layer_box.currentData())
        self._update()

    def _layers(self) -> list[str | None]:
        return [self.layer_box.itemData(k) for k in range(self.layer_box.count())]

    def _clear(self) -> None:
        for box in self.boxes.values():
            box.setParent(None)
            box.deleteLater()
        self.boxes = {}
        while self._reasons.count():
            words = needed(needed(self._reasons.takeAt(0)).widget())
            words.setParent(None)
            words.deleteLater()

    def _fill(self, grid: QGridLayout, items: Sequence[Method]) -> None:
        """Read down the columns: two of them, three where the titles are short."""
        columns = 3 if all(len(_title(item)) <= 8 for item in items) else 2
        rows = -(-len(items) // columns)
        for place, item in enumerate(items):
            box = Tick(_title(item))
            box.setToolTip(_tip(item))
            across = columns == 3  # a single line reads from left to right
            at = divmod(place, columns) if across else divmod(place, rows)[::-1]
            grid.addWidget(box, *at)
            self.boxes[item.name] = box
        # The longest titles are at the end, so the last column grows.
        for column in range(3):
            grid.setColumnStretch(column, int(column == columns - 1))

    def _tick(self, first: Collection[str]) -> None:
        wanted = {
            name: self._wishes.get(name, name in first and not self._methods[name].slow)
            for name in self.boxes
        }
        if not any(wanted.values()):
            # All that was ticked is another model's: begin with this one's own.
            wanted = {name: name in first for name in wanted}
        for name, box in self.boxes.items():
            box.setChecked(wanted[name])
            box.toggled.connect(lambda on, name=name: self._on_toggled(name, on))

    def _on_toggled(self, name: str, on: bool) -> None:
        self._wishes[name] = on
        self._update()

    def _explain(self, reasons: Mapping[str, str]) -> None:
        items = [item for item in self._methods.values() if item.name in reasons]
        items.sort(key=lambda item: item.title.casefold())
        alike: dict[str, list[str]] = {}
        for item in items:
            why = _without(item.title, reasons[item.name])
            alike.setdefault(why, []).append(item.title)
        for why, titles in alike.items():
            bold = f"<b>{html.escape(', '.join(titles))}</b>"
            words = Words(f"{bold}<br>{html.escape(why)}")
            words.setToolTip(why)
            self._reasons.addWidget(words)
        self.why_fold.say(f"Not for this model ({len(items)})")
        self._offer(self.why_fold, bool(items))

    def _offer(self, fold: Fold, has_some: bool) -> None:
        """A fold with nothing in it stays where it is, closed."""
        fold.setEnabled(has_some)
        if not has_some:
            fold.setChecked(False)

    def _update(self) -> None:
        """Count what is ticked behind the fold, and open or close the layers."""
        more = [name for k in range(self._more.count()) if (name := self._name_at(k))]
        ticked = sum(self.boxes[name].isChecked() for name in more)
        count = f" · {ticked} ticked" if ticked else ""
        self.more_fold.say(
            f"More methods ({len(more)}){count}" if more else "More methods"
        )
        reading = [name for name in self.ticked if self._methods[name].reads_layers]
        reason = ""
        if self.layer_box.count() < 2:
            reason = "This model can be read at its last layer only."
        elif not reading:
            reason = "Tick a method that reads a layer of one's choice, e.g. Grad-CAM."
        for widget in (self._layer_label, self.layer_box):
            widget.setEnabled(not reason)
            widget.setToolTip(reason or LAYER_TIP)

    def _name_at(self, place: int) -> str | None:
        box = needed(self._more.itemAt(place)).widget()
        return next((name for name, item in self.boxes.items() if item is box), None)


def badge(sign: str, colour: str) -> QIcon:
    """A sign in its colour."""
    picture = QPixmap(32, 32)
    picture.fill(QColor(0, 0, 0, 0))
    painter = QPainter(picture)
    font = painter.font()
    font.setPixelSize(30)
    painter.setFont(font)
    painter.setPen(QColor(colour))
    painter.drawText(picture.rect(), Qt.AlignmentFlag.AlignCenter, sign)
    painter.end()
    return QIcon(picture)


def _key(name: str, layer: str | None) -> str:
    """Key of a method at a layer; None is the last."""
    return name if layer is None else f"{name}@{layer}"


def _title(item: Method) -> str:
    return f"{item.title} (slow)" if item.slow else item.title


def _tip(item: Method) -> str:
    kind = (
        "Its values are probabilities."
        if item.is_probability
        else "Its values are scores, scaled for each image."
    )
    slow = " Slow, often minutes: it runs the network many times. Cancel stops it."
    words = f"Show where {item.title} sees evidence. {kind} {item.note}".rstrip()
    return words + slow if item.slow else words


def _without(title: str, reason: str) -> str:
    """A reason as a sentence that does not begin with the title."""
    rest = reason.removeprefix(title).lstrip(" :")
    return rest[:1].upper() + rest[1:]
