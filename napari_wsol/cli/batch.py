"""``napari-wsol batch`` and ``features``: many slides, here or on a cluster."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from napari_wsol.cli import options
from napari_wsol.cli.console import emit, note, output
from napari_wsol.cli.installed import model_names, one_of
from napari_wsol.cli.worker import Worker
from napari_wsol.config import BAG_LAYOUTS, SlideConfig, words_of
from napari_wsol.errors import ConfigError


def batch(
    slides: options.Images,
    out: options.OutFolder,
    model: options.ModelName = "",
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Slides at a time [one a GPU, or one]."),
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option(min=0, help="GPUs in use at a time [all of this machine]."),
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option(
            help="Snakemake's plugin that starts the jobs, for example slurm [this "
            "machine]."
        ),
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="Profile of Snakemake, name or folder.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processor cores a slide [a share of this machine; 8].",
        ),
    ] = None,
    memory: Annotated[
        int, typer.Option(min=1, help="GB of memory a slide, asked of a cluster.")
    ] = 8,
    minutes: Annotated[
        int, typer.Option(min=1, help="Minutes a slide, asked of a cluster.")
    ] = 240,
    method: options.Methods = None,
    target: options.Target = None,
    views: options.Views = 1,
    format: options.Formats = None,  # noqa: A002 - the option's name
    threshold: options.Threshold = options.EXPORT.threshold,
    mpp: Annotated[float | None, typer.Option(min=0.01, max=100)] = None,
    core: options.Core = options.SLIDE.core,
    halo: options.Halo = options.SLIDE.halo,
    tissue: options.Tissue = options.SLIDE.tissue_only,
    top: Annotated[int, typer.Option(min=0, help="As of localize.")] = 12,
    reader: options.Reader = None,
    rgb: options.Rgb = None,
    channel: options.Channel = None,
    plane: options.Plane = None,
    features: Annotated[str | None, typer.Option(help="Bags: its options.")] = None,
) -> None:
    """Localize many slides with Snakemake: resumable, one slide a job.

    Give the same command again to go on after a stop, or to try again what failed. On
    SLURM: --executor slurm, with snakemake-executor-plugin-slurm installed; OUT must be
    where all machines see it. More of Snakemake's options go into a profile. --features
    "--tile 224" makes bags instead.
    """
    options.picked(rgb, channel, plane)  # refused now, and not once for every slide
    from napari_wsol.batch.results import ResultsFolder
    from napari_wsol.batch.workflow import Workflow
    from napari_wsol.worklist.files import images_given

    cards = gpus or 0
    if gpus is None and executor in (None, "local") and profile is None:
        import torch

        cards = torch.cuda.device_count()
    given = {
        "--target": [target],
        "--mpp": [mpp],
        "--halo": [halo],
        "--reader": [reader],
        "--channel": [channel],
        "--plane": [plane],
        "--threshold": [threshold],
        "--core": [core],
        "--top": [top],
        "--views": [None if views == 1 else views],
        "--method": method or [],
        "--format": format or [],
    }
    words = [*words_of(given), "--tissue" if tissue else "--no-tissue"]
    words += [] if rgb is None else ["--rgb" if rgb else "--no-rgb"]
    if features is not None:
        if {*words[::2]} - {"--threshold", "--core", "--top", "--tissue"}:
            raise ConfigError("With --features, all options of bags belong into it.")
        words = ["--layout=trident", *shlex.split(features)]  # jobs of their own names
    workflow = Workflow(
        slides=tuple(images_given(slides)),
        out=out,
        model=model,
        options=tuple(words),
        what="localize" if features is None else "features",
        jobs=jobs or max(1, cards),
        gpus=cards,
        threads=threads,
        memory_gb=memory,
        minutes=minutes,
        executor=executor,
        profile=profile,
    )
    status, summary = workflow.run()
    rows = ResultsFolder(out).rows()
    for row in () if workflow.is_local else rows:  # here the jobs have told it
        if row.get("notes"):
            note(f"{row['image']}: {row['notes']}")
    output.print(f"Summary in {summary}")
    emit({"summary": summary, "images": rows})
    if status:
        raise typer.Exit(1)


def features(
    slides: options.Images,
    out: options.OutFolder,
    model: Annotated[
        str | None,
        typer.Option(
            help="Name or folder of a model [what config says].",
            autocompletion=model_names,
        ),
    ] = None,
    preset: options.Preset = None,
    mpp: Annotated[float | None, typer.Option(min=0.01, help="µm a pixel.")] = None,
    tile: Annotated[int | None, typer.Option(min=1, help="Pixels a side.")] = None,
    layout: Annotated[
        str,
        typer.Option(
            help="trident or clam.", callback=one_of("layout", lambda: BAG_LAYOUTS)
        ),
    ] = "trident",
    slide_mpp: options.Mpp = None,
    tissue: options.Tissue = options.SLIDE.tissue_only,
    wait: Annotated[bool, typer.Option("--wait", help="As of localize.")] = False,
    device: options.Device = options.INFERENCE.device,
    row: Annotated[Path | None, typer.Option(hidden=True)] = None,
    gpus: Annotated[int | None, typer.Option(min=0, hidden=True)] = None,
) -> None:
    """Encode the tiles of slides, as bags of vectors (.h5) for MIL.

    Side and µm a pixel of the tiles are the model's own, or else 256 and 0.5. Weights
    of a preset become a model with “models import FILE --preset NAME” beforehand. A
    slide that cannot be used does not stop the others; the exit status is then 1.
    Stopped, the same command goes on where it was; several workers may share OUT.
    """
    if preset is None:
        model = options.known_model(model or "")
    elif model is not None:
        raise ConfigError("Give --model or --preset, one of them.")
    from napari_wsol.batch import SlideSettings
    from napari_wsol.batch.claims import free_gpu
    from napari_wsol.batch.workflow import FOLDER
    from napari_wsol.slides.bag_maker import make_bag, tile_model
    from napari_wsol.worklist.files import images_given
    from napari_wsol.zoo import load_model, model_of_preset

    name = model or model_of_preset(str(preset))
    free = nullcontext(device) if gpus is None else free_gpu(out / FOLDER, gpus)
    with free as chosen:
        tiles = tile_model(load_model(name, chosen), mpp=mpp, tile=tile)
        cut = SlideConfig(tissue_only=tissue)
        bag = partial(make_bag, model=tiles, mpp=slide_mpp, config=cut, layout=layout)
        settings = SlideSettings(model=tiles, methods=(), make_bag=bag)
        worker = Worker(out=out, settings=settings, is_shared=True, wait=wait, row=row)
        worker.all(images_given(slides))
