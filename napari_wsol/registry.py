"""Tables of what is chosen by name, and the plugins of others that add to them.

A plugin is a module, class or builder that an entry point of an installed package
names, or a file that the person names. When it is run, its decorators put what it has
into the tables.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from dataclasses import dataclass, field
from functools import cache, partial
from hashlib import sha256
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from napari_wsol.errors import choices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from importlib.metadata import EntryPoint

T = TypeVar("T")
_U = TypeVar("_U")

logger = logging.getLogger(__name__)

GROUPS = ("napari_wsol.methods", "napari_wsol.encoders")
FILES = "NAPARI_WSOL_PLUGINS"
"""Variable with the person's own files, as PATH has folders; other processes get it."""


_tables: dict[str, Registry[Any]] = {}


class Registry(dict[str, T]):
    """Things of one kind by name, in the order in which they came.

    Asking for a name that is not there raises UnknownNameError, which names the others.
    """

    def __init__(self, kind: str, given: dict[str, T] | None = None) -> None:
        """``kind`` is what messages call one of them; ``given`` are there already."""
        super().__init__(given or {})
        self.kind = kind
        _tables[kind] = self

    def __missing__(self, name: str) -> T:
        raise choices(self.kind, name, list(self))

    def add(self, name: str, item: T) -> None:
        """Puts one into the table.

        Raises:
            ValueError: the name is taken.
        """
        if name in self:
            raise ValueError(f"The {self.kind} {name!r} exists already.")
        self[name] = item
        for plugin in _loading:
            plugin.added.append((self, name))

    def adds(self, name: str) -> Callable[[_U], _U]:
        """A decorator that adds what it stands above."""

        def put(item: _U) -> _U:
            self.add(name, cast("T", item))
            return item

        return put


@dataclass(slots=True, eq=False)
class Plugin:
    """Code of others.

    Attributes:
        name, group: of the entry point; of a file its name, and "file".
        origin: package and version, or name and sha256 of the file.
        run: lets it add to the tables; None once that was done.
        added: table and name of all that it put there.
        problem: why it was left out.
    """

    name: str
    group: str
    origin: str
    run: Callable[[], object] | None
    added: list[tuple[Registry[Any], str]] = field(default_factory=list[Any])
    problem: str = ""

    def __str__(self) -> str:
        names = ", ".join(f"{table.kind} {name}" for table, name in self.added)
        told = f"left out, {self.problem}" if self.problem else names
        return f"{self.name} ({self.group}, {self.origin}): {told or 'adds nothing'}"


_loading: list[Plugin] = []
_lock = RLock()


def plugins() -> list[Plugin]:
    """All of them; whoever asks first has them run."""
    with _lock:
        found = [*map(_of_file, plugin_files()), *_installed()]
        if not _loading:  # else one of them asks
            import_module("napari_wsol.methods")  # its names are taken
            for plugin in found:
                if plugin.run is not None:
                    _run(plugin, plugin.run)
        return found


def _run(plugin: Plugin, run: Callable[[], object]) -> None:
    _loading.append(plugin)
    try:
        run()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it may raise anything
        plugin.problem = f"{type(error).__name__}: {error}"
        for table, name in plugin.added:
            table.pop(name, None)
        plugin.added.clear()
        logger.warning("%s", plugin)
    finally:
        plugin.run = None
        _loading.clear()


def plugin_files() -> list[str]:
    """Those that the person named."""
    named = filter(None, os.environ.get(FILES, "").split(os.pathsep))
    return list(dict.fromkeys(map(os.path.realpath, named)))


def origins(names: Iterable[str]) -> list[str]:
    """Of the plugins that methods, heads and encoders of these names come from."""
    wanted = {part for name in names for part in (name, re.split("[@:]", name)[0])}
    every = [(item.origin, name) for item in plugins() for _, name in item.added]
    return list(dict.fromkeys(origin for origin, name in every if name in wanted))


@cache
def _installed() -> list[Plugin]:
    return [
        Plugin(point.name, group, f"{dist.name} {dist.version}", partial(_load, point))
        for group in GROUPS
        for point in entry_points(group=group)
        if (dist := point.dist)
    ]


def _load(point: EntryPoint) -> None:
    """A module has registered what it has; a class or builder may have to be."""
    found: Any = point.load()
    if isinstance(found, ModuleType):
        return
    kind = point.group.removeprefix("napari_wsol.").removesuffix("s")
    table = _tables[kind]
    if kind == "method":
        if all(type(item) is not found for item in table.values()):
            import_module("napari_wsol.methods").register(found)
    elif found not in table.values():
        table.add(point.name, found)


@cache
def _of_file(path: str) -> Plugin:
    def run() -> None:
        source = Path(path).read_bytes()
        digest = sha256(source).hexdigest()
        plugin.origin += f", sha256 {digest}"
        module = ModuleType(f"napari_wsol_plugin_{digest[:12]}")
        module.__file__ = path
        sys.modules[module.__name__] = module  # where dataclasses look
        exec(compile(source, path, "exec"), module.__dict__)  # noqa: S102 - as asked

    plugin = Plugin(Path(path).name, "file", Path(path).name, run)
    return plugin
