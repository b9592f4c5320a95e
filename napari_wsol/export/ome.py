"""What an OME-Zarr 0.5 group says of the arrays in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import zarr
    from zarr.core.common import JSON

SOFTWARE = "napari-wsol"
"""Of files that we write, and the key of our own facts in them."""

Pair = tuple[float, float]


def describe_levels(
    group: zarr.Group,
    name: str,
    places: Sequence[tuple[Pair, Pair]],
    *,
    mpp: float | None,
    facts: Mapping[str, object],
    channels: bool = False,
) -> None:
    """Says where the arrays "0", "1", … of a group lie.

    Positions are in µm where the pixel size is known, else in level-0 pixels.

    Args:
        group: of the arrays.
        name: of the image.
        places: scale and translate of each array, (y, x), in level-0 pixels.
        mpp: µm a level-0 pixel.
        facts: our own, for people and programs that read them.
        channels: whether the arrays have an axis of channels first.
    """
    unit = 1.0 if mpp is None else mpp
    axes: list[dict[str, str]] = [{"name": n, "type": "space"} for n in ("y", "x")]
    if mpp is not None:
        axes = [axis | {"unit": "micrometer"} for axis in axes]
    if channels:
        axes.insert(0, {"name": "c", "type": "channel"})
    datasets: list[dict[str, object]] = []
    for level, (scale, translate) in enumerate(places):
        place = [
            {
                "type": "scale",
                "scale": [*[1.0] * channels, *(unit * v for v in scale)],
            },
            {
                "type": "translation",
                "translation": [*[0.0] * channels, *(unit * v for v in translate)],
            },
        ]
        datasets.append({"path": str(level), "coordinateTransformations": place})
    multiscale = {"name": name, "axes": axes, "datasets": datasets}
    group.attrs["ome"] = cast("JSON", {"version": "0.5", "multiscales": [multiscale]})
    group.attrs[SOFTWARE] = cast("JSON", dict(facts))
