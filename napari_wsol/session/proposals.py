"""What a session proposes: the places where the next stroke would teach most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsol.guidance.factors import guide
from napari_wsol.guidance.proposals import proposals
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
    known, _, titles = known_of(document, maps, methods)
    dismissed = [(item.y, item.x, item.radius) for item in document.dismissed]
    return proposals(known, count, dismissed=dismissed, titles=titles)


def known_of(
    document: Document, maps: Maps, methods: Sequence[str] | None
) -> tuple[Guide, list[Heatmap], dict[str, str]]:
    """What maps tell of the image; they, first the one that learns; their titles."""
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
    return known, asked, {one.key: map_title(one) for one in asked}
