"""What a class of annotations means here: foreground, background, or left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsol.errors import ConfigError, ImageError
from napari_wsol.strokes.stroke import BACKGROUND, FOREGROUND, UNLABELLED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NAMES = {
    FOREGROUND: (
        "foreground, positive, abnormal, tumor, tumour, tumors, tumours, cancer, "
        "carcinoma, malignant, metastasis, metastases, lesion, lesions, _0, _1"
    ),
    BACKGROUND: (
        "background, negative, normal, healthy, other, non-tumor, non-tumour, "
        "no tumor, no tumour, exclusion, _2"
    ),
    UNLABELLED: "ignore, ignored",
}
"""Whole names that tell, QuPath's own and CAMELYON's groups among them (``_0`` and
``_1`` are metastases, ``_2`` is cut out of them)."""

SKIPPED_ENDING = "*"
"""QuPath's mark for classes that are not meant as one, “Ignore*” and “Region*”."""

MEANINGS = {
    "foreground": FOREGROUND,
    "background": BACKGROUND,
    "left out": UNLABELLED,
}

_LISTED = 12

_LABELS = {name: label for label, names in NAMES.items() for name in names.split(", ")}


class AnnotationError(ImageError):
    """A file of annotations cannot be read, or none of them lies on the image."""


class UnclearClassesError(AnnotationError):
    """The names of classes do not tell what they mean; only the person knows.

    Attributes:
        classes: base classes → 0 left out, 1 background, 2 foreground, None: not told.
        counts: base class → annotations.
    """

    def __init__(
        self, classes: Mapping[str, int | None], counts: Mapping[str, int]
    ) -> None:
        bases = {name: name.partition(":")[0].strip() for name in classes}
        self.classes = {bases[name]: label for name, label in classes.items()}
        # What one derived class does not tell is asked of them all.
        self.classes |= {bases[x]: None for x in classes if classes[x] is None}
        self.counts = dict.fromkeys(self.classes, 0)
        for name, count in counts.items():
            self.counts[bases[name]] += count
        unclear = [name for name, label in self.classes.items() if label is None]
        more = f" and {len(unclear) - _LISTED} more" if len(unclear) > _LISTED else ""
        super().__init__(
            "The names of some classes do not tell whether they are foreground or "
            f"background: {listed(unclear[:_LISTED], self.counts)}{more}. Say it "
            "(--foreground NAME, --background NAME; in a recipe, foreground and "
            "background of [data])."
        )


def listed(names: Iterable[str], counts: Mapping[str, int]) -> str:
    """Classes with how many annotations each has."""
    return ", ".join(f"{name or 'without a class'} ({counts[name]})" for name in names)


def plain(name: str) -> str:
    """A name as names are compared: whatever the case of its letters."""
    return name.strip().casefold()


def base_of(name: str) -> str:
    """The class that another is derived from: “tumor” of “Tumor: Negative”."""
    return plain(name.partition(":")[0])


def label_of(name: str) -> int | None:
    """What a class means: 0 left out, 1 background, 2 foreground; None: not told.

    A derived class means what its base class means. Only whole names tell, never a
    word in one; a star at the end (QuPath's “Ignore*”) leaves it out.
    """
    base = base_of(name)
    return UNLABELLED if base.endswith(SKIPPED_ENDING) else _LABELS.get(base)


def chosen_labels(
    foreground: Sequence[str], background: Sequence[str]
) -> dict[str, int]:
    """Class → label, of names that a person has given.

    Raises:
        ConfigError: a class is to be both.
    """
    both = {plain(name) for name in foreground} & {plain(name) for name in background}
    if both:
        raise ConfigError(
            f"“{min(both)}” is to be foreground and background: give it once."
        )
    return dict.fromkeys(background, BACKGROUND) | dict.fromkeys(foreground, FOREGROUND)
