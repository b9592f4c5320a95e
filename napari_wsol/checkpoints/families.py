"""Networks of torchvision's and timm's families, under any names, with their heads.

An encoder is found by a name that only its family has, wherever it lies in the file,
and known by all its names and shapes. Its classifier is what else is there of the shape
that a linear layer on its deepest map has. What a file cannot tell is asked.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from napari_wsol.checkpoints.draft import YES_NO, Draft, nominal_offsets
from napari_wsol.checkpoints.nests import is_averaged, modern_names, places
from napari_wsol.checkpoints.pylon import NIH
from napari_wsol.encoders import build_encoder
from napari_wsol.errors import ConfigError, ModelError
from napari_wsol.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from napari_wsol.methods import ModelSpec
from napari_wsol.methods.vgg import GRID

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_wsol.checkpoints.draft import Answers, Source, State

FAMILIES: dict[str, tuple[str, ...]] = {
    "layer1.0.conv1.weight": tuple(f"resnet{n}" for n in (18, 34, 50, 101, 152)),
    "features.denseblock1.denselayer1.conv1.weight": (
        *("densenet121", "densenet169", "densenet201"),
    ),
    "features.0.weight": ("vgg16", "vgg16_bn", "vgg19", "vgg19_bn"),
    "Mixed_7c.branch1x1.conv.weight": ("inception_v3",),
    "blocks.0.attn.qkv.weight": ("deit_tiny", "deit_small", "deit_base"),
}
"""Encoders by a name that each of a family has."""

IMAGENET_CLASSES = 1000

NORMALISATIONS = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "half": ((0.5,) * 3, (0.5,) * 3),
    "none": ((0.0,) * 3, (1.0,) * 3),
    "xrv": ((0.5,), (1 / 2048,)),  # grey in [-1024, 1024]
}
"""Mean and deviation on the scale from 0 to 1, by name."""

XRV = (
    *("Atelectasis", "Consolidation", "Infiltration", "Pneumothorax", "Edema"),
    *("Emphysema", "Fibrosis", "Effusion", "Pneumonia", "Pleural_Thickening"),
    *("Cardiomegaly", "Nodule", "Mass", "Hernia", "Lung Lesion", "Fracture"),
    *("Lung Opacity", "Enlarged Cardiomediastinum"),
)


@dataclass(frozen=True, slots=True)
class Published:
    """What is known of a network that was published, and what to say of it."""

    name: str = "own network"
    classes: tuple[str, ...] = ()
    normalisation: str | None = None
    citations: tuple[str, ...] = ()
    note: str | None = None


CHEXNET = Published(
    "CheXNet",
    NIH,
    "imagenet",
    ("Rajpurkar et al., CheXNet, 2017, arXiv 1711.05225",),
    "It looks like CheXNet: 14 findings of NIH ChestX-ray14, sigmoid, 224 pixels.",
)
TORCHXRAYVISION = Published(
    "TorchXRayVision",
    XRV,
    "xrv",
    ("Cohen et al., TorchXRayVision, MIDL 2022, arXiv 2111.00595",),
    "It looks like TorchXRayVision's DenseNet: 18 findings, grey in [-1024, 1024], 224 "
    "pixels. Probabilities are not scaled by its op_threshs; crop films to a square.",
)


@dataclass(frozen=True, slots=True)
class Place:
    """A network in a file.

    Attributes:
        prefix: what stands before its names.
        encoder: the one of its family that it is most alike.
        weights: of the encoder, without the prefix.
        wrong: what differs from it, the first few; empty where nothing does.
    """

    prefix: str
    encoder: str
    weights: State
    wrong: tuple[str, ...]

    @property
    def grey(self) -> bool:
        """Whether it reads one channel; the first kernel of a network tells."""
        return next(x for x in self.weights.values() if x.ndim == 4).shape[1] == 1

    def inner(self, name: str) -> str:
        """Another name of the file without the words that it shares with the prefix."""
        parts = name.split(".")
        return ".".join(parts[_shared(parts, self.prefix.split(".")[:-1]) :])


@dataclass(frozen=True, slots=True)
class Classifier:
    """A head that was found: its weights under our names, and its layer in the file."""

    head: str
    layer: str
    rows: int
    weights: State
    options: dict[str, object] = field(default_factory=dict[str, object])


def recognise(source: Source, answers: Answers) -> Draft | None:
    """The network of one of these families; None if there is none.

    Raises:
        ModelError: there is one, but of a form that is not known here.
    """
    if source.only is None:
        return None
    state = modern_names(source.only)
    found = [
        _place(state, prefix, encoders)
        for mark, encoders in FAMILIES.items()
        for prefix in places(state, mark)
    ]
    if not found:
        return None
    known = [place for place in found if not place.wrong]
    if not known:
        raise ModelError(_misfit(source, found[0]))
    place, rest, notes = _chosen(state, known, answers)
    classifier = _classifier(place, rest, answers, notes)
    weights = {f"encoder.{key}": value for key, value in place.weights.items()}
    if classifier is not None:
        return _draft(place, classifier, weights, answers, notes)
    grey = _preprocessing(place, answers) if place.grey else None
    return Draft(
        spec=ModelSpec(
            encoder=place.encoder, classes=("foreground",), heads=(), preprocessing=grey
        ),
        weights=weights,
        system="torchvision",
        summary=f"{place.encoder} as it was trained elsewhere, without a classifier: a "
        "start for training, or for a pixel head that learns from strokes alone.",
        notes=tuple(notes),
    )


def _shared(*rows: list[str]) -> int:
    """How many words rows of words begin with alike."""
    return len(os.path.commonprefix(rows))


def _place(state: State, prefix: str, encoders: Iterable[str]) -> Place:
    """The network under a prefix, as the encoder that differs least from it."""
    under = {
        key.removeprefix(prefix): value
        for key, value in state.items()
        if key.startswith(prefix)
    }
    found: list[Place] = []
    for name in encoders:
        with torch.device("meta"):
            wanted = build_encoder(name).state_dict()
        parts = {key.split(".")[0] for key in wanted}
        own = {
            key: x
            for key, x in under.items()
            if key.split(".")[0] in parts
            # Other tokens and norms would be a transformer of another form.
            or ("cls_token" in parts and re.fullmatch(r"\w*(_token|norm\w*\.\w+)", key))
        }
        differs = _shapes(own) ^ _shapes(wanted)
        found.append(Place(prefix, name, own, tuple(sorted(differs))))
    return min(found, key=lambda place: len(place.wrong))


def _shapes(state: State) -> set[str]:
    """Names with shapes, but for counts, and for the colours of a first kernel."""
    found = {key: list(x.shape) for key, x in state.items() if "num_batches" not in key}
    for shape in found.values():
        if len(shape) == 4 and shape[1] == 1:
            shape[1] = 3
    return {f"{key} {shape}" for key, shape in found.items()}


def _misfit(source: Source, place: Place) -> str:
    what = f"{source.path.name} looks like {place.encoder} under “{place.prefix}”, but "
    what += f"differs: {'; '.join(place.wrong[:3])}"
    if not place.encoder.startswith("deit"):
        return f"{what}. Wrap the network in Python: wsol.wrap(module, layer=…)."
    return (
        f"{what}. Import other transformers through timm (the timm extra, and --preset "
        "of models import), or wrap the network in Python."
    )


def _chosen(
    state: State, known: list[Place], answers: Answers
) -> tuple[Place, State, list[str]]:
    """One of the networks, what else of the file belongs to it, and what to say."""
    known = sorted(known, key=lambda place: not is_averaged(place.prefix, state))
    words = [place.prefix.split(".")[:-1] for place in known]
    at = _shared(*words) + 1
    roots = [".".join(item[:at]) for item in words]
    if len(set(roots)) < len(roots):
        roots = [".".join(item) for item in words]
    place, root, notes = known[0], roots[0], list[str]()
    if len(known) > 1:
        called = [item.rpartition(".")[2] or "the outermost" for item in roots]
        called = called if len(set(called)) == len(called) else roots
        text = "Which of its networks?"
        name = answers.choose("network", text, called, called[0])
        place, root = known[called.index(name)], roots[called.index(name)]
        left = ", ".join(f"`{item}`" for item in called if item != name)
        notes.append(
            f"Took `{name}`, left {left}: means of weights come before raw ones, then "
            "the first of a file; --answer network=… takes another."
        )
    elif place.prefix:
        notes.append(f"Took what lies under `{place.prefix[:-1]}`.")
    rest: State = {}
    for name, value in state.items():
        owners = [item for item in roots if f"{name}.".startswith(f"{item}." * bool(item))]
        inner = name.removeprefix(place.prefix)
        is_own = name.startswith(place.prefix) and inner in place.weights
        if max(owners, key=len, default=root) == root and not is_own and value.ndim:
            rest[name] = value
    return place, rest, notes


def _classifier(
    place: Place, rest: State, answers: Answers, notes: list[str]
) -> Classifier | None:
    """The layer that reads the encoder, if the file has one that can be used here.

    It is asked for where several may be it, or where something else may lie between.
    """
    with torch.device("meta"):
        channels = build_encoder(place.encoder).channels[-1]
    flat = {key: x for key, x in rest.items() if key.endswith("weight") and _is_flat(x)}
    hidden = {x.shape[1] for x in flat.values()}
    layers = {
        place.inner(key).removesuffix(".weight"): key
        for key, x in flat.items()
        if x.shape[1] == channels and (x.shape[0] not in hidden or len(flat) == 1)
    }
    others = [
        key
        for key, x in rest.items()
        if key not in layers.values() and (x.ndim > 1 or _is_beside(place, key, layers))
    ]
    others = [key for key in others if "AuxLogits." not in key]
    vgg = _vgg_layers(place, flat, channels)
    if vgg and not set(others) - set(flat):
        layers, others = {place.inner(vgg[-1]).removesuffix(".weight"): vgg[-1]}, []
    if not layers and not others:
        if rest:
            notes.append(f"Left out: {_listed(rest)}.")
        return None
    names = list(layers)
    known = names[0] if len(names) == 1 and not others else None
    keep = ["keep"] if known else []
    if known and rest[layers[known]].shape[0] == IMAGENET_CLASSES:
        known = "leave"
    chosen = answers.choose(
        "head",
        f"Which layer is its classifier? “leave” takes none. Beside {place.encoder} lie "
        f"{_listed({key: rest[key] for key in [*layers.values(), *others]})}.",
        ["leave", *names, *keep],
        known,
    )
    if chosen == "leave":
        again = "head=keep" if keep else "head=NAME"
        notes.append(
            f"Its own classifier is left out ({_listed(rest)}); --answer {again} "
            f"keeps it ({', '.join(names) or 'none fits'})."
        )
        return None
    layer = names[0] if chosen == "keep" else chosen
    weight = layers[layer]
    taken = vgg or [weight]
    left = {
        key: x
        for key, x in rest.items()
        if key.removesuffix("weight").removesuffix("bias")
        not in {item.removesuffix("weight") for item in taken}
    }
    notes.append(f"Its classifier is `{layer}` ({rest[weight].shape[0]} rows).")
    if left:
        notes.append(f"Left out: {_listed(left)}.")
    head, names = "cam", ["fc"]
    options: dict[str, object] = {}
    if vgg:
        head, names = "vgg", [f"classifier.{3 * at}" for at in range(len(vgg))]
        options = {"widths": [rest[key].shape[0] for key in vgg[:-1]]}
    elif place.encoder.startswith("deit"):
        head, options = "linear", {"pool": "cls"}
    weights: State = {}
    for name, key in zip(names, taken, strict=True):
        value = rest[key].flatten(1)
        bias = rest.get(f"{key.removesuffix('weight')}bias", torch.zeros(len(value)))
        weights |= {f"heads.{head}.{name}.weight": value}
        weights |= {f"heads.{head}.{name}.bias": bias}
    return Classifier(head, layer, len(rest[weight]), weights, options)


def _is_flat(value: torch.Tensor) -> bool:
    """Whether it is the weight of a linear layer, or of a 1×1 convolution."""
    return value.ndim == 2 or (value.ndim == 4 and value.shape[2:] == (1, 1))


def _is_beside(place: Place, name: str, layers: Mapping[str, str]) -> bool:
    """Whether an entry lies in the module of a classifier, but is not its bias."""
    own = place.inner(name)
    return any(
        own.split(".")[0] == layer.split(".")[0] and own != f"{layer}.bias"
        for layer in layers
    )


def _vgg_layers(place: Place, flat: State, channels: int) -> list[str]:
    """Names of VGG's linear layers in a row, if these are all: one, or three."""
    wanted, found = channels * GRID**2, list(flat)
    for name in found:
        if flat[name].shape[1] != wanted:
            return []
        wanted = flat[name].shape[0]
    at = [re.search(r"\.(\d+)\.(\d+\.)?weight$", name) for name in found]
    is_published = [match and match[1] for match in at] == ["0", "3", "6"]
    if place.encoder.startswith("vgg") and (is_published or len(found) == 1):
        return found
    return []


def _listed(state: State, most: int = 6) -> str:
    """Some names with their shapes."""
    shown = [f"{key} {tuple(x.shape)}" for key, x in list(state.items())[:most]]
    return ", ".join(shown) + (f" and {len(state) - most} more" * (len(state) > most))


def _draft(
    place: Place,
    classifier: Classifier,
    weights: State,
    answers: Answers,
    notes: list[str],
) -> Draft:
    """A network with its classifier, and all that the file does not tell of it."""
    published = _published(place, classifier)
    how = _preprocessing(place, answers, published)
    encoder, rows = place.encoder, classifier.rows
    if encoder == "inception_v3":
        answer = answers.choose(
            "transform_input",
            "Was it made from torchvision's own weights (transform_input=True)?",
            YES_NO,
            None if how.mean == IMAGENET_MEAN else "no",
        )
        encoder += "_transform" if answer == "yes" else ""
    activation = answers.choose(
        "activation",
        "May an image show several of its classes (sigmoid), or exactly one (softmax)?",
        ("softmax", "sigmoid"),
        "sigmoid" if published.classes or rows == 1 else None,
    )
    classes = answers.classes(rows, published.classes, asked=True)
    spec = ModelSpec(
        encoder=encoder,
        classes=classes,
        heads=(classifier.head,),
        options={classifier.head: classifier.options} if classifier.options else {},
        multi_label=activation == "sigmoid",
        offsets=nominal_offsets(encoder),
        preprocessing=how,
    )
    return Draft(
        spec=spec,
        weights=weights | classifier.weights,
        system=published.name,
        summary=f"{encoder} with its own classifier: {', '.join(classes)}.",
        citations=published.citations,
        notes=(*filter(None, (published.note,)), *notes),
    )


def _published(place: Place, classifier: Classifier) -> Published:
    """Which published network it is, by its form; nothing is known of others."""
    if place.encoder != "densenet121":
        return Published()
    if place.grey and classifier.rows == len(XRV):
        return TORCHXRAYVISION
    is_chexnet = "densenet121." in place.prefix and classifier.layer == "classifier.0"
    return CHEXNET if is_chexnet and classifier.rows == len(NIH) else Published()


def _preprocessing(
    place: Place, answers: Answers, published: Published | None = None
) -> Preprocessing:
    """From pixels to its input, as far as it is known, else as it is told."""
    size: tuple[int | None] | None = None
    if (published and published.classes) or place.encoder.startswith("deit"):
        size = (224,)
    (side,) = answers.tell(
        "size",
        "To how many pixels a side was each image brought, e.g. 224? “any” if to none.",
        _side,
        "any",
        size,
    )
    told = published.normalisation if published else None
    mean, std = answers.tell(
        "normalisation",
        f"How was the input normalised? One of {', '.join(NORMALISATIONS)}, or mean and "
        "deviation of each channel on the scale from 0 to 1, with commas.",
        lambda text: _statistics(text, 1 if place.grey else 3),
        "half",
        NORMALISATIONS[told] if told else None,
    )
    return Preprocessing(mean=mean, std=std, channels=len(mean), size=side)


def _side(text: str) -> tuple[int | None]:
    if text.lower() == "any":
        return (None,)
    if not text.isdecimal():
        raise ConfigError(f"size is a number of pixels, or “any”, not “{text}”.")
    return (int(text),)


def _statistics(text: str, channels: int) -> tuple[tuple[float, ...], ...]:
    """Mean and deviation of each channel, from a name or from numbers."""
    mean, std = NORMALISATIONS.get(text.lower(), ((), ()))
    if len(set(mean)) == len(set(std)) == 1:
        mean, std = mean[:1] * channels, std[:1] * channels
    if not mean:
        numbers = re.split(r"[\s,;]+", text.strip())
        try:
            values = [float(item) for item in numbers]
        except ValueError:
            values = []
        mean, std = tuple(values[:channels]), tuple(values[channels:])
    if len(mean) != channels or len(std) != channels or not _is_scale(mean, std):
        raise ConfigError(
            f"normalisation is one of {', '.join(NORMALISATIONS)}, or {2 * channels} "
            "numbers on the scale from 0 to 1, first the means, then the deviations "
            f"(above 0), not “{text}”."
        )
    return mean, std


def _is_scale(mean: tuple[float, ...], std: tuple[float, ...]) -> bool:
    return all(abs(x) <= 1 for x in mean) and all(
        0 < x <= 1 and math.isfinite(x) for x in std
    )
