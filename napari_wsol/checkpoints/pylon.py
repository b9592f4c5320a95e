"""Checkpoints of PYLON's code: model.pkl with config.json beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from napari_wsol.checkpoints.draft import (
    Draft,
    need,
    nominal_offsets,
    renamed,
    resnet_name,
)
from napari_wsol.checkpoints.families import PUBLISHED
from napari_wsol.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from napari_wsol.images.published import PYLON_PREPROCESSING
from napari_wsol.methods import ModelSpec

if TYPE_CHECKING:
    from napari_wsol.checkpoints.draft import Answers, Source, State

NIH = next(item.classes for item in PUBLISHED if item.name == "CheXNet")
CITATIONS = (
    "Preechakul et al., Improved image classification explainability with "
    "high-accuracy heatmaps, iScience 2022, arXiv 2010.11475",
)
CONV_AXES = 4
POOLINGS = {"maxpool": "maxpool", "avgpool": "gap"}


def recognise(source: Source, answers: Answers) -> Draft | None:
    """PYLON or a baseline of its code; None if it is neither."""
    state = source.only
    if "net.segmentation_head.0.weight" in state:
        return _pylon(state, source, answers)
    if "net.conv1.weight" not in state:
        return None
    if "out.4.weight" in state:
        head, title, last = "li2018", "Li et al. 2018", state["out.4.weight"]
        places = {"out.": "heads.li2018.out."}
    else:
        last = state.get("out.weight")
        if last is None or last.ndim != CONV_AXES:
            return None
        told = _told(source, "pooling")
        head = POOLINGS[answers.choose("pooling", list(POOLINGS), told)]
        title, places = "PYLON's ResNet baseline", {"out.": f"heads.{head}.conv."}
    spec = _spec(state, "net.", source, answers, head=head, count=len(last))
    return _draft(spec, state, "net.", places, title)


def _told(source: Source, key: str) -> str | None:
    """An entry of config.json, at its top or in the network's part."""
    inner = source.config.get("net_conf", {})
    for table in (inner, source.config):
        if isinstance(table, Mapping):
            value = cast("Mapping[str, object]", table).get(key)
            if value is not None:
                return str(value)
    return None


def _pylon(state: State, source: Source, answers: Answers) -> Draft:
    seg = state["net.segmentation_head.0.weight"]
    parts = {".".join(key.split(".")[:3]) for key in state}
    ups = [key for key in ("up3", "up2", "up1") if f"net.decoder.{key}" in parts]
    options: dict[str, object] = {
        "n_dec_ch": seg.shape[1],
        "n_up": len(ups),
        "use_pa": "net.decoder.pa.down1.1.conv.weight" in state,
        "seg_kernel": seg.shape[-1],
    }
    two = "net.decoder.up3.conv1.0.conv.weight"
    if ups:
        one = two if two in state else "net.decoder.up3.conv1.conv.weight"
        options["up_type"] = "2layer" if two in state else "1layer"
        options["up_kernel"] = need(state, one, source.path).shape[-1]
    spec = _spec(
        state,
        "net.encoder.",
        source,
        answers,
        head="pylon",
        options=options,
        taps=("layer1", "layer2", "layer3", "layer4"),
        count=len(seg),
    )
    return _draft(spec, state, "net.encoder.", {"net.": "heads.pylon."}, "PYLON")


def _spec(
    state: State,
    before: str,
    source: Source,
    answers: Answers,
    *,
    head: str,
    count: int,
    options: Mapping[str, object] | None = None,
    taps: tuple[str, ...] | None = None,
) -> ModelSpec:
    """How it is built; the encoder's names begin with ``before``."""
    encoder = renamed(state, {before: ""})
    name = resnet_name(encoder)
    channels = need(encoder, "conv1.weight", source.path).shape[1]
    how = PYLON_PREPROCESSING
    if channels == 3:
        how = replace(how, channels=3, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    size = _told(source, "size")
    if size is not None and size.isdigit():
        how = replace(how, size=int(size))
    return ModelSpec(
        encoder=name,
        taps=taps,
        classes=answers.classes(count, NIH),
        heads=(head,),
        options={head: options} if options else {},
        multi_label=True,
        offsets=nominal_offsets(name, taps),
        preprocessing=how,
    )


def _draft(
    spec: ModelSpec, state: State, before: str, places: Mapping[str, str], title: str
) -> Draft:
    """The weights by our names, without the classifier of ImageNet."""
    kept = {key: x for key, x in state.items() if not key.startswith(f"{before}fc.")}
    return Draft(
        spec=spec,
        weights=renamed(kept, {before: "encoder.", **places}),
        system="PYLON",
        summary=f"{title} on {spec.encoder} for {len(spec.classes)} findings.",
        citations=CITATIONS,
    )
