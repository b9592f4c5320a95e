"""What a session knows, for everybody to read; only the session changes it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_wsol.errors import NoImageError, NoModelError, NoResultError
from napari_wsol.refinement.rounds import Round

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.images.slide import Slide
    from napari_wsol.inference.whole_image import Localization
    from napari_wsol.methods import Model
    from napari_wsol.strokes.canvas import Canvas, Scribbles

REFINED = "pixelcam"
"""The method whose head learns from strokes."""


class SessionState:
    """Image, model, heatmaps, strokes and rounds.

    Every value is replaced as a whole, never changed in place, so that a reader on
    another thread sees the old one or the new one.

    Signals:
        image_changed, mpp_changed, model_changed, localized, scribbles_changed,
            rounds_changed: no argument.
        heatmap_changed: name of the method.
    """

    image_changed = Signal()
    mpp_changed = Signal()
    model_changed = Signal()
    localized = Signal()
    heatmap_changed = Signal(str)
    scribbles_changed = Signal()
    rounds_changed = Signal()

    def __init__(self) -> None:
        self._slide: Slide | None = None
        self._mpp: float | None = None
        self._model: Model | None = None
        self._result: Localization | None = None
        self._heatmaps: Mapping[str, Heatmap] = MappingProxyType({})
        self._canvas: Canvas | None = None
        self._scribbles: Scribbles | None = None
        self._rounds: tuple[Round, ...] = ()
        self._round_index = 0

    @property
    def slide(self) -> Slide | None:
        """The open image."""
        return self._slide

    @property
    def mpp(self) -> float | None:
        """µm a level-0 pixel: the person's word, else the file's, else None."""
        return self._mpp or (self._slide.mpp if self._slide is not None else None)

    @property
    def model(self) -> Model | None:
        """The loaded model."""
        return self._model

    @property
    def result(self) -> Localization | None:
        """Scores and heatmaps as the model gave them, before any refinement."""
        return self._result

    @property
    def heatmaps(self) -> Mapping[str, Heatmap]:
        """The current heatmap of each method, PixelCAM's after the current round."""
        return self._heatmaps

    @property
    def canvas(self) -> Canvas | None:
        """The grid for strokes."""
        return self._canvas

    @property
    def scribbles(self) -> Scribbles | None:
        """Strokes on the canvas: 0 none, 1 background, 2 foreground. Do not write."""
        return self._scribbles

    @property
    def rounds(self) -> tuple[Round, ...]:
        """All refits, the unrefined model first."""
        return self._rounds

    @property
    def round_index(self) -> int:
        """The round whose map is shown."""
        return self._round_index

    def heatmap(self, method: str) -> Heatmap:
        """The current heatmap of a method.

        Raises:
            NoResultError: it was not localized yet.
        """
        if method not in self._heatmaps:
            have = ", ".join(self._heatmaps) or "none yet"
            raise NoResultError(
                f"There is no {method} heatmap (there is: {have}). Localize first."
            )
        return self._heatmaps[method]

    def _forget_result(self) -> None:
        self._result = None
        self._heatmaps = MappingProxyType({})
        self._rounds, self._round_index = (), 0
        self.rounds_changed.emit()

    def _keep(self, result: Localization) -> None:
        """Puts a result in place; rounds made on the same grid stay."""
        self._result = result
        heatmaps = dict(result.heatmaps)
        first = heatmaps.get(REFINED)
        later = tuple(item for item in self._rounds if item.index > 0)
        if first is not None and later and later[0].heatmap.scale != first.scale:
            later = ()
        before = () if first is None else (Round(index=0, heatmap=first),)
        self._rounds = (*before, *later)
        shown = self._current_round()
        if shown is None:
            self._round_index = 0
        elif shown.index > 0:
            heatmaps[REFINED] = shown.heatmap
        self._heatmaps = MappingProxyType(heatmaps)

    def _current_round(self) -> Round | None:
        for item in self._rounds:
            if item.index == self._round_index:
                return item
        return None

    def _show(self, item: Round) -> None:
        self._round_index = item.index
        self._heatmaps = MappingProxyType({**self._heatmaps, REFINED: item.heatmap})
        self.heatmap_changed.emit(REFINED)
        self.rounds_changed.emit()

    def _need_slide(self) -> Slide:
        if self._slide is None:
            raise NoImageError("Open an image first.")
        return self._slide

    def _need_canvas(self) -> Canvas:
        if self._canvas is None:
            raise NoImageError("Open an image first, then draw on it.")
        return self._canvas

    def _need_model(self) -> Model:
        if self._model is None:
            raise NoModelError("Choose a model first.")
        return self._model

    def _need_result(self) -> Localization:
        if self._result is None:
            raise NoResultError("Localize first, then refine what it found.")
        return self._result

    def _export_method(self) -> str:
        if not self._heatmaps or REFINED in self._heatmaps:
            return REFINED
        return next(iter(self._heatmaps))
