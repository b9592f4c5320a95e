"""Checkpoints of A-MIL's code: one bare state dict of twelve tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsol.checkpoints.draft import Draft, renamed
from napari_wsol.methods import ModelSpec

if TYPE_CHECKING:
    from napari_wsol.checkpoints.draft import Answers, Source

TILE = 28
SIGNATURE, WIDTH = "feature_extractor_part2.0.weight", (500, 800)


def recognise(source: Source, answers: Answers) -> Draft | None:
    """A-MIL's network; None if it is none."""
    state = source.only
    if SIGNATURE not in state or state[SIGNATURE].shape != WIDTH:
        return None
    names = {
        "feature_extractor_": "encoder.backbone.feature_extractor_",
        "attention.": "heads.attention_mil.attention.",
        "classifier.": "heads.attention_mil.classifier.",
    }
    spec = ModelSpec(
        encoder="amil_cnn",
        classes=answers.classes(2),
        heads=("attention_mil",),
        options={"attention_mil": {"binary": True}},
        tile=TILE,
    )
    return Draft(
        spec=spec,
        weights=renamed(state, names),
        system="A-MIL",
        summary="A-MIL's network: attention over tiles of 28 × 28 pixels, for H&E "
        "images at 40× to 400×.",
        citations=(
            "Patil et al., Breast Cancer Histopathology Image Classification and "
            "Localization using Multiple Instance Learning, 2020, arXiv 2003.00823",
        ),
        notes=(
            "Its classes are named 0 and 1 in the authors' folders; give their names "
            "with classes=….",
        )
        if answers.given("classes") is None
        else (),
    )
