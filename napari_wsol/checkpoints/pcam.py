"""Checkpoints of PCAM's code (jfhealthcare/Chexpert): best1.ckpt and cfg.json."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_wsol.checkpoints.draft import YES_NO, Draft, need, nominal_offsets
from napari_wsol.checkpoints.families import inception_of, networks
from napari_wsol.encoders.inception import from_pcam_names
from napari_wsol.errors import ModelError
from napari_wsol.images.published import pcam_preprocessing
from napari_wsol.methods import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_wsol.checkpoints.draft import Answers, Source, State

CHEXPERT = (
    "Cardiomegaly",
    "Edema",
    "Consolidation",
    "Atelectasis",
    "Pleural Effusion",
)
EXAMPLE: dict[str, object] = {
    "long_side": 512,
    "use_equalizeHist": True,
    "gaussian_blur": 3,
    "border_pad": "pixel_mean",
    "pixel_mean": 128.0,
    "pixel_std": 64.0,
}
"""How images are prepared in the configuration that the authors publish."""

POOLS = ("PCAM", "AVG", "MAX", "LINEAR", "EXP", "LSE")
WIDE_POOLS = {2: "AVG_MAX", 3: "AVG_MAX_LSE"}
ATTENTIONS = ("none", "CAM", "FPA")
_MODULES = {"CAM": "channel_attention", "FPA": "pyramid_attention"}


def recognise(source: Source, answers: Answers) -> Draft | None:
    """The network in a file of PCAM's code; None if it is none.

    Pool and attention leave no trace in the weights: all modules are always there.

    Raises:
        ModelError: it is one, but of a kind that cannot run here.
    """
    state = source.only
    has_backbone = any(key.startswith("backbone.") for key in state)
    if "fc_0.weight" not in state or not has_backbone:
        return None
    config = source.config
    if config.get("norm_type", "BatchNorm") != "BatchNorm":
        raise ModelError(
            f"{source.path.name} was trained with norm_type {config['norm_type']}; "
            "only BatchNorm can be imported."
        )
    encoder, width = _encoder(state, source, answers)
    options = _head(state, source, answers, width)
    count = sum(re.fullmatch(r"fc_\d+\.weight", key) is not None for key in state)
    spec = ModelSpec(
        encoder=encoder,
        classes=answers.classes(count, CHEXPERT),
        heads=("pcam",),
        options={"pcam": options},
        multi_label=True,
        offsets=nominal_offsets(encoder),
        preprocessing=pcam_preprocessing({**EXAMPLE, **config}),
    )
    absent = [key for key in EXAMPLE if key not in config]
    note = (
        f"No cfg.json beside the weights says {', '.join(absent)}: images are prepared "
        "as in the authors' example (512 pixels, histogram equalised)."
    )
    return Draft(
        spec=spec,
        weights=_weights(state, encoder, options),
        system="PCAM",
        summary=f"PCAM's network ({encoder}, {options['pool']} pooling) for chest "
        f"X-rays: {', '.join(spec.classes)}.",
        citations=("Ye et al., Probabilistic-CAM Pooling, 2020, arXiv 2005.14480",),
        notes=(note,) if absent else (),
    )


def _encoder(state: State, source: Source, answers: Answers) -> tuple[str, int]:
    """Name and channels of the backbone."""
    for place in networks(from_pcam_names(state)):
        if place.prefix == "backbone." and not place.wrong:
            if place.encoder != "inception_v3":
                return place.encoder, place.width
            # Their code rescales if the configuration says “pretrained”, and only then.
            rescales = bool(source.config.get("pretrained", False))
            told = YES_NO[not rescales] if source.config else None
            return inception_of(answers, told), place.width
    raise ModelError(
        f"{source.path.name} has a backbone that is not known here: DenseNet-121, -169 "
        "and -201, VGG-19 and Inception-v3 are."
    )


def _head(
    state: State, source: Source, answers: Answers, width: int
) -> dict[str, object]:
    config = source.config
    factor = need(state, "fc_0.weight", source.path).shape[1] // width
    pool = WIDE_POOLS.get(factor)
    known_bn = config.get("fc_bn")
    told = None if known_bn is None else YES_NO[not known_bn]
    return {
        "pool": pool
        or answers.choose("pooling", POOLS, str(config.get("global_pool"))),
        "attention": answers.choose("attention", ATTENTIONS, _attention(config)),
        "fc_bn": answers.choose("fc_bn", YES_NO, told) == "yes",
        "lse_gamma": float(str(config.get("lse_gamma", 0.5))),
    }


def _attention(config: Mapping[str, object]) -> str | None:
    """The attention that a cfg.json names."""
    named = config.get("attention_map")
    if named == "SAM":
        raise ModelError(
            "It was trained with attention_map SAM, which the authors' code cannot run "
            "and which is not here either."
        )
    if "attention_map" not in config:
        return None
    return "none" if named in (None, "None") else str(named)


def _weights(state: State, encoder: str, options: Mapping[str, object]) -> State:
    """Under our names, without what the network never uses."""
    module = _MODULES.get(str(options["attention"]))
    weights: State = {}
    for key, value in state.items():
        if key.startswith("backbone."):
            name = key.removeprefix("backbone.")
            if not name.startswith(("classifier.", "fc.", "AuxLogits.")):
                weights[f"encoder.{name}"] = value
        elif key.startswith("attention_map."):
            if module is not None and key.startswith(f"attention_map.{module}."):
                weights[f"heads.pcam.{key}"] = value
        elif key.startswith("fc_") or options["fc_bn"]:
            weights[f"heads.pcam.{key}"] = value
    return from_pcam_names(weights) if encoder.startswith("inception") else weights
