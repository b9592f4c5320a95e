"""What can be said of a round once it is there, while the person goes on working.

Two questions that take longer than the map: does a stroke that is left out agree with
what the others teach, and does the image's prediction, read through the map, hold? They
are asked after the map is shown; a newer stroke stops them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.inference.read_through import contradiction
from napari_wsol.refinement.left_out import Marked
from napari_wsol.refinement.rounds import LeftOut
from napari_wsol.strokes.stroke import FOREGROUND, UNLABELLED, drawn, owners

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from napari_wsol.config import FinetuneConfig
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.inference.encode import Geometry
    from napari_wsol.refinement.rounds import Round
    from napari_wsol.strokes.canvas import Canvas
    from napari_wsol.strokes.stroke import Stroke

MOST_PIXELS = 400
"""Pixels of a stroke that are judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What was found out about a round.

    Attributes:
        before: class → probability of the image, read through the unrefined map.
        after: the same, read through the round's map.
        agreements: share of each stroke, by its place among those of the round, with
            which a head agrees that learnt from all others.
    """

    before: Mapping[str, float]
    after: Mapping[str, float]
    agreements: Mapping[int, float]

    def told_of(self, done: Round, strokes: Sequence[Stroke], finds: str) -> Round:
        """The round with what was found out.

        Args:
            done: as it was learnt.
            strokes: those that it learnt from.
            finds: what the model finds, “a gland”.
        """
        return replace(
            done,
            before=self.before,
            after=self.after,
            warning=contradiction(self.before, self.after, done.heatmap, finds),
            left_out=tuple(
                LeftOut(
                    number=strokes[place].number,
                    label=strokes[place].label,
                    agreement=agreement,
                )
                for place, agreement in self.agreements.items()
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgeable:
    """A round whose strokes are to be judged.

    Attributes:
        done: the round.
        first: the unrefined map; None where there is none.
        settings: what it was made with.
        strokes: those that it learnt from.
        canvas: the grid that they were painted on.
    """

    done: Round
    first: Heatmap | None
    settings: FinetuneConfig
    strokes: Sequence[Stroke]
    canvas: Canvas

    def marked(self, seen: Geometry) -> Marked:
        """Where strokes still show, thinned along each; owned by their places.

        Args:
            seen: how the network sees the image.
        """
        drawing = drawn(self.strokes, self.canvas.shape)
        owner = owners(self.strokes, drawing)
        cells = np.argwhere(drawing != UNLABELLED)
        of_cell = owner[tuple(cells.T)]
        picks: list[npt.NDArray[np.intp]] = [np.zeros(0, np.intp)]
        for place in np.unique(of_cell):
            own = np.flatnonzero(of_cell == place)
            at = np.linspace(0, len(own) - 1, min(len(own), MOST_PIXELS))
            picks.append(own[at.round().astype(np.intp)])
        pick = np.concatenate(picks)
        cells, of_cell = cells[pick], of_cell[pick]
        level0 = cells * np.array(self.canvas.scale) + np.array(self.canvas.translate)
        points = (level0 + 0.5) / np.array(seen.downsample) - 0.5
        points -= np.array(seen.origin)
        labels = (drawing[tuple(cells.T)] == FOREGROUND).astype(np.int64)
        return Marked(points.astype(np.float32), labels, of_cell.astype(np.int64))
