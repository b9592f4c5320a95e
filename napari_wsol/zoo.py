"""Models as folders: a card, a recipe, weights. Bundled ones and the user's own."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import safetensors
import safetensors.torch
import tomli_w
import torch

from napari_wsol.checkpoints import build, network_of, read_safetensors, recognise
from napari_wsol.devices import choose_device
from napari_wsol.encoders import VectorEncoder
from napari_wsol.encoders.presets import PRESETS
from napari_wsol.errors import (
    ConfigError,
    ExportError,
    MalformedError,
    ModelError,
    Question,
    UnansweredError,
    UnknownNameError,
    choices,
)
from napari_wsol.files import encoded, is_reserved, sha256_of, whole_folder, write_whole
from napari_wsol.files.parsing import parse_toml, read_text
from napari_wsol.methods import evaluating, own_methods
from napari_wsol.methods.card import Card
from napari_wsol.paths import (
    CARD,
    bundled_folder,
    installed_folders,
    models_folder,
    unknown_model,
)
from napari_wsol.registry import origins

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from napari_wsol.methods import Model

UNTELLING = ("model", "encoder", "best1", "best", "latest", "train", "checkpoint")
"""File names that say nothing: the folder's name is taken instead."""

WEIGHTS, RECIPE = "weights.safetensors", "recipe.toml"
CHECK_SIDE, CHECK_CHANNELS = 64, 8
CHECK_TOLERANCE = 1e-3


def list_models() -> list[Card]:
    """Cards of all installed models: bundled ones first, then the user's own.

    A user's model that is damaged is left out here; ``load_model`` says what is wrong.
    """
    cards: list[Card] = []
    for path in installed_folders():
        bundled = path.parent == bundled_folder()
        try:
            cards.append(read_card(path, bundled=bundled))
        except ModelError:
            if bundled:
                raise
    return cards


def read_card(folder: Path, *, bundled: bool = False) -> Card:
    """The card of a model folder.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    try:
        values = parse_toml(read_text(folder / CARD))
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder} is not a model folder: it has no {CARD}."
        ) from error
    except (OSError, MalformedError) as error:
        raise ModelError(f"The card of {folder} cannot be read: {error}.") from error
    return Card.from_dict(values, folder=folder, bundled=bundled)


def find_card(name_or_path: str | Path) -> Card:
    """The card of a model by its name or its folder.

    Raises:
        UnknownNameError: no installed model has this name; names the choices.
        ModelError: the folder is not a model.
    """
    cards = list_models()
    for card in cards:
        if card.name == str(name_or_path):
            return card
    path = Path(name_or_path)
    if path.is_file() and path.name in (CARD, WEIGHTS):
        path = path.parent
    if path.exists():
        return read_card(path, bundled=path.resolve().parent == bundled_folder())
    raise unknown_model(name_or_path, [card.name for card in cards])


def model_of_preset(preset: str) -> str:
    """The name of the one installed model that is a foundation encoder's weights.

    Raises:
        UnknownNameError: no such preset, none of it is installed, or several are.
    """
    if preset not in PRESETS:
        raise choices("preset", preset, list(PRESETS))
    bare = (card for card in list_models() if not card.spec.heads)
    found = [card.name for card in bare if card.spec.encoder == preset]
    if len(found) == 1:
        return found[0]
    advice = f"import them: napari-wsol models import FILE --preset {preset}"
    if found:
        advice = f"choose one of them with --model: {', '.join(found)}"
    raise UnknownNameError(
        f"{len(found) or 'No'} models are of the preset “{preset}”, {advice}."
    )


def load_model(
    name_or_path: str | Path | Card,
    device: str = "auto",
    answers: Mapping[str, str] | None = None,
) -> Model:
    """A model, ready to run.

    Args:
        name_or_path: name of an installed model, a model folder, or an authors'
            checkpoint (file or folder), which is recognised by its content.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        answers: what a checkpoint does not tell, e.g. ``{"pooling": "PCAM"}``.

    Raises:
        UnknownNameError: no such model.
        ModelError: the weights are missing, damaged, or do not fit the card.
        UnansweredError: a checkpoint does not tell all; says which answers it needs.
        ConfigError: the device does not work, or an answer cannot be.
    """
    if isinstance(name_or_path, Card):
        return _load_card(name_or_path, device)
    path = Path(name_or_path)
    folder = path if path.is_dir() else path.parent
    is_ours = (folder / CARD).is_file() or any(
        card.name == str(path)
        for card in list_models()  # by chance a path too
    )
    if path.exists() and not is_ours:
        model, card = read_checkpoint(path, answers)
        model.card = card
        return model.to(choose_device(device))
    return _load_card(find_card(name_or_path), device)


def _load_card(card: Card, device: str) -> Model:
    path = card.folder / WEIGHTS
    if not path.is_file():
        raise ModelError(
            f"The weights of “{card.name}” are missing ({path}). "
            "Copy the whole model folder again."
        )
    if card.sha256 and sha256_of(path) != card.sha256:
        raise ModelError(
            f"The weights of “{card.name}” are not those of its card: {path} is "
            "damaged or was changed. Copy the whole model folder again."
        )
    misfit = f"The weights of “{card.name}” do not fit its card"
    try:
        weights = read_safetensors(path)
    except (OSError, MalformedError) as error:
        raise ModelError(f"{misfit}: {error}.") from error
    try:
        model = network_of(card.spec, weights, f"The model “{card.name}”", misfit)
    except UnknownNameError as error:
        needs = f" It came with {', '.join(card.plugins)}." if card.plugins else ""
        raise ModelError(f"{error}{needs}") from error
    model.card = card
    return model.to(choose_device(device))


def read_checkpoint(
    path: Path, answers: Mapping[str, str] | None = None, *, name: str | None = None
) -> tuple[Model, Card]:
    """The network of an authors' checkpoint, on the CPU, and what can be said of it.

    Args:
        path: file or folder.
        answers: what it does not tell.
        name: of the card; from the file's name by default.

    Raises:
        ModelError, UnansweredError, ConfigError: see :func:`load_model`.
    """
    draft = recognise(path, answers)
    model = build(draft, path)
    methods = own_methods(model)
    card = Card(
        name=name or proposed_name(path),
        title=f"{path.stem} · {draft.system}",
        summary=draft.summary,
        spec=draft.spec,
        methods=tuple(methods),
        primary="pixelcam" if "pixelcam" in methods else methods[-1],
        data="Not told by the checkpoint.",
        origin=f"Imported from {path.name}, a checkpoint of {draft.system}.",
        license=draft.license,
        limits=("Not for diagnosis.", *draft.notes),
        citations=draft.citations,
    )
    return model, card


def import_model(
    path: Path, *, name: str | None = None, answers: Mapping[str, str] | None = None
) -> Card:
    """Makes an authors' checkpoint one of the user's own models.

    Args:
        path: file or folder.
        name: of the new model; from the file's name by default.
        answers: what it does not tell; "name" counts like ``name``.

    Raises:
        UnansweredError: something has to be asked, or the name is taken.
        ModelError, ConfigError: see :func:`load_model`.
        ExportError: it cannot be written.
    """
    name = (answers or {}).get("name") or name or proposed_name(path)
    check_model_name(name)
    if (models_folder() / name).exists() or (bundled_folder() / name).exists():
        raise UnansweredError(
            f"There is a model “{name}” already. Give another name.",
            (Question("name", f"“{name}” is taken. What shall it be called?"),),
        )
    model, card = read_checkpoint(path, answers, name=name)
    return save_model(model, card)


def check_model_name(name: str) -> None:
    """Refuses what cannot name a model, which becomes a folder.

    Raises:
        ConfigError: says what a name may have.
    """
    if is_reserved(name) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ConfigError(
            f"“{name}” cannot name a model: use letters, digits, “.”, “_” and “-”, but "
            "no “.” at the end and no device of Windows, as “con” and “nul” are."
        )


def proposed_name(path: Path) -> str:
    """A name for the model of a file: “Best Model.pth” → “Best-Model”.

    Names that all files of a kind have say nothing; then it is that of the folder.
    """
    told = path.parent.name if path.stem in UNTELLING else path.stem
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", told).strip("-._") or "imported"
    return f"model-{plain}" if is_reserved(plain) else plain


def next_name(taken: str) -> str:
    """Another name than one that is taken: “xray” → “xray-2” → “xray-3”."""
    stem, dash, number = taken.rpartition("-")
    if dash and number.isdecimal():
        return f"{stem}-{int(number) + 1}"
    return f"{taken}-2"


def save_model(
    model: Model, card: Card, folder: Path | None = None, *, recipe: str | None = None
) -> Card:
    """Writes a model folder, all or nothing.

    Args:
        model: the weights.
        card: what to say of it; weights' sha256 and check are filled in.
        folder: parent of the new folder; the user's own models by default.
        recipe: text of the recipe that made it.

    Returns:
        The card as it was written.

    Raises:
        ExportError: a model of that name is there already, or it cannot be written.
    """
    if "folder" in model.encoder.lacks:
        raise ExportError(model.encoder.lacks["folder"])
    parent = folder or models_folder()
    target = parent / card.name
    if target.exists():
        raise ExportError(
            f"There is a model in {target} already. Choose another name, "
            "or move that folder away first."
        )
    try:
        with whole_folder(target) as draft:
            card = _written(model, card, draft)
            if recipe is not None:
                (draft / RECIPE).write_bytes(encoded(recipe))
    except (OSError, safetensors.SafetensorError) as error:
        raise ExportError(
            f"The model could not be saved in {target}: {error}."
        ) from error
    return replace(card, folder=target)


def _written(model: Model, card: Card, folder: Path) -> Card:
    state = {
        key: value.detach().cpu().contiguous()
        for key, value in model.state_dict().items()
    }
    safetensors.torch.save_file(state, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # it is made readable for its owner alone
    spec = model.spec
    card = replace(
        card,
        spec=spec,
        sha256=sha256_of(folder / WEIGHTS),
        check={"logits": check_logits(model)},
        plugins=tuple(origins((*card.methods, spec.encoder, *spec.heads))) or None,
        folder=folder,
    )
    write_card(card)
    return card


def write_card(card: Card) -> None:
    """Writes a card into its folder; whole, or what was there stays."""
    # TOML has no way to write what is no character; a file's name may have it.
    text = tomli_w.dumps(card.to_dict())
    write_whole(card.folder / CARD, text.encode("utf-8", "replace"))


def verify(card: Card) -> None:
    """Checks a model's files and that the network still computes what it did.

    Raises:
        ModelError: says what is different.
    """
    model = load_model(card, device="cpu")
    expected = cast("tuple[float, ...]", card.check.get("logits", ()))
    if not expected:
        raise ModelError(f"The card of “{card.name}” has no check values.")
    found = check_logits(model)
    worst = max(abs(a - b) for a, b in zip(expected, found, strict=True))
    if worst > CHECK_TOLERANCE:
        raise ModelError(
            f"“{card.name}” gives {found} where its card says {list(expected)}: "
            "this version of torch or the weights compute something else."
        )


def check_logits(model: Model) -> list[float]:
    """Image logits of a fixed pattern: any change of the network shows in them.

    Of an encoder alone, the means of its first channels.
    """
    with evaluating(model), torch.inference_mode():
        encoder = model.encoder
        if isinstance(encoder, VectorEncoder):  # a bag of eight tiles
            ramp = torch.linspace(-9, 9, 8 * encoder.channels[-1], device=model.device)
            features = encoder.of_vectors(ramp.sin().view(8, -1))
        else:
            features = encoder(_check_input(model).to(model.device))
        if model.classifier is None:
            found = features.last.mean((-2, -1))[0, :CHECK_CHANNELS]
        else:
            found = model.image_logits(features)[0]
    return [round(float(value), 6) for value in found]


def _check_input(model: Model) -> Tensor:
    side = model.encoder.fixed_size or CHECK_SIDE
    while min(model.encoder.cells(side)) < 1:
        side *= 2  # networks that do not pad, and large tiles, need more for a cell
    ramp = torch.linspace(-1, 1, side)
    rows, columns = ramp[:, None], ramp[None, :]
    planes = [rows + 0 * columns, torch.sin(9 * columns) + 0 * rows, rows * columns]
    return torch.stack(planes)[None, : model.preprocessing.channels]
