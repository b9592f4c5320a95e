"""What all checkpoints of PixelCAM's code have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsol.checkpoints.draft import Draft
from napari_wsol.encoders import build_encoder, nominal_offset

if TYPE_CHECKING:
    from napari_wsol.checkpoints.draft import Source, State
    from napari_wsol.methods import ModelSpec

SYSTEM = "PixelCAM / WSOL histology"
CITATIONS = ("Guichemerre et al., PixelCAM, MIDL 2025, arXiv 2503.24135",)
DATASETS: dict[str, tuple[str, ...]] = {
    "GLAS": ("benign", "malignant"),
    "CAMELYON": ("normal", "tumor"),
}

PIXEL = "pixel_wise_classification_head"


def draft_of(
    spec: ModelSpec, weights: State, what: str, notes: tuple[str, ...] = ()
) -> Draft:
    """What is said of a network of this code, beside its weights."""
    classes = " / ".join(spec.classes)
    return Draft(
        spec=spec,
        weights=weights,
        system=SYSTEM,
        summary=f"{what} on {spec.encoder}: {classes}, images at 224 × 224 pixels.",
        citations=CITATIONS,
        notes=notes,
    )


def says(source: Source, word: str) -> bool:
    """Whether the folder's name or the settings beside it name a data set or kind."""
    told = (source.path.name, source.path.parent.name, *source.settings.values())
    return any(word.lower() in item.lower() for item in told)


def nominal(name: str, taps: tuple[str, ...] | None) -> tuple[float, ...]:
    """Offsets of the taps as the authors place their maps."""
    encoder = build_encoder(name, taps=taps)
    return tuple(nominal_offset(stride) for stride in encoder.strides)


def resnet_name(state: State) -> str:
    """Which ResNet it is, by its blocks."""
    if "layer1.0.conv3.weight" in state:
        return "resnet50"
    return "resnet34" if "layer1.2.conv1.weight" in state else "resnet18"


def pixel_form(state: State) -> str:
    """Which form of the pixel head it is."""
    if "conv1.0.weight" in state:
        return "three_layers"
    if "conv3.0.weight" in state:
        return "one_layer"
    return "plain" if set(state) == {"conv4.weight", "conv4.bias"} else "batch_norm"


def classes_of(source: Source) -> tuple[str, ...]:
    """Names of the classes, where the data set is named."""
    return next((names for key, names in DATASETS.items() if says(source, key)), ())
