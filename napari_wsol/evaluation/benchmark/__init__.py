"""A model measured on a data set: the field's figures, with intervals and a picture."""

from napari_wsol.evaluation.benchmark.run import Benchmark
from napari_wsol.evaluation.report import ModelReport
from napari_wsol.evaluation.settings import EvaluationConfig

__all__ = ["Benchmark", "EvaluationConfig", "ModelReport"]
