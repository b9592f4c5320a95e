"""``napari-wsol evaluate``: the field's figures of a model on a data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_wsol.cli import options
from napari_wsol.cli.console import (
    Failures,
    emit,
    output,
    progress_bar,
    show_figures,
    steps,
)
from napari_wsol.cli.data import tell_model_data
from napari_wsol.cli.installed import model_names
from napari_wsol.errors import ConfigError
from napari_wsol.files import check_folder, encoded, file_set, make_folder, unwritable

if TYPE_CHECKING:
    from napari_wsol.data.folds import Grouping
    from napari_wsol.evaluation.benchmark import Benchmark, ModelReport


def evaluate(
    data: Annotated[
        Path,
        typer.Option(
            help="Data set: one as it was published (NIH ChestX-ray14, CheXpert, "
            "BreakHis, BACH, GlaS, CAMELYON), a folder of splits, a table with masks "
            "or boxes, or a folder for each class."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="The figures (JSON); a table (.md) and a picture (.png) go beside it."
        ),
    ] = Path("metrics.json"),
    model: Annotated[
        str,
        typer.Argument(
            help="Name or folder of a model [what config says].",
            callback=options.known_model,
            autocompletion=model_names,
            show_default=False,
        ),
    ] = "",
    split: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of the split; repeat to measure several together. Of published "
            "data also a choice, e.g. “@200X” of BreakHis [all that DATA lists]."
        ),
    ] = None,
    method: options.Methods = None,
    threshold: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Maps are cut at or above it; evidence for and against a class at "
            "that share of the strongest.",
        ),
    ] = 0.5,
    mpp: options.Mpp = None,
    target: Annotated[
        str,
        typer.Option(
            help="Whose map is compared: “true”, the image's class, as published; "
            "“predicted”, the most probable class."
        ),
    ] = "true",
    views: options.Views = 1,
    size: Annotated[
        int,
        typer.Option(
            min=0,
            help="Side of the grid that maps and references are compared on; 0 for "
            "their own pixels.",
        ),
    ] = 224,
    box_frame: Annotated[
        str | None,
        typer.Option(
            help="WIDTHxHEIGHT of the images that boxes were drawn in, e.g. 1024x1024 "
            "[that of the files]."
        ),
    ] = None,
    foreground: Annotated[
        list[str] | None,
        typer.Option(
            help="Class of annotations that are masks which is foreground [as its name "
            "tells: tumor, positive, …]; repeat for several. With this or "
            "--background, classes that nothing tells of are ignored."
        ),
    ] = None,
    background: Annotated[
        list[str] | None, typer.Option(help="The same for background.")
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option(
            help="Data set, or split of DATA, whose masks or boxes make a location "
            "prior: a row for their mean, which never looks at the image, and one for "
            "the centre. DATA itself will do: an image's own group is left out, the "
            "image alone where no groups are given."
        ),
    ] = None,
    group_pattern: options.GroupPattern = None,
    groups: options.Groups = None,
    group: options.GroupColumn = None,
    region_threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Of PCAM's boxes around regions.")
    ] = 0.9,
    scale_regions: Annotated[
        bool,
        typer.Option(
            "--scale-regions",
            help="Scale maps image by image before that threshold (PCAM's LSE "
            "baseline, at 0.706).",
        ),
    ] = False,
    faithfulness: Annotated[
        int,
        typer.Option(
            min=0,
            help="Steps of insertion and deletion (published: 224); 0 leaves them "
            "out. The network runs twice a step, for every image and method.",
        ),
    ] = 0,
    road: Annotated[
        bool,
        typer.Option("--road", help="ROAD, too: 18 runs for every image and method."),
    ] = False,
    sanity: Annotated[
        bool,
        typer.Option(
            "--sanity",
            help="Compare maps with those of weights drawn anew: what stays alike "
            "explains no verdict. A model's card keeps it, unless it is bundled.",
        ),
    ] = False,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Draws for the 95 % intervals; 0 for none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    device: options.Device = options.INFERENCE.device,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the results of an older run.")
    ] = False,
) -> None:
    """Measure a model against masks, boxes or labels; write figures and a picture.

    An image that cannot be used is left out, and told; the exit status is then 1.
    """
    paths = _paths(out, overwrite=overwrite)
    tell_model_data(model, data, split)
    from napari_wsol.evaluation.benchmark import Benchmark, EvaluationConfig
    from napari_wsol.strokes.classes import chosen_labels
    from napari_wsol.zoo import load_model, write_card

    config = EvaluationConfig(
        threshold=threshold,
        mpp=mpp,
        target=target,
        views=views,
        size=size or None,
        box_frame=_frame(box_frame),
        classes=chosen_labels(foreground or (), background or ()),
        region_threshold=region_threshold,
        region_scaled=scale_regions,
        faithfulness_steps=faithfulness,
        road=road,
        sanity=sanity,
        bootstrap=bootstrap,
        seed=seed,
    )
    loaded = load_model(model, device=device)
    benchmark = Benchmark(
        loaded,
        data,
        split,
        method,
        config=config,
        prior=prior,
        grouping=_grouping(prior, groups, group, group_pattern),
    )
    failures = Failures()
    result, picture = _run(benchmark, failures)
    write_results(result, picture, paths)
    if sanity and loaded.card is not None and not loaded.card.bundled:
        on = f"{result.images} images of {result.data}"
        found = {item.name: item.sanity for item in result.methods if item.sanity}
        metrics = {**loaded.card.metrics, "sanity_on": on, "sanity": found}
        write_card(replace(loaded.card, metrics=metrics))
    show_figures(result.model, result)
    output.print(f"Written: {', '.join(str(path) for path in paths)}")
    emit({"report": result, "files": paths})
    failures.leave()


def _run(benchmark: Benchmark, failures: Failures) -> tuple[ModelReport, bytes]:
    """Figures and picture, with a bar on the way."""
    with progress_bar() as bar:
        task = bar.add_task("images", total=None)

        def report(done: int, total: int, text: str) -> None:
            steps.info("%d of %d: %s", done, total, text)
            bar.update(task, completed=done, total=total, description=text[-40:])

        result = benchmark.run(report, failed=failures.tell)
        return result, benchmark.picture(result)


def _paths(out: Path, *, overwrite: bool) -> tuple[Path, Path, Path]:
    """The files to write, none of which is there: figures, table, picture."""
    if out.suffix != ".json":
        raise ConfigError(f"--out must end in .json, not be “{out.name}”.")
    paths = (out, out.with_suffix(".md"), out.with_suffix(".png"))
    check_folder(out.parent)
    there = [path for path in paths if path.exists()]
    folders = [path for path in there if path.is_dir()]
    if folders:
        raise ConfigError(f"{folders[0]} is a folder. Choose another --out.")
    if there and not overwrite:
        raise ConfigError(
            f"{there[0]} exists already. Choose another --out, or add --overwrite."
        )
    return paths


def _grouping(
    prior: str | None, table: Path | None, column: str | None, pattern: str | None
) -> Grouping | None:
    """What belongs together, for the prior."""
    if table is None and column is None and pattern is None:
        return None
    if prior is None:
        raise ConfigError(
            "Groups tell what the location prior leaves out: add --prior, or leave "
            "them out."
        )
    from napari_wsol.data.folds import Grouping

    return Grouping(table=table, column=column or "", pattern=pattern or "")


def _frame(text: str | None) -> tuple[int, int] | None:
    """(H, W) of “WIDTHxHEIGHT”."""
    if text is None:
        return None
    width, _, height = text.lower().replace("×", "x").partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ConfigError(
            f"--box-frame must be WIDTHxHEIGHT, like 1024x1024, not “{text}”."
        )
    return int(height), int(width)


def write_results(
    report: ModelReport, picture: bytes, paths: tuple[Path, Path, Path]
) -> None:
    """Writes figures, table and picture, all of them or none; the figures last.

    Raises:
        ExportError: they cannot be written; those of an older run are untouched.
    """
    figures, table, image = paths
    with unwritable(f"“{figures}” cannot be written", ". Choose another --out."):
        make_folder(figures.parent)
        with file_set(figures.parent, figures.name) as files:
            files.add(image.name).write_bytes(picture)
            files.add(table.name).write_bytes(encoded(report.to_markdown()))
            files.add(figures.name).write_bytes(encoded(report.to_json()))
            files.publish(replace=True)
