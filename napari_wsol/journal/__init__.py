"""The record of the work on each image, written so that no stroke is ever lost."""

from napari_wsol.journal.entries import (
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
from napari_wsol.journal.image import ImageFacts
from napari_wsol.journal.journal import Journal, Saved
from napari_wsol.journal.library import JournalLibrary, Summary
from napari_wsol.journal.reading import Record, read_record
from napari_wsol.journal.replayed import EarlierWork, replayed

__all__ = [
    "Dismissed",
    "EarlierWork",
    "Entry",
    "ImageFacts",
    "Journal",
    "JournalLibrary",
    "Record",
    "Redone",
    "RoundMade",
    "RoundShown",
    "Saved",
    "SettingsChanged",
    "StartedAfresh",
    "Status",
    "StatusChanged",
    "StrokeMade",
    "Summary",
    "Undone",
    "read_record",
    "replayed",
]
