"""What a session works on: swapped by the worker as one value, read by everybody."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from napari_wsol.errors import ImageChangedError, NoImageError, NoModelError
from napari_wsol.session.document import ReopenedError
from napari_wsol.session.learning import Learning
from napari_wsol.session.maps import Maps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_wsol.methods import Model
    from napari_wsol.session.document import Document
    from napari_wsol.session.engine import Engine
    from napari_wsol.session.rounds import RoundHistory
    from napari_wsol.slides.localize import SlideWork


P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Current:
    """What is worked on: swapped as one value, so that a reader sees what belongs.

    Attributes:
        document: the open image; None before the first.
        model: the loaded model; None before the first.
        maps: of this image under this model.
    """

    document: Document | None = None
    model: Model | None = None
    maps: Maps = field(default_factory=Maps)

    def need(self) -> tuple[Document, Model]:
        """Image and model.

        Raises:
            NoImageError: no image is open.
            NoModelError: no model is loaded.
        """
        if self.document is None:
            raise NoImageError("Open an image first.")
        if self.model is None:
            raise NoModelError("Choose a model first.")
        return self.document, self.model

    @property
    def mapped(self) -> str:
        """Fingerprint of the image that the maps are of; empty while none is open."""
        if self.maps.before is not None:
            return self.maps.before.slide.fingerprint()
        return "" if self.document is None else self.document.fingerprint

    def check_maps(self) -> None:
        """Makes sure that the maps are of the image as it is.

        Raises:
            ImageChangedError: they are of the image as it was.
        """
        if self.maps.before is not None:
            raise ImageChangedError(
                f"“{self.maps.before.slide.name}” has changed since it was localized: "
                "localize again. Strokes from before stay with the image as it was."
            )


class State:
    """Where the worker puts what everybody reads.

    Attributes:
        current: what is worked on.
        engines: that have read the open image under the model, by their kind. Replaced
            as a whole: other threads walk through them.
        history: its rounds; None before the first.
        learning: how strokes are learnt, as long as no image is open.
    """

    def __init__(self) -> None:
        self.current = Current()
        self.engines: Mapping[type[Engine], Engine] = {}
        self.history: RoundHistory | None = None
        self.learning = Learning()

    def of_image(
        self,
        verb: Callable[Concatenate[Document, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """A verb of the open image; where it is just opened again, of its heir.

        Raises:
            NoImageError: nothing is open.
        """
        document = self.document
        while True:
            try:
                return verb(document, *args, **kwargs)
            except ReopenedError as reopened:
                document = reopened.document

    @property
    def document(self) -> Document:
        """The open image.

        Raises:
            NoImageError: there is none.
        """
        if self.current.document is None:
            raise NoImageError("Open an image first.")
        return self.current.document

    @property
    def work(self) -> SlideWork | None:
        """The tiles of the open slide; None for an image in one piece."""
        return next((one.work for one in self.engines.values() if one.work), None)

    @property
    def learning_now(self) -> Learning:
        """How strokes are learnt."""
        document = self.current.document
        return self.learning if document is None else document.learning
