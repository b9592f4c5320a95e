"""Networks of torchvision's and timm's families, under any names, with their heads.

Training scripts put weights into tables ("ema") and networks into modules ("backbone"):
both are words before a name, and any word may be one. An encoder is found by a name that
only its family has, and known by all its names and shapes. Its classifier is what else
has the shape of a linear layer on its deepest map. What a file cannot tell is asked.
"""

from __future__ import annotations

import os
import re
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from napari_wsol.checkpoints.draft import YES_NO, Draft, nominal_offsets
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

AVERAGED = re.compile(r"(?i)(?<![a-z])(ema|swa|teacher|averaged?|avg|shadow)(?![a-z])")
"""Words before weights that are a mean over many steps, as networks are tested."""

MOST_WORDS = 5
"""Before the names of an authors' network."""


class Published(NamedTuple):
    """What is known of a network that was published, and its form."""

    name: str
    form: str
    normalisation: str
    classes: tuple[str, ...]
    citations: tuple[str, ...]
    note: str
    within: str = ""


_TABLES = parse_toml(Path(__file__).with_name("families.toml").read_text("utf-8"))
RENAMES = typed(_TABLES["renames"], tuple[tuple[str, str], ...])
ENCODERS = typed(_TABLES["encoders"], dict[str, tuple[str, ...]])
NORMALISATIONS = typed(_TABLES["normalisations"], dict[str, str])
PUBLISHED = [Published(**item) for item in _TABLES["published"]]


class Place(NamedTuple):
    """A network in a file: its encoder's weights without what stands before them.

    ``wrong`` is what differs from the encoder of its family that it is most alike.
    """

    prefix: str
    encoder: str
    width: int
    weights: State
    wrong: list[str]


def is_averaged(prefix: str, names: Iterable[str]) -> bool:
    """Whether the weights under a prefix are a mean: its words or torch say so."""
    count = f"{prefix.removesuffix('module.')}n_averaged"
    return bool(AVERAGED.search(prefix)) or count in names


def places(names: Iterable[str], mark: str) -> list[str]:
    """Prefixes of all networks that have an entry of a name."""
    return [
        name.removesuffix(mark) for name in names if f".{name}".endswith(f".{mark}")
    ]


def scopes(state: State) -> dict[str, State]:
    """What lies under each prefix, without it: all first, then what is a mean."""
    found = {"": state}
    for name, value in state.items():
        words = name.split(".")[:-1][:MOST_WORDS]
        for prefix in accumulate(f"{word}." for word in words):
            found.setdefault(prefix, {})[name.removeprefix(prefix)] = value
    order = sorted(found, key=lambda item: (item != "", not is_averaged(item, state)))
    return {prefix: found[prefix] for prefix in order}


def modern_names(state: State) -> State:
    """Names as encoders here have them, under any prefix."""
    found = dict(state)
    for old, new in RENAMES:
        found = {re.sub(old, new, name): value for name, value in found.items()}
    return found


def networks(state: State) -> list[Place]:
    """All networks of these families, by modern names, in the order of the file."""
    return [
        _place(state, prefix, encoders)
        for mark, encoders in ENCODERS.items()
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
    kernel = next(x for x in place.weights.values() if x.ndim == 4)
    rows = len(next(reversed(weights.values()))) if weights else 0
    form = f"{place.encoder} of {kernel.shape[1]} channels, {layer} of {rows} rows"
    told = (x for x in PUBLISHED if x.form == form and x.within in place.prefix)
    published = next(told, None)
    spec = _spec(place.encoder, kernel.shape[1], weights, published, answers)
    summary = f"{form}: {', '.join(spec.classes)}."
    if not weights:
        summary = f"{place.encoder} without a classifier: a start for training, or for "
        summary += "a pixel head that learns from strokes alone."
    return Draft(
        spec=spec,
        weights={f"encoder.{key}": x for key, x in place.weights.items()} | weights,
        system=published.name if published else "torchvision",
        summary=summary,
        citations=published.citations if published else (),
        notes=(*((published.note,) if published else ()), *notes),
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
    """The layer that reads the encoder, and its weights under our names.

    Asked for where several may be it, or where something else may lie between; "leave"
    and nothing where there is none.
    """
    before = place.prefix.split(".")[:-1]

    def inner(key: str) -> str:
        """The layer of a weight, without the words that it shares with the prefix."""
        words = key.split(".")[:-1]
        return ".".join(words[len(os.path.commonprefix([words, before])) :])

    flat = {
        key: x
        for key, x in rest.items()
        if key.endswith("weight") and (x.ndim == 2 or x.shape[2:] == (1, 1))
    }
    chain = _chain(flat, place.width * GRID**2)
    read = {x.shape[1] for x in flat.values()}
    layers = {
        inner(key): key
        for key, x in flat.items()
        if key in chain[-1:]
        or (x.shape[1] == place.width and (len(x) not in read or len(flat) == 1))
    }
    modules = {layer.split(".")[0] for layer in layers}
    others = [
        key
        for key, x in rest.items()
        if (x.ndim > 1 or inner(key).split(".")[0] in modules)
        and _weight(key) not in [*layers.values(), *chain]
        and "AuxLogits." not in key
    ]
    layer, only = (
        "leave",
        next(iter(layers)) if len(layers) == 1 and not others else None,
    )
    if layers or others:
        is_imagenet = only and len(rest[layers[only]]) == IMAGENET_CLASSES
        layer = answers.choose(
            "head",
            f"Which layer is its classifier? “leave” takes none. Beside {place.encoder} "
            f"lie {_listed({key: rest[key] for key in (*layers.values(), *others)})}.",
            ["leave", *layers, *(["keep"] if only else [])],
            "leave" if is_imagenet else only,
        )
        layer = only if only and layer == "keep" else layer
    taken = [] if layer == "leave" else chain or [layers[layer]]
    left = {key: x for key, x in rest.items() if _weight(key) not in taken}
    notes += [f"Its classifier is `{layer}`."] if taken else []
    notes += [f"Left out: {_listed(left)}."] if left else []
    if layers and not taken:
        notes.append(
            f"--answer head={'keep' if only else 'NAME'} keeps its classifier."
        )
    name = "linear" if place.encoder.startswith("deit") else "cam"
    weights: State = {}
    for at, key in enumerate(taken):
        part = f"heads.vgg.classifier.{3 * at}" if chain else f"heads.{name}.fc"
        weights[f"{part}.weight"] = rest[key].flatten(1)
        none = torch.zeros(len(rest[key]))
        weights[f"{part}.bias"] = rest.get(re.sub("weight$", "bias", key), none)
    return layer, weights


def _weight(key: str) -> str:
    """The name of the weight beside a bias."""
    return re.sub("bias$", "weight", key)


def _chain(flat: State, wanted: int) -> list[str]:
    """VGG's linear layers on a grid of cells, if these are all: three or one."""
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


def _spec(
    encoder: str,
    channels: int,
    weights: State,
    known: Published | None,
    answers: Answers,
) -> ModelSpec:
    """How it is built; what neither the file nor a paper tells is asked."""
    if not weights:
        grey = {"preprocessing": Preprocessing(mean=(0.5,), std=(0.5,), channels=1)}
        how = grey if channels == 1 else {}
        return ModelSpec(encoder=encoder, classes=("foreground",), heads=(), **how)
    statistics = answers.tell(
        "normalisation",
        f"How was the input normalised: {', '.join(NORMALISATIONS)}? Or the mean and "
        "then the deviation of each channel, on the scale from 0 to 1.",
        lambda text: _statistics(text, channels),
        known.normalisation if known else None,
        "half" if channels == 1 else "imagenet",
    )
    size = answers.tell(
        "size",
        "To how many pixels a side was each image brought? “any” if to none.",
        _side,
        "224" if known or encoder.startswith("deit") else None,
        "any",
    )
    name, rows = next(iter(weights)).split(".")[1], len([*weights.values()][-1])
    if encoder == "inception_v3":
        told = None if statistics["mean"] == IMAGENET_MEAN else "no"
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
        preprocessing=Preprocessing(**statistics, channels=channels, size=size),
    )


def inception_of(answers: Answers, told: str | None) -> str:
    """Which of both Inception-v3 it is: their weights are alike."""
    text = "Was it trained from torchvision's “pretrained” weights? Then its input is "
    answer = answers.choose("transform_input", f"{text}rescaled.", YES_NO, told)
    return "inception_v3_transform" if answer == "yes" else "inception_v3"


def _statistics(text: str, channels: int) -> dict[str, tuple[float, ...]]:
    """Mean and deviation of each channel, from a name or from numbers."""
    named = NORMALISATIONS.get(text.lower(), text)
    found = tuple(map(float, re.findall(r"\d*\.?\d+(?:e-?\d+)?", named)))
    if channels == 1 and len(set(found[:3])) == len(set(found[3:])) == 1:
        found = found[::3]
    mean, std = found[:channels], found[channels:]
    if len(std) != channels or max(found) > 1 or min(std) <= 0:
        raise ConfigError(
            f"normalisation is one of {', '.join(NORMALISATIONS)} or {2 * channels} "
            f"numbers from 0 to 1, first means, not “{text}”."
        )
    return {"mean": mean, "std": std}


def _side(text: str) -> int | None:
    if text.lower() != "any" and not re.fullmatch("[1-9][0-9]{0,4}", text):
        raise ConfigError(f"size is a number of pixels, or “any”, not “{text}”.")
    return None if text.lower() == "any" else int(text)
