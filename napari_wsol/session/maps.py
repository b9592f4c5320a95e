"""What a session shows: the maps of one image under one model, swapped as one value."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from napari_wsol.errors import NoResultError
from napari_wsol.refinement.rounds import Round

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.images.slide import Slide
    from napari_wsol.inference.whole_image import Localization
    from napari_wsol.strokes.stroke import StrokeList

REFINED = "pixelcam"
"""The method whose head learns from strokes."""


AS_IT_WAS = (
    "The image has changed since this map was made: it shows the image as it was. "
    "Localize again for one of the image as it is now."
)


class Wanted(NamedTuple):
    """What is to be localized, as ``SessionJobs.localize`` takes it."""

    methods: Sequence[str] | None = None
    target: str | None = None
    views: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What the maps are of, where the image has other pixels by now.

    Attributes:
        slide: the image as it was; only what is known of it can be asked.
        mpp: µm a level-0 pixel, None where it was not known.
        result: scores and heatmaps as the model gave them.
        shown: the round whose map is shown.
    """

    slide: Slide
    mpp: float | None
    result: Localization | None
    shown: Round | None


@dataclass(frozen=True, slots=True)
class Kept:
    """A map that the model in use did not make: shown like ours, never refined.

    Exports tell its provenance; ``made_by`` is the digest of the model that made it,
    empty where it is from elsewhere.
    """

    heatmap: Heatmap
    provenance: Mapping[str, object]
    made_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Maps:
    """A snapshot, replaced as a whole by the worker; a reader takes it once.

    Attributes:
        result: scores and heatmaps as the model gave them, before any refinement.
        mpp: µm a level-0 pixel that they were made with; None where none was known.
        live: the current one of each method, PixelCAM's after the current round.
        kept: maps of former models and from elsewhere, by their keys.
        rounds: all refits, the unrefined model first.
        round_index: the round whose map is shown.
        before: the image as it was when the maps were made; None where they are of the
            image as it is. Of maps from before there is neither result nor round.
    """

    result: Localization | None = None
    mpp: float | None = None
    live: Mapping[str, Heatmap] = field(default_factory=lambda: MappingProxyType({}))
    kept: Mapping[str, Kept] = field(default_factory=dict[str, "Kept"])
    rounds: tuple[Round, ...] = ()
    round_index: int = 0
    before: Before | None = None

    @property
    def heatmaps(self) -> Mapping[str, Heatmap]:
        """All that are shown, by their keys: the live ones first."""
        kept = {key: item.heatmap for key, item in self.kept.items()}
        return MappingProxyType({**self.live, **kept})

    @property
    def shown(self) -> Round | None:
        """The round whose map is shown."""
        return self.round(self.round_index)

    @property
    def next_index(self) -> int:
        """What the next round is called."""
        return self.rounds[-1].index + 1 if self.rounds else 1

    @property
    def exported(self) -> str:
        """The method whose heatmap is exported where nobody says which."""
        if not self.heatmaps or REFINED in self.heatmaps:
            return REFINED
        return next(iter(self.heatmaps))

    def round(self, index: int) -> Round | None:
        """The round of this index; None where there is none."""
        return next((item for item in self.rounds if item.index == index), None)

    def heatmap(self, method: str) -> Heatmap:
        """The current heatmap of a method.

        Raises:
            NoResultError: it was not localized yet.
        """
        if method not in self.heatmaps:
            have = ", ".join(self.heatmaps) or "none yet"
            raise NoResultError(
                f"There is no {method} heatmap (there is: {have}). Localize first."
            )
        return self.heatmaps[method]

    def stale(self, strokes: StrokeList) -> frozenset[str]:
        """Methods whose map is older than the last stroke, or than the pixels."""
        if self.before is not None:
            return frozenset(self.heatmaps)
        if REFINED not in self.heatmaps:
            return frozenset()
        numbers = tuple(stroke.number for stroke in strokes.strokes)
        learnt = self.shown.learnt_from if self.shown is not None else ()
        is_bare = not learnt and not strokes.canvas.any()
        return frozenset() if numbers == learnt or is_bare else frozenset({REFINED})

    def localized(self, result: Localization, mpp: float | None) -> Maps:
        """With another result; rounds on the same grid stay, and maps of others."""
        heatmaps = dict(result.heatmaps)
        first = heatmaps.get(REFINED)
        later = tuple(item for item in self.rounds if item.index > 0)
        if first is not None and later and later[0].heatmap.scale != first.scale:
            later = ()
        before = () if first is None else (Round(index=0, heatmap=first),)
        rounds = (*before, *later)
        shown = next((one for one in rounds if one.index == self.round_index), None)
        if shown is not None and shown.index > 0:
            heatmaps[REFINED] = shown.heatmap
        return Maps(
            result=result,
            mpp=mpp,
            live=MappingProxyType(heatmaps),
            kept={} if self.before else self.kept,
            rounds=rounds,
            round_index=0 if shown is None else shown.index,
        )

    def showing(self, item: Round) -> Maps:
        """With the map of this round."""
        return replace(self.previewing(item.heatmap), round_index=item.index)

    def previewing(self, heatmap: Heatmap) -> Maps:
        """With the map of a round that is not finished yet."""
        return replace(self, live=MappingProxyType({**self.live, REFINED: heatmap}))

    def left(self, slide: Slide, mpp: float | None) -> Maps:
        """As they stay while nothing is known yet of the image as it is now.

        Args:
            slide: the image that they are of.
            mpp: µm a level-0 pixel of it.
        """
        if self.before is not None or not self.heatmaps:
            return replace(self, result=None, rounds=(), round_index=0)
        old = {
            name: replace(heatmap, notes=(*heatmap.notes, AS_IT_WAS))
            for name, heatmap in self.heatmaps.items()
        }
        kept = {key: replace(one, heatmap=old[key]) for key, one in self.kept.items()}
        return Maps(
            live=MappingProxyType({name: old[name] for name in self.live}),
            kept=kept,
            before=Before(slide=slide, mpp=mpp, result=self.result, shown=self.shown),
        )
