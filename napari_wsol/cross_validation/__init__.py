"""A recipe tried on patients that it has not seen: train on some folds, measure one."""

from napari_wsol.cross_validation.report import CrossValidationReport, FoldReport
from napari_wsol.cross_validation.run import FoldWatcher, cross_validate

__all__ = ["CrossValidationReport", "FoldReport", "FoldWatcher", "cross_validate"]
