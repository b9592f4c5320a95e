"""Slides of any size: planned, read ahead, encoded tile by tile, and never held whole.

A plan says which tiles there are; a queue, which is next; a reader fetches windows on
threads; the run encodes them and reads the maps of all methods from the same features;
a log keeps every finished tile, so that a crash or Cancel loses none.
"""

from napari_wsol.config import SlideConfig
from napari_wsol.slides.order import TileQueue
from napari_wsol.slides.plan import SlidePlan, plan_slide
from napari_wsol.slides.readouts import Plane, planes_of, read_planes
from napari_wsol.slides.run import SlideRun, TileDone
from napari_wsol.slides.tile_log import TileLog

__all__ = [
    "Plane",
    "SlideConfig",
    "SlidePlan",
    "SlideRun",
    "TileDone",
    "TileLog",
    "TileQueue",
    "plan_slide",
    "planes_of",
    "read_planes",
]
