"""Options that are settings say what the settings say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import typer.core
import typer.main
from typer.testing import CliRunner

from napari_wsol.cli import console
from napari_wsol.cli.app import app, main
from napari_wsol.cli.options import help_of
from napari_wsol.config import (
    ExportConfig,
    InferenceConfig,
    SlideConfig,
    listed_settings,
)
from napari_wsol.training.wish import Wish

SAME = [
    ("localize", "threshold", ExportConfig, "threshold"),
    ("localize", "min_area", ExportConfig, "min_area"),
    ("localize", "fill_holes", ExportConfig, "fill_holes"),
    ("localize", "core", SlideConfig, "core"),
    ("localize", "halo", SlideConfig, "halo"),
    ("localize", "tissue", SlideConfig, "tissue_only"),
    ("localize", "device", InferenceConfig, "device"),
    ("batch", "threshold", ExportConfig, "threshold"),
    ("batch", "core", SlideConfig, "core"),
    ("batch", "halo", SlideConfig, "halo"),
    ("batch", "tissue", SlideConfig, "tissue_only"),
    ("train", "init", Wish, "init"),
    ("train", "device", InferenceConfig, "device"),
    ("crossvalidate", "init", Wish, "init"),
    ("reproduce", "init", Wish, "init"),
    ("reproduce", "device", InferenceConfig, "device"),
    ("evaluate", "device", InferenceConfig, "device"),
]


def parameter(command, name):
    """An option as the command line knows it."""
    known = typer.main.get_command(app).commands[command].params
    return next(item for item in known if item.name == name)


@pytest.mark.parametrize(("command", "name", "config", "field"), SAME)
def test_words_limits_and_defaults_are_the_settings(command, name, config, field):
    found, setting = parameter(command, name), listed_settings(config)[field]
    assert found.default == getattr(config(), field)
    assert setting.tip.removesuffix(".") in found.help
    assert found.help.replace("\\", "") == help_of(setting)


LIMITED = [row for row in SAME if row[1] not in ("tissue", "device", "init")]


@pytest.mark.parametrize(("command", "name", "config", "field"), LIMITED)
def test_what_the_settings_refuse_cannot_be_given(command, name, config, field):
    option, words = listed_settings(config)[field].option, f"--{name.replace('_', '-')}"
    beyond = [option.lowest - 1]
    if option.highest is not None:
        beyond.append(option.highest + 1)
    for bad in beyond:
        line = [command, __file__, "--out", "o", words, str(bad)]
        result = CliRunner().invoke(app, line)
        assert result.exit_code == 2
        assert words in result.output


def test_formats_are_named():
    assert (
        "png, tiff, geojson, csv, zarr, ome-tiff"
        in parameter("localize", "format").help
    )


def test_what_must_be_given_says_nothing_of_leaving_it_out():
    assert "[" not in parameter("train", "data").help
    assert "[random weights]" in parameter("train", "init").help.replace("\\", "")


def commands(group, *names):
    """Every command below a group with what to type for it."""
    for name, command in group.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            yield from commands(command, *names, name)
        else:
            yield (*names, name), command


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_help_shows_all_that_was_written(names):
    command = COMMANDS[names]
    shown = CliRunner().invoke(app, [*names, "--help"]).output
    words = "".join(shown.split())
    for item in (command, *command.params):
        text = getattr(item, "help", None)
        if text and not getattr(item, "hidden", False):
            assert "".join(text.split()) in words
    for item in command.params:
        has_default = isinstance(item.default, (int, float, str, Path))
        is_flag = getattr(item, "is_flag", False) and not item.secondary_opts
        if has_default and not is_flag and not item.hidden:
            assert "[default:" in words
            assert f"{item.default}" in words or item.default is True


def test_no_command_is_markup():
    """Nobody can print markup or escape it: there is none."""
    for path in Path(console.__file__).parent.glob("*.py"):
        text = path.read_text("utf-8")
        assert "rich.markup" not in text
        assert "typer.echo" not in text
        if path.name != "console.py":
            assert "Console(" not in text
            assert "typer.Typer(" not in text


def test_help_says_what_is_taken_when_nothing_is_given():
    shown = CliRunner().invoke(app, ["batch", "--help"]).output
    words = " ".join(shown.replace("│", " ").split())
    assert "Processor cores a slide [a share of this machine; 8]." in words


def test_a_full_graphics_card_says_what_to_do(monkeypatch, capsys):
    def full(*_arguments, **_options):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch, "inference_mode", full)
    line = ["models", "verify", "glands-mobilenetv2"]
    monkeypatch.setattr("sys.argv", ["napari-wsol", *line])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    assert "Error: The graphics card has not enough" in capsys.readouterr().err


def test_brackets_in_an_error_are_shown(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["napari-wsol", "view", "[bold]slide.svs"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 1
    assert "There is no file [bold]slide.svs." in capsys.readouterr().err
