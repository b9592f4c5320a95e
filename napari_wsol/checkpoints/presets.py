"""Foundation encoders as their makers publish them: timm's names, or others made so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from napari_wsol.checkpoints.draft import Draft
from napari_wsol.encoders.presets import PRESETS
from napari_wsol.images.preprocessing import Preprocessing
from napari_wsol.methods import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.checkpoints.draft import Answers, Source, State

TRANSFORMER = re.compile(r"(blocks|layer)\.0\..*(qkv|query|q_proj)\.weight$")
"""A weight that every transformer has."""

RENAMES = (
    # of Hugging Face's transformers
    (r"^embeddings\.patch_embeddings\.(projection\.)?", "patch_embed.proj."),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.", ""),
    (r"^(encoder\.|model\.)?layer\.", "blocks."),
    (r"\.attention\.(attention\.)?(q|k|v)(uery|ey|alue|_proj)\.", r".attn.\2."),
    (r"\.attention\.(output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
    (r"\.mlp\.up_proj\.", ".mlp.fc1."),
    (r"\.mlp\.down_proj\.", ".mlp.fc2."),
    (r"^layernorm\.", "norm."),
    # of Meta's own code
    (r"^(register|storage)_tokens$", "reg_token"),
)
UNUSED = re.compile(r"mask_token$|rope_embed\.periods$|\.bias_mask$")
"""Entries for training, and numbers that the network makes itself."""


def recognise(source: Source, answers: Answers) -> Draft | None:
    """The encoder of a preset, which the person names; None if this is no transformer.

    Raises:
        ConfigError: there is no such preset.
    """
    state = source.only
    told = answers.given("preset") is not None
    if state is None or not (told or any(map(TRANSFORMER.search, state))):
        return None
    text = "Which foundation encoder are these the weights of?"
    name = answers.choose("preset", text, tuple(PRESETS))
    preset = PRESETS[name]
    weights = timm_names(state, rotary="dinov3" in preset.timm)
    return Draft(
        spec=ModelSpec(
            encoder=name,
            classes=("foreground",),
            heads=(),
            preprocessing=Preprocessing(mean=preset.mean, std=preset.std),
            mpp=preset.mpp,
        ),
        weights={f"encoder.backbone.{key}": value for key, value in weights.items()},
        system=preset.title,
        summary=f"{preset.title} without a classifier: for a pixel head that learns "
        "from strokes alone, or a start for training.",
        license=preset.license,
        citations=(preset.citation,),
    )


def timm_names(state: State, *, rotary: bool) -> State:
    """Weights of Meta's code or of Hugging Face's as timm holds them; timm's as is.

    Args:
        state: by name.
        rotary: whether it is a DINOv3, whose blocks timm names otherwise.
    """
    found: State = {}
    for key, value in state.items():
        name = key
        for pattern, new in RENAMES:
            name = re.sub(pattern, new, name)
        if rotary:
            name = re.sub(r"\.ls(\d)\.gamma$", r".gamma_\1", name)
        if not UNUSED.search(name):
            found[name] = value
    _join(found)
    if any(key.endswith("register_tokens") for key in state):
        _place(found)
    return {key: x for key, x in found.items() if not (rotary and _is_nothing(key, x))}


def _place(found: State) -> None:
    """Adds its place to the class token, for which timm's have none with registers."""
    places, token = found.get("pos_embed"), found.get("cls_token")
    if places is None or token is None or places.ndim != 3:
        return
    if places[:, :1].shape == token.shape:
        found |= {"cls_token": token + places[:, :1], "pos_embed": places[:, 1:]}


def _join(found: State) -> None:
    """Queries, keys and values, which timm computes at once; keys may have no bias."""
    for key in [key for key in found if key.endswith((".q.weight", ".q.bias"))]:
        names = [re.sub(r"q(\.\w+)$", rf"{part}\1", key) for part in "qkv"]
        parts = [found.get(name) for name in names]
        if parts[1] is None and key.endswith("bias"):
            parts[1] = torch.zeros_like(found[key])
        given = [part for part in parts if part is not None]
        if len(given) == 3 and len({part.shape for part in given}) == 1:
            found[re.sub(r"q(\.\w+)$", r"qkv\1", key)] = torch.cat(given)
            for name in names:
                found.pop(name, None)


def _is_nothing(key: str, value: Tensor) -> bool:
    """A bias that timm leaves out: zeros, but for the keys, where it has no effect."""
    parts = value.chunk(3) if key.endswith("attn.qkv.bias") else ()
    return len(parts) == 3 and not (parts[0].any() or parts[2].any())
