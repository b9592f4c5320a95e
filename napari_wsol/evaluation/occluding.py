"""A box of an image is blurred: what the class's score loses, and what maps claimed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageFilter

from napari_wsol.errors import ImageError
from napari_wsol.images.readers import open_slide
from napari_wsol.images.resample import read_region
from napari_wsol.inference.encode import encode
from napari_wsol.methods import evaluating
from napari_wsol.methods.gradients import class_logit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.inference.view import ModelView

CELLS = (256, 256)


class Occluded(NamedTuple):
    """What became of a class's score, and what each map had claimed.

    Attributes:
        target: the class.
        logits: before and after.
        probabilities: before and after.
        area: share of the image in the box, 0 to 1.
        evidence: share of each map's evidence in the box, 0 to 1; above ``area`` the
            map claims a larger drop than elsewhere.
    """

    target: str
    logits: tuple[float, ...]
    probabilities: tuple[float, ...]
    area: float
    evidence: Mapping[str, float]


def occlude(
    view: ModelView,
    box: Sequence[float],
    maps: Mapping[str, Heatmap],
    target: str,
    check: Callable[[], None] = lambda: None,
) -> Occluded:
    """Blurs a box of an image that is held whole, and looks at it again.

    Args:
        view: the image under the model.
        box: top, left, bottom, right in level-0 pixels; the first one covers [0, 1].
        maps: of the image.
        target: the class.
        check: called often; raises to stop.

    Raises:
        ImageError: the box has hardly a pixel of the image.
    """
    shape, model, seen = view.slide.shape, view.model, list[tuple[float, float]]()
    top, left, bottom, right = np.clip(np.rint(box), 0, shape * 2).astype(int).tolist()
    size = bottom - top, right - left
    if min(size) < 2:
        raise ImageError("This box has hardly a pixel of the image: draw a larger one.")
    whole, mpp = read_region(view.slide, 0, 0, *shape, 1.0), view.mpp or view.slide.mpp
    for pixels in (whole, blurred(whole, (left, top, right, bottom))):
        slide, place = open_slide(pixels), model.class_index(target)
        found, _ = encode(slide, model, mpp=mpp, config=view.config, check=check)
        features = found.to(model.device)
        with evaluating(model), torch.no_grad():
            logit = class_logit(model, features, place)[0]
            seen.append((float(logit), float(model.probabilities(features)[0, place])))
    logits, probabilities = zip(*seen, strict=True)
    area, evidence = size[0] * size[1] / (shape[0] * shape[1]), dict[str, float]()
    for key, heatmap in maps.items():
        inside, everywhere = (
            heatmap.strength(values).mean()  # whether it speaks for the class or not
            for values in (
                heatmap.crop((top, left), size, CELLS),
                heatmap.resized(CELLS),
            )
        )
        evidence[key] = float(inside * area / max(everywhere, 1e-12))
    return Occluded(target, logits, probabilities, area, evidence)


def blurred(pixels: Rgb, box: tuple[int, int, int, int]) -> Rgb:
    """A copy, blurred in a box (left, top, right, bottom) and the same beyond it.

    By a Gaussian of half of its shorter side, which fades towards its sides: there is
    no new edge.
    """
    picture, size = Image.fromarray(pixels), (box[2] - box[0], box[3] - box[1])
    soft = picture.filter(ImageFilter.GaussianBlur(min(size) / 2)).crop(box)
    rim = max(1, min(size) // 8)
    share = Image.new("L", size)
    share.paste(255, (rim, rim, max(rim, size[0] - rim), max(rim, size[1] - rim)))
    picture.paste(soft, box, share.filter(ImageFilter.BoxBlur(rim)))
    return np.array(picture)
