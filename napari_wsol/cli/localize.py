"""``napari-wsol localize``: heatmaps and masks of many images, without a window."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from napari_wsol.cli.console import errors, output, progress_bar
from napari_wsol.config import EXPORT_FORMATS, ExportConfig
from napari_wsol.errors import WsolError

if TYPE_CHECKING:
    from collections.abc import Callable

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
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Localize the predicted (or a given) class in images; write masks and regions.

    An image that cannot be used does not stop the others; the exit status is then 1.
    """
    from napari_wsol.inference import check_methods
    from napari_wsol.zoo import load_model

    loaded = load_model(model, device=device)
    run = Run(
        model=loaded,
        methods=check_methods(loaded, method),
        target=target,
        out=out,
        mpp=mpp,
        settings=ExportConfig(
            threshold=threshold,
            min_area=min_area,
            fill_holes=fill_holes,
            formats=tuple(format) if format else ExportConfig().formats,
        ),
    )
    rows = run.all(images)
    failed = sum(row["status"] != "ok" for row in rows)
    summary = write_summary(rows, out)
    output.print(
        f"{len(images) - failed} of {len(images)} images localized; "
        f"summary in {escape(str(summary))}"
    )
    if failed:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One call of the command: what is the same for all its images."""

    model: Model
    methods: list[str]
    target: str | None
    out: Path
    mpp: float | None
    settings: ExportConfig

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
        from napari_wsol.inference import localize as localize_image
        from napari_wsol.provenance import provenance_of

        slide = open_slide(path)
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
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    out.mkdir(parents=True, exist_ok=True)
    path, number = out / "summary.csv", 1
    while path.exists():
        number += 1
        path = out / f"summary-{number}.csv"
    draft = path.with_name(f".{path.name}.part")
    draft.write_text(text.getvalue(), "utf-8", newline="")
    draft.replace(path)
    return path
