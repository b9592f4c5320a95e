"""Heads of rounds as weights in a file, and what a model is known by beside them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from napari_wsol.errors import ModelError
from napari_wsol.files.parsing import parse_json, typed
from napari_wsol.methods.model import weight_bytes
from napari_wsol.methods.pixelcam import PixelCam, PixelHead
from napari_wsol.refinement.stroke_field import StrokeField
from napari_wsol.refinement.stroke_network import StrokeNetwork

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from napari_wsol.methods import Model

FORM = "pixel_head"
"""Key of the head's form in the file's metadata."""

FIELD = "stroke_field."
"""Before the names of the field's values."""

STAGE = "encoder."
"""Before the names of the weights of the encoder's last stage."""


class _Form(Struct):
    """How a head is built."""

    channels: list[Annotated[int, Meta(ge=1, le=100_000)]]
    form: str
    standardize: bool


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
        form = typed(parse_json(metadata[FORM]), _Form)
        head = PixelHead(form.channels, form=form.form, standardize=form.standardize)
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


def own_head(model: Model) -> PixelHead | None:
    """The pixel head of a model; None where it has none."""
    if PixelCam.head not in model.heads:
        return None
    return model.head(PixelHead, PixelCam.head)


def weights_digest(model: Model) -> str:
    """sha256 of a model's weights: what a journal knows it by.

    A round is brought back by the very model that it was made with: that of the card
    where there is one, else of the encoder and of all heads. Samples need less, see
    :func:`reading_digest`.
    """
    if model.card is not None and model.card.sha256:
        return model.card.sha256
    parts = model.encoder_fingerprint() + model.heads_fingerprint()
    return hashlib.sha256(parts.encode()).hexdigest()


def reading_digest(model: Model) -> str:
    """sha256 of all that decides what a model reads and says at a cell.

    What samples know a model by: they hold for each model that reads alike, whatever
    its other heads are. A journal is stricter, see :func:`weights_digest`.
    """
    digest = hashlib.sha256(model.encoder_fingerprint().encode())
    digest.update(repr((model.preprocessing, model.spec.mpp)).encode())
    head = own_head(model)
    for part in weight_bytes(head) if head is not None else ():
        digest.update(part)
    return digest.hexdigest()
