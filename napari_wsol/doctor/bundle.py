"""What goes to whoever helps: what was found, and nothing of patients.

Nothing is scrubbed: only what cannot be private is put in, and every name as a digest,
the same for the same name. The key of the digests is thrown away with the bundle, so
that no name can be tried.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
import zipfile
from collections import Counter
from importlib import metadata
from typing import TYPE_CHECKING

from napari_wsol.files import unwritable, write_whole
from napari_wsol.journal import read_record
from napari_wsol.paths import (
    cache_folder,
    config_folder,
    data_folder,
    journals_folder,
    stored_preferences,
)
from napari_wsol.preferences import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from napari_wsol.doctor.finding import Finding

VARIABLES = re.compile(r"(NAPARI_WSOL|QT|LIBGL|MESA|CUDA|OMP|LC)_[A-Z_]+|LANG|DISPLAY")
OPEN_WORDS = re.compile(
    r"[\d.,:]*|auto|cpu|mps|cuda|cuda:\d+|over|beside|py(qt|side)\d|xcb|offscreen|wayland|"
    r"minimal|C|POSIX|(C|[a-z]{2}_[A-Z]{2})\.(UTF-8|utf8)|true|false"
)
"""Values that tell nothing of anybody."""
OUR_NAMES = frozenset(
    "napari-wsol models journals lists trainings cache features slides preferences.json "
    "card.toml weights.safetensors recipe.toml known-sizes.json".split()
)
_QUOTED = re.compile("“([^”]*)”")
MOST_FILES, MOST_JOURNALS = 2000, 200


class Names:
    """Digests of names, with a key of their own."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(16)

    def of(self, name: object) -> str:
        """The digest of a name; of a path, one a part."""
        parts = re.split(r"([/\\])", str(name))
        return "".join(map(self._part, parts))

    def value(self, value: object) -> str:
        """A value of a setting: itself where it is a number or a word of ours."""
        return str(value) if OPEN_WORDS.fullmatch(str(value)) else self.of(value)

    def _part(self, part: str) -> str:
        if part in {"", "/", "\\"} | OUR_NAMES:
            return part
        told = part.encode("utf-8", "surrogatepass")
        return "#" + hashlib.blake2b(told, key=self._key, digest_size=5).hexdigest()


def bundle_of(findings: Iterable[Finding]) -> dict[str, str]:
    """Names and texts of the files of a bundle, to be shown before it is written."""
    names = Names()
    return {
        "report.txt": "".join(_line(finding, names) for finding in findings),
        "versions.txt": "\n".join(_versions(names)),
        "environment.json": json.dumps(_settings(names), indent=1),
        "journals.json": json.dumps(_journals(names), indent=1),
        "files.txt": "\n".join(_files(names)),
    }


def write_bundle(path: Path, texts: Mapping[str, str]) -> None:
    """Writes the zip, whole or not at all.

    Raises:
        ExportError: it cannot be written.
    """
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    with unwritable(f"{path} could not be written", ": choose another folder."):
        write_whole(path, held.getvalue())


def _line(finding: Finding, names: Names) -> str:
    told = f"{finding.text} {finding.mend}".strip()
    told = _QUOTED.sub(lambda found: f"“{names.of(found[1])}”", told)
    return f"{finding.state}\t{finding.name}\t{told}\n"


def _versions(names: Names) -> list[str]:
    """As pip freeze; of what was installed from a folder, not even the name."""
    return sorted(
        f"{names.of(item.name)}=={item.version}"
        if item.read_text("direct_url.json")
        else f"{item.name}=={item.version}"
        for item in metadata.distributions()
    )


def _settings(names: Names) -> dict[str, dict[str, str]]:
    kept = stored_preferences()
    return {
        "environment": {
            name: names.value(value)
            for name, value in sorted(os.environ.items())
            if VARIABLES.fullmatch(name)
        },
        "preferences": {
            name: names.value(kept[name]) for name in DEFAULTS if name in kept
        },
    }


def _journals(names: Names) -> dict[str, dict[str, int]]:
    """How many lines of each kind there are, a journal."""
    folders = sorted({path.parent for path in journals_folder().glob("*/*.jsonl")})
    return {
        names.of(path.name): Counter(
            type(entry).__name__ for entry in read_record(path).entries
        )
        for path in folders[:MOST_JOURNALS]
    }


def _files(names: Names) -> list[str]:
    """Bytes and names of what is in the person's folders."""
    found: list[str] = []
    for folder in dict.fromkeys((data_folder(), config_folder(), cache_folder())):
        for path in sorted(folder.rglob("*"))[:MOST_FILES]:
            if path.is_file():
                inside = path.relative_to(folder).as_posix()
                found.append(f"{path.stat().st_size:>12} {names.of(inside)}")
    return found
