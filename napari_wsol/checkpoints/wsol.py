"""Checkpoints of PixelCAM's code and of the survey that it grew from.

A run writes a folder with a bare state dict for each part of the network (encoder.pt,
classification_head.pt, …), or one model.pt for networks that are no encoder with heads.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from napari_wsol.checkpoints.draft import (
    YES_NO,
    Draft,
    need,
    nominal_offsets,
    renamed,
    resnet_name,
)
from napari_wsol.errors import ModelError
from napari_wsol.images.published import PIXELCAM_PREPROCESSING
from napari_wsol.methods import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_wsol.checkpoints.draft import Answers, Source, State

CLASSIFIER = "classification_head"
MODALITIES = 5
"""Maps a class of WILDCAT's heads, in all published runs."""

INCEPTION = dict(
    zip(
        (0, 1, 2, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16),
        (
            *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"),
            *("Conv2d_3b_1x1", "Conv2d_4a_3x3"),
            *("Mixed_5b", "Mixed_5c", "Mixed_5d"),
            *("Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
            *("SPG_A3_1b", "SPG_A3_2b"),
        ),
        strict=True,
    )
)
"""Which numbers of ``features`` repeat which layers; pools lie between."""

POOLINGS = {"GAP": "gap", "MaxPool": "maxpool", "LogSumExp": "lse", "PRM": "prm"}
"""Heads whose weights look alike, by the authors' name for the pooling."""

SYSTEM = "PixelCAM / WSOL histology"
CITATIONS = ("Guichemerre et al., PixelCAM, MIDL 2025, arXiv 2503.24135",)
DATASETS: dict[str, tuple[str, ...]] = {
    "GLAS": ("benign", "malignant"),
    "CAMELYON": ("normal", "tumor"),
}

PIXEL = "pixel_wise_classification_head"

CONV_AXES = 4

HEADS_WITHIN = {
    "acol": ("classifier_A.conv3.weight", "classifier_A.", "classifier_B."),
    "spg": ("SPG_A4.weight", "SPG_A4."),
    "adl": ("fc.weight", "fc."),
    "sat": ("head.weight", "head."),
    "tscam": ("head.weight", "head."),
}
"""Of networks in one file: the entry with a row a class, and the head's prefixes."""

WIDTHS = {192: "tiny", 384: "small", 768: "base"}
"""Of a DeiT's tokens, and what such a one is called."""

ATTENTION_EVERY = {"layer3": (1,), "layer4": (1, 3)}
"""Where ADL puts its parameter-free layers, which shift the numbers of the blocks."""


def recognise(source: Source, answers: Answers) -> Draft | None:
    """The network in a folder or file of this family; None if it is none.

    Of one file, by an entry that only it has.

    Raises:
        ModelError: it is one of them, but incomplete.
    """
    parts, state = _split(source), source.only
    heads = (CLASSIFIER, f"{CLASSIFIER}1")
    if "encoder" in parts and (parts is source.parts or any(x in parts for x in heads)):
        return _parts(parts, source, answers)
    weight = state.get("head.weight")
    is_conv = weight is not None and weight.ndim == CONV_AXES
    has_gaps = "layer3.6.conv1.weight" in state and "layer3.1.conv1.weight" not in state
    signs = {
        "sat": "loc_token" in state,
        "acol": "classifier_A.conv1.weight" in state,
        "spg": "SPG_A4.weight" in state,
        "adl": has_gaps,
        "tscam": is_conv and "cls_token" in state,
    }
    head = next((name for name, is_it in signs.items() if is_it), None)
    return None if head is None else _whole(state, source, answers, head)


def _split(source: Source) -> Mapping[str, State]:
    """The parts, also where one file holds them all with their names before."""
    state = source.only
    if not any(key.startswith("encoder.") for key in state):
        return source.parts
    names = {key.split(".", 1)[0] for key in state}
    return {name: renamed(state, {f"{name}.": ""}) for name in names}


def _parts(parts: Mapping[str, State], source: Source, answers: Answers) -> Draft:
    name, weights = _encoder(parts["encoder"], source.path)
    weights = renamed(weights, {"": "encoder."})
    taps: tuple[str, ...] | None = None
    heads: dict[str, Mapping[str, object]] = {}
    notes: tuple[str, ...] = ()
    if f"{CLASSIFIER}1" in parts:
        for part in (f"{CLASSIFIER}1", f"{CLASSIFIER}2"):
            weights |= renamed(parts.get(part, {}), {"": f"heads.maxmin.{part}."})
        rows = need(parts[f"{CLASSIFIER}1"], "to_modalities.weight", source.path)
        count = len(rows) // MODALITIES
        heads["maxmin"] = {"kmax": _kmax(source)}
    elif CLASSIFIER in parts:
        head, count, found, notes = _classifier(
            parts[CLASSIFIER], source, answers, has_pixels=PIXEL in parts
        )
        heads[head] = found
        weights |= renamed(parts[CLASSIFIER], {"": f"heads.{head}."})
    else:
        raise ModelError(
            f"{source.path.name} has an encoder but no classification_head.pt beside "
            "it: copy the whole folder."
        )
    if PIXEL in parts:
        heads["pixelcam"] = {"form": _pixel_form(parts[PIXEL]), "maps": 1}
        weights |= renamed(parts[PIXEL], {"": "heads.pixelcam."})
    if "segmentation_head" in parts:
        heads["negev"] = {}
        taps = ("stem", "layer1", "layer2", "layer3", "layer4")
        for part in ("decoder", "segmentation_head"):
            weights |= renamed(parts.get(part, {}), {"": f"heads.negev.{part}."})
    classes = answers.classes(count, _classes_of(source))
    return replace(_draft(name, heads, weights, classes, taps), notes=notes)


def _encoder(state: State, path: Path) -> tuple[str, State]:
    """Our name and weights of an encoder, without what the file holds twice."""
    if "conv6.weight" in state:
        return "wsol_vgg16", _once(
            state, {r"full_features\.29\.": "conv6.", r"full_features\.": "features."}
        )
    if "SPG_A3_1b.1.weight" in state:
        return "wsol_inceptionv3", _once(
            state,
            {rf"features\.{at}\.": f"{name}." for at, name in INCEPTION.items()},
        )
    if "layer1.0.conv1.weight" in state:
        return f"wsol_{resnet_name(state)}", state
    raise ModelError(
        f"{path.name} has an encoder that is not known here: ResNet-18/34/50, VGG-16 "
        "and Inception-v3 of PixelCAM's code are."
    )


def _once(state: State, doubles: Mapping[str, str]) -> State:
    """Without entries that repeat others."""
    result: State = {}
    for key, value in state.items():
        name = key
        for pattern, target in doubles.items():
            name = re.sub(f"^{pattern}", target, name)
        if name in result and not torch.equal(result[name], value):
            raise ModelError(
                f"The weights are damaged: {key} repeats {name}, with other values."
            )
        result[name] = value
    return result


def _classifier(
    state: State, source: Source, answers: Answers, *, has_pixels: bool
) -> tuple[str, int, dict[str, object], tuple[str, ...]]:
    """Head, number of classes, its options, and what had to be read into it."""
    if "attention.non_lin_1.0.weight" in state:
        gated = "attention.non_lin_2.0.weight" in state
        middle = state["attention.non_lin_1.0.weight"].shape[0]
        count = need(state, "attention.to_score.weight", source.path).shape[0]
        return "deepmil", count, {"gated": gated, "mid_channels": middle}, ()
    options: dict[str, object] = {}
    if "to_modalities.weight" in state:
        modalities = int(source.settings.get("modalities", str(MODALITIES)))
        rows = state["to_modalities.weight"].shape[0] // modalities
        # The authors' code drops the mean of the lowest cells: weights know none.
        options = {"modalities": modalities, "kmax": _kmax(source), "kmin": 0.0}
        head = "wildcat"
    elif "fc.weight" in state:
        rows, head = state["fc.weight"].shape[0], "cam"
    else:
        rows = need(state, "conv.weight", source.path).shape[0]
        known = next((k for k in POOLINGS if _has_token(source, k)), None)
        head = POOLINGS[answers.choose("pooling", list(POOLINGS), known)]
    background, notes = _background(rows, source, answers, has_pixels=has_pixels)
    if background:
        options["background"] = True
    return head, rows - int(background), options, notes


def _kmax(source: Source) -> float:
    return float(source.settings.get("wc_kmax", "0.5"))


def _has_token(source: Source, word: str) -> bool:
    """Whether a part of the folder's name, or a setting, is exactly this word."""
    names = f"{source.path.name}-{source.path.parent.name}".split("-")
    return word in names or word in source.settings.values()


def _background(
    rows: int, source: Source, answers: Answers, *, has_pixels: bool
) -> tuple[bool, tuple[str, ...]]:
    """Whether row 0 is background.

    The published data sets have two classes, so two rows have none and three have one;
    of more rows the weights do not tell.
    """
    if answers.given("background") is None and rows <= 3:
        two = has_pixels or rows == 2 or any(_says(source, key) for key in DATASETS)
        note = (
            "Three rows were read as background and two classes, as in all published "
            "data sets; if they are three classes, import again with background=no."
        )
        return rows == 3, () if two else (note,)
    told = source.settings.get("support_background")
    known = None if told is None else YES_NO[told.lower() != "true"]
    return answers.choose("background", YES_NO, known, rows) == "yes", ()


def _draft(
    encoder: str,
    heads: Mapping[str, Mapping[str, object]],
    weights: State,
    classes: tuple[str, ...],
    taps: tuple[str, ...] | None = None,
) -> Draft:
    """An encoder with heads and their options, and what is said of it."""
    spec = ModelSpec(
        encoder=encoder,
        taps=taps,
        classes=classes,
        heads=tuple(heads),
        options={key: value for key, value in heads.items() if value},
        offsets=nominal_offsets(encoder, taps),
        preprocessing=PIXELCAM_PREPROCESSING,
    )
    what = "PixelCAM" if "pixelcam" in heads else spec.heads[-1].upper()
    named = " / ".join(classes)
    return Draft(
        spec=spec,
        weights=weights,
        system=SYSTEM,
        summary=f"{what} on {encoder}: {named}, images at 224 × 224 pixels.",
        citations=CITATIONS,
    )


def _says(source: Source, word: str) -> bool:
    """Whether the folder's name or the settings beside it name a data set or kind."""
    told = (source.path.name, source.path.parent.name, *source.settings.values())
    return any(word.lower() in item.lower() for item in told)


def _pixel_form(state: State) -> str:
    """Which form of the pixel head it is."""
    if "conv1.0.weight" in state:
        return "three_layers"
    if "conv3.0.weight" in state:
        return "one_layer"
    return "plain" if set(state) == {"conv4.weight", "conv4.bias"} else "batch_norm"


def _classes_of(source: Source) -> tuple[str, ...]:
    """Names of the classes, where the data set is named."""
    return next((names for key, names in DATASETS.items() if _says(source, key)), ())


def _whole(state: State, source: Source, answers: Answers, head: str) -> Draft:
    """A network in one file, that is no encoder with heads."""
    if head in ("sat", "tscam"):
        width = need(state, "cls_token", source.path).shape[-1]
        if width not in WIDTHS:
            known = ", ".join(map(str, WIDTHS))
            raise ModelError(f"A DeiT of width {width} is not known: {known} are.")
        encoder = ("deit_sat_" if head == "sat" else "deit_") + WIDTHS[width]
    else:
        encoder = "wsol_spg_resnet50" if head == "spg" else f"wsol_{resnet_name(state)}"
    # SPG's branches B and C only guide the training.
    state = {k: x for k, x in state.items() if not k.startswith(("SPG_B", "SPG_C"))}
    state = _without_gaps(state) if head == "adl" else state
    rows, *of_head = HEADS_WITHIN[head]
    places = {name: f"heads.{head}.{name}" for name in of_head}
    places[f"{PIXEL}."] = "heads.pixelcam."
    heads: dict[str, Mapping[str, object]] = {head: {}}
    pixels = renamed(state, {f"{PIXEL}.": ""})
    if pixels:
        heads["pixelcam"] = {"form": _pixel_form(pixels), "maps": 1}
    weights = renamed(state, {**places, "": "encoder."})
    count = len(need(state, rows, source.path))
    return _draft(encoder, heads, weights, answers.classes(count, _classes_of(source)))


def _without_gaps(state: State) -> State:
    """ADL's network with its blocks numbered as if nothing lay between them."""
    moved: State = {}
    for key, value in state.items():
        layer, _, rest = key.partition(".")
        if layer in ATTENTION_EVERY:
            block, _, inner = rest.partition(".")
            before = sum(at < int(block) for at in ATTENTION_EVERY[layer])
            key = f"{layer}.{int(block) - before}.{inner}"  # noqa: PLW2901
        moved[key] = value
    return moved
