"""Options that several commands have, and those that are settings: said once.

What is taken when nothing is given stands at the end, in square brackets.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from napari_wsol.cli.installed import (
    checked_methods,
    checked_model,
    is_model,
    method_names,
    model_names,
    one_of,
    preset_names,
    reader_names,
)
from napari_wsol.config import (
    ExportConfig,
    InferenceConfig,
    SlideConfig,
    listed_settings,
)
from napari_wsol.errors import ConfigError, UnreadableImageError
from napari_wsol.files import check_folder
from napari_wsol.images.pixel_size import TOLD_UM
from napari_wsol.preferences import preferences

if TYPE_CHECKING:
    from napari_wsol.config import Setting
    from napari_wsol.images.readers.stacks import Pick

EXPORT, INFERENCE, SLIDE = ExportConfig(), InferenceConfig(), SlideConfig()
"""Where the defaults are."""


def option(config: type, name: str, *, required: bool = False, **how: Any) -> Any:  # noqa: ANN401 - as typer says it
    """A setting as an option: help, lowest and highest value are the setting's own.

    Args:
        config: dataclass of settings.
        name: of the field.
        required: whether it must be given here, though the settings can do without.
        how: what else typer shall know of it.
    """
    setting = listed_settings(config)[name]
    words = help_of(setting, required=required)
    kinds = (setting.kind, *get_args(setting.kind))
    if int not in kinds and float not in kinds:
        return typer.Option(help=words, **how)
    return typer.Option(
        help=words, min=setting.option.least, max=setting.option.highest, **how
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


def out_folder(path: Path) -> Path:
    """Refuses a folder for results before any work is done.

    Raises:
        ExportError: it is a file, cannot be made or may not be written to.
    """
    check_folder(path)
    return path


def files_there(ctx: typer.Context, paths: list[Path]) -> list[Path]:
    """Refuses files of which there is none; one of many is told with the rest.

    Raises:
        UnreadableImageError: names those that are missing; in the viewer, any.
    """
    missing = [str(path) for path in paths if not os.path.lexists(path)]
    if missing and (len(missing) == len(paths) or ctx.command.name == "view"):
        raise UnreadableImageError(f"There is no file {', '.join(missing)}.")
    return paths


Images = Annotated[
    list[Path],
    typer.Argument(
        help="Images or slides; of a folder, the images in it.", callback=files_there
    ),
]


def known_model(name: str) -> str:
    """A model that is named, or else preferred, and is there.

    Raises:
        BadParameter: neither, or what is preferred is not there any more.
        UnknownNameError: what is named is not there; names the choices.
    """
    if name:
        return checked_model(name)
    kept = preferences().model
    if kept and is_model(kept):
        return kept
    raise typer.BadParameter(
        (f"“{kept}”, which config says, is not there. " if kept else "")
        + "Name one (napari-wsol models list tells them), or choose one for all: "
        "napari-wsol config set model NAME."
    )


def known_device(ctx: typer.Context, name: str) -> str:
    """A device that is named, or else preferred."""
    source = ctx.get_parameter_source("device")
    chosen = name if source and source.name != "DEFAULT" else preferences().device
    return InferenceConfig(device=chosen).device


OutFolder = Annotated[
    Path,
    typer.Option(help="Folder for the results.", callback=out_folder, is_eager=True),
]
ModelName = Annotated[
    str,
    typer.Option(
        help="Name or folder of a model [what config says].",
        callback=known_model,
        autocompletion=model_names,
        show_default=False,
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        help="Method, or METHOD@LAYER for another layer than the last; repeat for "
        "several [those that the model was made for].",
        callback=checked_methods,
        autocompletion=method_names,
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="Foundation encoder, one of “models presets”.",
        callback=one_of("preset", preset_names),
        autocompletion=preset_names,
    ),
]
Target = Annotated[
    str | None, typer.Option(help="Class to localize [the most probable].")
]
Views = Annotated[
    int,
    typer.Option(
        help="Average over so many views of each image: 4 are its flips, 12 the flips "
        "at three sizes, as many times slower. For images without an up and down, "
        "such as tissue; not for slides that are read tile by tile."
    ),
]
Formats = Annotated[
    list[str] | None,
    option(ExportConfig, "formats", show_default=", ".join(EXPORT.formats)),
]
Threshold = Annotated[float, option(ExportConfig, "threshold")]
Mpp = Annotated[
    float | None,
    typer.Option(
        min=TOLD_UM[0], max=TOLD_UM[1], help="µm a pixel, if you know better."
    ),
]
Core = Annotated[int, option(SlideConfig, "core")]
Halo = Annotated[int | None, option(SlideConfig, "halo")]
Tissue = Annotated[bool, option(SlideConfig, "tissue_only")]
Device = Annotated[str, option(InferenceConfig, "device", callback=known_device)]
Groups = Annotated[
    Path | None,
    typer.Option(
        help="Table (CSV) that says what belongs together, e.g. the patient of each "
        "image [what a published data set says itself]."
    ),
]
GroupPattern = Annotated[
    str | None,
    typer.Option(
        help="Instead of a table: a regular expression that finds the group in an "
        "image's name, e.g. “^(\\d+)_”, the patient in those of NIH ChestX-ray14."
    ),
]
GroupColumn = Annotated[
    str | None, typer.Option(help="Column of that table, e.g. patient_id.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")]
Reader = Annotated[
    str | None,
    typer.Option(
        help="Who reads the images: openslide, pillow, pydicom, tifffile, wsidicom "
        "or zarr [the first that can].",
        callback=one_of("reader", reader_names),
        autocompletion=reader_names,
    ),
]
Rgb = Annotated[
    bool | None,
    typer.Option(
        "--rgb/--no-rgb",
        help="Three or four channels or planes are red, green, blue (and alpha), or "
        "are not [what the file says].",
        show_default=False,
    ),
]
Channel = Annotated[
    str | None,
    typer.Option(
        help="Channel of an image of several, from 0; or three as red, green and "
        "blue: 2,0,1."
    ),
]
Plane = Annotated[
    str | None,
    typer.Option(
        help="Plane of a stack, from 0; for several axes, one number each: 3,0. Of a "
        "film in DICOM with several windows, the window [the first]."
    ),
]


def picked(rgb: bool | None, channel: str | None, plane: str | None) -> Pick:
    """What ``--rgb``, ``--channel`` and ``--plane`` say together.

    Raises:
        ConfigError: not numbers.
        ImageError: what no image has.
    """
    from napari_wsol.images.readers.stacks import Pick

    return Pick(rgb, numbers("--channel", channel), numbers("--plane", plane))


def numbers(option: str, words: str | None) -> tuple[int, ...]:
    """Those of “0,1,2”, or a ConfigError; none where the option was not given."""
    if words is None:
        return ()
    parts = [part.strip() for part in words.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise ConfigError(
            f"{option} takes numbers from 0, separated by commas, and not “{words}”."
        )
    return tuple(map(int, parts))
