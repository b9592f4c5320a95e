"""What libraries write or ship is read as they read it, or refused with a reason."""

from __future__ import annotations

import importlib.util
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile
from fixtures.library_files import WRITERS, read_pillow, written
from pydicom.pixels import apply_modality_lut, apply_windowing

from napari_wsol.errors import ImageError
from napari_wsol.images.readers import open_slide
from napari_wsol.images.readers.pixels import to_rgb8

EQUAL, REFUSED = "read equal", "refused with a reason"


def judge(path: Path, expected: np.ndarray, off: int = 0) -> str:
    """How a file is read: equal, refused, or how it differs."""
    try:
        slide = open_slide(path)
    except ImageError as error:
        return REFUSED if str(error).endswith((".", "?")) else f"says “{error}”"
    try:
        found = slide.read(0, 0, 0, *slide.shape)
    except ImageError as error:
        return f"opens, and says then: {error}"
    finally:
        slide.close()
    if found.shape != expected.shape:
        return f"is {found.shape} and not {expected.shape}"
    differs = np.abs(found.astype(int) - expected).max()
    return EQUAL if differs <= off else f"differs by {differs}"


def report(capsys, library: str, counts: Counter[str]) -> None:
    told = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    with capsys.disabled():
        print(f"\n{library}: {told}")  # noqa: T201 - asked for with every run


FEWEST = {"tifffile": 200, "Pillow": 150, "imagecodecs": 20, "zarr": 100}
"""Read equal, so that no refusal of all goes by unseen."""


@pytest.mark.parametrize("library", WRITERS)
@pytest.mark.slow
def test_what_a_library_writes_is_read_as_it_reads_it(tmp_path, library, capsys):
    counts: Counter[str] = Counter()
    wrong = []
    for case, path, expected in written(library, tmp_path):
        found = judge(path, expected, case.off)
        counts[found] += 1
        if found not in (EQUAL, REFUSED):
            wrong.append(f"{case.name} {found}")
    report(capsys, library, counts)
    assert wrong == []
    assert counts[EQUAL] >= FEWEST[library]


PACKAGES = ("PIL", "tifffile", "imagecodecs", "pydicom", "zarr", "skimage",
            "napari", "matplotlib", "sklearn", "scipy", "torchvision")  # fmt: skip
ENDS = frozenset({
    ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp", ".webp", ".jp2", ".dcm",
    ".ico", ".ppm", ".pgm", ".svs", ".ndpi", ".j2k", ".tga",
})  # fmt: skip


def shipped() -> list[Path]:
    """Image files that installed packages bring along."""
    found = [importlib.util.find_spec(name) for name in PACKAGES]
    folders = {
        Path(place)
        for spec in found
        if spec
        for place in spec.submodule_search_locations or ()
    }
    files = (file for folder in sorted(folders) for file in sorted(folder.rglob("*")))
    return [file for file in files if file.suffix.lower() in ENDS and file.is_file()]


def read_film(path: Path) -> np.ndarray:
    """A film as pydicom shows it; where no window tells a range, its size alone."""
    film = pydicom.dcmread(path)
    pixels = pydicom.pixels.pixel_array(film, index=0)
    if pixels.ndim == 3 and pixels.dtype == np.uint8:
        return pixels
    if "WindowWidth" not in film or film.PhotometricInterpretation == "PALETTE COLOR":
        return np.zeros((*pixels.shape[:2], 3), np.float64)
    values = apply_windowing(apply_modality_lut(pixels, film), film)
    low, high = apply_windowing(np.array([-np.inf, np.inf]), film)
    grey = (values - low) / (high - low) * 255
    is_inverted = film.PhotometricInterpretation == "MONOCHROME1"
    return np.repeat((255 - grey if is_inverted else grey)[..., None], 3, axis=2)


def reference(path: Path) -> np.ndarray | None:
    """What its usual reader reads; None for what that does not read as one picture."""
    try:
        if path.suffix.lower() in (".tif", ".tiff", ".svs", ".ndpi"):
            with tifffile.TiffFile(path) as tif:
                return to_rgb8(tif.pages[0].asarray())
        if path.suffix.lower() == ".dcm":
            return read_film(path)
        return read_pillow(path)
    except Exception:  # noqa: BLE001 - of any library
        return None


def test_what_packages_ship_is_read_as_its_reader_reads_it(tmp_path, capsys):
    counts: Counter[str] = Counter()
    wrong = []
    for number, found_at in enumerate(shipped()):
        (tmp_path / str(number)).mkdir()  # files of DICOM beside it are looked at too
        path = Path(shutil.copy(found_at, tmp_path / str(number)))
        expected = reference(path)
        is_film = path.suffix.lower() == ".dcm"
        off = (
            255 if is_film and expected is not None and not expected.any() else is_film
        )
        found = judge(path, np.zeros((0, 0, 3)) if expected is None else expected, off)
        counts[found] += 1
        if found not in (EQUAL, REFUSED):
            wrong.append(f"{path} {found}")
    report(capsys, "shipped", counts)
    assert wrong == []
    assert counts[EQUAL] + counts[REFUSED] > 0
