"""A recorded result made again, from its image, its model and its strokes.

One way for all: a round of a journal (``replay``), the maps of an export (``verify``)
and what is told of them (``report``). It runs on the processor, with as many threads as
were recorded, and takes nothing that was computed before.
"""

# pyright: basic
# ruff: noqa: ANN401
# Records are JSON of any version; what is taken from them is checked where it is used.

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsol.config import InferenceConfig, SlideConfig
from napari_wsol.errors import (
    ConfigError,
    ExportError,
    ImageError,
    ModelError,
    NoResultError,
    NoScribblesError,
    OtherSourceError,
)
from napari_wsol.export.masks import Grid
from napari_wsol.export.writers import Parts, write_heatmap_tiff
from napari_wsol.files.parsing import typed
from napari_wsol.images.foreign_map import read_map
from napari_wsol.images.heatmap import KEPT_CELLS
from napari_wsol.images.readers import list_readers, open_slide
from napari_wsol.journal import JournalLibrary, StrokeMade, read_record
from napari_wsol.journal.geojson import write_strokes
from napari_wsol.paths import CACHE
from napari_wsol.registry import plugins
from napari_wsol.session.document import Document
from napari_wsol.session.facade import parts_of
from napari_wsol.session.learning import settings_of_round
from napari_wsol.session.maps import REFINED
from napari_wsol.session.session import Session
from napari_wsol.strokes.stroke import StrokeList, unpacked
from napari_wsol.worklist.files import images_in
from napari_wsol.worklist.samples import SampleStore

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.images.slide import Slide
    from napari_wsol.journal import ImageFacts, Record, RoundMade
    from napari_wsol.strokes.stroke import Stroke

MOST_LOOKED_AT, MOST_OPENED = 200_000, 2_000
"""Files of a folder whose names are looked at, and images in it that are opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where image, model and strokes are looked for.

    Attributes:
        images: a folder, beside that of the export and where journals saw the image.
        model: name or folder, instead of the recorded one.
        journals: folder of all journals; the user's own if None.
    """

    images: Path | None = None
    model: str | None = None
    journals: Path | None = None

    def records(self, fingerprint: str) -> list[Record]:
        """The journals of an image."""
        folders = JournalLibrary(self.journals).folders_of(fingerprint)
        found = map(read_record, folders)
        return [x for x in found if x.image and x.image.fingerprint == fingerprint]

    def drawn(
        self, told: Mapping[str, Any], fingerprint: str
    ) -> tuple[ImageFacts, list[Stroke]]:
        """Strokes of a journal by their numbers and the canvas that they gave.

        Raises:
            OtherSourceError: the journal holds others by now.
            NoScribblesError: there is no journal of the image.
        """
        problem: Exception = NoScribblesError(
            "Its strokes are in no journal here. Give the folder of all journals with "
            "--journals."
        )
        for record in self.records(fingerprint):
            try:
                strokes = strokes_of(record, told["learnt_from"], "The strokes")
            except OtherSourceError as error:
                problem = error
                continue
            drawn = StrokeList.empty(record.image.canvas_shape).add(*strokes)
            if sha256(drawn.canvas.tobytes()).hexdigest() == told["strokes_sha256"]:
                return record.image, strokes
            problem = OtherSourceError("The strokes are others in the journal by now.")
        raise problem

    @contextmanager
    def slide(self, told: Any, mpp: float | None, beside: Path) -> Generator[Slide]:
        """The image, open; by its file's name, else by its fingerprint.

        Args:
            told: the provenance.
            mpp: µm a pixel that its file told.
            beside: the folder of the export.

        Raises:
            OtherSourceError: the file of its name is another image by now.
            ImageError: it was not found.
        """
        image, how = told["image"], dict(told.get("made", {}).get("opening", {}))
        how["name"] = image["name"]
        if image["reader"] in list_readers():
            how["reader"] = image["reader"]
        error = ImageError("was not found. Give the folder that it is in: --images")
        for path in self._places(image, beside):
            try:
                slide = open_slide(path, **how)
            except ImageError:
                slide = None
            if slide and slide.fingerprint() == image["fingerprint"]:
                slide.mpp = mpp  # whatever is known of its size here
                try:
                    yield slide
                finally:
                    slide.close()
                return
            if path.name == image["file"]:
                error = OtherSourceError("is another one by now")
        words = f"The image “{image['name']}”, {image['fingerprint'][:12]}…,"
        raise type(error)(f"{words} {error}.")

    def _places(self, image: Mapping[str, Any], beside: Path) -> Iterator[Path]:
        if image["file"]:
            yield from self.named(image["file"], beside)
        for record in self.records(image["fingerprint"]):
            yield from filter(Path.exists, map(Path, filter(None, [record.image.path])))
        if self.images is not None:
            yield from islice(images_in(self.images, recursive=True), MOST_OPENED)

    def named(self, name: str, beside: Path) -> Iterator[Path]:
        """What has that name."""
        if self.images is not None:
            every = islice(self.images.rglob("*"), MOST_LOOKED_AT)
            yield from (path for path in every if path.name == name)
        yield from filter(Path.exists, [beside / Path(name).name])


def strokes_of(record: Record, numbers: Sequence[int], what: str) -> list[Stroke]:
    """Strokes of a journal, also where they were taken back later.

    Raises:
        OtherSourceError: some are not there any more.
    """
    strokes = (item.stroke for item in record.entries if isinstance(item, StrokeMade))
    known = {stroke.number: stroke for stroke in strokes}
    missing = [number for number in numbers if number not in known]
    if missing:
        listed = ", ".join(map(str, missing))
        raise OtherSourceError(
            f"{what} cannot be learnt again: its strokes {listed} are not in the "
            "journal. " + " ".join(record.notes)
        )
    return [known[number] for number in numbers]


@contextmanager
def _session(
    image: ImageFacts | None, strokes: Sequence[Stroke], made: Mapping[str, Any]
) -> Generator[Session]:
    """A session that finds these strokes on an image, and nothing else of before."""
    before = os.environ.get(CACHE)
    with TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if image is not None:
            journal = JournalLibrary(folder).open(image)
            for stroke in strokes:
                journal.append(StrokeMade(stroke=stroke, time=stroke.time))
            is_saved = journal.flush()
            journal.close()
            if not is_saved:
                raise ExportError(journal.saved.problem)
        os.environ[CACHE] = str(folder / "cache")  # tiles that are there do not count
        config = typed({"device": "cpu", **made["inference"]}, InferenceConfig)
        session = Session(config, threads=made["threads"], journals=folder)
        cut = made.get("cut")
        session.slide_config = None if cut is None else typed(cut, SlideConfig)
        try:
            yield session
        finally:
            session.close(wait=True)
            os.environ.pop(CACHE)
            if before is not None:
                os.environ[CACHE] = before


@contextmanager
def made_again(
    told: Mapping[str, Any],
    slide: Slide,
    sources: Sources,
    taught: tuple[ImageFacts, Sequence[Stroke]] | None = None,
) -> Generator[Session]:
    """A session that shows the maps of a record, made anew.

    Args:
        told: the provenance, as ``provenance_of`` and ``making_of`` write it.
        slide: the image.
        sources: where model and strokes are looked for.
        taught: the strokes; those that are told if None.

    Raises:
        WsolError: it cannot be made again; says what is missing or is another.
    """
    made, image = told.get("made"), told["image"]
    if made is None:
        raise NoResultError(
            "The record is of a version that wrote down neither methods nor threads"
        )
    missing = {*told["plugins"]} - {item.origin for item in plugins()}
    if missing:
        raise ConfigError(f"It needs {', '.join(missing)}: name it with --plugin")
    if not made.get("is_finished", True):
        raise NoResultError("Not all tiles of the slide were finished")
    lesson = made["round"] or {"learnt_from": ()}
    if lesson["learnt_from"] and taught is None:
        taught = sources.drawn(lesson, image["fingerprint"])
    facts, strokes = taught or (None, ())
    with _session(facts, strokes, made) as session:
        session.open(slide, resume=True).result()
        if image["mpp"] not in (None, slide.mpp):  # not remembered beyond this
            parts_of(session).state.of_image(Document.set_mpp, image["mpp"])
        if made.get("tissue"):
            mask = np.zeros(made["tissue"]["shape"], np.uint8)
            for row, first, after, value in unpacked(made["tissue"]["runs"]):
                mask[row, first:after] = value
            session.set_tissue(mask)
        _use(session, told, sources)
        if made["round"]:
            session.settings = settings_of_round(lesson["settings"])
            others = SampleStore(JournalLibrary(sources.journals))
            session.learn_beside(others.by_digest(lesson["others"]))
        methods = made["methods"] or [REFINED] * (REFINED in session.model.heads)
        target = told["target"] if made.get("cut") is None else made["asked"]
        session.localize(methods or None, target, views=told["views"]).result()
        if strokes:
            session.finetune().result()
        yield session


def _use(session: Session, told: Any, sources: Sources) -> None:
    """Loads the very model that a record is of."""
    from napari_wsol.refinement.heads import weights_digest

    what = told.get("called", "the record")
    name, digest = sources.model or told["model"]["name"], told["model"]["sha256"]
    if not name:
        raise ConfigError(
            f"The model of {what} has no name. Give its folder with --model."
        )
    try:
        found = weights_digest(session.use(name).result())
    except ModelError as error:
        raise OtherSourceError(str(error)) from error
    digest = told["model"].get("weights_sha256", digest)
    if found != digest:
        raise OtherSourceError(
            f"The model “{name}” is not the one of {what}: its weights have sha256 "
            f"{found[:12]}…, those that were used {digest[:12]}…. Give the right one "
            "with --model."
        )


def maps_again(
    told: Any, slide: Slide, sources: Sources, stores: Path
) -> dict[str, Heatmap]:
    """The live maps of a record, made anew, by method; a slide's go to ``stores``."""
    with made_again(told, slide, sources) as session:
        if session.work is not None:
            session.work.finish(stores)
        found = dict(session.heatmaps)
        if told["made"]["round"]:
            index = told["made"]["round"]["round"]
            found[REFINED] = replace(found[REFINED], round=index)
        return {
            key: replace(one, values=np.array(one.values)) for key, one in found.items()
        }


def map_again(
    key: str, told: Any, live: Mapping[str, Heatmap], sources: Sources, beside: Path
) -> Heatmap:
    """A map by its key: a live one, that of a former model, or read from elsewhere.

    Args:
        key: among the maps of its session.
        told: its provenance.
        live: the maps that the model of that provenance gave; empty of one from
            elsewhere.
        sources: where its file is looked for.
        beside: the folder of the export.

    Raises:
        OtherSourceError: its file is another one by now.
        ImageError: it is not there.
    """
    if not told.get("origin"):
        _, _, model = key.partition(" · ")
        one = live[told["method"]]
        return replace(one.coarser(KEPT_CELLS), model=model) if model else one
    name = told["origin"].partition(": ")[2].rpartition(", sha256")[0]
    error = ImageError("was not found. Give the folder that it is in: --images")
    for path in sources.named(name, beside):
        shape, mpp = told["image"]["shape"], told["image"]["mpp"]
        found = read_map(path, told["given"], tuple(shape), mpp)
        if found.notes[0] == told["origin"]:
            return found
        error = OtherSourceError("is another one by now")
    raise type(error)(f"The map from elsewhere, “{name}”, {error}.")


def told_of(made: RoundMade, image: ImageFacts) -> dict[str, Any]:
    """The provenance of a round of a journal, as that of an export."""
    return {
        "called": f"round {made.index}",
        "image": {"mpp": made.facts.get("mpp", image.mpp)},
        "plugins": (),
        "model": {"name": made.model, "sha256": made.model_sha256},
        "target": made.target,
        "views": 1,
        "made": {
            "methods": (),
            "inference": {},
            "threads": made.facts.get("threads"),
            "round": {
                "learnt_from": made.strokes,
                "others": made.others,
                "settings": made.settings,
            },
        },
    }


def write_round(
    heatmap_path: Path,
    strokes_path: Path,
    heatmap: Heatmap,
    strokes: Sequence[Stroke],
    image: ImageFacts,
) -> None:
    """Writes a heatmap as TIFF, and the strokes that taught it as GeoJSON."""
    parts = Parts(  # a heatmap that no mask is cut from
        mask=np.zeros((0, 0), np.bool_),
        grid=Grid(heatmap.image_shape),
        regions=[],
        heatmap=heatmap,
        mpp=image.mpp,
        fingerprint=image.fingerprint,
    )
    write_heatmap_tiff(heatmap_path, parts)
    drawn = StrokeList.empty(image.canvas_shape).add(*strokes)
    write_strokes(strokes_path, drawn, image)
