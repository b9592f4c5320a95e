"""Whatever must be known of an image or a map is told wherever it is looked for.

Here: on the console, in the table and in the provenance; of the window in
``tests/gui/test_notes.py``.
"""

from __future__ import annotations

import ast
import csv
import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
import torch
import zarr
from fixtures.colours import colour_model
from PIL import Image
from typer.testing import CliRunner

import napari_wsol
from napari_wsol.cli import app
from napari_wsol.images.known_sizes import remember
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.appearance import appearance_of
from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import Model, ModelSpec, get_method, list_methods
from napari_wsol.methods.card import Card
from napari_wsol.methods.flat import flat_note
from napari_wsol.paths import known_sizes_file
from napari_wsol.zoo import load_model, save_model

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, small_model):
    """A zoo with models of which something must be known."""
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "home"))
    keep("plain", colour_model(("dark", "bright"), (1.0, 1.0, 1.0), 0.0))
    keep("sized", sized_model())
    keep("never", never_model())
    keep("small", small_model)
    keep("bags", bag_model())
    blue = Image.fromarray(np.full((32, 32, 3), (20, 40, 220), np.uint8))
    blue.save(tmp_path / "blue.png")
    model = colour_model(("dark", "bright"), (1.0, 1.0, 1.0), 0.0)
    of_blue = appearance_of(model, [tmp_path / "blue.png"] * 10, "blue")
    keep("blue", model, appearance=of_blue)


def keep(name: str, model: Model, **about) -> None:
    methods = tuple(model.spec.heads)
    about |= {"title": name, "summary": "For tests.", "primary": methods[0]}
    save_model(model, Card(name=name, spec=model.spec, methods=methods, **about))


def sized_model() -> Model:
    """One that was trained at a pixel size, which an image may not tell."""
    spec = ModelSpec(
        encoder="mean-colours", classes=("dark", "bright"), heads=("cam",), mpp=0.5
    )
    torch.manual_seed(0)
    return Model(spec)


def never_model() -> Model:
    """One in which all that is bright speaks against the class “bright”."""
    model = colour_model(("dark", "bright"), (-1.0, -1.0, -1.0), 90.0)
    with torch.no_grad():
        model.heads["pixelcam"].conv4.weight.zero_()
        model.heads["pixelcam"].conv4.bias.copy_(torch.tensor([20.0, -20.0]))
    return model


def bag_model() -> Model:
    """One that weighs tiles, with a note of its own."""
    torch.manual_seed(0)
    spec = ModelSpec(
        encoder="amil_cnn",
        tile=28,
        classes=("dark", "bright"),
        heads=("attention_mil",),
    )
    return Model(spec)


def picture(folder: Path, **info: object) -> Path:
    path = folder / "a.png"
    pixels = np.full((96, 128, 3), 60, np.uint8)
    pixels[20:60, 30:70] = 220
    Image.fromarray(pixels).save(path, **info)
    return path


def bright(folder: Path) -> Path:
    pixels = np.full((96, 128, 3), 200, np.uint8)
    pixels[20:60, 30:70] = 250
    Image.fromarray(pixels).save(folder / "a.png")
    return folder / "a.png"


def on_glass(folder: Path) -> Path:
    pixels = np.full((300, 420, 3), 245, np.uint8)
    texture = np.random.default_rng(0).integers(-40, 40, (240, 120, 3))
    pixels[30:270, 40:160] = np.clip(np.array([190, 90, 150]) + texture, 0, 255)
    Image.fromarray(pixels).save(folder / "a.png")
    return folder / "a.png"


def uniform(folder: Path) -> Path:
    Image.fromarray(np.full((96, 128, 3), 200, np.uint8)).save(folder / "a.png")
    return folder / "a.png"


def known(folder: Path) -> Path:
    path = picture(folder)
    remember(open_slide(path), 0.37)
    return path


def damaged_sizes(folder: Path) -> Path:
    file = known_sizes_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{ this is no")
    return picture(folder)


def film(folder: Path) -> Path:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "a.gif", save_all=True, append_images=frames[1:])
    return folder / "a.gif"


def anisotropic(folder: Path) -> Path:
    pixels = np.zeros((64, 80, 3), np.uint8)
    options = {"resolution": (20_000, 25_000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(folder / "a.tif", pixels, photometric="rgb", **options)
    return folder / "a.tif"


def extra_channel(folder: Path) -> Path:
    pixels = np.zeros((64, 80, 4), np.uint8)
    options = {"photometric": "rgb", "extrasamples": ["unspecified"]}
    tifffile.imwrite(folder / "a.tif", pixels, **options)
    return folder / "a.tif"


def two_images(folder: Path) -> Path:
    with tifffile.TiffWriter(folder / "a.ome.tif", ome=True) as tif:
        for name, side in (("large", 96), ("small", 64)):
            tif.write(
                np.zeros((side, side, 3), np.uint8),
                photometric="rgb",
                metadata={"Name": name},
            )
    return folder / "a.ome.tif"


def deep(folder: Path) -> Path:
    pixels = np.linspace(0, 4000, 64 * 80).reshape(64, 80).astype(np.uint16)
    tifffile.imwrite(folder / "a.tif", pixels, photometric="minisblack")
    return folder / "a.tif"


def channels_of_zarr(folder: Path) -> Path:
    group = zarr.open_group(folder / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", shape=(3, 64, 80), chunks=(1, 64, 80), dtype="u1")
    group["0"][...] = 90
    axes = [{"name": name} for name in "cyx"]
    group.attrs["multiscales"] = [
        {"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}
    ]
    return folder / "a.zarr"


@dataclass(frozen=True)
class Case:
    """Something that must be known.

    Attributes:
        make: writes an image of it into a folder.
        words: part of the sentence.
        model: that reads it.
        options: of the command.
        is_large: whether the image is read as a slide.
    """

    make: Callable[[Path], Path]
    words: str
    model: str = "plain"
    options: tuple[str, ...] = ()
    is_large: bool = False


CASES = {
    "how it was read": Case(picture, "Read as"),
    "no pixel size": Case(picture, "does not say how large a pixel is"),
    "no believable pixel size": Case(
        lambda folder: picture(folder, dpi=(72, 72)), "which no microscope gives"
    ),
    "a known pixel size": Case(known, "as you said on"),
    "damaged known sizes": Case(damaged_sizes, "that you gave could not be read"),
    "several pictures": Case(film, "holds 2 pictures; the first is shown"),
    "pixels that are no squares": Case(anisotropic, "µm wide and"),
    "an extra channel": Case(extra_channel, "extra channel beside the colours"),
    "several images": Case(two_images, "holds 2 images; the largest"),
    "values that were scaled": Case(deep, "Read as"),
    "a guess of colours": Case(channels_of_zarr, "were read as colours"),
    "an assumed pixel size": Case(picture, "0.5 µm was assumed", model="sized"),
    "what a method means": Case(picture, get_method("attention_mil").note, "bags"),
    "what Finer-CAM means": Case(
        picture, get_method("finercam").note, "small", ("--method", "finercam")
    ),
    "another kind of image": Case(picture, "looks different", model="blue"),
    "an average": Case(picture, "average of 4 views", options=("--views", "4")),
    "a flat score": Case(uniform, "sees no difference between places"),
    "a probability of 0": Case(
        picture, "finds “bright” nowhere", "never", ("--target", "bright")
    ),
    "a rectified map": Case(
        bright, "every channel speaks against “bright”", "never",
        ("--target", "bright", "--method", "gradcam"),
    ),
    "an empty mask": Case(
        bright, "no threshold gives regions", "never",
        ("--target", "bright", "--method", "gradcam"),
    ),
    "tiles without tissue": Case(
        on_glass, "show no tissue and were left out", options=("--core", "64"),
        is_large=True,
    ),
    "a probability of 0 on a slide": Case(
        on_glass, "finds “bright” nowhere", "never",
        ("--target", "bright", "--core", "64"), is_large=True,
    ),
    "a small halo": Case(
        on_glass, "less exact at the borders", "small",
        ("--core", "64", "--halo", "0"), is_large=True,
    ),
}  # fmt: skip


def run(*arguments: object):
    result = CliRunner().invoke(app, [str(item) for item in arguments])
    assert result.exit_code == 0, result.output
    return result


def records(out: Path) -> list[dict[str, object]]:
    paths = sorted(out.rglob("*provenance*.json"))
    return [json.loads(path.read_text("utf-8")) for path in paths]


def told_in(record: dict) -> set[str]:
    return {*record["notes"], *record["image"]["notes"], *record["provenance"]["notes"]}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shared", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_note_is_on_the_console_in_the_table_and_in_the_provenance(
    name, shared, tmp_path, monkeypatch
):
    case, out = CASES[name], tmp_path / "out"
    if case.is_large:
        monkeypatch.setattr("napari_wsol.slides.large.LARGE_PIXELS", 1000)
    path = case.make(tmp_path)
    options = [*case.options, *(["--resume"] if shared else [])]
    before = known_sizes_file().read_bytes() if known_sizes_file().exists() else None
    result = run("localize", path, "--model", case.model, "--out", out, *options)
    if before is not None:  # a damaged file is put aside by the first who reads it
        known_sizes_file().write_bytes(before)
    with (out / "summary.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    found = set[str]().union(*map(told_in, records(out)))
    if name != "an empty mask":  # of a file that was written, not of the map
        assert case.words in row["notes"]
        assert case.words in result.output.replace("\n", " ")
    assert any(case.words in note for note in found)
    slide = open_slide(path)
    for note in slide.notes:
        assert note in row["notes"]
        assert note in result.output
        assert note in found
    if not case.is_large:
        given = dict(pairwise(options))
        target, method = given.get("--target"), given.get("--method")
        model = load_model(case.model)
        made = localize(model, slide, [method] if method else None, target)
        for note in made.sentences:
            assert note in row["notes"]
            assert note in result.output
        for heatmap in made.heatmaps.values():
            assert found.issuperset(heatmap.notes)


def test_a_note_of_one_map_names_its_method(tmp_path):
    out, path = tmp_path / "out", bright(tmp_path)
    options = ("--target", "bright", "--method", "gradcam", "--method", "cam")
    result = run("localize", path, "--model", "never", "--out", out, *options)
    assert "Grad-CAM: The map is 0 everywhere" in result.output
    assert "CAM: The map is 0" not in result.output.replace("Grad-CAM", "")


def holders() -> set[str]:
    """Every class outside the readers that has a ``note`` or ``notes``."""
    root, found = Path(napari_wsol.__file__).parent, set()
    for path in root.rglob("*.py"):
        place = path.relative_to(root)
        if place.parts[0] in ("images", "gui"):
            continue  # all that a reader says ends in Slide.notes; the window shows
        for item in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(item, ast.ClassDef) and _notes_in(item):
                found.add(f"{place.with_suffix('').as_posix()}:{item.name}")
    return found


def _notes_in(owner: ast.ClassDef) -> bool:
    for item in ast.walk(owner):
        targets = getattr(item, "targets", [getattr(item, "target", None)])
        names = {getattr(one, "id", getattr(one, "attr", None)) for one in targets}
        own = item in owner.body or any(isinstance(x, ast.Attribute) for x in targets)
        if own and names & {"note", "notes"}:
            return True
        is_method = isinstance(item, ast.FunctionDef) and item in owner.body
        if is_method and item.name in ("note", "notes"):
            return True
    return False


OF_RESULTS = {
    "inference/appearance:Likeness",
    "inference/encode:Geometry",
    "inference/whole_image:Localization",
    "methods/attention_mil:AttentionMil",
    "methods/base:Method",
    "methods/finercam:FinerCam",
    "methods/mil:MilEvidence",
    "methods/mil:MilTile",
    "slides/feature_store:FeatureStore",
    "slides/held_image:HeldFeatures",
    "slides/localize:Kept",
    "slides/localize:SlideWork",
    "slides/plan:SlidePlan",
    "slides/run:SlideRun",
    "slides/scores:SlideScores",
}
"""What says something of images and maps: all of it ends in the notes of a
localization or of its maps."""

OF_OTHERS = {
    "checkpoints/draft:Draft",
    "checkpoints/families:Published",
    "cross_validation/report:CrossValidationReport",
    "data/layouts:Layout",
    "evaluation/benchmark/run:_Compared",
    "evaluation/benchmark/baselines:Baselines",
    "evaluation/benchmark/meter_set:MeterSet",
    "evaluation/report:ModelReport",
    "evaluation/truth:Truth",
    "journal/folder:JournalFolder",
    "journal/journal:Journal",
    "journal/library:Summary",
    "journal/reading:Record",
    "worklist/items:Item",
    "worklist/items:WorkList",
}
"""What says something of journals, reports and files, with places of their own."""


def test_there_is_no_other_source_of_notes():
    """Whoever adds one says here where it ends, and adds a case above."""
    assert holders() == OF_RESULTS | OF_OTHERS


@pytest.mark.parametrize("name", list_methods())
def test_every_method_says_why_its_map_shows_nothing(name):
    method = get_method(name)
    words = flat_note(method, "gland", 0.0, 0.0)
    assert "“gland”" in words or "no tile" in words
    assert "Try" in words
    assert "threshold" not in words
    assert "Draw" in flat_note(method, "gland", 0.0, 0.0, refined=True)
    assert flat_note(method, "gland", 0.0, 0.7) == ""
