"""Forms made by magicgui: words, limits and tips are those of the settings' options."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from magicgui.types import FileDialogMode
from magicgui.widgets import CheckBox, ComboBox, FileEdit, FloatSpinBox, LineEdit
from psygnal import Signal as Told
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtWidgets import QFileDialog, QGridLayout, QLabel, QSizePolicy, QWidget
from superqt import QElidingLabel

from napari_wsol.config import listed_settings
from napari_wsol.errors import ConfigError
from napari_wsol.files import path_from
from napari_wsol.gui.widgets.elided import Words
from napari_wsol.gui.widgets.panel import SMALL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from qtpy.QtWidgets import QAbstractSpinBox, QComboBox

    from napari_wsol.config import Setting

    Field: TypeAlias = "CheckBox | ComboBox | LineEdit | Number | PathEdit | Ticks"

NARROW = 126
"""Width of a number or a choice in the dock: room for “20.5 × 10⁻⁵” and two signs."""

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Fields(QWidget):
    """Rows of words and fields, a row a setting.

    Args:
        narrow: whether the fields are narrow and the words get the room that is left,
            as in the dock.
        above: whether the words stand above their fields.
    """

    edited = Signal()
    """Another value was given."""

    def __init__(self, *, narrow: bool = False, above: bool = False) -> None:
        super().__init__()
        self.fields: dict[str, Field] = {}
        self._is_narrow, self._is_above = narrow, above
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setVerticalSpacing(4)
        self._grid.setColumnStretch(0 if narrow or above else 1, 1)

    def add(self, name: str, setting: Setting) -> Field:
        """A row for a setting."""
        field = self.fields[name] = field_of(setting)
        field.changed.connect(self._on_changed)
        native = field.native
        if isinstance(field, CheckBox | Ticks):  # they have words of their own
            self.add_wide(native)
            return field
        if self._is_narrow:
            native.setFixedWidth(NARROW)
        self.add_row(setting.option.label, native, setting.tip)
        return field

    def add_row(self, words: str, native: QWidget, tip: str) -> None:
        """A row of any widget."""
        native.setToolTip(tip)
        label = QElidingLabel(words) if self._is_narrow else QLabel(words)
        row = self._grid.rowCount()
        label.setToolTip(tip)
        label.setBuddy(native)
        label.setTextFormat(Qt.TextFormat.PlainText)  # words may come from a file
        if self._is_above:
            label.setWordWrap(True)
            self._grid.setRowMinimumHeight(row, 6)
            self._grid.addWidget(label, row + 1, 0)
            self._grid.addWidget(native, row + 2, 0)
            return
        self._grid.addWidget(label, row, 0)
        self._grid.addWidget(native, row, 1)

    def add_wide(self, native: QWidget) -> None:
        """A row without words beside it."""
        self._grid.addWidget(native, self._grid.rowCount(), 0, 1, 2)

    @property
    def values(self) -> dict[str, Any]:
        """What is given by now, by setting."""
        return {name: field.value for name, field in self.fields.items()}

    def show_values(self, **values: Any) -> None:  # noqa: ANN401 - of any setting
        """Show other values; that is no edit."""
        for name, value in values.items():
            with self.fields[name].changed.blocked():
                self.fields[name].value = value

    def _on_changed(self) -> None:
        self.edited.emit()


class Form(Fields):
    """Settings to be changed: every change is told as new settings.

    What is not allowed is said in a sentence, and nothing changes.

    Args:
        settings: a frozen dataclass whose fields carry options.
    """

    changed = Signal(object)
    """The settings as a whole."""

    def __init__(self, settings: Any) -> None:  # noqa: ANN401 - of any kind
        super().__init__(narrow=True)
        for name, setting in listed_settings(type(settings)).items():
            self.add(name, setting)
        self.problem = Words()
        self.add_wide(self.problem)
        self.edited.connect(self._on_edited)
        self.show_settings(settings)

    def show_settings(self, settings: Any) -> None:  # noqa: ANN401 - of the same kind
        """Follow settings that were chosen elsewhere."""
        self.settings = settings
        self.problem.hide()
        self.show_values(**{name: getattr(settings, name) for name in self.fields})
        self._shown = self.values

    def _on_edited(self) -> None:
        # Only what was edited: a number may have more digits than its field shows.
        given = self.values.items()
        edited = {name: value for name, value in given if value != self._shown[name]}
        try:
            settings = replace(self.settings, **edited)
        except ConfigError as error:
            self.problem.setText(str(error))
            self.problem.show()
            return
        self.show_settings(settings)
        self.changed.emit(settings)


def field_of(setting: Setting) -> Field:
    """The widget for a setting; it shows nothing that was not given."""
    option, kinds = setting.option, (setting.kind, *get_args(setting.kind))
    if setting.is_several:
        return Ticks(setting)
    if option.choices:
        return _choice(setting)
    if bool in kinds:
        return CheckBox(text=option.label, tooltip=setting.tip)
    if Path in kinds:
        return PathEdit(setting)
    if int in kinds or float in kinds:
        return Number(setting)
    line = LineEdit(tooltip=setting.tip)
    line.native.setPlaceholderText(option.empty)
    return line


class Number(FloatSpinBox):
    """A number, whole or not; where it may be None, that is below the lowest one."""

    def __init__(self, setting: Setting) -> None:
        option = self._option = setting.option
        self._kind = float if float in (setting.kind, *get_args(setting.kind)) else int
        self._is_optional = setting.may_be_none
        self._least = self._shown(option.least or 0)
        most = option.offered if option.highest is None else option.highest
        self._most = self._shown(most)
        super().__init__(step=self._shown(option.step), tooltip=setting.tip)
        box = self.native
        self._fit(self._least)
        box.setSpecialValueText(option.empty)
        power = f"× 10{str(option.power).translate(RAISED)}" if option.power else ""
        unit = f"{power} {option.unit}".strip()
        box.setSuffix(f" {unit}" if unit else "")
        box.setKeyboardTracking(False)
        box.setMinimumWidth(80)
        _leave_wheel(box)

    def get_value(self) -> float | None:
        """What is shown."""
        shown = self.native.value()
        if self._is_optional and shown < self._least:
            return None
        # In decimal digits: 3 × 1e-5 is not the float 3e-5.
        return self._kind(Decimal(repr(shown)).scaleb(self._option.power))

    def set_value(self, value: float | None) -> None:
        """Show a number as it is, with all its digits and beyond what is offered."""
        shown = None if value is None else self._shown(value)
        self._fit(self._least if shown is None else shown)
        self.native.setValue(self.native.minimum() if shown is None else shown)

    def _shown(self, value: float) -> float:
        """A value as it is shown, in times ten to the power of the option."""
        return float(Decimal(repr(float(value))).scaleb(-self._option.power))

    def _fit(self, value: float) -> None:
        """Make room for a number, as it is shown."""
        digits = len(f"{value:.10f}".rstrip("0").partition(".")[2])
        least = max(0, self._option.decimals + self._option.power)
        self.native.setDecimals(max(least, digits))
        lowest = min(self._least, value) - self._is_optional
        self.native.setRange(lowest, max(self._most, value))


class PathEdit(FileEdit):
    """A line for a path, and a button to look for it; None while it is empty."""

    def __init__(self, setting: Setting) -> None:
        option = setting.option
        kinds = FileDialogMode
        kind = kinds.EXISTING_FILE if option.files else kinds.EXISTING_DIRECTORY
        super().__init__(mode=kind, nullable=True)
        line = self.line_edit.native
        line.setPlaceholderText(option.empty)
        line.setClearButtonEnabled(True)
        line.setToolTip(setting.tip)
        what = "file" if option.files else "folder"
        self._title, self._files = f"Choose a {what}", option.files
        self.choose_btn.text = "…"
        self.choose_btn.tooltip = f"Look for a {what}."
        self.choose_btn.changed.disconnect()  # its dialog would belong to no window
        self.choose_btn.changed.connect(self._choose)
        self.choose_btn.native.setFixedWidth(SMALL)

    def get_value(self) -> Path | None:
        """What is given; None for nothing."""
        text = self.line_edit.value.strip()
        return path_from(text) if text else None

    def _choose(self) -> None:
        start = self.line_edit.value
        found = choose_path(self.native, self._title, start, self._files)
        if found is not None:
            self.value = found


class Ticks:
    """Some of a few values: a tick each, in two columns."""

    changed = Told(object)

    def __init__(self, setting: Setting) -> None:
        option = setting.option
        self.native = QWidget()
        grid = QGridLayout(self.native)
        grid.setContentsMargins(0, 0, 0, 0)
        self.boxes: dict[str, CheckBox] = {}
        for place, (value, words) in enumerate(option.choices.items()):
            box = CheckBox(text=words, tooltip=option.tips.get(value, setting.tip))
            box.changed.connect(self.changed.emit)
            grid.addWidget(box.native, place // 2, place % 2)
            self.boxes[value] = box

    @property
    def value(self) -> tuple[str, ...]:
        """What is ticked, in the order of the choices."""
        return tuple(value for value, box in self.boxes.items() if box.value)

    @value.setter
    def value(self, values: Sequence[str]) -> None:
        for value, box in self.boxes.items():
            box.value = value in values


def choose_path(
    parent: QWidget, title: str, start: str = "", files: str = ""
) -> Path | None:
    """Ask for a file of some kinds, or for a folder where none are named."""
    if files:
        kinds = f"{files};;All files (*)"
        found, _ = QFileDialog.getOpenFileName(parent, title, start, kinds)
    else:
        found = QFileDialog.getExistingDirectory(parent, title, start)
    return Path(found) if found else None


def _choice(setting: Setting) -> ComboBox:
    """A box that may be narrow, with nothing chosen."""
    option = setting.option
    choices = [(words, value) for value, words in option.choices.items()]
    field = ComboBox(choices=choices, tooltip=setting.tip)
    field.native_parent_changed.disconnect()  # it would choose the first one by itself
    box = field.native
    box.setCurrentIndex(-1)
    box.setPlaceholderText(option.empty or "choose…")
    box.setSizeAdjustPolicy(box.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(4)
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    _leave_wheel(box)
    return field


class _WheelGuard(QObject):
    """The wheel over a field that has no focus scrolls the form, and no value."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Leave such an event to what is behind."""
        is_meant = not isinstance(watched, QWidget) or watched.hasFocus()
        if event.type() != QEvent.Type.Wheel or is_meant:
            return super().eventFilter(watched, event)
        event.ignore()
        return True


def _leave_wheel(box: QAbstractSpinBox | QComboBox) -> None:
    box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    box.installEventFilter(_WheelGuard(box))
