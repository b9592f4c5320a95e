"""What a model says of itself: what it was made from, for and not for."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - cards are checked against it
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import cast

from napari_wsol.errors import MalformedError, ModelError
from napari_wsol.files.parsing import typed
from napari_wsol.methods.appearance import Appearance
from napari_wsol.methods.spec import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A model's card, as ``card.toml`` holds it.

    Attributes:
        name: key in the zoo; the folder's name.
        title: for people.
        summary: one or two sentences: what it finds, in which images.
        spec: how the network is built.
        methods: names of the methods that it was made for; they run by default.
        primary: the method it was made for.
        finds: what foreground is, in the singular, e.g. "a gland".
        data: training images: what, how many, where from, terms.
        origin: initial weights and their licence.
        license: terms of these weights.
        limits: what it is not good for, a sentence each.
        reproducibility: what else was measured of the recipe, on other weights that it
            made: how the figures spread over seeds, and how they fare in a
            cross-validation; a sentence each.
        citations: papers and data sets to cite.
        metrics: measured figures, with what they were measured on.
        sha256: of the weight file.
        check: a probe input's seed and the logits that it must give.
        appearance: how the training images look to the network, so that others are
            noticed; None where that was not measured.
        plugins: of others that its encoder, heads and methods are from, if any.
        folder: where it lies; not part of the file.
        bundled: whether it came with the package; not part of the file.
    """

    name: str
    title: str
    summary: str
    spec: ModelSpec
    methods: tuple[str, ...]
    primary: str
    finds: str = "the class"
    data: str = ""
    origin: str = ""
    license: str = ""
    limits: tuple[str, ...] = ()
    reproducibility: tuple[str, ...] = ()
    citations: tuple[str, ...] = ()
    metrics: Mapping[str, object] = field(default_factory=dict[str, object])
    sha256: str = ""
    check: Mapping[str, object] = field(default_factory=dict[str, object])
    appearance: Appearance | None = None
    plugins: tuple[str, ...] | None = None
    folder: Path = Path()
    bundled: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.spec.classes

    @property
    def encoder(self) -> str:
        """Name of the encoder."""
        return self.spec.encoder

    @property
    def mpp(self) -> float | None:
        """µm a pixel of the network's input."""
        return self.spec.mpp

    @property
    def native_mpp(self) -> float | None:
        """µm a pixel assumed for images that do not say theirs."""
        return self.spec.native_mpp

    @property
    def cut_note(self) -> str:
        """Where the line between two classes is drawn, a sentence; empty at 0.5."""
        if self.spec.cut is None:
            return ""
        return (
            f"An image counts as “{self.classes[-1]}” where the network gives that "
            f"class a probability of at least {self.spec.cut:.3g}, which was chosen on "
            "the images that the figures are of. The probabilities that are shown are "
            "moved so that this is 0.5."
        )

    @property
    def purpose(self) -> str:
        """What it finds, and where: the first sentence of the summary."""
        first = self.summary.split(". ")[0].rstrip(".")
        return f"{first}." if first else ""

    @property
    def appearance_note(self) -> str:
        """Whether other images than it was made for are noticed, a sentence."""
        known = self.appearance
        if known is None:
            return (
                "It is not known how its training images look, so an image of another "
                "organ or stain is not noticed."
            )
        return (
            f"An image is said to look different where it is farther than "
            f"{known.bound:.2f} from {known.of}, by the features of “{known.layer}”."
        )

    def to_dict(self) -> dict[str, object]:
        """As plain values, in the order of the file."""
        result: dict[str, object] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in ("folder", "bundled", "spec") or value is None:
                continue
            if isinstance(value, Appearance):
                value = asdict(value)
            result[item.name] = (
                list(cast("tuple[object, ...]", value))
                if isinstance(value, tuple)
                else value
            )
        result["spec"] = self.spec.to_dict()
        return result

    @classmethod
    def from_dict(
        cls, values: Mapping[str, object], *, folder: Path, bundled: bool
    ) -> Card:
        """Builds a card from what a file holds.

        Raises:
            ModelError: an entry is missing, unknown or of the wrong kind.
        """
        known = {item.name for item in fields(cls)} - {"folder", "bundled"}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ModelError(
                f"The card of {folder.name} has unknown entries: "
                f"{', '.join(unknown)}. A newer version of napari-wsol may know them."
            )
        try:
            spec = ModelSpec.from_dict(typed(values.get("spec"), dict[str, object]))
            where = {"folder": folder, "bundled": bundled}
            return typed({**values, "spec": spec, **where}, cls)
        except MalformedError as error:
            needs = f" and its {values['plugins']}" if "plugins" in values else ""
            raise ModelError(
                f"The card of {folder.name} is incomplete or damaged ({error}). "
                f"Get the model{needs} again from where it came."
            ) from error
