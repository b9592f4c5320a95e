"""Trainings in a row and one report: of folds, or of the stages of a paper."""

from napari_wsol.cross_validation.report import CrossValidationReport, FoldReport
from napari_wsol.cross_validation.run import FoldWatcher, cross_validate

__all__ = ["CrossValidationReport", "FoldReport", "FoldWatcher", "cross_validate"]
