"""One image of many, opened once: claimed, localized, written, and never twice."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from napari_wsol.batch.claims import STALE_SECONDS, Holder, take
from napari_wsol.batch.results import OK
from napari_wsol.config import ExportConfig, InferenceConfig, SlideConfig
from napari_wsol.encoders import VectorEncoder
from napari_wsol.errors import ImageError, one_of_many
from napari_wsol.export import export_heatmap
from napari_wsol.files import path_from, sha256_of
from napari_wsol.images.bags import find_bag, is_bag, open_bag
from napari_wsol.images.h5 import numbers_in
from napari_wsol.images.readers import check_files, open_slide, reread, told_name
from napari_wsol.images.readers.dicom_files import is_film
from napari_wsol.images.readers.stacks import ANY
from napari_wsol.images.tissue import coarse_tissue
from napari_wsol.inference.appearance import likeness
from napari_wsol.inference.encode import geometry
from napari_wsol.inference.whole_image import localize, localize_bag
from napari_wsol.jobs import ignore_progress
from napari_wsol.methods import get_method
from napari_wsol.session.provenance import provenance_of
from napari_wsol.slides.large import check_slide_views, is_large
from napari_wsol.slides.localize import SlideWork
from napari_wsol.slides.result import check_target, slide_result
from napari_wsol.slides.top_tiles import top_tiles, write_top_tiles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_wsol.batch.claims import Claim
    from napari_wsol.batch.results import ResultsFolder, Row
    from napari_wsol.images.bags import Bag
    from napari_wsol.images.readers.stacks import Pick
    from napari_wsol.images.slide import Slide
    from napari_wsol.inference.whole_image import Localization
    from napari_wsol.jobs import Progress
    from napari_wsol.methods import Model

TOP_PIXELS = 224
"""Side of a top tile, in pixels of the network's input, where a cell is no tile."""
_PICTURE = 256

KEPT_OPEN, KEPT_PIXELS = 32, 64_000_000
"""Images that wait open for their turn once they were looked at, and pixels in them:
plain images are held decoded, and files that are open are few."""


Check = Callable[[], None]
"""Called often; raises to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideSettings:
    """What is the same for all images of a run.

    Attributes:
        model: from :func:`napari_wsol.load_model`, on its device.
        methods: names.
        target: class to localize; the most probable if None.
        views: of how many views of an image maps and scores are the average.
        mpp: µm a level-0 pixel, where the person knows better than the files.
        reader: which opens the files; the first that can if None.
        pick: the channel and plane of images that have several.
        cut: how slides are cut.
        export: threshold, clean-up and formats.
        top: how many of the highest places get a picture; 0 for none.
        bags: folder with the images' bags; a model of vectors finds them beside them.
        overwrite: whether finished images are done again.
        stale_seconds: after which the claim of a worker that does not move is free.
        make_bag: makes the bag of a slide, instead of maps.
    """

    model: Model
    methods: tuple[str, ...]
    target: str | None = None
    views: int = 1
    mpp: float | None = None
    reader: str | None = None
    pick: Pick = ANY
    cut: SlideConfig = field(default_factory=SlideConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    top: int = 12
    bags: Path | None = None
    overwrite: bool = False
    stale_seconds: float = STALE_SECONDS
    make_bag: Callable[..., Path] | None = None

    def facts(
        self, slide: Slide, bag: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        """Everything that the result of one image depends on, its bag included."""
        if self.make_bag is not None:  # slides of one name want one file
            return {"encoder": self.model.encoder_fingerprint()}
        cut = {
            name: getattr(self.cut, name) for name in ("core", "halo", "tissue_only")
        }
        return {
            "image": slide.fingerprint(),
            **({} if bag is None else {"bag": bag["sha256"]}),
            "encoder": self.model.encoder_fingerprint(),
            "heads": self.model.heads_fingerprint(),
            "preprocessing": repr(self.model.preprocessing),
            "methods": list(self.methods),
            "target": self.target,
            # Of one view as it was before there were more: what is finished stays so.
            **({"views": self.views} if self.views > 1 else {}),
            "mpp": self.mpp or slide.mpp,
            "cut": cut,
            "export": {**asdict(self.export), "method": None},
            "top": self.top,
        }


def flat_columns(settings: SlideSettings) -> list[str]:
    """The columns of the table of images whose files lie side by side."""
    scores = [f"p({name})" for name in settings.model.classes]
    return ["image", "path", "status", "target", "output", *scores, "notes"]


def any_large(jobs: Sequence[ImageJob]) -> bool:
    """Whether one is read tile by tile; one that cannot be read is not.

    The first few stay open for their turn. What is scaled to one size is never large,
    and is not opened.
    """
    pixels = 0
    for number, job in enumerate(jobs):
        settings = job.settings
        if settings.model.in_one_piece:
            continue
        # What cannot be looked at gets its turn, and with it the sentence.
        with one_of_many(lambda _reason: None):
            slide = job.open()
            if is_large(slide, settings.model, settings.mpp):
                return True
            pixels += slide.shape[0] * slide.shape[1]
        if number >= KEPT_OPEN or pixels > KEPT_PIXELS:
            job.close()
    return False


class ImageJob:
    """One image on its way into a folder of results.

    Args:
        results: where to.
        path: of the image.
        settings: what to do with it.
        started: time of the disk at which the run began: with ``overwrite``, what is
            finished later was done by another worker of the same run.

    Attributes:
        settings: what to do with it.
        is_flat: whether its files go straight into the folder, under names that are
            free, instead of a folder of their own that several workers agree upon.
        holder: who works on it, if somebody else does.
    """

    def __init__(
        self,
        results: ResultsFolder,
        path: Path,
        settings: SlideSettings,
        started: float | None = None,
    ) -> None:
        self.path, self.settings = path, settings
        self.is_flat = False
        self.holder: Holder | None = None
        self._results = results
        self._slide: Slide | None = None
        self._since = started if settings.overwrite else None
        self._source = str(path_from(path).absolute())

    @cached_property
    def name(self) -> str:
        """Of the image, as everybody may read it."""
        return told_name(self.path) if self._slide is None else self._slide.name

    @property
    def _head(self) -> Row:
        """What the table calls the image and its file."""
        path = self.name if is_film(self.path) else self._source
        return {"image": self.name, "path": path}

    def open(self) -> Slide:
        """The image, which stays open until it was localized or :meth:`close`.

        Raises:
            ImageError: it cannot be read.
        """
        if is_bag(self.path):
            words = (
                "is a bag, without pixels. Give the slide, and with --bags its folder."
            )
            raise ImageError(f"“{self.path.name}” {words}")
        if self._slide is None:
            settings = self.settings
            self._slide = open_slide(
                self.path, reader=settings.reader, **asdict(settings.pick)
            )
        return self._slide

    @cached_property
    def bag(self) -> Bag | None:
        """Its tiles, encoded before; None where the model shall encode the pixels.

        Raises:
            ImageError: it is not there, or is that of another slide.
        """
        slide, folder = self.open(), self.settings.bags
        if not (folder or isinstance(self.settings.model.encoder, VectorEncoder)):
            return None
        found = find_bag(self.path, [folder or self.path.absolute().parent])
        if found is None:
            raise ImageError(
                f"There is no bag of {slide.name} {'there' if folder else 'beside it'}."
                " Make one with “napari-wsol features”, and say where with --bags."
            )
        bag = open_bag(found)
        bag.check(slide.shape, slide.name)
        return bag

    @cached_property
    def _bag_told(self) -> dict[str, object] | None:
        """What records say of it; its file, of gigabytes, is hashed once."""
        bag = self.bag
        if bag is None:
            return None
        told = {"file": bag.path.name, "sha256": sha256_of(bag.path)}
        return {**told, "encoder": bag.encoder, "tiles": len(bag)}

    def close(self) -> None:
        """Gives the file back."""
        if self._slide is not None:
            self._slide.close()
            self._slide = None

    def run(
        self,
        report: Progress = ignore_progress,
        check: Check = lambda: None,
    ) -> Row | None:
        """Localizes the image unless it is finished, going on where it stopped.

        Args:
            report: called with tiles done, tiles in all and what is being done.
            check: called often; raises to stop.

        Returns:
            Its row of the table; None where another worker holds it.

        Raises:
            WsolError: the image cannot be localized.
            ClaimLostError: another worker has taken it over.
        """
        try:
            slide = self._as_it_is()
            if self.is_flat:
                result, paths = self._at_once(slide, self._results.path, report, check)
                records = "; ".join(path.name for path in paths)
                return {**self._row(result), "output": records}
            return self._shared(slide, report, check)
        finally:
            self.close()

    def _as_it_is(self) -> Slide:
        """The image with the pixels that its file holds when its turn comes."""
        slide = self.open()
        fresh = reread(slide)
        if fresh is not None:
            slide.close()
            self._slide = slide = fresh
        return slide

    def fail(self, reason: str) -> Row:
        """Notes why it could not be localized."""
        row = {**self._head, "status": reason}
        return row if self.is_flat else self._results.keep(self._source, row)

    def _row(self, result: Localization) -> Row:
        """What a table says of an image that was localized."""
        scores = {f"p({key})": f"{value:.6f}" for key, value in result.scores.items()}
        return {
            **self._head,
            "status": OK,
            "target": result.target,
            **scores,
            "notes": " ".join(result.sentences),
        }

    def _shared(self, slide: Slide, report: Progress, check: Check) -> Row | None:
        """Its row, once one of the workers is done with it."""
        self.name = slide.name
        key = self._results.key(slide.name, self.settings.facts(slide, self._bag_told))
        row = self._results.finished(slide.name, key, self._since)
        if row is not None:
            return row
        claim = take(self._results.work(key), self.settings.stale_seconds)
        if isinstance(claim, Holder):
            self.holder = claim
            return None
        with claim:
            row = self._results.finished(slide.name, key, self._since)
            if row is None:
                row = self._do(slide, key, claim, report, check)
            # While the claim is ours: nobody else works below that folder.
            self._results.clear(key, self._source)
        return self._results.keep(self._source, row) if self.settings.make_bag else row

    def _do(
        self,
        slide: Slide,
        key: str,
        claim: Claim,
        report: Progress,
        check: Check,
    ) -> Row:
        def both() -> None:
            claim.check()
            check()

        began = time.monotonic()
        settings, model = self.settings, self.settings.model
        if settings.make_bag is not None:
            out = self._results.path
            path = settings.make_bag(self.path, out=out, report=report, check=both)
            row = {**self._head, "status": OK, "output": str(path.relative_to(out))}
            with numbers_in(path) as (found, told):
                row |= {"tiles": str(len(found["coords"])), "notes": told["notes"]}
            return row
        draft = _emptied(self._results.work(key) / "results")
        if self.bag is None and is_large(slide, model, settings.mpp):
            result, tiles = self._tile_by_tile(slide, key, draft, report, both)
        else:
            result, tiles = self._at_once(slide, draft, report, both)[0], 1
        _write_top(draft, slide, settings, result, both)
        both()
        row = {
            **self._row(result),
            "tiles": str(tiles),
            "seconds": f"{time.monotonic() - began:.1f}",
            "model": model.card.name if model.card is not None else model.spec.encoder,
            "methods": " ".join(settings.methods),
        }
        folder = self._results.publish(draft, slide.name, row, key=key)
        return {**row, "folder": folder.name, "output": folder.name}

    def _at_once(
        self,
        slide: Slide,
        draft: Path,
        report: Progress,
        check: Check,
    ) -> tuple[Localization, list[Path]]:
        """An image that the network sees in one piece; and the records of its files."""
        settings, model, bag = self.settings, self.settings.model, self.bag
        how = {"views": settings.views, "mpp": settings.mpp, "report": report}
        run = partial(localize, model, slide, **how)
        if bag is not None:
            check_slide_views(settings.views)
            run = partial(localize_bag, model, bag, image_shape=slide.shape)
        result = run(settings.methods, settings.target, check=check)
        if bag is not None:
            note = f"{len(bag)} tiles of “{bag.path.name}” were read, and no pixels."
            result = replace(result, notes=(*slide.notes, note))

        def both(done: int, total: int, text: str) -> None:
            check()
            report(done, total, text)

        result = _with_hint(result, slide, settings, check)
        check_files(slide)  # what is written names the pixels that were read
        return result, _export(draft, slide, settings, result, both, bag=self._bag_told)

    def _tile_by_tile(
        self,
        slide: Slide,
        key: str,
        draft: Path,
        report: Progress,
        check: Check,
    ) -> tuple[Localization, int]:
        """A slide; what is finished of it stays, whatever happens."""
        settings = self.settings
        check_slide_views(settings.views)
        work = SlideWork(
            slide,
            settings.model,
            settings.methods,
            settings.target,
            mpp=settings.mpp,
            config=settings.cut,
            folder=self._results.work(key) / "tiles",
            check=check,
        )
        try:
            check_target(work)
            before = work.done
            report(before, work.count, "")
            for number, _ in enumerate(work.tiles(draft), before + 1):
                report(number, work.count, "")
            report(work.count, work.count, "Writing")
            arrays = work.finish(draft)
            result = slide_result(work, check)
            if before:
                note = f"{before} tiles were finished by an earlier run."
                result = replace(result, notes=(*result.notes, note))
            result = _with_hint(result, slide, settings, check)
            check_files(slide)
            _export(
                draft,
                slide,
                settings,
                result,
                lambda _done, _total, _text: check(),
                arrays=arrays,
            )
        finally:
            work.close()
            work.log.close()
        return result, work.count


def _with_hint(
    result: Localization, slide: Slide, settings: SlideSettings, check: Check
) -> Localization:
    """Says it where an image looks unlike those that the model was made from."""
    model, mpp = settings.model, settings.mpp
    found = likeness(model, slide, mpp=mpp, check=check)
    if found is None or model.card is None or not found.is_unlike:
        return result
    return replace(result, notes=(*result.notes, found.note(model.card)))


def _emptied(draft: Path) -> Path:
    """A folder with nothing but maps that are half written: those go on."""
    draft.mkdir(parents=True, exist_ok=True)
    for path in draft.iterdir():
        if path.is_dir() and not path.name.endswith(".zarr.part"):
            shutil.rmtree(path)
        elif not path.is_dir():
            path.unlink()
    return draft


def _export(
    draft: Path,
    slide: Slide,
    settings: SlideSettings,
    result: Localization,
    report: Progress,
    *,
    arrays: dict[str, Path] | None = None,
    bag: Mapping[str, object] | None = None,
) -> list[Path]:
    """Masks, regions and their provenance; of slides, OME-Zarr where there is none.

    Returns:
        The record of each method's files; of one method where only tiles are wanted.
    """
    records: list[Path] = []
    tissue = partial(coarse_tissue, slide) if settings.cut.tissue_only else None
    for name, heatmap in result.heatmaps.items():
        formats = dict.fromkeys(settings.export.formats)
        if records:  # all maps are in the tiles of the first
            formats = {x: None for x in formats if not x.startswith("tiles")}
            if not formats and arrays is None:
                break
        cut: dict[str, object] = {}
        if bag is not None:
            cut = {"bag": bag}
        if arrays is not None:
            cut = {"cut": asdict(settings.cut)}
            formats |= {"zarr": None}
            if name in arrays:
                del formats["zarr"]
        told = {**cut, "asked": settings.target, "tissue": tissue is not None}
        pixels = InferenceConfig(memory_bytes=10**12)  # however much one takes
        provenance = provenance_of(
            slide,
            settings.model,
            result,
            method=name,
            mpp=settings.mpp or slide.mpp,
            config=pixels,
            of_slide=told,
        )
        paths = export_heatmap(
            draft,
            heatmap,
            slide,
            replace(
                settings.export, method=name, formats=tuple(formats) or ("geojson",)
            ),
            provenance | cut,
            heatmaps=result.heatmaps,
            tissue=tissue,
            mpp=settings.mpp,
            store=(arrays or {}).get(name),
            as_coarse=(arrays, bag) != (None, None),
            report=report,
        )
        records.append(paths[-1])
    return records


def _write_top(
    draft: Path,
    slide: Slide,
    settings: SlideSettings,
    result: Localization,
    check: Check,
) -> None:
    """Pictures of the highest places of each map that says how sure it is."""
    telling = [
        name
        for name in result.heatmaps
        if get_method(name).is_probability or get_method(name).pools_tiles
    ]
    # Level-0 pixels a pixel of the network's input.
    step = max(geometry(slide, settings.model, settings.mpp).downsample)
    for name in (telling or list(result.heatmaps)) if settings.top else ():
        heatmap, is_tile = result.heatmaps[name], get_method(name).pools_tiles
        side = None if is_tile else TOP_PIXELS * step
        for against in (False, True)[: 1 + heatmap.signed]:
            tiles = top_tiles(heatmap, settings.top, side, against=against)
            end = "against" if against else "top"
            folder = draft / f"{name.replace('@', '-')}_{end}"
            write_top_tiles(folder, slide, tiles, _PICTURE, check=check)
