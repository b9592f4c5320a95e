"""Where in a file a network lies: what stands before the names of its weights.

Training scripts put weights into tables ("state_dict", "ema") and networks into other
modules ("module", "backbone"). Both are words before a name, and any word may be one:
a network is found by names that only its family has.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TypeVar

    T = TypeVar("T")

AVERAGED = re.compile(r"(?i)(?<![a-z])(ema|swa|teacher|averaged?|avg|shadow)(?![a-z])")
"""Words before the weights that are a mean over many steps, as they are tested."""

MOST_PARTS = 5
"""Words before the names of an authors' network."""

_OLD_NAMES = (
    (r"(denselayer\d+)\.(norm|conv)\.([12])\.", r"\1.\2\3."),
    (r"encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
)
_VIT = (
    (r"(blocks\.\d+)\.ln_([12])\.", r"\1.norm\2."),
    (r"(blocks\.\d+)\.self_attention\.in_proj_", r"\1.attn.qkv."),
    (r"(blocks\.\d+)\.self_attention\.out_proj\.", r"\1.attn.proj."),
    (r"(blocks\.\d+\.mlp)\.(0|linear_1)\.", r"\1.fc1."),
    (r"(blocks\.\d+\.mlp)\.(3|linear_2)\.", r"\1.fc2."),
    (r"(^|\.)class_token$", r"\1cls_token"),
    (r"(^|\.)encoder\.pos_embedding$", r"\1pos_embed"),
    (r"(^|\.)conv_proj\.", r"\1patch_embed.proj."),
    (r"(^|\.)encoder\.ln\.", r"\1norm."),
)


def is_averaged(prefix: str, names: Iterable[str]) -> bool:
    """Whether the weights under a prefix are a mean: its words say so, or torch."""
    parent = prefix.removesuffix("module.")
    return bool(AVERAGED.search(prefix)) or f"{parent}n_averaged" in names


def places(names: Mapping[str, object], mark: str) -> list[str]:
    """Prefixes of all networks that have an entry of a name, means first."""
    ends = re.compile(rf"(.*\.)?{re.escape(mark)}")
    found = [match[1] or "" for match in map(ends.fullmatch, names) if match]
    return sorted(found, key=lambda prefix: not is_averaged(prefix, names))


def scopes(state: Mapping[str, T]) -> dict[str, dict[str, T]]:
    """What lies under each prefix, by prefix and without it: all first, then means."""
    found: dict[str, dict[str, T]] = {"": dict(state)}
    for name, value in state.items():
        parts = name.split(".")
        for count in range(1, min(MOST_PARTS, len(parts) - 1) + 1):
            prefix = ".".join(parts[:count]) + "."
            found.setdefault(prefix, {})[name.removeprefix(prefix)] = value
    order = sorted(found, key=lambda key: (key != "", not is_averaged(key, state)))
    return {prefix: found[prefix] for prefix in order}


def modern_names(state: Mapping[str, T]) -> dict[str, T]:
    """Names as encoders here have them, under any prefix.

    torchvision's DenseNet files say "norm.1", which attributes no longer may; and its
    vision transformers are timm's under other names.
    """
    is_vit = any("encoder_layer_0." in name for name in state)
    renames = [*_OLD_NAMES, *(_VIT if is_vit else ())]
    found: dict[str, T] = {}
    for name, value in state.items():
        for old, new in renames:
            name = re.sub(old, new, name)  # noqa: PLW2901
        found[name] = value
    return found
