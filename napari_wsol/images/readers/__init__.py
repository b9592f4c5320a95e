"""Opens anything that can be an image: a path, an array, a pyramid of arrays."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import math
import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypedDict, cast

from napari_wsol.errors import ImageError, StackError, UnreadableImageError, choices
from napari_wsol.files import check_file, path_from
from napari_wsol.files.foreign import HEAD_BYTES, foreign_kind
from napari_wsol.images import known_sizes, pixel_size
from napari_wsol.images.fingerprint import neutral_name
from napari_wsol.images.readers.arrays import ArrayLike, ArraySlide, ArraySource
from napari_wsol.images.readers.base import SlideBase, UndecodedError
from napari_wsol.images.readers.guard import in_words
from napari_wsol.images.readers.shown import Shown, shows
from napari_wsol.images.readers.stacks import pick
from napari_wsol.images.readers.tiff_slide import TiffSlide, is_pyramid
from napari_wsol.images.slide import Slide

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Unpack

    from napari_wsol.errors import Question
    from napari_wsol.images.readers.dicom_film import DicomFilm
    from napari_wsol.images.readers.dicom_slide import DicomSlide
    from napari_wsol.images.readers.openslide_slide import OpenSlideSlide
    from napari_wsol.images.readers.stacks import Pick

    OwnSlide = ArraySlide | DicomFilm | DicomSlide | OpenSlideSlide | TiffSlide

Source = str | os.PathLike[str] | ArraySource | Shown | Slide


class Opening(TypedDict, total=False):
    """How :func:`open_slide` opens an image.

    Attributes:
        name: shown to the user; the file name by default.
        mpp: µm a level-0 pixel, used instead of what the file says. Without it, what
            the user once said of this slide is used (see ``known_sizes``).
        reader: one of :func:`list_readers`; by the file's content by default.
        rgb: True takes three or four channels as colours, False never does.
        channel: of several channels that are no colours, the one that is shown, counted
            from 0; or three that become red, green and blue.
        plane: of a stack, the plane that is shown, from 0; one number for each axis
            beside height, width and channels, in the order of the file. Of a film with
            several windows, the window; the first by default.
    """

    name: str | None
    mpp: float | None
    reader: str | None
    rgb: bool | None
    channel: int | Sequence[int] | None
    plane: int | Sequence[int] | None


logger = logging.getLogger(__name__)

_READERS: dict[str, tuple[str, str]] = {
    "openslide": ("napari_wsol.images.readers.openslide_slide", "OpenSlideSlide"),
    "pillow": ("napari_wsol.images.readers.plain", "PlainSlide"),
    "pydicom": ("napari_wsol.images.readers.dicom_film", "DicomFilm"),
    "tifffile": ("napari_wsol.images.readers.tiff_slide", "TiffSlide"),
    "wsidicom": ("napari_wsol.images.readers.dicom_slide", "DicomSlide"),
    "zarr": ("napari_wsol.images.readers.zarr_slide", "ZarrSlide"),
}
"""Module and class of each reader, imported when it is first used."""

_EXTRAS = {name: name for name in ("openslide", "pydicom", "wsidicom")}
"""Modules of readers that are not always installed."""

TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ZARR_FILES = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
_OPENSLIDE_ONLY = frozenset({".mrxs", ".vms", ".vmu", ".svslide"})
SCANNED = frozenset({".svs", ".ndpi", ".scn", ".qptiff", ".bif"}) | _OPENSLIDE_ONLY
"""Endings that scanners alone give."""

_NEEDS_CONVERSION = frozenset({".czi", ".vsi", ".ets", ".isyntax", ".lif"})


def list_readers(path: str | os.PathLike[str] | None = None) -> list[str]:
    """Names that ``open_slide(reader=...)`` takes, for files.

    Args:
        path: leaves out the readers that are not installed or not made for this file,
            and puts the one that is taken by default first.
    """
    if path is None:
        return sorted(_READERS)
    file = path_from(path)
    return [name for name in _candidates(file, head_of(file)) if _can_open(name, file)]


def is_slide(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a whole slide: by its ending, else by what its headers say.

    Quick: no pixels are read. An image of one resolution is none.
    """
    file = path_from(path)
    if file.is_dir():
        from napari_wsol.images.readers.ome_zarr import describes_levels

        return describes_levels(file)
    if file.suffix.lower() in SCANNED:
        return file.is_file()
    try:
        return head_of(file).startswith(TIFF_HEADS) and is_pyramid(file)
    except UnreadableImageError:
        return False


def open_slide(source: Source, **how: Unpack[Opening]) -> Slide:
    """Opens an image or slide; pixels of large files are read only when asked for.

    Args:
        source: a path of a file, an OME-Zarr folder or a folder of DICOM files; an
            array (H, W), (H, W, 3) or (H, W, 4) of numpy, dask or zarr; a list of
            such arrays, largest first; such arrays with the file that they were read
            from; or a slide, which is given back.
        how: as :class:`Opening` says.

    Raises:
        UnreadableImageError: missing, damaged or of an unsupported format.
        StackError: several channels or planes, and it is not said which; holds the
            questions to ask.
        ImageError: empty, too small, NaN.
        UnknownNameError: no such reader; names the choices.
    """
    name, mpp, reader = how.get("name"), how.get("mpp"), how.get("reader")
    if mpp is not None and not (math.isfinite(mpp) and mpp > 0):
        raise ImageError(f"A pixel cannot be {mpp} µm: give a number above 0.")
    if isinstance(source, Slide):
        if name is not None or mpp is not None:
            raise ImageError(
                f"“{source.name}” is open already: "
                "give name and pixel size when opening the file or array."
            )
        return source
    wanted = pick(how.get("rgb"), how.get("channel"), how.get("plane"))
    slide: OwnSlide
    if isinstance(source, str | os.PathLike):
        slide = _open_file(path_from(source), reader, name, mpp, wanted)
    elif isinstance(source, Shown):
        slide = _open_shown(source, reader, name, mpp, wanted)
    else:
        slide = ArraySlide(source, name=name, mpp=mpp, pick=wanted)
    slide.open_again = partial(open_slide, source, **how)
    if mpp is None:
        _use_known_size(slide)
    return slide


def reread(slide: Slide) -> Slide | None:
    """An image opened anew, where its source holds other pixels by now; else None.

    Raises:
        ImageError: it holds other pixels, and they cannot be used.
    """
    return slide.reread() if isinstance(slide, SlideBase) else None


def is_as_opened(slide: Slide) -> bool:
    """Whether the source of an image can only hold the pixels that were opened."""
    return not isinstance(slide, SlideBase) or slide.is_as_opened()


def check_files(slide: Slide) -> None:
    """Makes sure that no file of an image was overwritten; takes microseconds.

    Raises:
        ImageChangedError: one was.
    """
    if isinstance(slide, SlideBase):
        slide.check_files()


def told_path(slide: Slide) -> Path | None:
    """The file of an image, where outputs may tell it; see ``hides_file``."""
    return None if isinstance(slide, SlideBase) and slide.hides_file else slide.path


def told_name(path: Path) -> str:
    """What outputs call a file before it is opened: by its name, but for a film."""
    from napari_wsol.images.readers.dicom_files import is_film

    return neutral_name(path) if is_film(path) else path.name


def stack_questions(
    path: str | os.PathLike[str], *, reader: str | None = None
) -> tuple[Question, ...]:
    """What of a file can be shown: its channels and planes.

    Returns:
        Questions whose answers ``readers.stacks.answered`` understands; none where the
        file holds one grey picture.

    Raises:
        UnreadableImageError: as :func:`open_slide`.
    """
    for rgb in (None, False):
        try:
            open_slide(path, reader=reader, rgb=rgb).close()
        except StackError as error:
            return error.questions
    return ()


def _use_known_size(slide: OwnSlide) -> None:
    known = known_sizes.recall(slide)
    if known.mpp is not None:
        slide.mpp = known.mpp
        slide.notes = tuple(
            note for note in slide.notes if note not in pixel_size.UNKNOWN.notes
        )
    slide.notes += known.notes


def _open_file(
    path: Path,
    reader: str | None,
    name: str | None,
    mpp: float | None,
    wanted: Pick,
) -> OwnSlide:
    """Opens it with the reader that was asked for, or the first that can."""
    if reader is not None and reader not in _READERS:
        raise choices("reader", reader, list_readers())
    head = head_of(path)
    refused: list[UnreadableImageError] = []
    for candidate in [reader] if reader else _candidates(path, head):
        if not reader and not _is_tried(candidate, head, refused):
            continue
        try:
            with in_words(path.name):
                slide = _reader(candidate)(path, name=name, mpp=mpp, pick=wanted)
        except UnreadableImageError as error:
            refused.append(error)
            continue
        return slide if reader else _better(slide, path, name, mpp)
    raise _refusal(path, refused) from refused[0]


def _open_shown(
    source: Shown, reader: str | None, name: str | None, mpp: float | None, wanted: Pick
) -> OwnSlide:
    """The file, where it holds the pixels that are shown; else these pixels.

    However a file was opened, it is one image.
    """
    title = name or told_name(source.path)
    seen = ArraySlide(source.pixels, name=title, mpp=mpp, pick=wanted)
    seen.fingerprint()  # as they are now
    try:
        # What is colour, the file knows.
        wanted = replace(wanted, rgb=None)
        slide = _open_file(path_from(source.path), reader, name, mpp, wanted)
        is_same = shows(slide, seen)
    except ImageError as error:
        logger.info("“%s” is read as it is shown: %s", title, error)
        return seen
    if not is_same:
        slide.close()
        return seen
    slide.shown = seen
    return slide


def _is_tried(candidate: str, head: bytes, refused: list[UnreadableImageError]) -> bool:
    """Whether a reader is asked, unasked for.

    Pillow reads half of a TIFF without a word: it is asked where no tile of one could
    be decoded.
    """
    if candidate != "pillow" or not head.startswith(TIFF_HEADS):
        return True
    return any(isinstance(error, UndecodedError) for error in refused)


def _refusal(path: Path, refused: list[UnreadableImageError]) -> UnreadableImageError:
    """What to say when no reader could."""
    if path.suffix.lower() in _NEEDS_CONVERSION:
        return UnreadableImageError(
            f"{path.suffix} slides are not supported yet: convert “{path.name}” to "
            "OME-TIFF first, for instance with QuPath (File > Export images)."
        )
    if sum(isinstance(error, UndecodedError) for error in refused) > 1:
        return UnreadableImageError(
            f"“{path.name}” is damaged: two readers know its format, and neither could "
            f"decode it ({refused[0].__cause__ or refused[0]}). Copy or download the "
            "file again, or export it anew."
        )
    return refused[0]


def _better(
    slide: OwnSlide, path: Path, name: str | None, mpp: float | None
) -> OwnSlide:
    """OpenSlide's view of a TIFF whose tiles overlap: it alone joins them."""
    if not (isinstance(slide, TiffSlide) and slide.overlaps):
        return slide
    if not _can_open("openslide", path):
        return slide
    try:
        with in_words(path.name):
            joined = _reader("openslide")(path, name=name, mpp=mpp)
    except UnreadableImageError:
        return slide
    slide.close()
    return joined


def _reader(name: str) -> Callable[..., OwnSlide]:
    module, kind = _READERS[name]
    found: object = getattr(importlib.import_module(module), kind)
    return cast("Callable[..., OwnSlide]", found)


def _can_open(name: str, path: Path) -> bool:
    """Whether a candidate is installed, and knows the format."""
    module = _EXTRAS.get(name)
    if module is not None and importlib.util.find_spec(module) is None:
        return False
    if name != "openslide":
        return True
    from napari_wsol.images.readers.openslide_slide import vendor_of

    try:
        return vendor_of(path) is not None
    except UnreadableImageError:
        return False


def _candidates(path: Path, head: bytes) -> list[str]:
    """Readers made for what the content is, the preferred one first."""
    if path.is_dir():
        return ["zarr" if is_zarr(path) else "wsidicom"]
    suffix = path.suffix.lower()
    if path.name in _ZARR_FILES:
        return ["zarr"]
    if head[128:132] == b"DICM" or suffix in (".dcm", ".dicom"):
        from napari_wsol.images.readers.dicom_files import is_film

        return ["pydicom"] if is_film(path) else ["wsidicom", "openslide"]
    if head.startswith(TIFF_HEADS):
        return ["tifffile", "openslide", "pillow"]
    if suffix in _OPENSLIDE_ONLY | _NEEDS_CONVERSION:
        # Pillow would take the small picture that MRXS begins with.
        return ["openslide"]
    return ["pillow", "openslide"]


def is_zarr(folder: Path) -> bool:
    """Whether a folder is an image itself, by its ending or the files in it."""
    return folder.suffix == ".zarr" or any(
        (folder / entry).exists() for entry in _ZARR_FILES
    )


def head_of(path: Path) -> bytes:
    """The first bytes of a file, or a sentence on why there are none."""
    try:
        if path.is_dir():
            _check_folder(path)
            return b""
        check_file(path)
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except UnreadableImageError:  # an OSError, too
        raise
    except FileNotFoundError as error:
        raise UnreadableImageError(
            f"There is no file “{path}”: check the name and the folder."
        ) from error
    except OSError as error:
        raise UnreadableImageError(
            f"“{path.name}” cannot be opened ({error.strerror}): "
            "check that you may read it."
        ) from error
    if not head:
        raise UnreadableImageError(
            f"“{path.name}” is an empty file: copy or download it again."
        )
    foreign = foreign_kind(head)
    if foreign is not None:
        raise UnreadableImageError(f"“{path.name}” {foreign}.")
    return head


def _check_folder(folder: Path) -> None:
    """Refuses folders that hold neither OME-Zarr nor a slide in DICOM."""
    from napari_wsol.images.readers.dicom_files import is_dicom, is_film

    if not is_zarr(folder) and not any(
        is_dicom(path) and not is_film(path) for path in folder.iterdir()
    ):
        raise UnreadableImageError(
            f"“{folder.name}” is a folder: choose one image file in it."
        )


__all__ = [
    "SCANNED",
    "TIFF_HEADS",
    "ArrayLike",
    "Opening",
    "Shown",
    "Source",
    "check_files",
    "head_of",
    "is_as_opened",
    "is_slide",
    "list_readers",
    "open_slide",
    "reread",
    "stack_questions",
    "told_name",
    "told_path",
]
