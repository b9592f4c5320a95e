"""HDF5 files of other programs: what lies in them, and nothing that they point at."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_wsol.errors import ImageError, install

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


def h5py_for(path: Path) -> Any:  # noqa: ANN401 - a package without types
    """The package, which is not installed by default.

    Raises:
        ImageError: it is not installed; says how.
    """
    try:
        return import_module("h5py")
    except ImportError as error:
        words = f"To read “{path.name}”, {install('h5')}, and try again."
        raise ImageError(words) from error


@contextmanager
def numbers_in(path: Path) -> Generator[tuple[dict[str, Any], dict[str, Any]]]:
    """The arrays of numbers of a file by name, open, and its own attributes.

    What lies in other files is not followed, and what is no number is left out.

    Raises:
        ImageError: it is no such file.
    """
    h5py = h5py_for(path)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ImageError(f"“{path.name}” cannot be read as HDF5: {error}.") from error
    with file:
        found: dict[str, Any] = {}
        for key in file:
            is_here = isinstance(file.get(key, getlink=True), h5py.HardLink)
            item: Any = file[key] if is_here else None
            if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "buif":
                continue
            if not item.external and not item.is_virtual and item.size:
                found[key] = item
        yield found, dict(file.attrs)
