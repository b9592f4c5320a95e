"""Options of the command line that are settings: said once, in the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import typer
from rich.markup import escape

from napari_wsol.config import (
    ExportConfig,
    InferenceConfig,
    SlideConfig,
    listed_settings,
)

if TYPE_CHECKING:
    from napari_wsol.config import Setting

EXPORT, INFERENCE, SLIDE = ExportConfig(), InferenceConfig(), SlideConfig()
"""Where the defaults are."""


def option(config: type, name: str, *, required: bool = False) -> Any:  # noqa: ANN401 - as typer says it
    """A setting as an option: help, lowest and highest value are the setting's own.

    Args:
        config: dataclass of settings.
        name: of the field.
        required: whether it must be given here, though the settings can do without.
    """
    setting = listed_settings(config)[name]
    words = escape(help_of(setting, required=required))
    kinds = (setting.kind, *get_args(setting.kind))
    if int not in kinds and float not in kinds:
        return typer.Option(help=words)
    return typer.Option(
        help=words, min=setting.option.least, max=setting.option.highest
    )


def help_of(setting: Setting, *, required: bool = False) -> str:
    """What a setting does, with its unit, its choices and what it is when left out."""
    option = setting.option
    words = setting.tip
    if option.unit:
        words += f" In {option.unit}."
    if setting.is_several:
        words += f" Any of {', '.join(option.choices)}; repeat for several."
    if setting.may_be_none and not required:
        words = f"{words.removesuffix('.')} [{option.empty}]."
    return words
