"""Builds the free distributions into dist/free: the code, without weights and film.

    python tools/free.py

For channels that take free content only. The weights that come along were learnt from
images for research (LICENSES/), so both distributions leave them out, and say
BSD-3-Clause and nothing else. Works on a clone and on the source distribution; needs
hatchling, PyYAML and tomli-w.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

import tomli_w
import yaml

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "dist" / "free"
FILM, SAMPLE = "napari_wsol/gui/images", "napari-wsol.sample_chest_film"
README = """# Bundled models

This build has none: the weights that come with napari-wsol otherwise are for research
only. `napari-wsol models import FILE` makes a model of a checkpoint of yours,
`napari-wsol train` teaches one.
"""


def build(target: str, folder: Path, out: Path) -> None:
    """One distribution of a source tree."""
    command = (sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out))
    subprocess.run(command, cwd=folder, check=True)


def make_free(folder: Path) -> None:
    """Takes what is not free out of a source tree, and says so in its metadata."""
    shutil.rmtree(folder / "LICENSES")
    shutil.rmtree(folder / "models")
    (folder / "models").mkdir()
    (folder / "models" / "README.md").write_text(README, encoding="utf-8")
    for ending in ("jpg", "md"):
        (folder / FILM / f"chest_film.{ending}").unlink()
    path = folder / "napari.yaml"
    manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, key in (("commands", "id"), ("sample_data", "command")):
        found = manifest["contributions"][name]
        manifest["contributions"][name] = [x for x in found if x[key] != SAMPLE]
    path.write_text(yaml.safe_dump(manifest, allow_unicode=True), encoding="utf-8")
    path = folder / "pyproject.toml"
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    values["project"] |= {"license": "BSD-3-Clause", "license-files": ["LICENSE"]}
    path.write_text(tomli_w.dumps(values), encoding="utf-8")


def main() -> None:
    """Source distribution and wheel."""
    with TemporaryDirectory() as name:
        build("sdist", ROOT, Path(name))
        (archive,) = Path(name).glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(name, filter="data")
        folder = archive.with_name(archive.name.removesuffix(".tar.gz"))
        make_free(folder)
        for target in ("sdist", "wheel"):
            build(target, folder, OUT)


if __name__ == "__main__":
    main()
