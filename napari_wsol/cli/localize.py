"""``napari-wsol localize``: heatmaps and masks of many images, without a window."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from napari_wsol.cli import options
from napari_wsol.cli.console import note
from napari_wsol.cli.worker import Worker
from napari_wsol.config import ExportConfig, SlideConfig


def localize(
    images: options.Images,
    out: options.OutFolder,
    model: options.ModelName = "",
    method: options.Methods = None,
    target: options.Target = None,
    views: options.Views = 1,
    format: options.Formats = None,  # noqa: A002 - the option's name
    threshold: options.Threshold = options.EXPORT.threshold,
    min_area: Annotated[
        float, options.option(ExportConfig, "min_area")
    ] = options.EXPORT.min_area,
    fill_holes: Annotated[
        float, options.option(ExportConfig, "fill_holes")
    ] = options.EXPORT.fill_holes,
    mpp: options.Mpp = None,
    core: options.Core = options.SLIDE.core,
    halo: options.Halo = options.SLIDE.halo,
    tissue: options.Tissue = options.SLIDE.tissue_only,
    bags: Annotated[
        Path | None,
        typer.Option(help="Folder of the slides' bags (h5), read instead of pixels."),
    ] = None,
    top: Annotated[
        int,
        typer.Option(min=0, help="Pictures of a slide's highest places, and lowest."),
    ] = 12,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Give each image a folder, skip finished ones, and share the work "
            "with other workers. Always so where one of the images is a slide.",
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Do finished images again.")
    ] = False,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Wait for images that other workers hold."),
    ] = False,
    device: options.Device = options.INFERENCE.device,
    reader: options.Reader = None,
    rgb: options.Rgb = None,
    channel: options.Channel = None,
    plane: options.Plane = None,
    row: Annotated[Path | None, typer.Option(hidden=True)] = None,
    gpus: Annotated[int | None, typer.Option(min=0, hidden=True)] = None,
) -> None:
    """Localize the predicted (or a given) class in images; write masks and regions.

    An image that cannot be used does not stop the others; the exit status is then 1.
    Slides go through the network tile by tile, each into a folder of its own. Stopped
    or killed, the same command goes on where it was; several workers may share OUT.
    """
    pick = options.picked(rgb, channel, plane)
    export = ExportConfig(
        threshold=threshold,
        min_area=min_area,
        fill_holes=fill_holes,
        formats=tuple(format) if format else ExportConfig().formats,
    )
    from napari_wsol.batch import SlideSettings
    from napari_wsol.batch.claims import free_gpu
    from napari_wsol.batch.workflow import FOLDER
    from napari_wsol.inference.augmentation import check_views
    from napari_wsol.inference.whole_image import check_methods
    from napari_wsol.worklist.files import images_given
    from napari_wsol.zoo import load_model

    # One of several that the workers of a batch share.
    free = nullcontext(device) if gpus is None else free_gpu(out / FOLDER, gpus)
    with free as chosen:
        loaded = load_model(model, device=chosen)
        methods = check_methods(loaded, method)
        if target is not None:
            loaded.class_index(target)  # an unknown class is no fault of the images
        check_views(loaded, views)
        if loaded.card is None or loaded.card.appearance is None:
            note(
                "Whether images fit this model is not checked: its card does not say "
                "how its training images look."
            )
        settings = SlideSettings(
            model=loaded,
            methods=tuple(methods),
            target=target,
            views=views,
            mpp=mpp,
            reader=reader,
            pick=pick,
            cut=SlideConfig(core=core, halo=halo, tissue_only=tissue),
            export=export,
            top=top,
            bags=bags,
            overwrite=overwrite,
        )
        worker = Worker(
            out=out,
            settings=settings,
            is_shared=resume or overwrite or wait or row is not None,
            wait=wait,
            row=row,
        )
        worker.all(images_given(images))
