"""How a result came about, as plain values that go into every export."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import torch

from napari_wsol.images.readers import told_path
from napari_wsol.images.readers.base import SlideBase
from napari_wsol.refinement.heads import weights_digest
from napari_wsol.registry import origins

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_wsol.config import InferenceConfig
    from napari_wsol.images.slide import Slide
    from napari_wsol.inference.whole_image import Localization
    from napari_wsol.methods import Model
    from napari_wsol.refinement.rounds import Round


def provenance_of(
    slide: Slide,
    model: Model | None,
    result: Localization | None,
    *,
    method: str,
    mpp: float | None,
    current: Round | None = None,
) -> dict[str, object]:
    """Image, model, method, scores, and the strokes that had a part in the map.

    ``views`` says of how many views scores and map are the average; a map that strokes
    have taught is of the image as it is, which its ``refinement`` says.

    Only the file's name is recorded, never its folder: that may name a patient or a
    person. Of a film not even that. The fingerprint identifies the content.
    """
    path = told_path(slide)
    used = () if model is None else (model.spec.encoder, *model.spec.heads)
    return {
        "image": {
            "name": slide.name,
            "file": path.name if path is not None else None,
            "fingerprint": slide.fingerprint(),
            "shape": list(slide.shape),
            "mpp": mpp,
            "reader": slide.reader,
        },
        "model": None if model is None else _model(model),
        "method": method,
        "plugins": origins((*used, method)),
        "target": result.target if result is not None else None,
        "views": result.views if result is not None else 1,
        "scores": dict(result.scores) if result is not None else {},
        "notes": list(result.notes) if result is not None else [],
        "refinement": _refinement(current),
    }


def making_of(
    slide: Slide,
    result: Localization | None,
    config: InferenceConfig,
    shown: Round | None = None,
    **of_slide: object,
) -> dict[str, object]:
    """What else it takes to make the maps of a result again.

    Args:
        slide: the image.
        result: its scores and maps.
        config: how an image goes through the encoder.
        shown: the round that is shown.
        of_slide: ``cut``, how a slide is cut; ``asked``, the class that it was
            localized for; ``is_finished``, whether all tiles are there.
    """
    again = slide.open_again if isinstance(slide, SlideBase) else None
    how: dict[str, object] = getattr(again, "keywords", {})
    names = ("whole", "core", "memory_bytes")
    return {
        "opening": {key: how.get(key) for key in ("rgb", "channel", "plane")},
        "methods": list(result.heatmaps) if result is not None else [],
        "inference": {key: getattr(config, key) for key in names},
        "threads": torch.get_num_threads(),
        "round": _refinement(shown),
        **of_slide,
    }


def _model(model: Model) -> Mapping[str, object]:
    card = model.card
    return {
        "name": card.name if card is not None else None,
        "sha256": card.sha256 if card is not None else None,
        "weights_sha256": weights_digest(model),
        "encoder_sha256": model.encoder_fingerprint(),
        "encoder": model.spec.encoder,
        "classes": list(model.classes),
        "license": card.license if card is not None else None,
        "device": str(model.device),
    }


def _refinement(current: Round | None) -> Mapping[str, object] | None:
    if current is None or current.index == 0:
        return None
    return {
        "round": current.index,
        "views": 1,
        "strokes": current.strokes,
        "foreground_pixels": current.foreground,
        "background_pixels": current.background,
        "strokes_sha256": current.strokes_sha256,
        "stroke_numbers": list(current.teaching),
        "learnt_from": list(current.learnt_from),
        "others_sha256": list(current.others),
        "other_strokes": current.other_strokes,
        "other_images": len(current.others),
        "steps": len(current.loss),
        "final_loss": current.loss[-1] if current.loss else None,
        "seconds": round(current.seconds, 3),
        "settings": asdict(current.settings) if current.settings else None,
    }
