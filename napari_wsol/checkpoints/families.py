"""Networks of torchvision's and timm's families, under any names, with their heads.

Training scripts put weights into tables ("ema") and networks into modules ("net"): both
are words before a name, and any word may be one. An encoder is found by a name that
only its family has, and known by all its names and shapes. Its classifier is what else
has the shape of a linear layer on its deepest map. What a file cannot tell is asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import accumulate, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from napari_wsol.checkpoints.draft import YES_NO, Draft, nominal_offsets
from napari_wsol.encoders import build_encoder
from napari_wsol.errors import ConfigError, ModelError
from napari_wsol.files.parsing import parse_toml, typed
from napari_wsol.images.preprocessing import IMAGENET_MEAN, Preprocessing
from napari_wsol.methods import ModelSpec
from napari_wsol.methods.linear import GRID

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_wsol.checkpoints.draft import Answers, Source, State

IMAGENET_CLASSES = 1000

AVERAGED = re.compile(r"(?i)(?<![a-z])(ema|swa|teacher|averaged?|avg|shadow)(?![a-z])")
"""Words before weights that are a mean over many steps, as networks are tested."""


@dataclass(frozen=True, slots=True)
class Published:
    """What is known of a network that was published, and its form."""

    name: str = "torchvision"
    form: str = ""
    normalisation: str | None = None
    classes: tuple[str, ...] = ()
    citations: tuple[str, ...] = ()
    note: str = ""
    within: str = ""


_TABLES = parse_toml(Path(__file__).with_name("families.toml").read_text("utf-8"))
RENAMES = typed(_TABLES["renames"], tuple[tuple[str, str], ...])
ENCODERS = typed(_TABLES["encoders"], dict[str, tuple[str, ...]])
NORMALISATIONS = typed(_TABLES["normalisations"], dict[str, str])
PUBLISHED = typed(_TABLES["published"], tuple[Published, ...])


class Place(NamedTuple):
    """An encoder in a file: what its names begin with, and what differs from ours."""

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
        words = name.split(".")[:-1][:5]
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
    """All networks of these families, by modern names."""
    marks = [(x, names) for y, names in ENCODERS.items() for x in places(state, y)]
    return [_place(state, prefix, names) for prefix, names in marks]


def recognise(source: Source, answers: Answers) -> Draft | None:
    """The network of one of these families; None if there is none.

    Raises:
        ModelError: there is one, but of a form that is not known here.
    """
    state = source.only
    found = networks(state)
    known = [place for place in found if not place.wrong]
    if not found:
        return None
    if not known:
        raise ModelError(
            f"{source.path.name} looks like {found[0].encoder}, but differs: "
            f"{', '.join(found[0].wrong[:3])}. Import other transformers by --preset "
            "(the timm extra); wrap other networks in Python: wsol.wrap(module, …)."
        )
    place, rest, notes = _chosen(state, known, answers)
    layer, weights = _head(place, rest, answers, notes)
    channels = min(x.shape[1] for x in place.weights.values() if x.ndim == 4)
    rows = len(next(reversed(weights.values()))) if weights else 0
    form = f"{place.encoder} of {channels} channels, {layer} of {rows} rows"
    fits = [x for x in PUBLISHED if x.form == form and x.within in place.prefix]
    published = (*fits, Published())[0]
    if weights:
        spec = _spec(place.encoder, channels, weights, published, answers)
        summary = f"Own network ({form}): {', '.join(spec.classes)}."
    else:
        how = Preprocessing(mean=(0.5,), std=(0.5,), channels=1)
        spec = ModelSpec(encoder=place.encoder, classes=("foreground",), heads=())
        spec = replace(spec, preprocessing=how) if channels == 1 else spec
        summary = f"{place.encoder} without a classifier: a start for training, or for "
        summary += "a pixel head that learns from strokes alone."
    return Draft(
        spec=spec,
        weights={f"encoder.{key}": x for key, x in place.weights.items()} | weights,
        system=published.name,
        summary=summary,
        citations=published.citations,
        notes=tuple(filter(None, (published.note, *notes))),
    )


def _place(state: State, prefix: str, encoders: Iterable[str]) -> Place:
    """What lies under a prefix, as the encoder that it is most alike."""
    size, found = len(prefix), list[Place]()
    under = {key[size:]: x for key, x in state.items() if key.startswith(prefix)}
    for name in encoders:
        with torch.device("meta"):
            encoder = build_encoder(name)
        wanted = encoder.state_dict()
        parts = {key.split(".")[0] for key in wanted}
        # Other tokens and norms make it another transformer.
        other = re.compile(r"\w*(_token|norm\w*\.\w+)" if "cls_token" in parts else "")
        own = {x for x in under if x.split(".")[0] in parts or other.fullmatch(x)}
        weights = {key: x for key, x in under.items() if key in own}
        wrong = sorted(_shapes(weights) ^ _shapes(wanted))
        found.append(Place(prefix, name, encoder.channels[-1], weights, wrong))
    return min(found, key=lambda place: len(place.wrong))


def _shapes(state: State) -> set[str]:
    """Names with shapes, but for counts; a first kernel may read grey or colour."""
    told = {f"{key} {tuple(x.shape)}" for key, x in state.items() if "num_b" not in key}
    return {re.sub(r"(\(\d+), 1, (\d+), \2\)$", r"\1, 3, \2, \2)", x) for x in told}


def _chosen(
    state: State, known: list[Place], answers: Answers
) -> tuple[Place, State, list[str]]:
    """One of the networks, what else of the file belongs to it, and what to say."""
    known = sorted(known, key=lambda place: not is_averaged(place.prefix, state))
    words = [place.prefix.split(".")[:-1] for place in known]
    names = [".".join(x[: _alike(words) + 1]) or "outermost" for x in words]
    if len(set(names)) < len(names):
        names = [".".join(x) or "outermost" for x in words]
    name, notes = names[0], [f"Took `{names[0]}`."] if words[0] else []
    if len(known) > 1:
        name = answers.choose("network", names, name)
        left = ", ".join(f"`{x}`" for x in names if x != name)
        rule = "means of weights before raw ones, then the first of the file"
        notes = [f"Took `{name}`, left {left}: {rule}; else --answer network=NAME."]
    place = known[names.index(name)]
    own = {f"{place.prefix}{key}" for key in place.weights}
    outer = "outermost" if "outermost" in names else name
    rest: State = {}
    for key, value in state.items():
        owners = [x for x in names if key.startswith(f"{x}.")]
        is_its = max(owners, key=len, default=outer) == name
        if is_its and value.ndim and key not in own:
            rest[key] = value
    return place, rest, notes


def _alike(rows: list[list[str]]) -> int:
    """How many words all rows begin with alike."""
    return len([*takewhile(lambda x: len({*x}) == 1, zip(*rows, strict=False))])


def _head(
    place: Place, rest: State, answers: Answers, notes: list[str]
) -> tuple[str, State]:
    """The layer that reads the encoder ("leave" for none), its weights by our names.

    Asked for where several may be it, or where something else may lie between.
    """
    before = place.prefix.split(".")[:-1]

    def inner(key: str) -> str:
        """The layer of a weight, without the words that it shares with the prefix."""
        words = key.split(".")[:-1]
        return ".".join(words[_alike([words, before]) :])

    flat = {k: rest[k] for k in sorted(rest)}  # files keep them in any order
    flat = {k: x for k, x in flat.items() if x.ndim > 1 and sum(x.shape[2:]) < 3}
    flat = {k: x for k, x in flat.items() if k.endswith("weight")}  # 1×1 kernels, too
    chain = _chain(flat, place.width * GRID**2)
    read = {x.shape[1] for x in flat.values()}
    fit = {k for k, x in flat.items() if x.shape[1] == place.width}
    fit = {k for k in fit if len(flat[k]) not in read or len(flat) == 1}
    layers = {inner(key): key for key in flat if key in fit or key in chain[-1:]}
    homes = {layer.split(".")[0] for layer in layers}
    own = _both([*layers.values(), *chain])
    others = [k for k in rest if k not in own and "AuxLogits." not in k]
    homes |= {inner(k).split(".")[0] for k in others if len(rest[k]) == place.width}
    others = [k for k in others if rest[k].ndim > 1 or inner(k).split(".")[0] in homes]
    only = "".join(layers) if len(layers) == 1 and not others else None
    layer = "leave"
    if layers or others:
        is_imagenet = only and len(rest[layers[only]]) == IMAGENET_CLASSES
        beside = _listed({key: rest[key] for key in (*layers.values(), *others)})
        options = ["leave", *layers, *(["keep"] if only else [])]
        known = "leave" if is_imagenet else only
        layer = answers.choose("head", options, known, beside)
        layer = only if only and layer == "keep" else layer
    taken = [] if layer == "leave" else chain or [layers[layer]]
    left = {key: x for key, x in rest.items() if key not in _both(taken)}
    notes += [f"Its classifier is `{layer}`."] if taken else []
    notes += [f"Left out: {_listed(left)}."] if left else []
    if layers and not taken:
        notes.append(f"--answer head={'keep' if only else 'NAME'} takes one.")
    part = "heads.linear.fc" if place.encoder.startswith("deit") else "heads.cam.fc"
    weights: State = {}
    for at, key in enumerate(taken):
        part = f"heads.vgg.classifier.{3 * at}" if chain else part
        weights[f"{part}.weight"] = rest[key].flatten(1)
        none = torch.zeros(len(rest[key]))
        weights[f"{part}.bias"] = rest.get(re.sub("weight$", "bias", key), none)
    return layer, weights


def _both(keys: Iterable[str]) -> set[str]:
    """Names of weights and of the biases beside them."""
    return {re.sub("weight$", part, key) for key in keys for part in ("weight", "bias")}


def _chain(flat: State, wanted: int) -> list[str]:
    """VGG's linear layers on a grid of cells, if these are all: three or one."""
    sides = [wanted, *(len(x) for x in flat.values())]
    fits = all(x.shape[1] == y for x, y in zip(flat.values(), sides, strict=False))
    at = re.findall(r"\.([036])\.(?:\d+\.)?weight ", " ".join([*flat, ""]))
    is_known = len(flat) == 1 or (len(flat) == len(at) and at == ["0", "3", "6"])
    return list(flat) if fits and is_known else []


def _listed(state: State) -> str:
    """Some names with their shapes."""
    shown = [f"{key} {tuple(x.shape)}" for key, x in list(state.items())[:6]]
    return ", ".join(shown) + (f" and {len(state) - 6} more" if len(state) > 6 else "")


def _spec(
    encoder: str, channels: int, weights: State, known: Published, ask: Answers
) -> ModelSpec:
    """How it is built; what neither the file nor a paper tells is asked."""
    example = "half" if channels == 1 else "imagenet"
    text = ask.tell("normalisation", known.normalisation, example)
    mean, std = _statistics(text, channels)
    with torch.device("meta"):
        side = build_encoder(encoder).fixed_size or (224 if known.classes else None)
    size = _side(ask.tell("size", str(side) if side else None, "any"))
    name, rows = next(iter(weights)).split(".")[1], len([*weights.values()][-1])
    if encoder == "inception_v3":
        encoder = inception_of(ask, None if mean == IMAGENET_MEAN else "no")
    widths = tuple(len(x) for key, x in weights.items() if key.endswith("bias"))[:-1]
    sure = "sigmoid" if known.classes or rows == 1 else None
    both = ("softmax", "sigmoid")[rows == 1 :]
    activation = ask.choose("activation", both, sure)
    return ModelSpec(
        encoder=encoder,
        classes=ask.classes(rows, known.classes, asked=True),
        heads=(name,),
        options={"vgg": {"widths": widths}} if name == "vgg" else {},
        multi_label=activation == "sigmoid",
        offsets=None if name == "linear" else nominal_offsets(encoder),
        preprocessing=Preprocessing(mean=mean, std=std, channels=channels, size=size),
    )


def inception_of(answers: Answers, told: str | None) -> str:
    """Which of both Inception-v3 it is: their weights are alike."""
    answer = answers.choose("transform_input", YES_NO, told)
    return "inception_v3_transform" if answer == "yes" else "inception_v3"


def _statistics(text: str, channels: int) -> tuple[tuple[float, ...], ...]:
    """Mean and deviation of each channel, from a name or from numbers."""
    named = NORMALISATIONS.get(text.lower(), text)
    found = tuple(map(float, re.findall(r"-?\d*\.?\d+(?:e-?\d+)?", named)))
    if channels == 1 and len(set(found[:3])) == len(set(found[3:])) == 1:
        found = found[::3]
    mean, std = found[:channels], found[channels:]
    if len(std) != channels or max(found) > 1 or min(std) <= 0:
        raise ConfigError(
            f"normalisation is one of {', '.join(NORMALISATIONS)} or {2 * channels} "
            f"numbers from 0 to 1, first means, not “{text}”."
        )
    return mean, std


def _side(text: str) -> int | None:
    if text.lower() != "any" and not re.fullmatch("[1-9][0-9]{0,4}", text):
        raise ConfigError(f"size is a number of pixels, or “any”, not “{text}”.")
    return None if text.lower() == "any" else int(text)
