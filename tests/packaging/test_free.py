"""Licences: said as they are, with their texts; and the build of what is free alone."""

from __future__ import annotations

import json
import re
import sys
import tarfile
import zipfile
from email.parser import BytesParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.packaging.conftest import Environment, interpreter, make_environment, run

if TYPE_CHECKING:
    from email.message import Message

TERMS = {
    "Apache-2.0",
    "BSD-3-Clause",
    "LicenseRef-GlaS-research-only",
    "LicenseRef-NIH-ChestX-ray14",
}

WITHOUT = """
import json, napari_wsol
from napari_wsol.errors import UnknownNameError
from napari_wsol.gui.images.samples import FILM
try:
    napari_wsol.load_model("glands-mobilenetv2")
except UnknownNameError as error:
    print(json.dumps([len(napari_wsol.list_models()), FILM.exists(), str(error)]))
"""


def contents(wheel: Path) -> tuple[set[str], Message]:
    """The names of the files, and the metadata."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith("dist-info/METADATA"))
        return names, BytesParser().parsebytes(archive.read(metadata))


def test_the_wheel_names_every_licence_and_has_its_text(wheel: Path):
    names, metadata = contents(wheel)
    assert set(metadata["License-Expression"].split(" AND ")) == TERMS
    files = {name.partition("/licenses/")[2] for name in names}
    texts = {"LICENSE", *(f"LICENSES/{term}.txt" for term in TERMS - {"BSD-3-Clause"})}
    assert set(metadata.get_all("License-File")) == texts
    assert texts <= files


@pytest.mark.slow
def test_the_free_build_has_neither_weights_nor_film_and_says_so(
    sdist: Path, tmp_path: Path
):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    folder = tmp_path / sdist.name.removesuffix(".tar.gz")
    run(sys.executable, "tools/free.py", cwd=folder)
    (wheel,) = folder.glob("dist/free/*.whl")
    (source,) = folder.glob("dist/free/*.tar.gz")
    names, metadata = contents(wheel)
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata.get_all("License-File") == ["LICENSE"]
    with tarfile.open(source) as archive:
        sources = set(archive.getnames())
    with zipfile.ZipFile(wheel) as archive:
        manifest = archive.read("napari_wsol/napari.yaml").decode()
    assert "sample_immunohistochemistry" in manifest
    assert "chest_film" not in manifest
    unfree = re.compile(r"\.safetensors$|models/.*-mobilenetv2|chest_film|LICENSES/")
    assert not [name for name in names | sources if unfree.search(name)]
    assert "napari_wsol/napari.yaml" in names

    environment = tmp_path / "environment"
    make_environment(environment)
    pip = (sys.executable, "-m", "pip", "--python", interpreter(environment), "install")
    run(*pip, "--quiet", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    free = Environment(folder=environment, project=folder, editable=False)
    models, film, words = json.loads(free.python(WITHOUT))
    assert (models, film) == (0, False)
    assert "napari-wsol models import FILE" in words


@pytest.mark.parametrize("name", ["glands-mobilenetv2", "malignancy-mobilenetv2"])
def test_the_terms_name_the_weights_that_they_are_for(name: str):
    root = Path(__file__).resolve().parents[2]
    card = (root / "models" / name / "card.toml").read_text("utf-8")
    assert "Research use only, no commercial use (GlaS terms)" in card
    terms = root / "LICENSES" / "LicenseRef-GlaS-research-only.txt"
    assert f"models/{name}" in terms.read_text("utf-8")
