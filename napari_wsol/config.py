"""Settings as frozen dataclasses: each is said once, for form, CLI and API.

The :class:`Option` of a field says what it is called and which values it may have; the
docstring, what it does. The forms of the window, ``--help`` and the checks here read
both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from inspect import getdoc
from numbers import Real
from types import NoneType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    get_args,
    get_origin,
    get_type_hints,
)

from napari_wsol.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

WEIGHT_SUFFIXES = (".pt", ".pth", ".ckpt", ".pkl", ".bin", ".safetensors")
"""Endings of files that may hold weights."""

WEIGHT_FILES = " ".join(f"*{suffix}" for suffix in WEIGHT_SUFFIXES)
"""The same as a dialog for files wants it."""

LEAST_MEMORY = 1_000_000_000
"""Less would hold neither a window of a slide nor what is shown of it."""

AMPLE_MEMORY = 2_000_000_000
"""From here on the large tiles of slides fit."""


@dataclass(frozen=True, slots=True)
class Option:
    """What is said of a setting.

    Attributes:
        label: a few words for it.
        lowest, highest: the values that a number may have; None for no such limit.
        above: instead of ``lowest``, where that value itself is not allowed.
        offered: as far as a form goes, where a number has no highest value.
        step: from one number to the next in a form.
        decimals: digits after the point in a form.
        power: a form shows the number as so many times ten to this power.
        unit: of a number.
        empty: what None means, or an empty text; of a number that is never None, what
            its lowest value means.
        choices: words for each value of a few.
        tips: more about some of them.
        files: kinds of files that a path may name; a path without them is a folder.
        pattern: of a text that its tip describes.
    """

    label: str
    lowest: float | None = None
    highest: float | None = None
    above: float | None = None
    offered: float = 1_000_000
    step: float = 1
    decimals: int = 0
    power: int = 0
    unit: str = ""
    empty: str = ""
    choices: Mapping[str, str] = field(default_factory=dict[str, str])
    tips: Mapping[str, str] = field(default_factory=dict[str, str])
    files: str = ""
    pattern: str = ""

    @property
    def least(self) -> float | None:
        """The lowest number that can be given with these digits."""
        return self.lowest if self.above is None else self.above + 10**-self.decimals

    def allows(self, value: object) -> bool:
        """Whether a value is among the choices and within the limits."""
        if self.choices:
            return value in tuple(self.choices)
        if self.pattern:
            return bool(re.fullmatch(self.pattern, str(value)))
        if (self.lowest, self.above, self.highest) == (None, None, None):
            return True
        if not isinstance(value, Real):
            return False
        number = float(value)
        return (  # said so that no limit holds for what is not a number
            (self.lowest is None or number >= self.lowest)
            and (self.above is None or number > self.above)
            and (self.highest is None or number <= self.highest)
        )

    @property
    def allowed(self) -> str:
        """The choices or the limits in words: “at least 0 and at most 1”."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.pattern:
            return f"one of {self.pattern.replace('|', ', ').replace('[0-9]+', '1')}"
        unit = f" {self.unit}" if self.unit else ""
        low = "at least" if self.above is None else "above"
        words = f"{low} {self.lowest if self.above is None else self.above:,}{unit}"
        if self.highest is None:
            return words
        return f"{words} and at most {self.highest:,}{unit}"


@dataclass(frozen=True, slots=True)
class Setting:
    """A field of a dataclass of settings.

    Attributes:
        kind: its type.
        option: how it is offered.
        tip: what it does for a person, as a sentence or more.
    """

    kind: Any
    option: Option
    tip: str

    @property
    def is_several(self) -> bool:
        """Whether it is a tuple of choices."""
        return get_origin(self.kind) is tuple

    @property
    def may_be_none(self) -> bool:
        """Whether it need not be given."""
        return NoneType in get_args(self.kind)

    def allows(self, value: Any) -> bool:  # noqa: ANN401 - whatever was given
        """Whether the setting may have a value."""
        if value is None:
            return self.may_be_none
        if not self.is_several:
            return self.option.allows(value)
        return (
            bool(value)
            and not isinstance(value, str)
            and all(self.option.allows(item) for item in value)
        )


@cache
def listed_settings(config: type) -> Mapping[str, Setting]:
    """The fields of a dataclass that carry an option, in their order."""
    said = (getdoc(config) or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^ {4}(\w+): (.+(?:\n {5,}.+)*)", said, re.MULTILINE)
    tips = {name: " ".join(text.split()) for name, text in entries}
    found: dict[str, Setting] = {}
    for name, hint in get_type_hints(config, include_extras=True).items():
        for item in getattr(hint, "__metadata__", ()):
            if isinstance(item, Option):
                tip = tips.get(name, "")
                tip = tip[:1].upper() + tip[1:]
                found[name] = Setting(get_args(hint)[0], item, tip)
    return found


def check(config: object) -> None:
    """Refuses a value that its option does not allow.

    Raises:
        ConfigError: says which, and what is allowed.
    """
    for name, setting in listed_settings(type(config)).items():
        value: Any = getattr(config, name)
        if setting.allows(value):
            continue
        option = setting.option
        shown = (", ".join(value) or "none") if setting.is_several else value
        raise ConfigError(
            f"“{option.label}” ({name}) must be {option.allowed}, not {shown}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceConfig:
    """How an image goes through the encoder.

    Attributes:
        whole: up to this side, in pixels of the network input, an image goes through
            in one piece.
        core: side of a tile's own part in larger ones.
        device: auto, cpu, cuda, cuda:1, mps, xpu.
        memory_bytes: budget of all that is kept of images, beside the program and the
            network: features, maps, decoded tiles. What does not fit goes to the disk,
            or is made again.
    """

    whole: Annotated[int, Option("side of a whole image")] = 1024
    core: Annotated[int, Option("tile core", lowest=32)] = 512
    device: Annotated[
        str, Option("device", pattern="auto|cpu|cuda|cuda:[0-9]+|mps|xpu")
    ] = "auto"
    memory_bytes: Annotated[
        int, Option("memory budget", lowest=LEAST_MEMORY, offered=1e12, unit="bytes")
    ] = 4_000_000_000

    def __post_init__(self) -> None:
        check(self)

    @property
    def cache_bytes(self) -> int:
        """A quarter of the budget: features of images that are held whole, packed."""
        return self.memory_bytes // 4

    @property
    def tile_bytes(self) -> int:
        """A sixteenth: features of a slide's tiles; the others lie on the disk."""
        return self.memory_bytes // 16

    @property
    def slide_core(self) -> int:
        """Side of a slide's tiles: smaller ones need less memory, and more time."""
        return 1024 if self.memory_bytes >= AMPLE_MEMORY else 512

    @property
    def round_bytes(self) -> int:
        """A sixteenth: maps of rounds; the others lie on the disk."""
        return self.memory_bytes // 16

    @property
    def image_bytes(self) -> int:
        """Half: an image that takes more, with its features, is read as a slide."""
        return self.memory_bytes // 2


BAG_LAYOUTS = ["trident", "clam"]
"""How the vectors of a slide's tiles are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideConfig:
    """How a slide is cut, read and encoded.

    Attributes:
        core: side of a slide's tiles, in network pixels. Larger ones pay less for the
            context around them and need more memory.
        halo: context around a tile, in network pixels; less is faster and less exact.
        tissue_only: leave out the tiles of a slide without tissue.
        batch: tiles that go through the network together on a GPU, at most. A CPU takes
            one at a time.
        readers: threads that read and decode windows.
        ahead: windows that are read ahead.
        memory_bytes: budget of the features that are held in memory; 0 keeps none.
        disk_bytes: budget of those that are kept on the disk, of all slides together;
            0 keeps none.
    """

    core: Annotated[int, Option("tile core", lowest=32)] = 1024
    halo: Annotated[
        int | None, Option("halo", lowest=0, empty="all that the network sees")
    ] = None
    tissue_only: Annotated[bool, Option("tissue only")] = True
    batch: Annotated[int | None, Option("batch", lowest=1, empty="by trying")] = None
    readers: Annotated[int, Option("readers", lowest=1)] = 2
    ahead: Annotated[int, Option("windows ahead", lowest=1)] = 3
    memory_bytes: Annotated[
        int, Option("features in memory", lowest=0, offered=1e12, unit="bytes")
    ] = 256_000_000
    disk_bytes: Annotated[
        int, Option("features on the disk", lowest=0, offered=1e12, unit="bytes")
    ] = 20_000_000_000

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneConfig:
    """How strokes teach the pixel head.

    What looks alike at 2.5 times the ``reach`` is left to the head. ``others`` was
    chosen on GlaS with a simulated annotator: with 1 the hard places of other images
    outvote the image. Where the linear head learns alone, both kinds always weigh the
    same, ``balanced`` or not. More in :mod:`napari_wsol.refinement`: ``kernel_fit``
    (``balanced``), ``stroke_network`` (``head``), ``last_stage`` (``encoder``),
    ``guided_filter`` (``edges``), ``surroundings`` (``propagate``).

    The last stage, edges and superpixels are for images in one piece; on a slide the
    last stage is refused and the other two do nothing.

    Attributes:
        steps: how long a round may think. It stops by itself when nothing gets better.
        prior: how strongly the model holds on to what it knew. With less, few strokes
            move the map far; with more, many are needed. 0 forgets the model.
        max_pixels: so many pixels of the strokes are learnt from; longer strokes are
            thinned evenly. More are slower.
        others: how much the strokes of all other images of the list count together: 1
            as much as those of this image, 0 not at all.
        local: strokes correct the map around them too, beside teaching what to look
            for everywhere.
        reach: how far a stroke corrects around itself, in pixels as the model sees
            them.
        balanced: where much more of one kind is marked than of the other, each place
            of the rarer kind weighs more, so that long strokes do not outvote short
            ones.
        cautious: strokes of one kind alone, or with few of the other, correct around
            themselves and what looks just like them; where both kinds are there, what
            they teach holds everywhere. Without, strokes of one kind turn the whole
            map.
        head: a linear correction is exact, and can be saved for other images. A small
            network can learn what no straight line divides, but few strokes lead it
            astray more easily; it stays with this image.
        encoder: whether strokes of both kinds also teach the last stage of the network
            that reads the image. It is for images that the model cannot tell apart at
            all, with many strokes on them. A round takes seconds, on a large image a
            minute, and other images teach nothing. Not on slides.
        learning_rate: how large the steps are in which the encoder's last stage learns.
            Where a round makes the map wild, take less. It matters only where the
            encoder learns.
        edges: whether the map is smoothed along the edges of the image: specks go, and
            outlines follow what is seen. Not on slides.
        propagate: a stroke also marks, with less weight, the small patch of one colour
            that it lies on, unless strokes of the other kind lie there too. Not on
            slides.
    """

    steps: Annotated[
        int, Option("steps at most", lowest=1, offered=10_000, step=10)
    ] = 100
    prior: Annotated[
        float,
        Option("trust in the model", lowest=0, offered=100, step=0.25, decimals=2),
    ] = 1.0
    max_pixels: Annotated[int, Option("pixels per kind", lowest=1, step=500)] = 2_000
    others: Annotated[
        float, Option("other images", lowest=0, highest=100, step=0.25, decimals=2)
    ] = 0.3
    local: Annotated[bool, Option("also correct where strokes are")] = True
    reach: Annotated[
        float, Option("reach of a stroke", above=0, offered=2_000, step=10, unit="px")
    ] = 60.0
    balanced: Annotated[bool, Option("the rarer kind weighs more")] = False
    cautious: Annotated[bool, Option("one kind alone stays near by")] = True
    head: Annotated[
        Literal["linear", "mlp"],
        Option("what is learnt", choices={"linear": "linear", "mlp": "network"}),
    ] = "linear"
    encoder: Annotated[
        Literal["frozen", "last_stage"],
        Option("encoder", choices={"frozen": "frozen", "last_stage": "last stage"}),
    ] = "frozen"
    learning_rate: Annotated[
        float,
        Option(
            "its learning rate", above=0, highest=1, step=1e-5, decimals=6, power=-5
        ),
    ] = 2e-5
    edges: Annotated[
        Literal["none", "guided"],
        Option("edges of the map", choices={"none": "as learnt", "guided": "smoothed"}),
    ] = "none"
    propagate: Annotated[bool, Option("strokes spread to what is alike")] = False

    def __post_init__(self) -> None:
        check(self)

    @property
    def corrects(self) -> bool:
        """Whether the strokes of an image learn more than the pixel head."""
        return self.local or self.head == "mlp"


FORMATS = {
    "png": "PNG mask",
    "tiff": "TIFF mask",
    "geojson": "GeoJSON",
    "csv": "CSV table",
    "zarr": "OME-Zarr",
    "ome-tiff": "OME-TIFF map",
    "tiles": "QuPath tiles",
    "tiles-gz": "QuPath tiles, gz",
}
"""File kinds of an export; the provenance record is always written beside them."""

FORMAT_TIPS = {
    "png": "The mask as a picture: 255 inside, 0 outside.",
    "tiff": "The mask and the map as tiled TIFF, for large images.",
    "geojson": "Outlines of the regions; QuPath opens them by drag and drop.",
    "csv": "A row a region: area, position, shape, score.",
    "zarr": "The map as OME-Zarr 0.5 in its place; mask, tissue and strokes as labels.",
    "ome-tiff": "The map as OME-TIFF: levels, and the image's physical size, so that "
    "QuPath and OMERO show it over the image.",
    "tiles": "The maps as tiles with a measurement a method; QuPath colours them under "
    "Measure > Show measurement maps.",
    "tiles-gz": "The same, packed: a tenth of the size; QuPath opens it too.",
}


def _area(label: str) -> Option:
    return Option(
        label, lowest=0, offered=1e12, step=100, unit="pixels", empty="nothing"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """What is cut out of a heatmap and how it is written; areas in level-0 pixels.

    Attributes:
        method: the method whose map is cut into a mask.
        threshold: foreground is at or above it, on the map's scale; of evidence for
            and against a class it is a share of the strongest, 0.5 half as strong.
        min_area: smaller regions are left out.
        fill_holes: smaller holes in a region are filled.
        formats: what is written.
    """

    method: Annotated[str, Option("Method")] = "pixelcam"
    threshold: Annotated[
        float, Option("Threshold", lowest=0, highest=1, step=0.01, decimals=2)
    ] = 0.5
    min_area: Annotated[float, _area("Leave out below")] = 0.0
    fill_holes: Annotated[float, _area("Fill holes below")] = 0.0
    formats: Annotated[
        tuple[str, ...], Option("Formats", choices=FORMATS, tips=FORMAT_TIPS)
    ] = ("png", "tiff", "geojson", "csv")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureConfig:
    """How a comparison is drawn for print.

    Attributes:
        width_mm: of the figure; journals ask for about 85 (one column) or 180.
        dpi: pixels an inch of the images in it.
        columns: panels beside each other.
        view: the whole image, or what is seen of it.
        font_size: of titles; captions are a little smaller.
        letters: a letter before each title.
        colour_bar: what the colours mean.
        scores: figures and threshold under each map.
    """

    width_mm: Annotated[float, Option("Width", lowest=30, highest=300, unit="mm")] = 180
    dpi: Annotated[int, Option("Resolution", lowest=72, highest=600, unit="dpi")] = 300
    columns: Annotated[int, Option("Columns", lowest=0, highest=12, empty="auto")] = 0
    view: Annotated[
        Literal["image", "seen"],
        Option("View", choices={"image": "whole image", "seen": "as seen now"}),
    ] = "image"
    font_size: Annotated[
        float, Option("Font size", lowest=4, highest=24, unit="pt")
    ] = 8
    letters: Annotated[bool, Option("letters")] = True
    colour_bar: Annotated[bool, Option("colour bar")] = True
    scores: Annotated[bool, Option("scores")] = True

    def __post_init__(self) -> None:
        check(self)


def words_of(given: Mapping[str, Iterable[object]]) -> list[str]:
    """Options of a command, each with each of its values that is not None."""
    pairs = ((name, value) for name, values in given.items() for value in values)
    return [str(x) for pair in pairs if pair[1] is not None for x in pair]
