"""What was recorded, made again: from its image, its model, its strokes and settings.

One way for all: a round of a journal (``replay``), the files of an export (``verify``),
what is told of them (``report``). It runs on the processor, with as many threads as
were recorded, and takes nothing that was computed before.
"""

# pyright: basic
# ruff: noqa: ANN401

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from glob import escape
from hashlib import sha256
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal, Required, TypedDict

import numpy as np
import tifffile
from msgspec import Meta

from napari_wsol import errors
from napari_wsol.config import (
    ExportConfig,  # noqa: TC001 - records are read as one
    InferenceConfig,
    SlideConfig,
)
from napari_wsol.export import export_heatmap
from napari_wsol.export.files import RECORD, checksums_of
from napari_wsol.export.provenance import versions
from napari_wsol.files import sha256_of
from napari_wsol.files.parsing import Count, parse_json, read_text, typed
from napari_wsol.images.foreign_map import read_map
from napari_wsol.images.heatmap import KEPT_CELLS
from napari_wsol.images.readers import list_readers, open_slide, told_path
from napari_wsol.images.tissue import coarse_tissue
from napari_wsol.journal import JournalLibrary, StrokeMade
from napari_wsol.paths import CACHE
from napari_wsol.registry import plugins
from napari_wsol.session.learning import settings_of_round
from napari_wsol.session.maps import REFINED
from napari_wsol.session.session import Session
from napari_wsol.strokes.canvas import Canvas
from napari_wsol.strokes.stroke import drawn
from napari_wsol.worklist.files import images_in
from napari_wsol.worklist.samples import SampleStore

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.journal import ImageFacts, Record
    from napari_wsol.strokes.stroke import Stroke

    Taught = tuple[ImageFacts, Sequence[Stroke]]

SAME, DIFFERENT, NOT_MADE = "same", "different", "cannot be made again"
MOST_OPENED = 2_000
"""Images of a folder that are opened to find one."""

_INSIDE = Meta(pattern=r"\A(?!(.*/)?\.{0,2}(/|\Z))[^\\:\x00-\x1f]+\Z", max_length=1000)
_Mpp = Annotated[float, Meta(ge=1e-3, le=1e6)] | None
_Pick = Literal["rgb", "channel", "plane"]
_Digest = Annotated[str, Meta(pattern=r"\A\w{1,99}\Z")]


class _File(TypedDict):
    name: Annotated[str, _INSIDE]
    sha256: str


class _Image(TypedDict, total=False):
    name: Required[str]
    file: str | None
    fingerprint: Required[str]
    reader: str
    mpp: Required[_Mpp]


class _Model(TypedDict, total=False):
    name: str | None
    sha256: str | None
    weights_sha256: str | None
    device: str


class _Drawn(TypedDict):
    learnt_from: list[Count]
    strokes_sha256: str


class _Lesson(_Drawn):
    round: Count
    others_sha256: list[_Digest]
    settings: dict[str, Any]


class _Made(TypedDict, total=False):
    opening: dict[_Pick, bool | Count | list[Count] | None]
    methods: Required[list[str]]
    inference: dict[str, Any]
    threads: Annotated[int, Meta(ge=1, le=4096)] | None
    round: Required[_Lesson | None]
    cut: dict[str, Any] | None
    bag: dict[str, str | Count]
    asked: str | None
    is_finished: bool
    tissue: bool


class _Given(TypedDict, total=False):
    name: str
    target: str | None
    scale: float | list[float] | None
    translate: float | list[float] | None
    answers: dict[str, str]


class _Told(TypedDict, total=False):
    image: Required[_Image]
    model: Required[_Model | None]
    method: Required[str]
    plugins: list[str]
    target: Required[str | None]
    views: Annotated[int, Meta(ge=1, le=64)]
    made: _Made
    origin: str
    given: _Given
    drawn: _Drawn
    cut: dict[str, Any]
    bag: dict[str, Any]
    tissue: str
    beside: dict[str, _Told]


class Exported(TypedDict):
    """What is read of the record of an export."""

    created_utc: str
    image: _Image
    config: ExportConfig
    provenance: _Told
    files: Annotated[list[_File], Meta(min_length=1)]
    software: dict[str, str]


@dataclass(eq=False)
class Again:
    """Makes what was recorded again; the maps of an image once.

    Attributes:
        images: an image or a folder, beside that of a record and where journals saw it.
        model: name or folder, instead of the recorded one.
        journals: folder of all journals; the user's own if None.
    """

    images: Path | None = None
    model: str | None = None
    journals: Path | None = None
    _latest: tuple[str, dict[str, Heatmap], Any] = ("", {}, None)

    def verify(self, folder: Path) -> Iterator[tuple[str, str, str]]:
        """Each file below a folder that a record names, a word, and why."""
        for path in records_in(folder):
            inside = path.parent.relative_to(folder)
            for name, word, why in self._record(path):
                yield (inside / name).as_posix(), word, why

    @contextmanager
    def shown(self, folder: Path) -> Generator[tuple[Session, dict[str, float]]]:
        """A session that shows what was exported last, and the thresholds of maps."""
        found = [(_read(x), x.parent) for x in records_in(folder)]
        if len({told["image"]["fingerprint"] for told, _ in found}) != 1:
            raise errors.ExportError(f"“{folder}” holds no export of one image alone.")
        cuts = {x["config"].method: x["config"].threshold for x, _ in found}
        # Of a map from elsewhere nothing is told that could be shown.
        ours = [one for one in found if "made" in one[0]["provenance"]] or found
        record, beside = max(ours, key=lambda one: one[0]["created_utc"])
        told = record["provenance"]
        with (
            self.slide(told, beside) as slide,
            self.session(told, slide) as session,
        ):
            yield session, cuts

    def _record(self, path: Path) -> Iterator[tuple[str, str, str]]:
        try:
            record = _read(path)
        except errors.ExportError as error:
            yield path.name, NOT_MADE, str(error)
            return
        listed = {item["name"]: item["sha256"] for item in record["files"]}
        names = list(dict.fromkeys(name.partition("/")[0] for name in listed))
        word, why, made = NOT_MADE, "its record does not tell of it", dict[str, Path]()
        is_true = True
        with TemporaryDirectory(ignore_cleanup_errors=True) as out:
            try:
                told, paths = self._export(record, path.parent, Path(out))
                made = {_kind(found.name): found for found in paths}
                is_true = _facts(path) == _facts(told)
            except (errors.OtherSourceError, errors.ModelError) as error:
                word, why = DIFFERENT, str(error)
            except errors.WsolError as error:
                why = str(error)
            for name in names:
                file, again = path.parent / name, made.pop(_kind(name), None)
                his = {x: listed[x] for x in listed if x.partition("/")[0] == name}
                try:
                    there = checksums_of(file)
                except OSError as error:
                    yield name, DIFFERENT, f"cannot be read ({error.strerror})"
                    continue
                if there != his:
                    how = "changed since it was written" if there else "missing"
                    yield name, DIFFERENT, how
                elif again is not None:
                    how = _difference(file, again, record)
                    yield name, DIFFERENT if how else SAME, how
                else:
                    yield name, word, why
            if not is_true:
                yield path.name, DIFFERENT, "it tells other facts than come out"
            if made:
                yield path.name, DIFFERENT, f"it does not list …_{', …_'.join(made)}"

    def _export(
        self, record: Exported, beside: Path, out: Path
    ) -> tuple[Path, list[Path]]:
        """Writes the record and the files of an export again."""
        told, key = record["provenance"], record["config"].method
        made, strokes, store = told.get("made", {}), None, None
        cut = None if "origin" in told else told.get("cut")
        makers = told.get("beside") or dict.fromkeys(made.get("methods", ()), told)
        makers = {**makers, key: told}
        with self.slide(told, beside) as slide:
            maps = {x: self._map(x, y, slide, beside) for x, y in makers.items()}
            if there := told.get("drawn"):
                facts, found = self._drawn(there, told["image"]["fingerprint"])
                strokes = drawn(found, facts.canvas_shape), Canvas.over(slide.shape)
            if cut:  # of a batch, which writes a slide's map tile by tile
                for source in Path(self._latest[2].name).glob(f"*_{key}_*.zarr"):
                    store = Path(shutil.copytree(source, out / source.name))
            if told.get("tissue"):
                raise errors.NoResultError("Its tissue was drawn by a person.")
            has_tissue = made.get("tissue", True)
            slide.mpp = record["image"]["mpp"]  # maybe told after a map was made
            *paths, again = export_heatmap(
                out / "files",
                maps[key],
                slide,
                record["config"],
                {},
                heatmaps=maps,
                tissue=partial(coarse_tissue, slide) if has_tissue else None,
                strokes=strokes,
                store=store,
                as_coarse=bool(cut or told.get("bag")),
            )
        return again, [*paths, *filter(None, [store])]

    def _map(self, key: str, told: Any, slide: Any, beside: Path) -> Heatmap:
        """A live map, one that was kept of a former model, or one from elsewhere."""
        if "origin" in told:
            name = told["origin"].partition(": ")[2].rpartition(", sha256")[0]

            def read(path: Path) -> Any:
                found = read_map(
                    path, told.get("given", {}), slide.shape, told["image"]["mpp"]
                )
                return found if found.notes[0] == told["origin"] else None

            return _first(f"map “{name}”", name, self._named(name, beside), read)
        parts = ("image", "model", "target", "views", "made")
        known = json.dumps([told.get(part) for part in parts])
        if known != self._latest[0]:
            stores = TemporaryDirectory(ignore_cleanup_errors=True)
            with self.session(told, slide) as session:
                if told["made"].get("cut"):
                    session.work.finish(Path(stores.name))
                found = session.heatmaps.items()
                maps = {x: replace(y, values=y.values.copy()) for x, y in found}
            if (lesson := told["made"]["round"]) and REFINED in maps:
                maps[REFINED] = replace(maps[REFINED], round=lesson["round"])
            self._latest = known, maps, stores
        model = key.partition(" · ")[2]
        one = self._latest[1].get(told["method"] if model else key)
        if one is None:
            raise errors.MalformedError(f"It does not tell how “{key}” was made.")
        return replace(one.coarser(KEPT_CELLS), model=model) if model else one

    @contextmanager
    def session(
        self, told: Any, slide: Any, taught: Taught | None = None
    ) -> Generator[Any]:
        """A session that shows the maps of a record, made anew, by its provenance.

        The journal is asked for strokes that are not given as ``taught``. Model or
        strokes that are others by now raise an OtherSourceError.
        """
        made = told.get("made")
        if made is None or told["model"] is None:
            words = "The record, of an older version, does not say all it takes."
            raise errors.MalformedError(words)
        lesson = made.get("round") or {}
        missing = {*told.get("plugins", ())} - {item.origin for item in plugins()}
        if missing:
            names = ", ".join(sorted(missing))
            raise errors.NoResultError(f"It needs {names}: name it with --plugin.")
        if not made.get("is_finished", True):
            words = "Not all tiles of the slide were there, or its tissue was drawn."
            raise errors.NoResultError(words)
        if lesson.get("learnt_from") and taught is None:
            taught = self._drawn(lesson, told["image"]["fingerprint"])
        with self._empty(made, taught) as session:
            slide.mpp = told["image"]["mpp"]  # whatever is known of its size here
            session.open(slide, resume=True).result()
            self._use(session, told)
            session.use_bag(self._bag(made.get("bag"), slide)).result()
            if lesson:
                session.settings = settings_of_round(lesson["settings"])
                samples = SampleStore(JournalLibrary(self.journals))
                session.learn_beside(samples.by_digest(lesson["others_sha256"]))
            methods = made["methods"] or [REFINED] * (REFINED in session.model.heads)
            target = made.get("asked") if made.get("cut") else told["target"]
            views = told.get("views", 1)
            session.localize(methods or None, target, views=views).result()
            if taught is not None:
                session.finetune().result()
            yield session

    @contextmanager
    def _empty(self, made: Any, taught: Taught | None) -> Generator[Any]:
        """A session that finds these strokes of an image, and nothing of before."""
        before = {x: y for x, y in os.environ.items() if x == CACHE}
        with TemporaryDirectory(ignore_cleanup_errors=True) as name:
            if taught is not None:
                with closing(JournalLibrary(Path(name)).open(taught[0])) as journal:
                    for stroke in taught[1]:
                        journal.append(StrokeMade(stroke=stroke, time=stroke.time))
                    if not journal.flush():
                        raise errors.ExportError(journal.saved.problem)
            os.environ[CACHE] = f"{name}/cache"  # tiles that are finished do not count
            how = {**made.get("inference", {}), "device": "cpu"}
            config, cut = typed(how, InferenceConfig), made.get("cut")
            session = Session(config, threads=made.get("threads"), journals=name)
            session.slide_config = cut and typed(cut, SlideConfig)
            try:
                yield session
            finally:
                session.close(wait=True)
                del os.environ[CACHE]
                os.environ.update(before)

    def _use(self, session: Session, told: Any) -> None:
        """Loads the very model that a record is of."""
        from napari_wsol.refinement.heads import weights_digest

        model = told["model"]
        name = self.model or model.get("name")
        digest = model.get("weights_sha256") or model.get("sha256") or "none"
        if not name:
            words = "The recorded model has no name: give its folder with --model."
            raise errors.ConfigError(words)
        found = weights_digest(session.use(name).result())
        if found != digest:
            raise errors.OtherSourceError(
                f"The model “{name}” is not the recorded one: its weights have sha256 "
                f"{found[:12]}…, not {digest[:12]}…. Give the right one with --model."
            )

    @contextmanager
    def slide(self, told: Any, beside: Path) -> Generator[Any]:
        """The image of a record, open: by its file's name, else by its fingerprint.

        It is looked for beside the record, too. Another image of that name raises an
        OtherSourceError.
        """
        image, opening = told["image"], told.get("made", {}).get("opening", {})
        how = {**opening, "name": image["name"]}
        if image.get("reader") in list_readers():
            how["reader"] = image["reader"]

        def read(path: Path) -> Any:
            slide = open_slide(path, **how)
            is_it = slide.fingerprint() == image["fingerprint"]
            return slide if is_it else slide.close()

        name, paths = image.get("file"), self._places(image, beside)
        if self.images is not None and self.images.is_file():
            name, paths = self.images.name, iter([self.images])
        with closing(_first(f"image “{image['name']}”", name, paths, read)) as slide:
            yield slide

    def _bag(self, told: Any, slide: Any) -> Path | None:
        """The bag that was read in place of the pixels; None where these were."""
        if told is None:
            return None

        def read(path: Path) -> Any:
            return path if told.get("sha256") in {None, sha256_of(path)} else None

        beside = (told_path(slide) or Path()).parent
        places = self._named(name := str(told.get("file", "")), beside)
        return _first(f"bag “{name}”", Path(name).name, places, read)

    def _places(self, image: Any, beside: Path) -> Iterator[Path]:
        yield from self._named(image.get("file"), beside)
        seen = (x.image.path for x in self._records(image["fingerprint"]))
        yield from map(Path, filter(None, seen))
        if self.images is not None:
            yield from islice(images_in(self.images, recursive=True), MOST_OPENED)

    def _named(self, name: str | None, beside: Path) -> Iterator[Path]:
        name = Path(name or "").name
        if name not in {"", ".."} and len(name.encode()) < 256:
            if self.images is not None:
                yield from self.images.rglob(escape(name))
            yield beside / name

    def _records(self, fingerprint: str) -> list[Any]:
        """The journals of an image."""
        found = JournalLibrary(self.journals).records_of(fingerprint)
        return [record for record in found if record.image]

    def _drawn(self, told: Any, fingerprint: str) -> Taught:
        """Strokes of a journal by their numbers, which give the canvas that is told."""
        problem: Exception = errors.NoScribblesError(
            "Its strokes are in no journal here: name their folder with --journals."
        )
        for record in self._records(fingerprint):
            with suppress(errors.OtherSourceError):
                strokes = strokes_of(record, told["learnt_from"], "The map")
                canvas = drawn(strokes, record.image.canvas_shape)
                if sha256(canvas.tobytes()).hexdigest() == told["strokes_sha256"]:
                    return record.image, strokes
            problem = errors.OtherSourceError("The strokes in its journal are others.")
        raise problem


def _read(path: Path) -> Exported:
    """A record: whatever it says, it is of the types that are used here."""
    try:
        raw = parse_json(read_text(path))
        json.dumps(raw, ensure_ascii=False).encode()  # no half letters
        return typed(raw, Exported)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        words = f"“{path.name}” is no record of an export: {why}. Export anew."
        raise errors.ExportError(words) from error


def _facts(record: Path) -> list[object]:
    """What a record tells of map, mask and regions."""
    told: Any = parse_json(read_text(record))
    return [told.get(key) for key in ("heatmap", "mask", "regions", "area_px")]


def _kind(name: str) -> str:
    """What a file of an export is: the end of its name, without the set's number."""
    return re.sub(r"\A.*_([a-z]+)(-\d+)?((\.[a-z]+)+)\Z", r"\1\3", name)


def records_in(folder: Path) -> list[Path]:
    """The records of exports in a folder and those below it."""
    found = sorted(folder.rglob(f"*_{RECORD}*.json"))
    if not found:
        raise errors.ExportError(
            f"There is no record of an export in “{folder}” (…_{RECORD}.json). Choose "
            "the folder that files were exported to."
        )
    return found


def _first(what: str, name: str | None, paths: Iterator[Path], read: Any) -> Any:
    """What ``read`` makes of the first file that is the right one."""
    error = errors.ImageError(f"The {what} is not there: say where, with --images.")
    for path in filter(os.path.exists, paths):
        with suppress(errors.ImageError):
            found = read(path)
            if found is not None:
                return found
        if path.name == name:
            error = errors.OtherSourceError(f"The {what} is another one by now.")
    raise error


def _difference(one: Path, other: Path, record: Any) -> str:
    """How a file differs from the one made again; empty where it does not."""
    sums = map(checksums_of, (one, other))  # names of folders may differ
    was, now = ({x.partition("/")[2]: y for x, y in z.items()} for z in sums)
    if was == now:
        return ""
    how = "its content is another"
    if one.suffix == ".tiff":
        was, now = (tifffile.imread(path).astype(np.float64) for path in (one, other))
        if was.shape == now.shape:
            most = np.nanmax(np.abs(was - now), initial=0)
            how = f"its values differ by {most:.3g} at most"
    model, here = record["provenance"]["model"] or {}, {"device": "cpu", **versions()}
    then = {"device": model.get("device", "cpu"), **record["software"]}
    found = [f"{x} {then[x]}" for x in then if here.get(x) != then[x]]
    return f"{how}; it was made with {', '.join(found)}" if found else how


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
        raise errors.OtherSourceError(
            f"{what} cannot be learnt again: its strokes {listed} are not in the "
            "journal. " + " ".join(record.notes)
        )
    return [known[number] for number in numbers]
