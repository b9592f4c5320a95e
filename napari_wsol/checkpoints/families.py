"""Networks of torchvision's and timm's families, under any names, with their heads.

An encoder is found by a name that only its family has, wherever it lies in the file,
and known by all its names and shapes. Its classifier is what else has the shape of a
linear layer on its deepest map. What a file cannot tell is asked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping  # noqa: TC003 - a table is checked against it
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from napari_wsol.checkpoints.draft import YES_NO, Draft, nominal_offsets
from napari_wsol.checkpoints.nests import is_averaged, places
from napari_wsol.encoders import build_encoder
from napari_wsol.errors import ConfigError, ModelError
from napari_wsol.files.parsing import parse_toml, typed
from napari_wsol.images.preprocessing import IMAGENET_MEAN, Preprocessing
from napari_wsol.methods import ModelSpec
from napari_wsol.methods.vgg import GRID

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_wsol.checkpoints.draft import Answers, Source, State

IMAGENET_CLASSES = 1000


@dataclass(frozen=True, slots=True)
class Published:
    """What is known of a DenseNet-121 that was published, and how it is known."""

    name: str
    layer: str
    normalisation: str
    classes: tuple[str, ...]
    citations: tuple[str, ...]
    note: str
    grey: bool = False
    within: str = ""


@dataclass(frozen=True, slots=True)
class Tables:
    """See ``families.toml``."""

    renames: tuple[tuple[str, str], ...]
    encoders: Mapping[str, tuple[str, ...]]
    normalisations: Mapping[str, str]
    published: tuple[Published, ...]


_FILE = Path(__file__).with_name("families.toml")
TABLES = typed(parse_toml(_FILE.read_text("utf-8")), Tables)


@dataclass(frozen=True, slots=True)
class Place:
    """A network in a file: its encoder's weights without what stands before them.

    ``wrong`` is what differs from the encoder of its family that it is most alike.
    """

    prefix: str
    encoder: str
    width: int
    weights: State
    wrong: list[str]

    @property
    def channels(self) -> int:
        """That its first kernel reads."""
        return next(x for x in self.weights.values() if x.ndim == 4).shape[1]

    def inner(self, name: str) -> str:
        """The layer of a weight, without the words that it shares with the prefix."""
        words = name.split(".")[:-1]
        shared = os.path.commonprefix([words, self.prefix.split(".")[:-1]])
        return ".".join(words[len(shared) :])


def modern_names(state: State) -> State:
    """Names as encoders here have them, under any prefix."""
    found = dict(state)
    for old, new in TABLES.renames:
        found = {re.sub(old, new, name): value for name, value in found.items()}
    return found


def networks(state: State) -> list[Place]:
    """All networks of these families, by modern names, in the order of the file."""
    return [
        _place(state, prefix, encoders)
        for mark, encoders in TABLES.encoders.items()
        for prefix in places(state, mark)
    ]


def recognise(source: Source, answers: Answers) -> Draft | None:
    """The network of one of these families; None if there is none.

    Raises:
        ModelError: there is one, but of a form that is not known here.
    """
    state = modern_names(source.only or {})
    found = networks(state)
    known = [place for place in found if not place.wrong]
    if found and not known:
        raise ModelError(
            f"{source.path.name} looks like {found[0].encoder}, but differs: "
            f"{', '.join(found[0].wrong[:3])}. Import other transformers by --preset or "
            "timm (the timm extra); wrap others in Python, wsol.wrap(module, layer=…)."
        )
    if not known:
        return None
    place, rest, notes = _chosen(state, known, answers)
    layer, weights = _head(place, rest, answers, notes)
    published = _published(place, layer, weights)
    spec, encoder = _spec(place, weights, published, answers), place.encoder
    summary = f"{encoder} with its own classifier: {', '.join(spec.classes)}."
    if not weights:
        summary = (
            f"{encoder} as it was trained elsewhere, without a classifier: a start for "
            "training, or for a pixel head that learns from strokes alone."
        )
    return Draft(
        spec=spec,
        weights={f"encoder.{key}": x for key, x in place.weights.items()} | weights,
        system=published.name if published else "torchvision",
        summary=summary,
        citations=published.citations if published else (),
        notes=((published.note,) if published else ()) + tuple(notes),
    )


def _place(state: State, prefix: str, encoders: Iterable[str]) -> Place:
    size = len(prefix)
    under = {key[size:]: x for key, x in state.items() if key.startswith(prefix)}
    found: list[Place] = []
    for name in encoders:
        with torch.device("meta"):
            encoder = build_encoder(name)
        wanted = encoder.state_dict()
        parts = {key.split(".")[0] for key in wanted}
        # Other tokens and norms make it another transformer.
        other = re.compile(r"\w*(_token|norm\w*\.\w+)" if "cls_token" in parts else "")
        own = {
            key: x
            for key, x in under.items()
            if key.split(".")[0] in parts or other.fullmatch(key)
        }
        wrong = sorted(_shapes(own) ^ _shapes(wanted))
        found.append(Place(prefix, name, encoder.channels[-1], own, wrong))
    return min(found, key=lambda place: len(place.wrong))


def _shapes(state: State) -> set[str]:
    """Names with shapes, but for counts; a first kernel may read grey or colour."""
    grey = re.compile(r"(\(\d+), 1, (\d+), \2\)$")
    return {
        grey.sub(r"\1, 3, \2, \2)", f"{key} {tuple(x.shape)}")
        for key, x in state.items()
        if "num_batches" not in key
    }


def _chosen(
    state: State, known: list[Place], answers: Answers
) -> tuple[Place, State, list[str]]:
    """One of the networks, what else of the file belongs to it, and what to say."""
    known = sorted(known, key=lambda place: not is_averaged(place.prefix, state))
    words = [place.prefix.split(".")[:-1] for place in known]
    at = len(os.path.commonprefix(words)) + 1
    names = [".".join(item[:at]) or "outermost" for item in words]
    if len(set(names)) < len(names):
        names = [".".join(item) or "outermost" for item in words]
    name, notes = names[0], [f"Took `{names[0]}`."] if words[0] else []
    if len(known) > 1:
        name = answers.choose("network", "Which network?", names, name)
        left = ", ".join(f"`{item}`" for item in names if item != name)
        notes = [
            f"Took `{name}`, left {left}: means of weights come before raw ones, then "
            "the first of a file; --answer network=NAME takes another."
        ]
    place = known[names.index(name)]
    own = {f"{place.prefix}{key}" for key in place.weights}
    rest: State = {}
    for key, value in state.items():
        owners = [item for item in names if key.startswith(f"{item}.")]
        outer = "outermost" if "outermost" in names else name
        if (
            max(owners, key=len, default=outer) == name
            and key not in own
            and value.ndim
        ):
            rest[key] = value
    return place, rest, notes


def _head(
    place: Place, rest: State, answers: Answers, notes: list[str]
) -> tuple[str, State]:
    """The layer that reads the encoder and its weights under our names, if it has one.

    Asked for where several may be it, or where something else may lie between.
    """
    flat = {
        key: x
        for key, x in rest.items()
        if key.endswith("weight") and (x.ndim == 2 or x.shape[2:] == (1, 1))
    }
    chain = _chain(place, flat)
    read = {x.shape[1] for x in flat.values()}
    fit = chain[-1:] or [
        key
        for key, x in flat.items()
        if x.shape[1] == place.width and (x.shape[0] not in read or len(flat) == 1)
    ]
    layers = {place.inner(key): key for key in fit}
    modules = {layer.split(".")[0] for layer in layers}
    others = {
        key: x
        for key, x in rest.items()
        if (x.ndim > 1 or place.inner(key).split(".")[0] in modules)
        and _weight(key) not in fit + chain
        and "AuxLogits." not in key
    }
    layer, keep = "leave", ["keep"] if len(layers) == 1 and not others else []
    if layers or others:
        known = next(iter(layers)) if keep else None
        is_imagenet = keep and len(rest[fit[0]]) == IMAGENET_CLASSES
        layer = answers.choose(
            "head",
            f"Which layer is its classifier? “leave” takes none. Beside {place.encoder} "
            f"lie {_listed({key: rest[key] for key in (*fit, *others)})}.",
            ["leave", *layers, *keep],
            "leave" if is_imagenet else known,
        )
        layer = known if known and layer == "keep" else layer
    taken = [] if layer == "leave" else chain or [layers[layer]]
    left = {key: x for key, x in rest.items() if _weight(key) not in taken}
    notes += [f"Its classifier is `{layer}`."] if taken else []
    notes += [f"Left out beside it: {_listed(left)}."] if left else []
    if layers and not taken:
        notes.append(f"--answer head={(keep or fit)[0]} keeps its classifier.")
    name = "linear" if place.encoder.startswith("deit") else "cam"
    weights: State = {}
    for at, key in enumerate(taken):
        part = f"heads.vgg.classifier.{3 * at}" if chain else f"heads.{name}.fc"
        weights[f"{part}.weight"] = rest[key].flatten(1)
        bias = rest.get(f"{key.removesuffix('weight')}bias")
        weights[f"{part}.bias"] = torch.zeros(len(rest[key])) if bias is None else bias
    return layer, weights


def _weight(key: str) -> str:
    """The name of the weight beside a bias."""
    return re.sub("bias$", "weight", key)


def _chain(place: Place, flat: State) -> list[str]:
    """VGG's linear layers on a grid of cells, if these are all: three or one."""
    wanted = place.width * GRID**2
    for x in flat.values():
        if x.shape[1] != wanted:
            return []
        wanted = x.shape[0]
    at = [re.search(r"\.(\d+)\.(\d+\.)?weight$", name) for name in flat]
    is_published = [match and match[1] for match in at] == ["0", "3", "6"]
    return list(flat) if is_published or len(flat) == 1 else []


def _listed(state: State, most: int = 6) -> str:
    """Some names with their shapes."""
    shown = [f"{key} {tuple(x.shape)}" for key, x in list(state.items())[:most]]
    return ", ".join(shown) + (f" and {len(state) - most} more" * (len(state) > most))


def _published(place: Place, layer: str, weights: State) -> Published | None:
    """Which published network it is, by its form."""
    rows = len(weights.get("heads.cam.fc.bias", ()))
    form = (place.encoder, place.channels == 1, layer, rows)
    for item in TABLES.published:
        known = ("densenet121", item.grey, item.layer, len(item.classes))
        if form == known and item.within in place.prefix:
            return item
    return None


def _spec(
    place: Place, weights: State, known: Published | None, answers: Answers
) -> ModelSpec:
    """How it is built; what neither the file nor a paper tells is asked."""
    if not weights and place.channels == 3:
        return ModelSpec(encoder=place.encoder, classes=("foreground",), heads=())
    is_sized = known is not None or place.encoder.startswith("deit")
    how = Preprocessing(
        **answers.tell(
            "normalisation",
            f"How was the input normalised ({', '.join(TABLES.normalisations)})? Or the "
            "mean and then the deviation of each channel, on the scale from 0 to 1.",
            lambda text: _statistics(text, place.channels),
            "half" if place.channels == 1 else "imagenet",
            known.normalisation if known else None,
        ),
        channels=place.channels,
        size=answers.tell(
            "size",
            "To how many pixels a side was each image brought? “any” if to none.",
            _side,
            "any",
            "224" if is_sized else None,
        ),
    )
    encoder = place.encoder
    if not weights:
        return ModelSpec(
            encoder=encoder, classes=("foreground",), heads=(), preprocessing=how
        )
    name, rows = next(iter(weights)).split(".")[1], len(list(weights.values())[-1])
    if encoder == "inception_v3":
        told = None if how.mean == IMAGENET_MEAN else "no"
        encoder = inception_of(answers, told)
    widths = tuple(len(x) for key, x in weights.items() if key.endswith("bias"))[:-1]
    activation = answers.choose(
        "activation",
        "May an image show several classes (sigmoid), or exactly one (softmax)?",
        ("softmax", "sigmoid"),
        "sigmoid" if known or rows == 1 else None,
    )
    return ModelSpec(
        encoder=encoder,
        classes=answers.classes(rows, known.classes if known else (), asked=True),
        heads=(name,),
        options={"vgg": {"widths": widths}} if name == "vgg" else {},
        multi_label=activation == "sigmoid",
        offsets=None if name == "linear" else nominal_offsets(encoder),
        preprocessing=how,
    )


def inception_of(answers: Answers, told: str | None) -> str:
    """Which of both Inception-v3 it is: their weights are alike."""
    text = "Was it trained from torchvision's “pretrained” weights? Then its input is "
    answer = answers.choose("transform_input", f"{text}rescaled.", YES_NO, told)
    return "inception_v3_transform" if answer == "yes" else "inception_v3"


def _statistics(text: str, channels: int) -> dict[str, tuple[float, ...]]:
    """Mean and deviation of each channel, from a name or from numbers."""
    named = TABLES.normalisations.get(text.lower(), text)
    found = tuple(map(float, re.findall(r"\d*\.?\d+(?:e-?\d+)?", named)))
    if channels == 1 and len(set(found[:3])) == len(set(found[3:])) == 1:
        found = found[::3]
    mean, std = found[:channels], found[channels:]
    if len(std) != channels or max(found) > 1 or min(std) <= 0:
        raise ConfigError(
            f"normalisation is one of {', '.join(TABLES.normalisations)} or "
            f"{2 * channels} numbers from 0 to 1, first means, not “{text}”."
        )
    return {"mean": mean, "std": std}


def _side(text: str) -> int | None:
    if text.lower() != "any" and not re.fullmatch("[1-9][0-9]{0,4}", text):
        raise ConfigError(f"size is a number of pixels, or “any”, not “{text}”.")
    return None if text.lower() == "any" else int(text)
