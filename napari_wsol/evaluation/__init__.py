"""The field's metrics. Only this part of the program may look at masks and boxes."""

from napari_wsol.evaluation.boxes import BoxAccuracy, max_box_acc
from napari_wsol.evaluation.classification import accuracy
from napari_wsol.evaluation.pixels import (
    PixelCurve,
    PxapMeter,
    best_threshold,
    dice,
    iou,
    pixel_curve,
    pxap,
)
from napari_wsol.evaluation.points import (
    LocalizationScore,
    iobb,
    point_localization,
)
from napari_wsol.evaluation.references import Reference, load_references

__all__ = [
    "BoxAccuracy",
    "LocalizationScore",
    "PixelCurve",
    "PxapMeter",
    "Reference",
    "accuracy",
    "best_threshold",
    "dice",
    "iobb",
    "iou",
    "load_references",
    "max_box_acc",
    "pixel_curve",
    "point_localization",
    "pxap",
]
