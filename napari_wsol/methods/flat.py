"""Why a map shows nothing, and what to try: said for each family of methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_wsol.methods.base import Method

NEVER = 0.005
"""A probability below this is 0.00 to whoever reads it."""

ELSEWHERE = (
    "Try another class, above all the most probable one, another method, or another "
    "pixel size: the model may see the image at a size that it was not made for."
)


def flat_note(
    method: Method, target: str, low: float, high: float, *, refined: bool = False
) -> str:
    """A sentence for a map that shows nothing; empty for any other.

    Args:
        method: that made it.
        target: name of the class.
        low: smallest value, as the method gave it.
        high: largest value.
        refined: whether the map is that of a head that learnt from strokes.
    """
    title = method.title
    is_never = method.is_probability and high < NEVER
    if high > low and not is_never:
        return ""
    if refined:
        return (
            f"The map is the same everywhere, {high:.2f}: what the strokes lie on "
            "looks alike to the model. Draw them where it differs."
            if high <= low
            else f"After these strokes {title} finds “{target}” nowhere (at most "
            f"{high:.1g}). Draw foreground on what should be found."
        )
    if is_never:
        return (
            f"{title} finds “{target}” nowhere: its probability is at most {high:.1g} "
            f"in the whole image. {ELSEWHERE}"
        )
    if method.rectified and high <= 0:
        return (
            f"The map is 0 everywhere: every channel speaks against “{target}”, and "
            f"{title} keeps only what speaks for a class. Try the most probable class, "
            "or CAM, which shows where the least speaks against it."
        )
    if method.pools_tiles and high <= 0:
        return f"The map is 0 everywhere: {title} weighs no tile. {ELSEWHERE}"
    return (
        "The map is the same everywhere: the model sees no difference between places "
        f"for “{target}”. {ELSEWHERE}"
    )
