"""Recognises and imports the authors' checkpoints by their content."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from napari_wsol.checkpoints import families, mil, pcam, presets, pylon, wsol
from napari_wsol.checkpoints.draft import Answers, Draft, Source
from napari_wsol.checkpoints.families import places, scopes
from napari_wsol.checkpoints.files import (
    read_metadata,
    read_safetensors,
    read_state,
    settings_text,
)
from napari_wsol.checkpoints.numbers import check_weights
from napari_wsol.config import WEIGHT_SUFFIXES
from napari_wsol.errors import MalformedError, ModelError, WsolError
from napari_wsol.files.parsing import read_json
from napari_wsol.methods import Model

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from napari_wsol.checkpoints.draft import State
    from napari_wsol.methods.spec import ModelSpec

__all__ = [
    "Draft",
    "build",
    "check_weights",
    "network_of",
    "places",
    "read_metadata",
    "read_safetensors",
    "read_state",
    "recognise",
]

AUTHORS = (presets, wsol, pcam, pylon, mil)
"""Tried before torchvision's and timm's families, whose names they have, too."""

PREFERRED = ("best1.ckpt", "best.ckpt", "model.pkl", "model.pt", "train.ckpt")
"""Of several networks in a folder, the one that its authors would test."""

LINKS = ("best", "latest")
"""Folders in which PYLON's code keeps its choice."""

PART = re.compile(r"(encoder|decoder|\w+_head[12]?)$")
"""Names of the files that hold a part of a network."""

PARTS = ("encoder.pt", "encoder.pth", "encoder.safetensors")


def recognise(path: Path, answers: Mapping[str, str] | None = None) -> Draft:
    """The network in an authors' checkpoint.

    Args:
        path: a file of weights, or the folder that the authors' code wrote.
        answers: what the weights do not tell, by key of the question; also "classes",
            names separated by commas.

    Raises:
        ModelError: it cannot be read or is of no known kind; says what to do.
        UnansweredError: something has to be asked first.
        ConfigError: an answer that cannot be.
    """
    source = _find(path)
    asked = Answers(answers or {})
    draft = next(filter(None, _drafts(source, asked)), None)
    if draft is not None:
        asked.settle(path)
        return draft
    names = ", ".join(list(next(iter(source.parts.values())))[:4])
    raise ModelError(
        f"{path.name} is of no kind that is known here; its first weights are {names}. "
        "Checkpoints of PixelCAM's, PCAM's, PYLON's, A-MIL's and CLAM's code are, and "
        "ResNet, DenseNet, VGG, Inception-v3 and ViT. Wrap others in Python: wsol.wrap."
    )


def _drafts(source: Source, answers: Answers) -> Iterator[Draft | None]:
    """What each family makes of a checkpoint, under whatever prefix it may lie."""
    for prefix, state in scopes(source.only).items():
        found = replace(source, parts={prefix: state}) if prefix else source
        took = [f"Took `{prefix[:-1]}`."] if prefix else []
        for draft in (family.recognise(found, answers) for family in AUTHORS):
            yield draft and replace(draft, notes=(*draft.notes, *took))
    yield families.recognise(source, answers)


def build(draft: Draft, path: Path) -> Model:
    """The network of a draft, with its weights.

    Raises:
        ModelError: an entry is missing, unknown, of another shape or holds no real
            numbers.
    """
    return network_of(
        draft.spec,
        draft.weights,
        path.name,
        f"{path.name} looks like {draft.system} ({draft.spec.encoder}), but its "
        "weights do not fit",
    )


def network_of(spec: ModelSpec, weights: State, name: str, misfit: str) -> Model:
    """The network that a spec describes, with weights from a file.

    Nothing is allocated before the weights are known to fit: a spec of some bytes may
    describe a network of many GB.

    Args:
        spec: what to build.
        weights: under its names.
        name: of the file or model, for messages.
        misfit: what to say where they do not fit; the reasons are added.

    Raises:
        ModelError: an entry is missing, unknown, of another shape or holds no real
            numbers, or there is no such network.
    """
    with torch.device("meta"):
        wanted = _built(spec, misfit).state_dict()
    # torch < 0.4.1 did not count batches; nothing reads the counts when testing.
    counts = [key for key in wanted if key.endswith("num_batches_tracked")]
    given = {**{key: torch.tensor(0) for key in counts}, **weights}
    problems = _problems(wanted, given)
    if problems:
        raise ModelError(f"{misfit}: {'; '.join(problems)}.")
    check_weights(given, wanted, name)
    model = _built(spec, misfit)
    model.load_state_dict(given)
    return model.eval()


def _built(spec: ModelSpec, misfit: str) -> Model:
    try:
        return Model(spec)
    except WsolError:
        raise
    except Exception as error:  # a file may ask for any network; torch raises anything
        raise ModelError(f"{misfit}: it cannot be built ({error}).") from error


def _problems(wanted: State, given: State) -> list[str]:
    """Why weights do not fit, the first few reasons."""
    missing = sorted(set(wanted) - set(given))
    unknown = sorted(set(given) - set(wanted))
    return [
        *(f"{key} is missing" for key in missing[:3]),
        *(f"{key} is unknown" for key in unknown[:3]),
        *[
            f"{key} is {tuple(given[key].shape)}, not {tuple(wanted[key].shape)}"
            for key in wanted
            if key in given and wanted[key].shape != given[key].shape
        ][:3],
    ]


def _find(path: Path) -> Source:
    """The weights of a file or folder, and what lies beside them."""
    if not path.exists():
        raise ModelError(f"There is no {path}.")
    if path.is_file() and path.name in PARTS:
        path = path.parent  # an encoder alone is not a network
    if path.is_dir():
        return _folder(path)
    return Source(path, {path.stem: read_state(path)}, *_beside(path.parent))


def _folder(path: Path) -> Source:
    if any((path / name).is_file() for name in PARTS):
        parts: dict[str, State] = {
            item.stem: read_state(item)
            for item in sorted(path.iterdir())
            if item.suffix in WEIGHT_SUFFIXES and PART.match(item.stem)
        }
        return Source(path, parts, *_beside(path))
    for name in PREFERRED:
        if (path / name).is_file():
            state = read_state(path / name)
            return Source(path, {"model": state}, *_beside(path))
    for name in LINKS:
        if (path / name).is_dir():
            return _folder((path / name).resolve())
    files = [item for item in sorted(path.iterdir()) if item.suffix in WEIGHT_SUFFIXES]
    if len(files) == 1:
        return Source(path, {"model": read_state(files[0])}, *_beside(path))
    found = ", ".join(item.name for item in files) or "none"
    raise ModelError(
        f"{path} is no folder of a known checkpoint (weight files: {found}). Give one "
        "file, or the folder with encoder.pt, best1.ckpt, model.pkl or model.pt."
    )


def _beside(folder: Path) -> tuple[dict[str, str], dict[str, object]]:
    """Plain settings from a YAML file, and the entries of a JSON one."""
    settings: dict[str, str] = {}
    for name in ("config_obj_final.yaml", "config_model.yaml"):
        settings |= settings_text(folder / name)
    for name in ("cfg.json", "config.json"):
        if (folder / name).is_file():
            try:
                return settings, read_json(folder / name, dict[str, object])
            except (OSError, MalformedError) as error:
                raise ModelError(
                    f"{folder / name} is damaged ({error}). Copy it again, or move it "
                    "away to be asked for what it says."
                ) from error
    return settings, {}
