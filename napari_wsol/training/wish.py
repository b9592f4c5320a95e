"""What a person says of a training that is to come."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - forms and the command line read the types
from typing import Annotated

from napari_wsol.config import WEIGHT_FILES, Option, check


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A training as it was asked for.

    Attributes:
        recipe: what is built and how it learns. Those of the installed models are
            offered; your own is a TOML file.
        data: folder that the recipe's paths start from. Only labels of whole images
            teach; masks are for measuring.
        init: weights that the encoder starts from, for example of ImageNet. Few images
            teach much more on top of such weights.
        name: how the new model is called; a folder of this name. Without one, the
            recipe's, or the next that is free.
        out: where the finished model goes. Elsewhere it is not in the list.
        seed: of every random choice: the same seed gives the same model.
    """

    recipe: Annotated[
        Path | None, Option("Recipe", empty="choose…", files="Recipes (*.toml)")
    ] = None
    data: Annotated[
        Path | None, Option("Images", empty="choose the folder with the images")
    ] = None
    init: Annotated[
        Path | None,
        Option("Start from", empty="random weights", files=f"Weights ({WEIGHT_FILES})"),
    ] = None
    name: Annotated[str, Option("Name")] = ""
    out: Annotated[
        Path | None, Option("Goes to", empty="your own models: it joins the list")
    ] = None
    seed: Annotated[
        int | None,
        Option("Seed", lowest=0, highest=2**31 - 1, empty="as in the recipe"),
    ] = None

    def __post_init__(self) -> None:
        check(self)
