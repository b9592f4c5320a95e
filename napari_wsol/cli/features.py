"""``napari-wsol features``: the bags of many slides, as TRIDENT and CLAM have them."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from napari_wsol.cli import options
from napari_wsol.cli.worker import Worker
from napari_wsol.config import SlideConfig


def features(
    slides: options.Images,
    model: options.ModelName,
    out: Annotated[Path, typer.Option(help="Folder.", callback=options.out_folder)],
    mpp: Annotated[float | None, typer.Option(min=0.01, help="µm a pixel.")] = None,
    tile: Annotated[int | None, typer.Option(min=1, help="Pixels a side.")] = None,
    layout: Annotated[str, typer.Option(help="trident or clam.")] = "trident",
    slide_mpp: options.Mpp = None,
    tissue: options.Tissue = options.SLIDE.tissue_only,
    wait: Annotated[bool, typer.Option("--wait", help="As of localize.")] = False,
    device: options.Device = options.INFERENCE.device,
    row: Annotated[Path | None, typer.Option(hidden=True)] = None,
    gpus: Annotated[int | None, typer.Option(min=0, hidden=True)] = None,
) -> None:
    """Encode the tiles of slides, as bags of vectors (.h5) for MIL.

    Side and µm a pixel of the tiles are the model's own, or else 256 and 0.5. Weights
    of a foundation encoder become a model with “models import FILE --preset NAME”. A
    slide that cannot be used does not stop the others; the exit status is then 1.
    Stopped, the same command goes on where it was; several workers may share OUT.
    """
    from napari_wsol.batch import SlideSettings
    from napari_wsol.batch.claims import free_gpu
    from napari_wsol.batch.workflow import FOLDER
    from napari_wsol.slides.bag_maker import make_bag, tile_model
    from napari_wsol.worklist.files import images_given
    from napari_wsol.zoo import load_model

    free = nullcontext(device) if gpus is None else free_gpu(out / FOLDER, gpus)
    with free as chosen:
        tiles = tile_model(load_model(model, chosen), mpp=mpp, tile=tile)
        cut = SlideConfig(tissue_only=tissue)
        bag = partial(make_bag, model=tiles, mpp=slide_mpp, config=cut, layout=layout)
        settings = SlideSettings(model=tiles, methods=(), bag=bag)
        worker = Worker(out=out, settings=settings, is_shared=True, wait=wait, row=row)
        worker.all(images_given(slides))
