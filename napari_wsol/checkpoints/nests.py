"""Where in a file a network lies: what stands before the names of its weights.

Training scripts put weights into tables ("state_dict", "ema") and networks into other
modules ("module", "backbone"). Both are words before a name, and any word may be one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_wsol.checkpoints.draft import State

AVERAGED = re.compile(r"(?i)(?<![a-z])(ema|swa|teacher|averaged?|avg|shadow)(?![a-z])")
"""Words before weights that are a mean over many steps, as networks are tested."""

MOST_WORDS = 5
"""Before the names of an authors' network."""


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
        words = name.split(".")[:-1]
        for count in range(1, min(MOST_WORDS, len(words)) + 1):
            prefix = ".".join(words[:count]) + "."
            found.setdefault(prefix, {})[name.removeprefix(prefix)] = value
    order = sorted(
        found, key=lambda prefix: (prefix != "", not is_averaged(prefix, state))
    )
    return {prefix: found[prefix] for prefix in order}
