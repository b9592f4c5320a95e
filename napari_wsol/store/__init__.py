"""The record of the work on each image, written so that no stroke is ever lost."""

from napari_wsol.store.entries import (
    Dismissed,
    Entry,
    Redone,
    RoundMade,
    RoundShown,
    SettingsChanged,
    StartedAfresh,
    Status,
    StatusChanged,
    StrokeMade,
    Undone,
)
from napari_wsol.store.image import ImageFacts
from napari_wsol.store.journal import Journal, Saved
from napari_wsol.store.reading import Record, read_record
from napari_wsol.store.store import Store, Summary
from napari_wsol.store.work import Work, folded

__all__ = [
    "Dismissed",
    "Entry",
    "ImageFacts",
    "Journal",
    "Record",
    "Redone",
    "RoundMade",
    "RoundShown",
    "Saved",
    "SettingsChanged",
    "StartedAfresh",
    "Status",
    "StatusChanged",
    "Store",
    "StrokeMade",
    "Summary",
    "Undone",
    "Work",
    "folded",
    "read_record",
]
