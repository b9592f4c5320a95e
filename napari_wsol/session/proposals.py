"""What a session proposes: the places where the next stroke would teach most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsol.guidance.factors import guide
from napari_wsol.guidance.proposals import disputes, proposals
from napari_wsol.inference.whole_image import map_title
from napari_wsol.session.maps import REFINED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_wsol.guidance.factors import Guide
    from napari_wsol.guidance.proposals import Proposal
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.session.document import Document
    from napari_wsol.session.maps import Maps


def proposed(
    document: Document, maps: Maps, count: int, methods: Sequence[str] | None
) -> list[Proposal]:
    """The places where the next stroke would teach most, the best first.

    Args:
        document: the open image, with its strokes.
        maps: what is shown of it: one heatmap at least.
        count: how many at most; there are fewer where no more are worth a stroke.
        methods: whose disagreement counts; of all maps if None.
    """
    known, heatmaps = _known(document, maps, methods)
    return proposals(
        known,
        count,
        dismissed=[(item.y, item.x, item.radius) for item in document.dismissed],
        titles={one.key: map_title(one) for one in heatmaps},
    )


def doubted(document: Document, maps: Maps, count: int) -> tuple[Guide, list[Proposal]]:
    """As :meth:`SessionJobs.doubt`, of two maps at least."""
    known, heatmaps = _known(document, maps, None)
    titles = {one.key: map_title(one) for one in heatmaps}
    return known, disputes(known, heatmaps, count, titles)


def _known(
    document: Document, maps: Maps, methods: Sequence[str] | None
) -> tuple[Guide, list[Heatmap]]:
    """What the maps tell of the image; and they, first the one that learns."""
    heatmaps = maps.heatmaps
    wanted = [name for name in heatmaps if methods is None or name in methods]
    first = REFINED if REFINED in heatmaps else (*wanted, *heatmaps)[0]
    asked = [heatmaps[name] for name in dict.fromkeys((first, *wanted))]
    known = guide(
        asked,
        document.canvas,
        document.scribbles,
        tissue=document.seen_tissue(),
        mpp=document.known_mpp,
    )
    return known, asked
