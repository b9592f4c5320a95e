"""The field's metrics. Only this part of the program may look at masks and boxes."""

from napari_wsol.evaluation.bootstrap import Bootstrap, Estimate
from napari_wsol.evaluation.boxes import BoxAccuracy, BoxAccuracyMeter, max_box_acc
from napari_wsol.evaluation.classification import (
    ClassificationMeter,
    ClassificationScore,
    accuracy,
    roc_auc,
)
from napari_wsol.evaluation.faithfulness import Faithfulness, insertion_deletion
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
    HitMeter,
    LocalizationScore,
    iobb,
    point_localization,
    pointing_game,
)
from napari_wsol.evaluation.prior import LocationPrior, centre_values
from napari_wsol.evaluation.references import Reference, load_references
from napari_wsol.evaluation.regions import (
    RegionMeter,
    RegionScore,
    region_localization,
)

__all__ = [
    "Bootstrap",
    "BoxAccuracy",
    "BoxAccuracyMeter",
    "ClassificationMeter",
    "ClassificationScore",
    "Estimate",
    "Faithfulness",
    "HitMeter",
    "LocalizationScore",
    "LocationPrior",
    "PixelCurve",
    "PxapMeter",
    "Reference",
    "RegionMeter",
    "RegionScore",
    "accuracy",
    "best_threshold",
    "centre_values",
    "dice",
    "insertion_deletion",
    "iobb",
    "iou",
    "load_references",
    "max_box_acc",
    "pixel_curve",
    "point_localization",
    "pointing_game",
    "pxap",
    "region_localization",
    "roc_auc",
]
