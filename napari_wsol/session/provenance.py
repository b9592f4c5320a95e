"""How a result came about, as plain values that go into every export."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import torch

from napari_wsol.images.readers import told_path
from napari_wsol.refinement.heads import weights_digest
from napari_wsol.registry import origins
from napari_wsol.session.maps import REFINED

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
    shown: Round | None = None,
    config: InferenceConfig | None = None,
    of_slide: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Image, model, method, scores, and the strokes that had a part in the map.

    ``views`` says of how many views scores and map are the average; a map that strokes
    have taught is of the image as it is, which its ``refinement`` says.

    Only the file's name is recorded, never its folder: that may name a patient or a
    person. Of a film not even that. The fingerprint identifies the content.

    With the ``config`` that it went through the encoder with, ``made`` says what else
    it takes to make the maps again: of slides how they are cut (``cut``), the class
    that was asked for (``asked``), whether all tiles are there (``is_finished``).
    """
    path, taught = told_path(slide), shown if shown and shown.index else None
    used = () if model is None else (model.spec.encoder, *model.spec.heads)
    told: dict[str, object] = {
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
        "refinement": _refinement(taught) if method == REFINED else None,
    }
    if config is not None:
        opening = getattr(getattr(slide, "open_again", None), "keywords", {})
        names = ("whole", "core", "memory_bytes")
        told["made"] = {
            "opening": {key: opening.get(key) for key in ("rgb", "channel", "plane")},
            "methods": list(result.heatmaps) if result is not None else [],
            "inference": {key: getattr(config, key) for key in names},
            "threads": torch.get_num_threads(),
            "round": _lesson(taught),
            **(of_slide or {}),
        }
    return told


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
    if current is None:
        return None
    return {
        "round": current.index,
        "views": 1,
        "strokes": current.strokes,
        "foreground_pixels": current.foreground,
        "background_pixels": current.background,
        "strokes_sha256": current.strokes_sha256,
        "stroke_numbers": list(current.teaching),
        "other_strokes": current.other_strokes,
        "other_images": len(current.others),
        "steps": len(current.loss),
        "final_loss": current.loss[-1] if current.loss else None,
        "seconds": round(current.seconds, 3),
        "settings": asdict(current.settings) if current.settings else None,
    }


def _lesson(current: Round | None) -> Mapping[str, object] | None:
    """What it takes to learn a round again."""
    if current is None:
        return None
    return {
        "round": current.index,
        "learnt_from": list(current.learnt_from),
        "strokes_sha256": current.strokes_sha256,
        "others_sha256": list(current.others),
        "settings": current.settings,
    }
