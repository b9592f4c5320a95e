"""A refined pixel head, and what it needs beside it, as weights in a file, and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from napari_wsol.errors import ModelError
from napari_wsol.methods.pixelcam import PixelHead
from napari_wsol.refinement.stroke_field import StrokeField
from napari_wsol.refinement.stroke_network import StrokeNetwork

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

FORM = "pixel_head"
"""Key of the head's form in the file's metadata."""

FIELD = "stroke_field."
"""Before the names of the field's values."""

STAGE = "encoder."
"""Before the names of the weights of the encoder's last stage."""


def head_state(
    head: PixelHead,
    field: StrokeField | None = None,
    stage: Mapping[str, Tensor] | None = None,
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Weights by name, and what else is needed to build the head anew.

    Args:
        head: the pixel head of a round.
        field: what its strokes say beside it.
        stage: the encoder's last stage as they taught it.
    """
    values = dict(head.state_dict())
    if field is not None:
        values |= {FIELD + name: item for name, item in field.state_dict().items()}
    if stage is not None:
        values |= {STAGE + name: item for name, item in stage.items()}
    state = {name: value.detach().cpu().contiguous() for name, value in values.items()}
    form = {
        "channels": list(head.channels),
        "form": head.form,
        "standardize": head.shift is not None,
    }
    return state, {FORM: json.dumps(form)}


def head_from(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> PixelHead:
    """The head that :func:`head_state` was given; on the CPU, in evaluation mode.

    Raises:
        ModelError: these are not the weights of such a head.
    """
    try:
        form = cast("dict[str, object]", json.loads(metadata[FORM]))
        head = PixelHead(
            [int(item) for item in cast("list[int]", form["channels"])],
            form=str(form["form"]),
            standardize=bool(form["standardize"]),
        )
        beside = (FIELD, STAGE)
        own = {k: value for k, value in state.items() if not k.startswith(beside)}
        head.load_state_dict(own)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"The pixel head of a round cannot be read ({error}). Refine again: the "
            "strokes are there."
        ) from error
    return head.eval()


def field_from(state: Mapping[str, Tensor]) -> StrokeField | None:
    """The field that :func:`head_state` was given; None where there was none.

    Raises:
        ModelError: these are not the values of a field.
    """
    own = _behind(FIELD, state)
    kind = StrokeNetwork if "hidden" in own else StrokeField
    return kind.from_state(own) if own else None


def stage_from(state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The stage that :func:`head_state` was given; None where there was none."""
    return _behind(STAGE, state) or None


def _behind(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in state.items()
        if name.startswith(prefix)
    }
