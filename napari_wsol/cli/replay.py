"""``napari-wsol replay``: does a recorded round give the same map again?"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, cast

import numpy as np
import typer

from napari_wsol.cli.console import errors, output
from napari_wsol.cli.journal import (
    Chosen,
    Folder,
    find_record,
    image_of,
    work_of,
)
from napari_wsol.cli.options import out_folder
from napari_wsol.errors import (
    ConfigError,
    ExportError,
    ImageError,
    NoResultError,
    NoScribblesError,
)
from napari_wsol.files import file_set, make_folder, unwritable

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_wsol.journal import ImageFacts, Record, RoundMade
    from napari_wsol.refinement.rounds import Round
    from napari_wsol.refinement.samples import Samples
    from napari_wsol.session.session import Session
    from napari_wsol.strokes.stroke import Stroke

HEATMAP, STROKES, REPORT = "heatmap.tiff", "strokes.geojson", "replay.json"
"""What is written; the last one is there when all are."""


def replay(
    journal: Chosen,
    out: Annotated[
        Path, typer.Option(help="Folder for the results.", callback=out_folder)
    ],
    image: Annotated[
        Path | None,
        typer.Option(help="The image, where it is not where it was [as recorded]."),
    ] = None,
    number: Annotated[
        int | None,
        typer.Option("--round", min=1, help="Which round [the last]."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Name or folder of the model [as recorded]."),
    ] = None,
    journals: Folder = None,
) -> None:
    """Learn a round again from its strokes, and compare its map with the recorded one.

    On the CPU the map is the same bit for bit, with the same version of torch on the
    same kind of processor. The exit status is 1 where it differs. Writes the map, the
    strokes and what was compared.
    """
    record = find_record(journal, journals)
    made = _wanted(record, number)
    for name in (HEATMAP, STROKES, REPORT):
        if os.path.lexists(out / name):
            raise ExportError(
                f"“{out / name}” exists, and nothing is replaced. Choose another "
                "folder."
            )
    again = _Again(image_of(record), made, _strokes(record, made), record.folder)
    with again.session() as session:
        done = again.round(session, image, model)
        result = again.compared(session)
        again.write(out, done, result)
    word = "identical" if result["identical"] else "differs"
    output.print(f"round {made.index}: {word}")
    output.print(f"in {out}")
    if not result["identical"]:
        for reason in cast("list[str]", result["differences"]):
            errors.print(reason, style="yellow")
        raise typer.Exit(1)


def _wanted(record: Record, number: int | None) -> RoundMade:
    """The last round, or the last one of that number."""
    rounds = work_of(record).rounds
    found = [made for made in rounds if number in (None, made.index)]
    if not found:
        there = ", ".join(str(made.index) for made in rounds) or "none"
        what = "There is no round" if number is None else f"There is no round {number}"
        raise NoResultError(f"{what} in the journal; it has: {there}.")
    return found[-1]


def _strokes(record: Record, made: RoundMade) -> tuple[Stroke, ...]:
    """Those that a round learnt from, also where they were taken back later."""
    from napari_wsol.journal import StrokeMade

    strokes = (item.stroke for item in record.entries if isinstance(item, StrokeMade))
    known = {stroke.number: stroke for stroke in strokes}
    missing = [number for number in made.strokes if number not in known]
    if missing:
        listed = ", ".join(map(str, missing))
        raise NoScribblesError(
            f"Round {made.index} cannot be learnt again: its strokes {listed} are not "
            "in the journal. " + " ".join(record.notes)
        )
    return tuple(known[number] for number in made.strokes)


@dataclass(frozen=True, slots=True)
class _Again:
    """A recorded round that is to be made again."""

    image: ImageFacts
    made: RoundMade
    strokes: tuple[Stroke, ...]
    folder: Path

    @contextmanager
    def session(self) -> Generator[Session]:
        """A session as the recorded one was, which finds the strokes of the round."""
        from napari_wsol.config import InferenceConfig
        from napari_wsol.journal import JournalLibrary, StrokeMade
        from napari_wsol.session.session import Session

        threads = self.made.facts.get("threads")
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            journal = JournalLibrary(Path(folder)).open(self.image)
            for stroke in self.strokes:
                journal.append(StrokeMade(stroke=stroke, time=stroke.time))
            is_saved = journal.flush()
            journal.close()
            if not is_saved:
                raise ExportError(journal.saved.problem)
            session = Session(
                InferenceConfig(device="cpu"),
                threads=threads if isinstance(threads, int) else None,
                journals=Path(folder),
            )
            try:
                yield session
            finally:
                session.close(wait=True)

    def round(self, session: Session, image: Path | None, model: str | None) -> Round:
        """Opens, localizes and learns as before."""
        from napari_wsol.refinement.heads import weights_digest
        from napari_wsol.session.learning import settings_of_round
        from napari_wsol.session.maps import REFINED

        made = self.made
        path = image or (Path(self.image.path) if self.image.path else None)
        if path is None:
            raise ImageError(
                f"The journal does not tell the file of “{self.image.name}”, as of "
                "arrays and of films in DICOM. Say where it is now, with --image."
            )
        if not path.exists():
            raise ImageError(
                f"“{path}” is not there. Say where the image is now, with --image."
            )
        mpp = made.facts.get("mpp", self.image.mpp)
        slide = session.open(
            path, mpp=float(mpp) if isinstance(mpp, int | float) else None, resume=True
        ).result()
        if slide.fingerprint() != self.image.fingerprint:
            raise ImageError(
                f"“{path}” is another image: its fingerprint begins with "
                f"{slide.fingerprint()[:12]}, that of the journal with "
                f"{self.image.fingerprint[:12]}. Give the right one with --image."
            )
        name = model or made.model
        if not name:
            raise ConfigError(
                "The model of the round has no name. Give its folder with --model."
            )
        loaded = session.use(name).result()
        if weights_digest(loaded) != made.model_sha256:
            raise ConfigError(
                f"The model “{name}” is not the one of round {made.index}: its weights "
                f"have sha256 {weights_digest(loaded)[:12]}…, those of the journal "
                f"{made.model_sha256[:12]}…. Give the right one with --model."
            )
        methods = [REFINED] if REFINED in loaded.heads else None
        session.learn_beside(self._others())
        session.localize(methods, made.target).result()
        return session.finetune(settings_of_round(made.settings)).result()

    def _others(self) -> list[Samples]:
        """What strokes on other images taught the round, from their journals."""
        from napari_wsol.journal import JournalLibrary
        from napari_wsol.worklist.samples import SampleStore

        return SampleStore(JournalLibrary(self.folder.parent)).by_digest(
            self.made.others
        )

    def compared(self, session: Session) -> dict[str, object]:
        """What was recorded, what came out now, and whether the maps are the same."""
        now = _last_round(session)
        recorded, replayed = _compared(self.made), _compared(now)
        return {
            "round": self.made.index,
            "identical": now.map_sha256 == self.made.map_sha256,
            "differences": [
                f"{key}: {_said(value)} then, {_said(replayed[key])} now."
                for key, value in recorded.items()
                if value and value != replayed[key]
            ],
            "recorded": recorded,
            "replayed": replayed,
            "image": self.image.to_dict(),
            "model": {"name": self.made.model, "sha256": self.made.model_sha256},
            "target": self.made.target,
            "strokes": list(self.made.strokes),
        }

    def write(self, out: Path, done: Round, result: dict[str, object]) -> None:
        """Writes the heatmap, the strokes, and what was compared."""
        from napari_wsol.export.masks import Grid
        from napari_wsol.export.provenance import write_record
        from napari_wsol.export.writers import Parts, write_heatmap_tiff
        from napari_wsol.journal.geojson import write_strokes
        from napari_wsol.strokes.stroke import StrokeList

        heatmap = done.heatmap
        parts = Parts(  # a heatmap that no mask is cut from
            mask=np.zeros((0, 0), np.bool_),
            grid=Grid(heatmap.image_shape),
            regions=[],
            heatmap=heatmap,
            mpp=self.image.mpp,
            fingerprint=self.image.fingerprint,
        )
        strokes = StrokeList.empty(self.image.canvas_shape).add(*self.strokes)
        to_do = ". Choose a folder that may be written to and has room."
        with unwritable(f"“{out}” cannot be written to", to_do):
            make_folder(out)
            with file_set(out, "replay") as files:
                write_heatmap_tiff(files.add(HEATMAP), parts)
                write_strokes(files.add(STROKES), strokes, self.image)
                write_record(files.add(REPORT), result)
                files.publish()


def _last_round(session: Session) -> RoundMade:
    from napari_wsol.journal import RoundMade, read_record

    journal = session.journal
    if journal is None or not journal.flush():
        problem = "" if journal is None else journal.saved.problem
        raise ExportError(f"The round could not be written down. {problem}")
    entries = read_record(journal.folder).entries
    return next(item for item in reversed(entries) if isinstance(item, RoundMade))


def _compared(made: RoundMade) -> dict[str, object]:
    facts = made.facts
    return {
        "map_sha256": made.map_sha256,
        "head_sha256": made.head_sha256,
        "strokes_sha256": facts.get("strokes_sha256"),
        "settings": made.settings,
        "threads": facts.get("threads"),
        "versions": facts.get("versions"),
    }


def _said(value: object) -> str:
    return f"{value[:12]}…" if isinstance(value, str) else str(value)
