"""Checkpoints that pool tiles, bare state dicts: A-MIL's network, and CLAM-SB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_wsol.checkpoints.draft import Draft, renamed
from napari_wsol.errors import ModelError
from napari_wsol.methods import ModelSpec

if TYPE_CHECKING:
    from napari_wsol.checkpoints.draft import Answers, Source

TILE = 28
SIGNATURE, WIDTH = "feature_extractor_part2.0.weight", (500, 800)
NET, OURS, MOST_CLASSES = "attention_net.", "heads.clam_sb.", 1000


def recognise(source: Source, answers: Answers) -> Draft | None:
    """A-MIL's network or CLAM-SB; None if it is neither.

    Raises:
        ModelError: it is another one of CLAM's code.
    """
    state = source.only
    if f"{NET}0.weight" in state or f"{NET}module.0.weight" in state:
        return _clam(source, answers)
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


def _clam(source: Source, answers: Answers) -> Draft:
    # What CLAM's code runs on several GPUs has “module” in its name.
    state = {key.replace(".module.", "."): x for key, x in source.only.items()}
    # Without dropout, older code has the attention one place earlier.
    at = f"{NET}3." if f"{NET}3.attention_c.bias" in state else f"{NET}2."
    axes = {f"{NET}0.weight": 2, f"{at}attention_b.0.bias": 1, "classifiers.bias": 1}
    found = [state[x] for x in axes if x in state and state[x].ndim == axes[x]]
    if len(found) < len(axes) or len(found[-1]) > MOST_CLASSES:
        raise ModelError(
            f"{source.path.name} is of CLAM's code, but not CLAM-SB with gated "
            "attention, its default: nothing else of it can be imported."
        )
    (embedding, width), (hidden,), (count,) = (item.shape for item in found)
    for k in range(count):  # they teach: the verdict is the same without them
        state.setdefault(f"instance_classifiers.{k}.weight", torch.zeros(2, embedding))
        state.setdefault(f"instance_classifiers.{k}.bias", torch.zeros(2))
    parts = (NET, "classifiers.", "instance_classifiers.")
    return Draft(
        spec=ModelSpec(
            encoder=f"vectors:{width}",
            classes=answers.classes(count),
            heads=("clam_sb",),
            options={"clam_sb": {"embedding": embedding, "hidden": hidden}},
            tile=256,
            extractor=answers.given("extractor"),
        ),
        weights=renamed(state, {at: f"{OURS}{NET}3.", **{x: OURS + x for x in parts}}),
        system="CLAM",
        summary="CLAM-SB, for vectors of tiles. Imported with extractor=…, the network "
        "that makes them as bags name it, it refuses those of others.",
        citations=("Lu et al., CLAM, Nat Biomed Eng 2021, arXiv 2004.09666",),
    )
