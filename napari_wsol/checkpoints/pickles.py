"""Reads a pickle as plain data: nothing that it names is imported, called or built.

The opcodes are taken one by one. Dicts, lists, texts and numbers become what they are;
a tensor becomes a :class:`StoredTensor`, which says where its numbers lie; what numpy
and torch put beside weights becomes :data:`ASIDE`. Any other object is passed over, as
a table of the items that it was given; but what runs code or opens files elsewhere is
an error. The longest pickles of published checkpoints have 300 kB.
"""

from __future__ import annotations

import pickletools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, cast

from napari_wsol.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Callable

OPCODES = 2_000_000
"""Of a pickle: read in some seconds; the largest published one has 60,000."""

AXES = 16
"""Of a tensor; networks have five."""


class ForeignObjectError(MalformedError):
    """The pickle needs a Python object that is not built; the message is its name."""


class ForeignObject(dict[str, object]):
    """A Python object that is not built: the items that it was given as a table."""


class _Aside:
    """Something beside the weights, which is passed over."""


ASIDE = _Aside()
"""Stands for all that is passed over: numbers of numpy, devices, sizes."""


@dataclass(frozen=True, slots=True)
class _Name:
    """A Python object that is known here, by module and name."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True)
class StoredNumbers:
    """Numbers of a file, which several tensors may share.

    Attributes:
        kind: torch's name of their type, such as "FloatStorage".
        key: under which the file has them.
        count: how many.
    """

    kind: str
    key: str
    count: int


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor of a file.

    Attributes:
        numbers: that it shows.
        offset: of its first one.
        shape: along each axis.
        strides: from one number to the next, along each axis.
    """

    numbers: StoredNumbers
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a pickle says.

    Attributes:
        plain: its value.
        storages: the numbers that it points at, by key.
        passed: names of the Python objects that were passed over, in order.
    """

    plain: Plain
    storages: dict[str, StoredNumbers]
    passed: tuple[str, ...] = ()


Plain: TypeAlias = object
"""What a pickle gives: dict, list, tuple, str, bytes, int, float, bool, None,
StoredTensor or ASIDE."""

_MARK = object()
_DICTS = frozenset({"collections.OrderedDict", "collections.defaultdict"})
_TENSORS = frozenset({
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
})  # fmt: skip
_SAME = frozenset({"torch._utils._rebuild_parameter"})
_ASIDE = frozenset({
    "_codecs.encode", "builtins.bytearray", "builtins.complex", "builtins.frozenset",
    "builtins.object", "builtins.range", "builtins.set", "builtins.slice",
    "__builtin__.complex", "__builtin__.object", "__builtin__.set", "__builtin__.slice",
    "collections.Counter", "numpy._core.numeric._frombuffer",
    "numpy.core.numeric._frombuffer", "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct", "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar", "numpy.dtype", "numpy.ndarray", "torch.Size",
    "torch.device",
})  # fmt: skip
_DTYPES = frozenset({
    "bfloat16", "bool", "complex128", "complex64", "float16", "float32", "float64",
    "int16", "int32", "int64", "int8", "uint8",
})  # fmt: skip
_RISKY = re.compile(
    r"(os|posix|nt|pty|sys|_?io|subprocess|shutil|socket|ctypes|importlib|runpy|code|"
    r"_?pickle|marshal|webbrowser|operator|numpy\.lib|"
    r"torch\.(_utils|hub|jit|serialization|storage))(\..*)?|"
    r"torch|numpy(\.core\..*|\._core\..*)?|builtins|__builtin__"
)
"""Modules whose functions may run code or read files, for who opens it with pickle."""

_STORAGE = "Storage"


def read_pickle(file: BinaryIO) -> Contents:
    """What the pickle at the present position of a file holds.

    Raises:
        ForeignObjectError: it holds a Python object.
        MalformedError: it is damaged, too large, or no pickle.
    """
    try:
        reader = _Reader()
        plain = reader.read(file)
        return Contents(plain, reader.storages, tuple(reader.passed))
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        if isinstance(error, MalformedError):
            raise
        raise MalformedError(f"its table of contents is damaged ({error})") from error


class _Reader:
    """A stack, a memo, and what each opcode does with them."""

    def __init__(self) -> None:
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}
        self.storages: dict[str, StoredNumbers] = {}
        self.passed: dict[str, None] = {}
        self._actions: dict[str, Callable[[object], None]] = {
            "DUP": lambda _: self._stack.append(self._stack[-1]),
            "TUPLE": lambda _: self._stack.append(tuple(self._marked())),
            "TUPLE1": lambda _: self._tuple(1),
            "TUPLE2": lambda _: self._tuple(2),
            "TUPLE3": lambda _: self._tuple(3),
            "LIST": lambda _: self._stack.append(self._marked()),
            "APPEND": lambda _: self._extend([self._pop()]),
            "APPENDS": lambda _: self._extend(self._marked()),
            "ADDITEMS": lambda _: self._extend(self._marked()),
            "SETITEM": lambda _: self._update([self._stack.pop(-2), self._pop()]),
            "SETITEMS": lambda _: self._update(self._marked()),
            "GLOBAL": self._global,
            "STACK_GLOBAL": self._stack_global,
            "REDUCE": self._call,
            "NEWOBJ": self._call,
            "NEWOBJ_EX": lambda _: self._call(self._pop()),
            "FROZENSET": lambda _: self._stack.append(tuple(self._marked())),
            "BUILD": self._build,
            "BINPERSID": self._stored,
        }

    def read(self, file: BinaryIO) -> Plain:
        for count, (op, arg, _) in enumerate(pickletools.genops(file)):
            if count > OPCODES:
                raise MalformedError(f"it has more than {OPCODES} parts")
            if op.name == "STOP":
                return self._pop()
            self._step(op.name, arg)
        raise MalformedError("it ends too early")

    def _step(self, name: str, arg: object) -> None:
        if name in _PUSHED:
            self._stack.append(arg)
        elif name in _MADE:
            self._stack.append(_MADE[name]())
        elif name in ("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"):
            at = len(self._memo) if name == "MEMOIZE" else cast("int", arg)
            self._memo[at] = self._stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            self._stack.append(self._memo[cast("int", arg)])
        elif name in self._actions:
            self._actions[name](arg)
        elif name not in ("PROTO", "FRAME"):
            raise MalformedError(f"it uses {name}, which weights do not need")

    def _pop(self) -> object:
        return self._stack.pop()

    def _marked(self) -> list[object]:
        """What lies above the last mark, which goes."""
        at = len(self._stack) - 1
        while self._stack[at] is not _MARK:
            at -= 1
        found = self._stack[at + 1 :]
        del self._stack[at:]
        return found

    def _tuple(self, count: int) -> None:
        at = len(self._stack) - count
        if at < 0:
            raise MalformedError("it takes more than it has")
        self._stack[at:] = [tuple(self._stack[at:])]

    def _extend(self, items: list[object]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            cast("list[object]", target).extend(items)
        elif not isinstance(target, _Aside | ForeignObject):
            raise MalformedError("it adds to what is no list")

    def _update(self, items: list[object]) -> None:
        target = self._stack[-1]
        if target is ASIDE:
            return
        if not isinstance(target, dict):
            raise MalformedError("it adds to what is no table")
        table = cast("dict[str, object]", target)
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Weights have names; tables by number hold the state of an optimizer.
            if isinstance(key, str):
                table[key] = value

    def _name(self, module: str, name: str) -> None:
        found = _Name(module, name)
        is_known = str(found) in _DICTS | _TENSORS | _SAME | _ASIDE
        is_torch = module in ("torch", "torch.storage")
        if not is_known and not (is_torch and (name in _DTYPES or _is_storage(name))):
            if _RISKY.fullmatch(module):
                raise ForeignObjectError(str(found))
            self.passed[str(found)] = None
        self._stack.append(found)

    def _global(self, arg: object) -> None:
        self._name(*cast("str", arg).split(" ", 1))

    def _stack_global(self, _arg: object) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise MalformedError("it names an object by what is no text")
        self._name(module, name)

    def _call(self, _arg: object) -> None:
        arguments, called = self._pop(), self._pop()
        if not isinstance(called, _Name) or not isinstance(arguments, tuple):
            raise MalformedError("it calls what is no function")
        given = cast("tuple[object, ...]", arguments)
        self._stack.append(_result(str(called), given))

    def _build(self, _arg: object) -> None:
        """Attributes beside the items of a table, such as the versions of layers."""
        self._pop()
        if not isinstance(self._stack[-1], dict | _Aside):
            raise MalformedError("it changes what is no table")

    def _stored(self, _arg: object) -> None:
        found = self._pop()
        if not isinstance(found, tuple) or len(cast("tuple[object]", found)) < 5:
            raise MalformedError("it points at what is no storage")
        tag, kind, key, _, count = cast("tuple[object, ...]", found)[:5]
        is_kind = isinstance(kind, _Name) and _is_storage(kind.name)
        is_told = isinstance(key, str) and _is_count(count)
        if tag != "storage" or not is_kind or not is_told:
            raise MalformedError("it points at what is no storage")
        # The sixth entry, where there is one, says that it is a part of another.
        if cast("tuple[object, ...]", found)[5:] not in ((), (None,)):
            raise MalformedError("a storage in it is a part of another one")
        numbers = StoredNumbers(
            cast("_Name", kind).name, cast("str", key), cast("int", count)
        )
        if self.storages.setdefault(numbers.key, numbers) != numbers:
            raise MalformedError("two of its tensors tell the same numbers differently")
        self._stack.append(numbers)


def _is_storage(name: str) -> bool:
    return name.endswith(_STORAGE) and name.isidentifier()


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _result(called: str, given: tuple[object, ...]) -> object:
    """What stands for the result of a call that the pickle asks for."""
    if called in _DICTS:
        return _table(given)
    if called in _SAME and given:
        return given[0]
    if called in _TENSORS:
        return _tensor(given)
    return ASIDE if called in _ASIDE else ForeignObject()


def _table(given: tuple[object, ...]) -> dict[str, object]:
    """An OrderedDict, empty or of pairs, as old versions of Python wrote it."""
    first = given[0] if given else None
    pairs = cast("list[object]", first) if isinstance(first, list) else []
    found: dict[str, object] = {}
    for pair in pairs:
        key, value = cast("list[object]", pair)
        if isinstance(key, str):
            found[key] = value
    return found


def _tensor(given: tuple[object, ...]) -> StoredTensor:
    numbers, offset, shape, strides = given[:4]
    sizes = [shape, strides]
    is_told = all(
        isinstance(one, tuple) and all(map(_is_count, cast("tuple[object, ...]", one)))
        for one in sizes
    )
    if not (isinstance(numbers, StoredNumbers) and _is_count(offset) and is_told):
        raise MalformedError("a tensor in it has no place")
    found = StoredTensor(
        numbers,
        cast("int", offset),
        cast("tuple[int, ...]", shape),
        cast("tuple[int, ...]", strides),
    )
    _check_place(found)
    return found


def _check_place(tensor: StoredTensor) -> None:
    """A tensor shows numbers that are there, each once: no few ones as very many."""
    shape, strides = tensor.shape, tensor.strides
    if len(shape) != len(strides) or len(shape) > AXES:
        raise MalformedError("a tensor in it has no shape")
    count, last = 1, tensor.offset
    for size, stride in zip(shape, strides, strict=True):
        count *= size
        last += max(0, size - 1) * stride
    if count and (last >= tensor.numbers.count or count > tensor.numbers.count):
        raise MalformedError("a tensor in it has more numbers than are stored")


_PUSHED = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "STRING",
    "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
    "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "FLOAT",
    "BINFLOAT",
})  # fmt: skip
"""Opcodes that put their argument on the stack."""

_MADE: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list[object],
    "EMPTY_TUPLE": tuple[()],
    "EMPTY_DICT": dict[str, object],
    "EMPTY_SET": lambda: ASIDE,
    "MARK": lambda: _MARK,
}
"""Opcodes that put something new on the stack."""
