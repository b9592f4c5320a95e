"""Foundation encoders as their makers publish them: timm's names, or others made so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from napari_wsol.checkpoints.draft import Draft
from napari_wsol.encoders.presets import PRESETS, RENAMES
from napari_wsol.images.preprocessing import Preprocessing
from napari_wsol.methods import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.checkpoints.draft import Answers, Source, State

CLASS = ("foreground",)
BLOCK = re.compile(r"(blocks|(encoder\.|model\.)?layer)\.0\.")
SCALE = re.compile(r".*\.0\.(ls1\.gamma|gamma_1|layer_scale1\.lambda1)$")
"""What the first block of all of these encoders has, and of few others."""


def recognise(source: Source, answers: Answers) -> Draft | None:
    """The encoder of a preset, which the person names; None if it may be none."""
    state = source.only
    if not any(map(BLOCK.match, state)):
        return None
    is_like = any(map(SCALE.match, state)) and "head.weight" not in state
    if answers.given("preset") is None and not is_like:
        return None
    name = answers.choose("preset", tuple(PRESETS))
    preset = PRESETS[name]
    how = Preprocessing(mean=preset.mean, std=preset.std)
    weights = timm_names(state, is_dinov3="dinov3" in preset.timm)
    return Draft(
        spec=ModelSpec(
            encoder=name, classes=CLASS, heads=(), preprocessing=how, mpp=preset.mpp
        ),
        weights={f"encoder.backbone.{key}": x for key, x in weights.items()},
        system=preset.title,
        summary=f"{preset.title}: for strokes, or as a start for training.",
        license=preset.license,
        citations=(preset.citation,),
    )


def timm_names(state: State, *, is_dinov3: bool = False) -> State:
    """Weights of Meta's code or of Hugging Face's as timm holds them; timm's as is."""
    found: State = {}
    for key, value in state.items():
        name = key
        for pattern, new in RENAMES.items():
            name = re.sub(pattern, new, name)
        if is_dinov3:
            name = re.sub(r"\.ls(\d)\.gamma$", r".gamma_\1", name)
        if name and not (is_dinov3 and _is_idle(name, value)):
            found[key if name in found else name] = value
    for key in [key for key in found if re.search(r"\.q\.(weight|bias)$", key)]:
        names = [re.sub(r"q(\.\w+)$", rf"{part}\1", key) for part in ("q", "k", "v")]
        parts: list[Tensor] = [found[name] for name in names if name in found]
        if len(parts) == 3 and parts[0].ndim and len({x.shape for x in parts}) == 1:
            found[re.sub(r"q(\.\w+)$", r"qkv\1", key)] = torch.cat(parts)
            found = {name: x for name, x in found.items() if name not in names}
    none = torch.zeros(0)
    token, places = found.get("cls_token", none), found.get("pos_embed", none)
    is_apart = any("register_tokens" in key for key in state)
    if is_apart and places.ndim == 3 and places[:, :1].shape == token.shape:
        # With registers, timm's class token has no place: it is added beforehand.
        found |= {"cls_token": token + places[:, :1], "pos_embed": places[:, 1:]}
    return found


def _is_idle(name: str, value: Tensor) -> bool:
    """A bias that timm has no place for: zeros, but for the keys, where it is idle."""
    is_bias = re.search(r"\.attn\.(q|k|v|qkv)\.bias$", name) is not None
    parts = value.flatten().chunk(3)[::2] if ".qkv." in name else (value,)
    return is_bias and not any(part.any() for part in parts)
