"""What the machine and its Python are, and the packages beside this one."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.version import Version

from napari_wsol import __version__
from napari_wsol.doctor.finding import Finding, asked, quoted
from napari_wsol.journal import read_record
from napari_wsol.paths import APPLICATION, journals_folder, preferences_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_wsol.doctor.finding import State

PACKAGE = Path(__file__).parents[1]
TESTED_PYTHON = (3, 14)
BINDINGS = ("PyQt6", "PyQt5", "PySide6", "PySide2")
USED_EXTRAS = ("", "napari", "pyqt5", "pyqt6", "pyside6", "slides", "dicom", "h5", "timm")
"""What a user may have; the other extras are for developers."""
REASONS = {"numcodecs": " Earlier ones run code that a file names."}
READERS = {
    "tifffile": ("", "TIFF"),
    "PIL": ("", "pictures"),
    "zarr": ("", "OME-Zarr"),
    "imagecodecs": ("", "the pixels of slides"),
    "openslide": ("slides", "slides of MRXS, VMS and others"),
    "pydicom": ("dicom", "films in DICOM"),
    "wsidicom": ("dicom", "slides in DICOM"),
    "h5py": ("h5", "features in HDF5"),
}
"""Modules, the extra that brings each, and what it reads."""
NEWEST_JOURNALS, AHEAD_SECONDS = 20, 3600.0


def python(**_: bool) -> Iterator[Finding]:
    """Python, this package, and how names are encoded."""
    there = sys.version_info[:2]
    text = f"Python {sys.version.split()[0]}, {quoted(sys.executable)}."
    mend = "If something fails, use Python 3.14." if there > TESTED_PYTHON else ""
    yield Finding("Python", "warning" if mend else "ok", text, mend)
    yield Finding(APPLICATION, "ok", f"{__version__} in {quoted(PACKAGE)}{_how()}.")
    encoding = sys.getfilesystemencoding()
    state: State = "ok" if encoding == "utf-8" else "warning"
    mend = "" if state == "ok" else "Set LC_ALL=C.UTF-8, or PYTHONUTF8=1."
    yield Finding("encoding", state, f"Names of files are {encoding}.", mend)


def _how() -> str:
    with suppress(metadata.PackageNotFoundError):
        told = metadata.distribution(APPLICATION).read_text("direct_url.json") or ""
        return ", editable" if '"editable": true' in told else ""
    return ", not installed"


def versions(**_: bool) -> Iterator[Finding]:
    """Packages older than is needed, or of a newer major version than was tested."""
    tested, newer, count = _tested(), list[str](), 0
    for wish in _wishes():
        there = _version_of(wish.name)
        if there is None:
            if wish.marker is None:
                yield Finding("versions", "fault", f"{wish.name} is missing.", _pip(wish))
            continue
        count += 1
        if not wish.specifier.contains(there, prereleases=True):
            text = f"{wish.name} {there} is not {wish.specifier}, which is needed."
            text += REASONS.get(wish.name, "")
            yield Finding("versions", "fault", text, _pip(wish))
        elif there.major > tested.get(wish.name, there).major < 1000:
            newer.append(f"{wish.name}=={tested[wish.name]}")
    if newer:
        text = f"Newer than what was tested: {', '.join(newer)} was."
        mend = f"If something fails: pip install {' '.join(newer)}."
        yield Finding("versions", "warning", text, mend)
    yield Finding("versions", "ok", f"{count} packages were looked at.")


def _pip(wish: Requirement) -> str:
    return f'Install it with: pip install "{wish.name}{wish.specifier}".'


def _wishes() -> list[Requirement]:
    """What this package asks for, with all extras that a user may have."""
    found: list[Requirement] = []
    with suppress(metadata.PackageNotFoundError):
        found = [*map(Requirement, metadata.requires(APPLICATION) or [])]
    return [
        wish
        for wish in found
        if wish.name != APPLICATION
        and (
            wish.marker is None
            or any(wish.marker.evaluate({"extra": extra}) for extra in USED_EXTRAS)
        )
    ]


def _version_of(name: str) -> Version | None:
    try:
        return Version(metadata.version(name))
    except metadata.PackageNotFoundError:
        return None


def _tested() -> dict[str, Version]:
    """Of each package, the version that the tests ran with."""
    places = (PACKAGE / "constraints.txt", PACKAGE.parent / "constraints.txt")
    path = next((path for path in places if path.is_file()), None)
    lines = path.read_text(encoding="utf-8").splitlines() if path else []
    pins = (line.partition(";")[0].partition("==") for line in lines)
    return {name: Version(pin) for name, equals, pin in pins if equals and name[0] != "#"}


def window(*, fast: bool = False) -> Iterator[Finding]:
    """The bindings of Qt, a screen, and whether OpenGL draws on it."""
    there = [name for name in BINDINGS if _is_there(name)]
    if not there or not _is_there("napari"):
        mend = "For a window: pip install 'napari-wsol[pyqt6]'."
        yield Finding("Qt", "warning", "There is no window on this machine.", mend)
        return
    said = os.environ.get("QT_API", "")
    if said and said.lower() not in map(str.lower, there):
        text = f"QT_API asks for {quoted(said)}, which is not installed."
        mend = f"Set QT_API={there[0].lower()}, or remove that variable."
        yield Finding("Qt", "fault", text, mend)
        return
    if len(there) > 1:
        text = f"{len(there)} Qt bindings are installed: {', '.join(there)}."
        mend = f"Keep one: pip uninstall {there[-1]}; or set QT_API={there[0].lower()}."
        yield Finding("Qt", "warning", text, mend)
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    if sys.platform == "linux" and not any(map(os.environ.get, screens)):
        mend = "Commands work without; for the window log in with a desktop, or ssh -X."
        yield Finding("OpenGL", "warning", "There is no screen (DISPLAY).", mend)
        return
    if not fast:
        mend = "Debian, Ubuntu: apt install libegl1 libgl1 libxcb-cursor0; else: pip "
        mend += f"install --force-reinstall {there[0]}."
        broken = Finding("Qt", "fault", "Qt does not start.", mend)
        yield from asked("napari_wsol.gui.doctor.probe", seconds=60, broken=broken)


def _is_there(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def torch(*, fast: bool = False) -> Iterator[Finding]:
    """Torch on each device, plugins and models, in a process of their own."""
    mend = "Install it again: pip install --force-reinstall torch. If it was a plugin: "
    mend += "take it away."
    broken = Finding("torch", "fault", "torch, or what it loads, fails.", mend)
    words = ["--fast"] if fast else []
    yield from asked("napari_wsol.doctor.probe", *words, seconds=180, broken=broken)


def readers(**_: bool) -> Iterator[Finding]:
    """What can be read, and what another extra would add."""
    able: list[str] = []
    for module, (extra, kind) in READERS.items():
        wish = f"{APPLICATION}[{extra}]" if extra else module
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 - a broken library raises anything
            is_absent = isinstance(error, ModuleNotFoundError) and error.name == module
            state: State = "warning" if is_absent and extra else "fault"
            text = f"{kind} cannot be read: {module} "
            text += "is not installed." if is_absent else "does not load."
            mend = f"Install it with: pip install '{wish}'."
            yield Finding("readers", state, text, mend, "" if is_absent else str(error))
        else:
            able.append(kind)
    yield Finding("readers", "ok", f"Can be read: {', '.join(able)}.")


def clock(**_: bool) -> Iterator[Finding]:
    """The clock, beside what was written last."""
    now, last = time.time(), _last_written()
    if now >= last - AHEAD_SECONDS:
        yield Finding("clock", "ok", f"It is {_day(now)}.")
        return
    text = f"The clock says {_day(now)}, but something here was written on {_day(last)}."
    mend = "Set the clock (Linux: timedatectl set-ntp true): the newest work counts."
    yield Finding("clock", "fault", text, mend)


def _last_written() -> float:
    """Seconds since 1970: of this package, the preferences and the newest journals."""
    files = [*journals_folder().glob("*/journal-*.jsonl")]
    files.sort(key=_written, reverse=True)
    told = [_written(path) for path in (Path(__file__), preferences_file(), *files[:1])]
    for folder in {path.parent for path in files[:NEWEST_JOURNALS]}:
        with suppress(ValueError):
            told.append(_seconds(read_record(folder).last_time))
    return max(told)


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _seconds(text: str) -> float:
    import datetime

    return datetime.datetime.fromisoformat(text).timestamp()


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
