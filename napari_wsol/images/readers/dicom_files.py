"""Tells DICOM files apart: those that make up one slide, and films."""

from __future__ import annotations

import importlib.util
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from napari_wsol.errors import ImageError, UnreadableImageError, install
from napari_wsol.files import check_file
from napari_wsol.images.readers.guard import in_words

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path

    from pydicom.uid import UID

_MARK_AT = 128
_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_SEGMENTATIONS = frozenset(
    {"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"}
)
_DIRECTORY = "1.2.840.10008.1.3.10"
_NO_FILMS = frozenset({_WHOLE_SLIDE, _DIRECTORY, *_SEGMENTATIONS})


class _Header(NamedTuple):
    """What tells the files of one slide from others."""

    path: Path
    kind: UID
    series: str


def is_dicom(path: Path) -> bool:
    """Whether a file has the mark of DICOM."""
    try:
        check_file(path)
        with path.open("rb") as file:
            return file.read(_MARK_AT + 4)[_MARK_AT:] == b"DICM"
    except OSError:
        return False


@contextmanager
def quietly(name: str) -> Generator[None]:
    """As ``in_words``; and no warning, which may name a patient, is printed."""
    with in_words(name), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def is_film(path: Path) -> bool:
    """Whether a file is DICOM, and neither a whole slide, a mask nor a directory."""
    if not is_dicom(path) or importlib.util.find_spec("pydicom") is None:
        return False
    from pydicom import filereader

    kind = ""
    with suppress(UnreadableImageError), quietly(path.name):
        meta = filereader.read_file_meta_info(path)  # quick, whatever comes after it
        kind = str(meta.get("MediaStorageSOPClassUID", ""))
    return kind not in _NO_FILMS


def check_library(library: str, name: str) -> None:
    """Makes sure that what reads a file is installed.

    Raises:
        UnreadableImageError: it is not.
    """
    if importlib.util.find_spec(library) is None:
        raise UnreadableImageError(
            f"“{name}” is a DICOM file, which is read with {library}, and that is not "
            f"installed: {install('dicom')}, or convert it to OME-TIFF."
        )


def files_of_slide(path: Path, name: str) -> list[Path]:
    """The files of one slide, by name.

    Args:
        path: a folder of files, or one of them: the others of its series are looked for
            beside it.
        name: for messages.

    Raises:
        UnreadableImageError: they hold no slide, or are damaged.
        ImageError: the folder holds several slides.
    """
    folder = path if path.is_dir() else path.parent
    headers = list(_headers(folder.iterdir()))
    chosen = [one for one in headers if path in (one.path, folder)]
    slides = [one for one in chosen if one.kind == _WHOLE_SLIDE]
    if not slides:
        raise UnreadableImageError(_refusal(chosen, name))
    if len({one.series for one in slides}) > 1:
        raise ImageError(
            f"“{name}” holds several slides: choose one file of the slide that you "
            "want; the others that belong to it are found."
        )
    return sorted(
        one.path
        for one in headers
        if (one.kind, one.series) == (_WHOLE_SLIDE, slides[0].series)
    )


class Colours(NamedTuple):
    """What the header of a slide says of its pixels; 0 is white where inverted."""

    bits: int
    is_inverted: bool
    icc_profile: bytes | None


def colours_of_slide(files: list[Path]) -> Colours:
    """Reads the header of the first file that holds the image, no label or photo."""
    import pydicom

    header = pydicom.dcmread(files[0], stop_before_pixels=True)
    for path in files:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        if "VOLUME" in header.get("ImageType", ()):
            break
    paths = header.get("OpticalPathSequence") or ()
    profiles = [path.get("ICCProfile") for path in paths]
    return Colours(
        bits=int(header.get("BitsStored", 8)),
        is_inverted=header.get("PhotometricInterpretation") == "MONOCHROME1",
        icc_profile=bytes(profiles[0]) if profiles and profiles[0] else None,
    )


def _headers(paths: Iterable[Path]) -> Iterable[_Header]:
    import pydicom
    from pydicom.uid import UID

    tags = ["SOPClassUID", "SeriesInstanceUID"]
    for path in paths:
        if not path.is_file() or not is_dicom(path):
            continue
        try:
            with quietly(path.name):
                header = pydicom.dcmread(
                    path, stop_before_pixels=True, specific_tags=tags
                )
                kind, series = (str(header.get(tag, "")) for tag in tags)
        except UnreadableImageError:
            continue  # Of the file that was asked for, it is told below.
        if not kind:
            continue  # Cut off in its header.
        yield _Header(path, UID(kind), series)


def _refusal(chosen: list[_Header], name: str) -> str:
    kinds = sorted({one.kind.name for one in chosen})
    if kinds:
        return (
            f"“{name}” is DICOM of another kind ({', '.join(kinds)}), such as a "
            "segmentation or a report: open the slide, or an image without naming a "
            "reader."
        )
    return (
        f"“{name}” could not be read as DICOM: the file is damaged or incomplete. Copy "
        "or download it again, or convert it to OME-TIFF."
    )
