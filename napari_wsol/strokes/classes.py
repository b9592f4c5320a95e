"""What a class of annotations means here: foreground, background, or left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsol.errors import ConfigError, ImageError, Question
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
        questions: what each base class of the file means.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        words = {label: word for word, label in MEANINGS.items()}
        self.questions = tuple(
            Question(
                name,
                listed([name], counts),
                tuple(MEANINGS),
                words[label_of(name) or UNLABELLED],
            )
            for name in counts
        )
        unclear = [name for name in counts if label_of(name) is None]
        super().__init__(
            "The names of some classes do not tell whether they are foreground or "
            f"background: {listed(unclear[:_LISTED], counts)}. Name them so, or "
            "say it (evaluate --foreground NAME --background NAME)."
        )


def listed(names: Iterable[str], counts: Mapping[str, int]) -> str:
    """Classes with how many annotations each has."""
    return ", ".join(f"{name or 'without a class'} ({counts[name]})" for name in names)


def base_of(name: str) -> str:
    """The class that another is derived from: “Tumor” of “Tumor: Negative”."""
    return name.partition(":")[0].strip()


def label_of(name: str) -> int | None:
    """What a class means: 0 left out, 1 background, 2 foreground; None: not told.

    A derived class means what its base class means. Only whole names tell, never a
    word in one; a star at the end (QuPath's “Ignore*”) leaves it out.
    """
    base = base_of(name).casefold()
    return UNLABELLED if base.endswith("*") else _LABELS.get(base)


def chosen_labels(
    foreground: Sequence[str], background: Sequence[str]
) -> dict[str, int]:
    """Class → label, of names that a person has given.

    Raises:
        ConfigError: a class is to be both.
    """
    for name in set(foreground).intersection(background):
        raise ConfigError(f"“{name}” is to be foreground and background: give it once.")
    return dict.fromkeys(background, BACKGROUND) | dict.fromkeys(foreground, FOREGROUND)
