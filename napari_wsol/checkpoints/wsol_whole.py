"""Networks of PixelCAM's code that are saved in one file, model.pt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsol.checkpoints.draft import need, renamed
from napari_wsol.checkpoints.wsol_common import (
    PIXEL,
    classes_of,
    draft_of,
    nominal,
    pixel_form,
    resnet_name,
)
from napari_wsol.errors import ModelError
from napari_wsol.images.published import PIXELCAM_PREPROCESSING
from napari_wsol.methods import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_wsol.checkpoints.draft import Answers, Draft, Source, State

CONV_AXES = 4

ATTENTION_EVERY = {"layer3": (1,), "layer4": (1, 3)}
"""Where ADL puts its parameter-free layers, which shift the numbers of the blocks."""


def recognise_whole(state: State, source: Source, answers: Answers) -> Draft | None:
    """The network in one file, by an entry that only it has; None if it is none.

    Raises:
        ModelError: it is one of them, but incomplete.
    """
    if "loc_token" in state:
        return _transformer(state, source, answers, head="sat")
    if "classifier_A.conv1.weight" in state:
        return _acol(state, source, answers)
    if "SPG_A4.weight" in state:
        return _spg(state, source, answers)
    if "layer3.6.conv1.weight" in state and "layer3.1.conv1.weight" not in state:
        return _adl(state, source, answers)
    weight = state.get("head.weight")
    if weight is not None and weight.ndim == CONV_AXES and "cls_token" in state:
        return _transformer(state, source, answers, head="tscam")
    return None


def _transformer(state: State, source: Source, answers: Answers, *, head: str) -> Draft:
    sizes = {192: "tiny", 384: "small", 768: "base"}
    width = need(state, "cls_token", source.path).shape[-1]
    if width not in sizes:
        raise ModelError(f"A DeiT of width {width} is not known: 192, 384, 768 are.")
    name = ("deit_sat_" if head == "sat" else "deit_") + sizes[width]
    heads = [head]
    options: dict[str, Mapping[str, object]] = {}
    pixels = renamed(state, {f"{PIXEL}.": ""})
    weights: State = {}
    for key, value in state.items():
        if key.startswith("head."):
            weights[f"heads.{head}.{key}"] = value
        elif not key.startswith(f"{PIXEL}."):
            weights[f"encoder.{key}"] = value
    if pixels:
        heads.append("pixelcam")
        options["pixelcam"] = {"form": pixel_form(pixels), "maps": 1}
        for key, value in pixels.items():
            weights[f"heads.pixelcam.{key}"] = value
    count = need(state, "head.weight", source.path).shape[0]
    spec = ModelSpec(
        encoder=name,
        classes=answers.classes(count, classes_of(source)),
        heads=tuple(heads),
        options=options,
        offsets=nominal(name, None),
        preprocessing=PIXELCAM_PREPROCESSING,
    )
    return draft_of(spec, weights, "PixelCAM on SAT" if pixels else head.upper())


def _whole_cnn(
    state: State,
    source: Source,
    answers: Answers,
    *,
    head: str,
    encoder: str,
    of_head: tuple[str, ...],
    rows: str,
) -> Draft:
    weights: State = {}
    for key, value in state.items():
        place = f"heads.{head}." if key.startswith(of_head) else "encoder."
        weights[place + key] = value
    spec = ModelSpec(
        encoder=encoder,
        classes=answers.classes(
            need(state, rows, source.path).shape[0], classes_of(source)
        ),
        heads=(head,),
        offsets=nominal(encoder, None),
        preprocessing=PIXELCAM_PREPROCESSING,
    )
    return draft_of(spec, weights, head.upper())


def _acol(state: State, source: Source, answers: Answers) -> Draft:
    return _whole_cnn(
        state,
        source,
        answers,
        head="acol",
        encoder=f"wsol_{resnet_name(state)}",
        of_head=("classifier_A.", "classifier_B."),
        rows="classifier_A.conv3.weight",
    )


def _spg(state: State, source: Source, answers: Answers) -> Draft:
    # Its branches B and C only guide the training.
    used = {k: v for k, v in state.items() if not k.startswith(("SPG_B", "SPG_C"))}
    return _whole_cnn(
        used,
        source,
        answers,
        head="spg",
        encoder="wsol_spg_resnet50",
        of_head=("SPG_A4.",),
        rows="SPG_A4.weight",
    )


def _adl(state: State, source: Source, answers: Answers) -> Draft:
    moved: State = {}
    for key, value in state.items():
        layer, _, rest = key.partition(".")
        if layer in ATTENTION_EVERY:
            block, _, inner = rest.partition(".")
            before = sum(at < int(block) for at in ATTENTION_EVERY[layer])
            key = f"{layer}.{int(block) - before}.{inner}"  # noqa: PLW2901
        moved[key] = value
    return _whole_cnn(
        moved,
        source,
        answers,
        head="adl",
        encoder=f"wsol_{resnet_name(moved)}",
        of_head=("fc.",),
        rows="fc.weight",
    )
