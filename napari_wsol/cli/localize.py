"""``napari-wsol localize``: heatmaps and masks of many images, without a window."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from napari_wsol.cli.console import errors, output, progress_bar
from napari_wsol.cli.reading import READER_HELP, check_reader
from napari_wsol.cli.slides import Worker, any_large
from napari_wsol.config import EXPORT_FORMATS, ExportConfig
from napari_wsol.errors import WsolError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from rich.progress import Progress, TaskID

    from napari_wsol.methods import Model


def localize(
    images: Annotated[list[Path], typer.Argument(help="Images or slides.")],
    model: Annotated[str, typer.Option(help="Name or folder of a model.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="Method, or METHOD@LAYER for another layer than the last; repeat "
            "for several [those that the model was made for]."
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Class to localize [the most probable].")
    ] = None,
    format: Annotated[  # noqa: A002 - the option's name
        list[str] | None,
        typer.Option(help=f"Any of {', '.join(EXPORT_FORMATS)}; repeat for several."),
    ] = None,
    threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Foreground is at or above it.")
    ] = 0.5,
    min_area: Annotated[
        float, typer.Option(min=0.0, help="Drop smaller regions, in pixels.")
    ] = 0.0,
    fill_holes: Annotated[
        float, typer.Option(min=0.0, help="Fill smaller holes, in pixels.")
    ] = 0.0,
    mpp: Annotated[
        float | None,
        typer.Option(min=0.01, max=100, help="µm a pixel, if you know better."),
    ] = None,
    core: Annotated[
        int, typer.Option(min=32, help="Side of a slide's tiles, in network pixels.")
    ] = 1024,
    halo: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Context around a tile, in network pixels; less is faster and less "
            "exact [all that the network sees].",
        ),
    ] = None,
    tissue: Annotated[
        bool, typer.Option(help="Leave out the tiles of a slide without tissue.")
    ] = True,
    top: Annotated[
        int, typer.Option(min=0, help="Pictures of a slide's highest places.")
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
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    reader: Annotated[str | None, typer.Option(help=READER_HELP)] = None,
    row: Annotated[Path | None, typer.Option(hidden=True)] = None,
    gpus: Annotated[int | None, typer.Option(min=0, hidden=True)] = None,
) -> None:
    """Localize the predicted (or a given) class in images; write masks and regions.

    An image that cannot be used does not stop the others; the exit status is then 1.
    Slides go through the network tile by tile, each into a folder of its own. Stopped
    or killed, the same command goes on where it was; several workers may share OUT.
    """
    from napari_wsol.batch import ResultsFolder, SlideSettings
    from napari_wsol.inference.whole_image import check_methods
    from napari_wsol.slides import SlideConfig
    from napari_wsol.zoo import load_model

    check_reader(reader)
    settings = ExportConfig(
        threshold=threshold,
        min_area=min_area,
        fill_holes=fill_holes,
        formats=tuple(format) if format else ExportConfig().formats,
    )
    with _device(out, gpus, device) as chosen:
        loaded = load_model(model, device=chosen)
        methods = check_methods(loaded, method)
        if target is not None:
            loaded.class_index(target)  # an unknown class is no fault of the images
        is_shared = resume or overwrite or wait or row is not None
        if is_shared or any_large(images, loaded, mpp, reader):
            share = SlideSettings(
                model=loaded,
                methods=tuple(methods),
                target=target,
                mpp=mpp,
                reader=reader,
                cut=SlideConfig(core=core, halo=halo, tissue_only=tissue),
                export=settings,
                top=top,
                overwrite=overwrite,
            )
            Worker(results=ResultsFolder(out), settings=share, wait=wait, row=row).all(
                images
            )
            return
        run = Run(
            model=loaded,
            methods=methods,
            target=target,
            out=out,
            mpp=mpp,
            reader=reader,
            settings=settings,
        )
        run.whole(images)


def _device(out: Path, gpus: int | None, device: str) -> AbstractContextManager[str]:
    """The device to use; one of several that the workers of a batch share."""
    if gpus is None:
        return nullcontext(device)
    from napari_wsol.batch.gpus import free_gpu
    from napari_wsol.batch.workflow import FOLDER

    return free_gpu(out / FOLDER, gpus)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One call of the command: what is the same for all its images."""

    model: Model
    methods: list[str]
    target: str | None
    out: Path
    mpp: float | None
    reader: str | None
    settings: ExportConfig

    def whole(self, images: list[Path]) -> None:
        """Localizes every image in one piece, and writes the summary.

        Raises:
            typer.Exit: an image failed.
        """
        rows = self.all(images)
        failed = sum(row["status"] != "ok" for row in rows)
        summary = write_summary(rows, self.out)
        output.print(
            f"{len(images) - failed} of {len(images)} images localized; "
            f"summary in {escape(str(summary))}"
        )
        if failed:
            raise typer.Exit(1)

    def all(self, images: list[Path]) -> list[dict[str, str]]:
        """Localizes every image; one row of the summary each."""
        rows: list[dict[str, str]] = []
        with progress_bar() as bar:
            whole = bar.add_task("images", total=len(images))
            for path in images:
                task = bar.add_task(escape(path.name), total=None)
                try:
                    row = self.one(path, partial(_advance, bar, task))
                except WsolError as error:
                    row = {"image": path.name, "status": str(error)}
                    errors.print(
                        f"[bold red]{escape(path.name)}:[/] {escape(str(error))}"
                    )
                rows.append(row)
                bar.remove_task(task)
                bar.advance(whole)
        return rows

    def one(
        self, path: Path, report: Callable[[int, int, str], None]
    ) -> dict[str, str]:
        """Localizes one image and writes what was asked for."""
        from napari_wsol.export import export_heatmap
        from napari_wsol.images.readers import open_slide
        from napari_wsol.inference.whole_image import localize as localize_image
        from napari_wsol.session.provenance import provenance_of

        slide = open_slide(path, reader=self.reader)
        try:
            result = localize_image(
                self.model,
                slide,
                self.methods,
                self.target,
                mpp=self.mpp,
                report=report,
            )
            for name, heatmap in result.heatmaps.items():
                provenance = provenance_of(
                    slide,
                    self.model,
                    result,
                    method=name,
                    mpp=self.mpp or slide.mpp,
                )
                export_heatmap(
                    self.out,
                    heatmap,
                    slide,
                    replace(self.settings, method=name),
                    provenance,
                    report=report,
                )
        finally:
            slide.close()
        scores = {f"p({name})": f"{value:.6f}" for name, value in result.scores.items()}
        return {"image": path.name, "status": "ok", "target": result.target, **scores}


def _advance(
    bar: Progress, task: TaskID, done: int, total: int, _text: str = ""
) -> None:
    bar.update(task, completed=done, total=total or None)


def write_summary(rows: list[dict[str, str]], out: Path) -> Path:
    """A table with one row an image; an older one is not overwritten."""
    from napari_wsol.batch.results import SUMMARY, table_of

    out.mkdir(parents=True, exist_ok=True)
    path = out / SUMMARY
    if path.exists():
        path = free_name(path)
    draft = path.with_name(f".{path.name}.part")
    draft.write_text(table_of(rows), "utf-8", newline="")
    draft.replace(path)
    return path
