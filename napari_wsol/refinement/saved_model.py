"""A refined head as a model of the user's own, with a card that says what taught it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_wsol.errors import ExportError
from napari_wsol.methods.card import Card
from napari_wsol.methods.pixelcam import PixelCam
from napari_wsol.paths import bundled_folder, models_folder
from napari_wsol.refinement.finetune import copied
from napari_wsol.strokes.stroke import now
from napari_wsol.zoo import check_model_name, save_model

if TYPE_CHECKING:
    from napari_wsol.methods import Model
    from napari_wsol.methods.pixelcam import PixelHead
    from napari_wsol.refinement.samples import Score


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedFrom:
    """What a head has learnt from.

    Attributes:
        foreground: strokes of foreground.
        background: strokes of background.
        images: that they were drawn on.
        score: on images that were set aside; None where there are none.
    """

    foreground: int
    background: int
    images: int
    score: Score | None = None

    @property
    def words(self) -> str:
        """“12 strokes (5 foreground, 7 background) on 3 images”."""
        total = self.foreground + self.background
        return (
            f"{total} stroke{'s' if total != 1 else ''} ({self.foreground} foreground, "
            f"{self.background} background) on {self.images} "
            f"image{'s' if self.images != 1 else ''}"
        )


def save_refined(
    model: Model,
    head: PixelHead,
    taught: TrainedFrom,
    name: str,
    *,
    title: str = "",
) -> Card:
    """Writes a whole model with a refined pixel head, all or nothing.

    Args:
        model: that was refined; it is not changed.
        head: what was learnt.
        taught: what from.
        name: of the new model, and of its folder.
        title: for people; from the base model's by default.

    Returns:
        The card as it was written.

    Raises:
        ConfigError: it cannot be called so.
        ExportError: there is a model of that name, or it cannot be written.
    """
    check_model_name(name)
    for parent in (models_folder(), bundled_folder()):
        if (parent / name).exists():
            raise ExportError(
                f"There is a model “{name}” already. Give another name; nothing is "
                "overwritten."
            )
    refined = with_refined(model, head)
    return save_model(refined, refined_card(refined, taught, name, title))


def with_refined(model: Model, head: PixelHead) -> Model:
    """The model with this pixel head, which it is told to have; all else is shared."""
    spec, known = model.spec, PixelCam.head
    if known not in spec.heads:
        form: dict[str, object] = {
            "maps": len(head.channels),
            "form": head.form,
            "standardize": head.shift is not None,
        }
        options = {**spec.options, known: form}
        spec = replace(spec, heads=(*spec.heads, known), options=options)
    other = copy.copy(model.with_head(known, copied(head).to(model.device)))
    other.spec = spec
    return other


def refined_card(model: Model, taught: TrainedFrom, name: str, title: str = "") -> Card:
    """What still holds of the model before, and why this is another one.

    Measured figures of the base are those of other weights: they are left out.
    """
    base, day = model.card, now()[:10]
    methods = () if base is None else base.methods
    found: dict[str, object] = {
        "strokes": taught.foreground + taught.background,
        "images": taught.images,
    }
    if taught.score is not None and taught.score.value is not None:
        found["held_out"] = {
            "balanced_accuracy_over_strokes": round(taught.score.value, 4),
            "images": taught.score.images,
            "foreground_strokes": taught.score.foreground,
            "background_strokes": taught.score.background,
        }
    known = (
        "a model without a card" if base is None else f"“{base.title}” ({base.name})"
    )
    sha = "" if base is None or not base.sha256 else f", sha256 {base.sha256[:16]}…"
    return Card(
        name=name,
        title=title or f"{base.title if base is not None else name}, refined",
        summary=(
            f"{'' if base is None else base.summary} Its pixel head was refined by a "
            "person's strokes."
        ).strip(),
        spec=model.spec,
        methods=tuple(dict.fromkeys((PixelCam.name, *methods))),
        primary=PixelCam.name,
        finds="the class" if base is None else base.finds,
        data=(
            f"{'' if base is None else base.data} Refined on {day} with "
            f"{taught.words}, drawn by the user."
        ).strip(),
        origin=f"Refined from {known}{sha}. Encoder and classifier are unchanged.",
        license=(
            "That of the images and strokes is not told."
            if base is None
            else f"{base.license} That of the user's images and strokes is not told."
        ),
        limits=(
            *(("Not for diagnosis.",) if base is None else base.limits),
            f"Refined with {taught.words}: not tested on other images."
            if "held_out" not in found
            else f"Refined with {taught.words}: tested on a few strokes only.",
        ),
        citations=() if base is None else base.citations,
        metrics=found,
    )
