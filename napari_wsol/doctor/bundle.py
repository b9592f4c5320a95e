"""What goes to whoever helps: what was found, and nothing of patients.

Nothing is cleaned: only what cannot be private is put in, and names as digests, equal
for equal names. The key of the digests is not kept, so that no name can be tried.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections import Counter
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from importlib import metadata
from itertools import islice
from secrets import token_bytes
from typing import TYPE_CHECKING

from napari_wsol import paths
from napari_wsol.journal import read_record
from napari_wsol.preferences import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from napari_wsol.doctor.finding import Finding

VARIABLES = re.compile(
    r"(NAPARI_WSOL|QT|LIBGL|MESA|CUDA|OMP)_[A-Z_]+|LC_ALL|LC_CTYPE|LANG|DISPLAY"
)
NUMBERS = re.compile(
    r"((QT|LIBGL|MESA|CUDA|OMP)_\w+|DISPLAY|NAPARI_WSOL_MEMORY|memory_bytes)=[\d.,:]*"
)
"""What is no name in a variable; in a path a number may be a patient's."""
OPEN = re.compile(
    r"auto|cpu|mps|cuda(:\d)?|over|beside|py(qt|side)\d|xcb|offscreen|wayland"
    r"|[Tt]rue|[Ff]alse|(C|[a-z]{2}_[A-Z]{2})\.(UTF-8|utf8)|napari-wsol|models|journals"
    r"|lists|trainings|cache|features|(preferences|known-sizes)\.json|(card|recipe)\.toml"
)
"""Values and names that tell nothing of anybody."""
MOST = 2000
"""Files that are listed, and journals that are counted."""


def bundle_of(findings: Iterable[Finding]) -> dict[str, str]:
    """Names and texts of the files of a bundle, to be shown before it is written."""
    hide = partial(re.sub, r"[^/\\“”]+", partial(_digest, token_bytes(16)))
    told = [f"{item.state} {item.name}: {item.text}" for item in findings]
    kept = paths.stored_preferences()
    given = {name: os.environ[name] for name in filter(VARIABLES.fullmatch, os.environ)}
    given |= {name: str(kept[name]) for name in DEFAULTS if name in kept}
    texts = {
        "report.txt": [re.sub("(?s)“.*”", lambda at: hide(at[0]), one) for one in told],
        "versions.txt": sorted(_versions(hide)),
        "settings.txt": [
            f"{name}={value if NUMBERS.fullmatch(f'{name}={value}') else hide(value)}"
            for name, value in given.items()
        ],
        "journals.txt": _journals(hide),
        "files.txt": _files(hide),
    }
    return {name: "\n".join(lines) for name, lines in texts.items()}


def write_bundle(path: Path, texts: Mapping[str, str]) -> None:
    """Writes the zip into a new file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)


def _digest(key: bytes, found: re.Match[str]) -> str:
    name = found[0]
    told = blake2b(name.encode("utf-8", "surrogatepass"), key=key, digest_size=5)
    return name if OPEN.fullmatch(name) else f"#{told.hexdigest()}"


def _versions(hide: Callable[[str], str]) -> Iterable[str]:
    """As pip freeze; what no installer took from an index may have any name."""
    for item in metadata.distributions():
        told = f"{item.name}=={item.version}"
        is_own = item.read_text("direct_url.json") or not item.read_text("INSTALLER")
        yield hide(told) if is_own else told


def _journals(hide: Callable[[str], str]) -> Iterable[str]:
    """How many lines of each kind a journal has."""
    found = {path.parent for path in paths.journals_folder().glob("*/*.jsonl")}
    for path in sorted(found)[:MOST]:
        kinds = Counter(type(entry).__name__ for entry in read_record(path).entries)
        yield f"{hide(path.name)} {dict(kinds)}"


def _files(hide: Callable[[str], str]) -> Iterable[str]:
    """Names and bytes of what is in the person's folders."""
    for folder in {paths.data_folder(), paths.config_folder(), paths.journals_folder()}:
        for path in islice(folder.rglob("*"), MOST):
            with suppress(OSError):  # gone by now
                size = path.lstat().st_size
                yield f"{hide(path.relative_to(folder).as_posix())} {size}"
