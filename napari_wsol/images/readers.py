"""Opens anything that can be an image: a path, an array, a pyramid of arrays."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsol.errors import ImageError, UnreadableImageError, choices
from napari_wsol.images.arrays import ArrayLike, ArraySlide, ArraySource
from napari_wsol.images.plain import PlainSlide
from napari_wsol.images.slide import Slide
from napari_wsol.images.tiff_slide import TiffSlide

if TYPE_CHECKING:
    from collections.abc import Callable

Source = str | os.PathLike[str] | ArraySource | Slide

_READERS: dict[str, Callable[..., Slide]] = {
    "pillow": PlainSlide,
    "tifffile": TiffSlide,
}
_TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_NEEDS_CONVERSION = frozenset(
    {".mrxs", ".czi", ".vsi", ".ets", ".vms", ".vmu", ".svslide", ".isyntax", ".lif"}
)


def list_readers() -> list[str]:
    """Names that ``open_slide(reader=...)`` takes, for files."""
    return sorted(_READERS)


def open_slide(
    source: Source,
    *,
    name: str | None = None,
    mpp: float | None = None,
    reader: str | None = None,
    rgb: bool | None = None,
) -> Slide:
    """Opens an image or slide; pixels of large files are read only when asked for.

    Args:
        source: a path; an array (H, W), (H, W, 3) or (H, W, 4) of numpy, dask or zarr;
            a list of such arrays, largest first; or a slide, which is given back.
        name: shown to the user; the file name by default.
        mpp: µm a level-0 pixel, used instead of what the file says.
        reader: one of :func:`list_readers`; by the file's content by default.
        rgb: True takes three or four channels as colours, False never does.

    Raises:
        UnreadableImageError: missing, damaged or of an unsupported format.
        ImageError: not one plane of grey or colour pixels, empty, too small, NaN.
        UnknownNameError: no such reader; names the choices.
    """
    if mpp is not None and not (math.isfinite(mpp) and mpp > 0):
        raise ImageError(f"A pixel cannot be {mpp} µm: give a number above 0.")
    if isinstance(source, str | os.PathLike):
        path = Path(source).expanduser()
        open_file = _choose(path, reader)
        return open_file(path, name=name, mpp=mpp, rgb=rgb)
    if isinstance(source, Slide):
        if name is not None or mpp is not None:
            raise ImageError(
                f"“{source.name}” is open already: "
                "give name and pixel size when opening the file or array."
            )
        return source
    return ArraySlide(source, name=name, mpp=mpp, rgb=rgb)


def _choose(path: Path, reader: str | None) -> Callable[..., Slide]:
    if reader is not None and reader not in _READERS:
        raise choices("reader", reader, list_readers())
    head = _head(path)
    if reader is not None:
        return _READERS[reader]
    if head.startswith(_TIFF_HEADS):
        return TiffSlide
    _refuse_known(path, head)
    return PlainSlide


def _head(path: Path) -> bytes:
    """The first bytes of a file, or a sentence on why there are none."""
    if path.is_dir():
        raise UnreadableImageError(_folder_message(path))
    try:
        with path.open("rb") as file:
            head = file.read(132)
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
    return head


def _folder_message(path: Path) -> str:
    is_zarr = path.suffix == ".zarr" or any(
        (path / entry).exists() for entry in (".zattrs", ".zgroup", "zarr.json")
    )
    if is_zarr:
        return (
            f"“{path.name}” is an OME-Zarr image, which is not supported yet: convert "
            "it to OME-TIFF, or open its arrays with zarr and pass them as a list."
        )
    return f"“{path.name}” is a folder: choose one image file in it."


def _refuse_known(path: Path, head: bytes) -> None:
    if head[128:132] == b"DICM" or path.suffix.lower() in (".dcm", ".dicom"):
        raise UnreadableImageError(
            f"“{path.name}” is a DICOM file, which is not supported yet: "
            "convert it to OME-TIFF first."
        )
    if path.suffix.lower() in _NEEDS_CONVERSION:
        raise UnreadableImageError(
            f"{path.suffix} slides are not supported yet: convert “{path.name}” to "
            "OME-TIFF first, for instance with QuPath (File > Export images)."
        )


__all__ = ["ArrayLike", "Source", "list_readers", "open_slide"]
