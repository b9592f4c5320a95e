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
from napari_wsol.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from napari_wsol.images.published import PYLON_PREPROCESSING
from napari_wsol.methods import ModelSpec

if TYPE_CHECKING:
    from napari_wsol.checkpoints.draft import Answers, Source, State

NIH = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
CITATIONS = (
    "Preechakul et al., Improved image classification explainability with "
    "high-accuracy heatmaps, iScience 2022, arXiv 2010.11475",
)
CONV_AXES = 4
POOLINGS = {"maxpool": "maxpool", "avgpool": "gap"}


def recognise(source: Source, answers: Answers) -> Draft | None:
    """PYLON or a baseline of its code; None if it is neither."""
    state = source.only
    if state is None:
        return None
    if "net.segmentation_head.0.weight" in state:
        return _pylon(state, source, answers)
    if "net.conv1.weight" in state and "out.4.weight" in state:
        return _other(state, source, answers, "li2018", {"out.": "heads.li2018.out."})
    last = state.get("out.weight")
    if "net.conv1.weight" in state and last is not None and last.ndim == CONV_AXES:
        pooling = answers.choose(
            "pooling",
            "How were the class maps pooled to image scores?",
            list(POOLINGS),
            _told(source, "pooling"),
        )
        head = POOLINGS[pooling]
        return _other(state, source, answers, head, {"out.": f"heads.{head}.conv."})
    return None


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
    seg = need(state, "net.segmentation_head.0.weight", source.path)
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
        weight = state[two if two in state else "net.decoder.up3.conv1.conv.weight"]
        options["up_type"] = "2layer" if two in state else "1layer"
        options["up_kernel"] = weight.shape[-1]
    encoder = renamed(state, {"net.encoder.": ""})
    weights = renamed(
        state,
        {
            "net.encoder.fc.": "",
            "net.encoder.": "encoder.",
            "net.": "heads.pylon.",
        },
    )
    weights = {key: value for key, value in weights.items() if "." in key}
    spec = _spec(
        encoder,
        source,
        answers,
        head="pylon",
        options=options,
        taps=("layer1", "layer2", "layer3", "layer4"),
        count=seg.shape[0],
    )
    return _draft(spec, weights, "PYLON")


def _other(
    state: State,
    source: Source,
    answers: Answers,
    head: str,
    names: Mapping[str, str],
) -> Draft:
    encoder = renamed(state, {"net.": ""})
    last = "out.4.weight" if head == "li2018" else "out.weight"
    weights = renamed(state, {**names, "net.fc.": "", "net.": "encoder."})
    weights = {key: value for key, value in weights.items() if "." in key}
    spec = _spec(
        encoder, source, answers, head=head, count=state[last].shape[0], options={}
    )
    title = "Li et al. 2018" if head == "li2018" else "PYLON's ResNet baseline"
    return _draft(spec, weights, title)


def _spec(
    encoder: State,
    source: Source,
    answers: Answers,
    *,
    head: str,
    options: Mapping[str, object],
    count: int,
    taps: tuple[str, ...] | None = None,
) -> ModelSpec:
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


def _draft(spec: ModelSpec, weights: State, title: str) -> Draft:
    return Draft(
        spec=spec,
        weights=weights,
        system="PYLON",
        summary=f"{title} on {spec.encoder} for {len(spec.classes)} findings.",
        citations=CITATIONS,
    )
