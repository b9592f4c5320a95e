"""Which channel and plane of an image of several is shown: one rule for all readers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_wsol.errors import ImageError, Question, StackError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CHANNEL = "channel"
"""Key of the question which channel is shown; the others are asked by axis."""

_COMPOSITE = 3
_PLANE_AXES = ("y", "x")
_COLOURS = (3, 4)


@dataclass(frozen=True, slots=True)
class Pick:
    """What a person wants to see of an image that holds more than one.

    Attributes:
        rgb: True takes three or four channels as colours, False never does.
        channel: a channel, counted from 0; or the three that become red, green, blue.
        plane: index on each further axis, in the order of the file, from 0.
    """

    rgb: bool | None = None
    channel: tuple[int, ...] = ()
    plane: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuses what no image has.

        Raises:
            ImageError: two or four channels, or a number below 0.
        """
        if len(self.channel) not in (0, 1, _COMPOSITE):
            raise ImageError(
                f"One channel is shown, or three as red, green and blue, and not "
                f"{len(self.channel)}: give channel=0 or channel=(0, 1, 2)."
            )
        if min((*self.channel, *self.plane), default=0) < 0:
            raise ImageError(
                "Channels and planes are counted from 0: give no number below."
            )
        if self.rgb and self.channel:
            raise ImageError(
                "Choose rgb for the colours as they are, or channels, and not both."
            )

    @property
    def key(self) -> str:
        """By which pixels of one file are told apart; empty where nothing is chosen."""
        return f"{self.channel} {self.plane}" if self.channel or self.plane else ""


ANY = Pick()
"""Nothing is chosen: what must be, is asked for."""


def pick(
    rgb: bool | None,
    channel: int | Sequence[int] | None,
    plane: int | Sequence[int] | None,
) -> Pick:
    """What ``open_slide`` was asked for, one number or several.

    Raises:
        ImageError: as :class:`Pick`.
    """
    return Pick(rgb, _numbers(channel), _numbers(plane))


def answered(answers: Mapping[str, str]) -> Pick:
    """The pick behind the answers to the questions of a ``StackError``."""
    numbers = {
        key: tuple(map(int, re.findall(r"\d+", choice.partition(" (")[0])))
        for key, choice in answers.items()
    }
    channel = numbers.pop(CHANNEL, ())
    return Pick(channel=channel, plane=tuple(index for (index,) in numbers.values()))


def _numbers(given: int | Sequence[int] | None) -> tuple[int, ...]:
    if given is None:
        return ()
    return (given,) if isinstance(given, int) else tuple(given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """An image of any number of axes.

    Attributes:
        name: of the image, for messages.
        axes: what each axis is called, in order; one is "y", one "x", in any case.
        shape: size along each axis.
        channels: name of the axis of channels; empty where there is none.
        are_colours: whether its channels are colours that belong together.
        names: of the channels, or of what lies on another axis, where known.
        example: how a plane is taken from an array, such as ``stack[0]``.
    """

    name: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    channels: str = ""
    are_colours: bool = False
    names: Mapping[str, Sequence[str]] = field(
        default_factory=dict[str, "Sequence[str]"]
    )
    example: str = "stack[0]"

    @property
    def sizes(self) -> dict[str, int]:
        """Size of each axis."""
        return dict(zip(self.axes, self.shape, strict=True))

    def place(self, axis: str, index: int) -> str:
        """A number on an axis, and the name of what lies there."""
        names = self.names.get(axis, ())
        name = names[index] if len(names) == self.sizes.get(axis) else ""
        return f"{index} ({name})" if name else str(index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Where in an image the pixels that are shown lie.

    Attributes:
        axis: of the channels; empty where there is none.
        channels: indices on it; None for all, which are colours.
        planes: index on each further axis that is longer than 1.
        notes: what was chosen, in sentences.
    """

    axis: str = ""
    channels: tuple[int, ...] | None = None
    planes: dict[str, int] = field(default_factory=dict[str, int])
    notes: tuple[str, ...] = ()


def choose(stack: Stack, pick: Pick) -> Chosen:
    """What of an image is shown.

    Channels that are colours stay together. Of others one is shown, or three as red,
    green and blue, and of each further axis one plane: nothing is guessed.

    Raises:
        StackError: the image has several, and the pick does not say which; holds the
            questions to ask.
        ImageError: the pick asks for what the image has not.
    """
    sizes = stack.sizes
    deep = {
        axis: size
        for axis, size in sizes.items()
        if axis.lower() not in _PLANE_AXES and axis != stack.channels and size > 1
    }
    axis = stack.channels
    count = sizes.get(axis, 1)
    if count == 1 and (pick.rgb or pick.channel) and len(deep) - len(pick.plane) == 1:
        # The person knows better what an axis is that the file calls otherwise.
        axis = next(iter(deep))
        count = deep.pop(axis)
    is_wanted = stack.are_colours if pick.rgb is None else pick.rgb
    are_colours = (is_wanted and count in _COLOURS) or (
        stack.are_colours and pick.rgb is not False
    )
    is_open = count > 1 and not pick.channel and not are_colours
    if is_open or (deep and not pick.plane):
        asked = {axis: count} if is_open else {}
        raise _question(stack, asked, {} if pick.plane else deep)
    _check(stack, pick, count, deep)
    planes = dict(zip(deep, pick.plane, strict=True))
    return Chosen(
        axis=axis if axis in sizes else "",
        channels=pick.channel or (None if count > 1 else (0,)),
        planes=planes,
        notes=_notes(stack, pick, {axis: count}, deep),
    )


def _check(stack: Stack, pick: Pick, count: int, deep: dict[str, int]) -> None:
    if len(pick.plane) != len(deep):
        axes = _listed(deep) or "none"
        raise ImageError(
            f"“{stack.name}” has {len(deep)} axes of planes ({axes}), and "
            f"{len(pick.plane)} were given: give one number for each."
        )
    wanted = [("channel", index, count) for index in pick.channel]
    wanted += [
        (f"plane on {axis}", index, size)
        for (axis, size), index in zip(deep.items(), pick.plane, strict=True)
    ]
    for what, index, size in wanted:
        if index >= size:
            raise ImageError(
                f"“{stack.name}” has no {what} of number {index}: "
                f"they are counted from 0 to {size - 1}."
            )


def _question(
    stack: Stack, channels: dict[str, int], deep: dict[str, int]
) -> StackError:
    count = next(iter(channels.values()), 1)
    ways: list[str] = []
    if deep:
        example = ", ".join("0" for _ in deep)
        value = example if len(deep) == 1 else f"({example})"
        ways.append(f"plane={value} (--plane {example.replace(' ', '')})")
    if channels:
        ways.append("channel=0 (--channel 0)")
    three = (
        ", or three as red, green and blue with channel=(0, 1, 2) (--channel 0,1,2)"
        if count >= _COMPOSITE
        else ""
    )
    is_rgb = count in _COLOURS or (not channels and list(deep.values()) in ([3], [4]))
    hint = " If they are red, green and blue, open it with rgb=True (--rgb)."
    what = (
        f"is a stack ({_listed({**deep, **channels})})"
        if deep
        else f"has {count} channels"
    )
    return StackError(
        f"“{stack.name}” {what}, and one plane is needed: choose it with "
        f"{' and '.join(ways)}{three}, or pass it as an array, for instance "
        f"{stack.example}.{hint if is_rgb else ''}",
        _questions(stack, channels, deep),
    )


def _questions(
    stack: Stack, channels: dict[str, int], deep: dict[str, int]
) -> tuple[Question, ...]:
    questions = [
        Question(
            axis,
            f"Which {axis}?" if axis in stack.names else f"Which plane on {axis}?",
            tuple(stack.place(axis, index) for index in range(size)),
        )
        for axis, size in deep.items()
    ]
    for axis, count in channels.items():
        listed = [stack.place(axis, index) for index in range(count)]
        if count >= _COMPOSITE:
            listed.append("0, 1, 2 (as red, green and blue)")
        questions.append(Question(CHANNEL, "Which channel?", tuple(listed)))
    return tuple(questions)


def _notes(
    stack: Stack, pick: Pick, channels: dict[str, int], deep: dict[str, int]
) -> tuple[str, ...]:
    notes: list[str] = []
    ((axis, count),) = channels.items()
    if pick.channel and count > 1:
        shown = [stack.place(axis, index) for index in pick.channel]
        notes.append(
            f"Channel {shown[0]} of {count} is shown."
            if len(shown) == 1
            else f"Channels {', '.join(shown)} of {count} are shown as RGB."
        )
    notes += [
        f"Plane {stack.place(axis, index)} of {size} on {axis} is shown."
        for (axis, size), index in zip(deep.items(), pick.plane, strict=True)
    ]
    return tuple(notes)


def _listed(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{axis} = {size}" for axis, size in sizes.items())
