"""What an importer works on, and what it makes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from napari_wsol.encoders import build_encoder, nominal_offset
from napari_wsol.errors import ConfigError, ModelError, Question, UnansweredError
from napari_wsol.files.parsing import parse_toml, typed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from napari_wsol.methods import ModelSpec

    State = dict[str, Tensor]

YES_NO = ("yes", "no")
_TEXT = Path(__file__).with_name("questions.toml").read_text("utf-8")
QUESTIONS = typed(parse_toml(_TEXT), dict[str, str])


@dataclass(frozen=True, slots=True)
class Source:
    """A checkpoint as it was found.

    Attributes:
        path: file or folder.
        parts: weights of each file, by the file's name without its ending.
        settings: what files beside it say, as plain text values.
        config: the same where it is JSON, as it is.
    """

    path: Path
    parts: Mapping[str, State]
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    config: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def only(self) -> State:
        """The weights, if they lie in one file."""
        return next(iter(self.parts.values())) if len(self.parts) == 1 else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A network that was recognised.

    Attributes:
        spec: how to build it.
        weights: under our names.
        system: whose code it comes from, e.g. "PCAM".
        summary: what it is, a sentence.
        citations: papers to cite.
        notes: what a user must know, a sentence each.
        license: terms of the weights, where they are known.
    """

    spec: ModelSpec
    weights: State
    system: str
    summary: str
    citations: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    license: str = "Not told by the checkpoint: ask its authors."


class Answers:
    """What the person says of a checkpoint, and what is still to be asked.

    Args:
        given: answers by key.
    """

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given
        self._open: list[Question] = []
        self._counted = {"name"}

    def choose(
        self,
        key: str,
        options: Sequence[str],
        known: str | None = None,
        about: object = "",
    ) -> str:
        """An answer, from the person first, then from what is known.

        Without either the question is noted and the first choice returned, so that
        all questions come up at once; :meth:`settle` raises then.

        Args:
            key: of ``questions.toml``.
            options: that there are.
            known: what the file tells.
            about: what the question speaks of.

        Raises:
            ConfigError: the person's answer is none of the choices.
        """
        answer = self.given(key)
        if answer is not None:
            for option in options:
                if option.lower() == answer.lower():
                    return option
            raise ConfigError(
                f"“{answer}” is no answer to {key}: choose one of {', '.join(options)}."
            )
        if known in options:
            return str(known)
        text = QUESTIONS[key].format(about)
        self._open.append(Question(key, text, tuple(options)))
        return options[0]

    def given(self, key: str) -> str | None:
        """The person's answer, if there is one: it counts for this checkpoint."""
        self._counted.add(key)
        return self._given.get(key)

    def tell(self, key: str, known: str | None, example: str) -> str:
        """What the person says in words of their own, or what is known.

        Without either the question is noted and the example stands in.
        """
        answer = self.given(key) or known
        if answer is None:
            self._open.append(Question(key, QUESTIONS[key]))
        return answer or example

    def classes(
        self, count: int, known: Sequence[str] = (), *, asked: bool = False
    ) -> tuple[str, ...]:
        """Names of the classes: the person's, those known, or numbers, also if asked.

        Raises:
            ConfigError: the person named another number of them.
        """
        answer = self.given("classes")
        if answer is not None:
            names = tuple(name.strip() for name in answer.split(",") if name.strip())
            if len(names) != count or len(set(names)) != count:
                raise ConfigError(
                    f"This network has {count} classes; {len(names)} were named. Give "
                    "different names, separated by commas, in the order of its outputs."
                )
            return names
        if len(known) == count:
            return tuple(known)
        if asked:
            self._open.append(Question("classes", QUESTIONS["classes"].format(count)))
        return tuple(f"class {index}" for index in range(count))

    def settle(self, path: Path) -> None:
        """Goes on only if nothing is left to ask, and nothing was said in vain.

        Raises:
            UnansweredError: something is.
            ConfigError: an answer that nothing asks for; names the keys that count.
        """
        vain = ", ".join(key for key in self._given if key not in self._counted)
        stray = f"Nothing in {path.name} asks for {vain}." if vain else ""
        if self._open:
            asked = (f"{x.key} ({', '.join(x.choices) or x.text})" for x in self._open)
            raise UnansweredError(
                f"{path.name} does not say all that is needed to rebuild its network. "
                f"Say: {'; '.join(asked)}. {stray}".strip(),
                tuple(self._open),
            )
        if vain:
            counted = ", ".join(sorted(self._counted - {"name"})) or "none"
            raise ConfigError(f"{stray} Answers that count for it: {counted}.")


def need(state: State, key: str, path: Path) -> Tensor:
    """An entry that a network of this kind has.

    Raises:
        ModelError: it is missing.
    """
    if key not in state:
        raise ModelError(f"{path.name} is incomplete: it has no {key}.")
    return state[key]


def renamed(state: State, prefixes: Mapping[str, str]) -> State:
    """Entries under other names; those under none of the prefixes are left out.

    Args:
        state: name → tensor.
        prefixes: old → new; the first that fits counts.
    """
    result: State = {}
    for key, value in state.items():
        for old, new in prefixes.items():
            if key.startswith(old):
                result[new + key.removeprefix(old)] = value
                break
    return result


def nominal_offsets(
    encoder: str, taps: tuple[str, ...] | None = None
) -> tuple[float, ...]:
    """Offsets of an encoder's taps where maps are drawn as if cells were squares."""
    with torch.device("meta"):
        strides = build_encoder(encoder, taps=taps).strides
    return tuple(map(nominal_offset, strides))


def resnet_name(state: State) -> str:
    """Which ResNet it is, by its blocks."""
    if "layer1.0.conv3.weight" in state:
        return "resnet50"
    return "resnet34" if "layer1.2.conv1.weight" in state else "resnet18"
