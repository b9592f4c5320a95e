"""Many slides: one folder of results that any number of workers fill together."""

from napari_wsol.batch.job import ImageJob, SlideSettings, any_large
from napari_wsol.batch.results import ResultsFolder

__all__ = ["ImageJob", "ResultsFolder", "SlideSettings", "any_large"]
