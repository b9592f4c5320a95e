"""What is looked at: Python, packages, clock, folders; by other processes the rest."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.version import Version

from napari_wsol import __version__, paths
from napari_wsol.doctor.finding import Finding, asked
from napari_wsol.errors import ExportError, install, one_of_many
from napari_wsol.files import check_folder
from napari_wsol.preferences import passed_over, preferences

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parents[1]
BINDINGS = ("PyQt6", "PyQt5", "PySide6", "PySide2")
SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
EXTRAS = ("", "napari", "pyqt5", "pyqt6", "pyside6", "slides", "dicom", "h5", "timm")
"""What users may have; the other extras are for developers."""
REASONS = {"numcodecs": " (earlier ones run code that a file names)"}
FOLDERS = {
    "data": (paths.data_folder, paths.HOME),
    "settings": (paths.config_folder, paths.HOME),
    "cache": (paths.cache_folder, paths.CACHE),
    "journals": (paths.journals_folder, paths.JOURNALS),
    "lists": (paths.lists_folder, paths.JOURNALS),
    "models": (paths.models_folder, paths.HOME),
    "trainings": (paths.trainings_folder, paths.HOME),
    "features": (paths.features_folder, paths.CACHE),
    "temporary files": (tempfile.gettempdir, "TMPDIR"),
}
"""Each folder, and the variable that moves it."""
BROKEN = {
    "readers": "One ends the program, after those above: pip install --force-reinstall "
    "imagecodecs openslide-bin",
    "torch": "torch fails: pip install --force-reinstall torch",
    "plugins": "A plugin or model stops the program: take away what you added last.",
}
"""Where libraries or code of others end a process, or never end."""


def examine(*, fast: bool = False) -> Iterator[Finding]:
    """All checks, as they come; none fails, whatever is broken.

    Args:
        fast: leave out what takes seconds: Qt, readers, torch, plugins, models.
    """
    slow = () if fast else (window, libraries)
    for check in (python, versions, clock, config, folders, *slow):
        said: list[str] = []
        with one_of_many(said.append):
            yield from check()
        text = "This could not be looked at: report it."
        yield from (Finding(check.__name__, "fault", text, why) for why in said)


def python() -> Iterator[Finding]:
    """Python, this package, and how names are encoded."""
    yield Finding("Python", "ok", f"{sys.version.split()[0]} in “{sys.executable}”.")
    told = metadata.distribution(paths.APPLICATION).read_text("direct_url.json") or ""
    how = "editable, " if '"editable": true' in told else ""
    yield Finding(paths.APPLICATION, "ok", f"{__version__}, {how}in “{PACKAGE}”.")
    if (encoding := sys.getfilesystemencoding()) != "utf-8":
        text = f"Names of files are {encoding}: set LC_ALL=C.UTF-8 or PYTHONUTF8=1."
        yield Finding("encoding", "warning", text)


def versions() -> Iterator[Finding]:
    """Packages that are missing, too old, or of a later major version than tested."""
    tested, later = _tested(), list[str]()
    for wish in map(Requirement, metadata.requires(paths.APPLICATION) or ()):
        marker, name = wish.marker, wish.name
        wanted = marker is None or any(marker.evaluate({"extra": e}) for e in EXTRAS)
        if name == paths.APPLICATION or not wanted:
            continue
        mend = f'pip install "{name}{wish.specifier}"'
        try:
            there = Version(metadata.version(name))
        except metadata.PackageNotFoundError:
            if marker is None:
                yield Finding("versions", "fault", f"{name} is missing: {mend}")
            continue
        if not wish.specifier.contains(there, prereleases=True):
            text = f"{name} {there} is too old{REASONS.get(name, '')}: {mend}"
            yield Finding("versions", "fault", text)
        elif there.major > tested.get(name.lower(), there).major < 1000:  # not a year
            later.append(f"{name}=={tested[name.lower()]}")
    text = f"Later than tested; if something fails: pip install {' '.join(later)}"
    told = Finding("versions", "warning", text)
    yield told if later else Finding("versions", "ok", "None is later than tested.")


def _tested() -> dict[str, Version]:
    places = (PACKAGE / "constraints.txt", PACKAGE.parent / "constraints.txt")
    text = next(path for path in places if path.is_file()).read_text("utf-8")
    lines = (line.partition(";")[0] for line in text.splitlines())
    pins = (line.partition("==") for line in lines if re.match(r"\w\S+==\d", line))
    return {name.lower(): Version(version) for name, _, version in pins}


def clock() -> Iterator[Finding]:
    """The clock, beside when files of ours were written."""
    preferred, journals = paths.preferences_file(), paths.journals_folder()
    files = (Path(__file__), preferred, *journals.glob("*/*.jsonl"))
    last = max(path.stat().st_mtime for path in files if path.exists())
    now, then = (f"{time.ctime(each)}" for each in (time.time(), last))
    text = f"The clock says {now}, but work here is of {then}. The newest work counts, "
    text += "so set the clock (Linux: timedatectl set-ntp true)."
    is_late = last > time.time() + 3600  # clocks of machines differ by minutes
    yield Finding("clock", *(("fault", text) if is_late else ("ok", f"It is {now}.")))


def config() -> Iterator[Finding]:
    """What was chosen for all images, and is passed over."""
    for name in passed_over():
        text = f"{name} does not say what can be, so the default holds: see "
        yield Finding("config", "warning", f"{text}napari-wsol config --help")


def folders() -> Iterator[Finding]:
    """Whether each folder can be written to, and how much room it has."""
    needs = {"cache": preferences().memory_bytes, "journals": 1_000_000_000}
    bad: list[Path] = []
    for name, (of, variable) in FOLDERS.items():
        move = f"set {variable} to another folder."
        try:
            folder = Path(of())
        except OSError as error:  # Python finds none for temporary files
            yield Finding(name, "fault", f"There is none: {move}", str(error))
            continue
        if any(folder.is_relative_to(path) for path in bad):
            continue
        try:
            check_folder(folder)
        except ExportError as error:
            bad.append(folder)
            yield Finding(name, "fault", f"{error} For {name}: {move}")
            continue
        there = next(path for path in (folder, *folder.parents) if path.exists())
        free, need = shutil.disk_usage(there).free, needs.get(name, 0)
        text = f"“{folder}” can be written to, with {free / 1e9:.1f} GB free."
        short = f" {need / 1e9:.1f} GB are wanted: free some, or {move}"
        is_short = free < need
        yield Finding(name, "warning" if is_short else "ok", text + short * is_short)


def window() -> Iterator[Finding]:
    """The bindings of Qt, a screen, and whether OpenGL draws on it."""
    there, said = [*filter(_is_there, BINDINGS)], os.environ.get("QT_API", "")
    if not there or not _is_there("napari"):
        text = f"No window on this machine. For one: {install('pyqt6')}"
        yield Finding("Qt", "warning", text)
        return
    chosen = f"set QT_API={there[0].lower()}"
    if said and said.lower() not in map(str.lower, there):
        text = f"QT_API asks for “{said}”, which is not installed: {chosen}."
        yield Finding("Qt", "fault", text)
        return
    if len(there) > 1:
        text = f"Several Qt bindings are installed ({', '.join(there)}): keep one (pip "
        yield Finding("Qt", "warning", f"{text}uninstall {there[-1]}), or {chosen}.")
    if sys.platform == "linux" and not any(map(os.environ.get, SCREENS)):
        text = "There is no screen. For the window log in with a desktop, or ssh -X."
        yield Finding("OpenGL", "warning", text)
        return
    text = "It does not start. Debian: apt install libegl1 libgl1 libxcb-cursor0"
    text += f"; else: pip install --force-reinstall {there[0]}"
    yield from asked("napari_wsol.gui.doctor.probe", Finding("Qt", "fault", text))


def _is_there(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def libraries() -> Iterator[Finding]:
    """Readers, torch on each device, plugins and models; each whatever others do."""
    for name, text in BROKEN.items():
        broken = Finding(name, "fault", text)
        for item in asked(f"napari_wsol.doctor.probe {name}", broken):
            yield item
            if item.text == BROKEN["torch"]:  # then nothing after it works
                return
