"""What the documentation says of the program, read from the program when it is built.

A page has ``<!-- made: NAME -->`` where one of the texts of ``MADE`` belongs: commands
with their options, keys, the fields of files. `mkdocs.yml` names this file as a hook.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import warnings
from itertools import zip_longest
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
NETWORK = re.compile(
    r"<!-- Load mathjax -->.*?<!-- End of mathjax configuration -->"
    r"|<script type=\"module\">(?:(?!</script>).)*?mermaid.*?</script>",
    re.DOTALL,
)
PAGE = re.compile(r"""(?<=href=")((?!\w+:)[^"#]+)\.md(?=["#])""")
Command: TypeAlias = Any
"""Of typer's own click, whose classes have no public name."""

MARK = re.compile(r"<!-- made: ([\w-]+) -->")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The changelog lies beside the code, and is a page."""
    files.append(
        File.generated(config, "changelog.md", abs_src_path=str(ROOT / "CHANGELOG.md"))
    )
    return files


def on_page_content(html: str, page: Page, **_about: object) -> str:
    """Notebooks bring MathJax and Mermaid from the network: no formulas, no need.

    Their links name pages as they lie in the repository; mkdocs rewrites those of
    Markdown only.
    """
    if page.file.src_uri.endswith(".ipynb"):
        html = PAGE.sub(r"\1.html", html)
    return NETWORK.sub("", html)


def on_page_markdown(markdown: str, **_about: object) -> str:
    """Fills in what is made."""
    return MARK.sub(lambda mark: MADE[mark[1]](), markdown)


# ---------------------------------------------------------------------------- commands


def commands() -> Iterator[tuple[str, Command]]:
    """Every command that a person can give: its words, and what typer knows of it."""
    from typer.main import get_command

    from napari_wsol.cli import app

    yield from _below("napari-wsol", get_command(app))


def _below(name: str, command: Command) -> Iterator[tuple[str, Command]]:
    yield name, command
    for word, part in getattr(command, "commands", {}).items():
        if not part.hidden:
            yield from _below(f"{name} {word}", part)


def _commands() -> str:
    return "\n\n".join(_of_command(name, command) for name, command in commands())


def _of_command(name: str, command: Command) -> str:
    context = command.context_class(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    lines = [f"## {name}", "", _plain(command.help or ""), "", f"`{usage}`", ""]
    for word, part in getattr(command, "commands", {}).items():
        if not part.hidden:
            first = _plain(part.help or "").split("\n\n")[0].replace("\n", " ")
            lines.append(f"- [{word}](#{f'{name} {word}'.replace(' ', '-')}): {first}")
    for panel, records in _panels(command, context).items():
        lines += ["", f"| {panel} | what it does |", "|---|---|"]
        lines += [f"| `{names}` | {_cell(_plain(words))} |" for names, words in records]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Help is plain text: what would be markup in it is none here."""
    return re.sub(r"([*_<\[\]])", r"\\\1", text.replace("\f", "").strip())


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "&#124;").split())


def _panels(command: Command, context: Command) -> dict[str, list[tuple[str, str]]]:
    """The groups of the help, each with its options and their defaults."""
    panels: dict[str, list[tuple[str, str]]] = {}
    for option in command.params:
        record = option.get_help_record(context)
        if record is not None and not option.hidden:
            usual = f"{option.param_type_name}s"
            panel = getattr(option, "rich_help_panel", None) or usual
            panels.setdefault(panel, []).append(record)
    return panels


# -------------------------------------------------------------------------------- keys


class _Anything:
    """Stands where the window's parts would: the table is made, and nothing called."""

    def __getattr__(self, name: str) -> _Anything:
        return self

    def __call__(self, *_: object) -> None:
        raise AssertionError("a page presses no key")


def bound() -> Iterator[Any]:
    """The keys of the window, as it binds them."""
    with warnings.catch_warnings(action="ignore"):  # napari's own
        from napari_wsol.gui.dock import WsolWidget

    yield from WsolWidget._key_table(cast("WsolWidget", _Anything()))  # noqa: SLF001


def _keys() -> str:
    lines = ["| key | what it does | where, over the image |", "|---|---|---|"]
    lines += [
        f"| `{key.key}` | {key.words} | {REACHES[key.reach]} |" for key in bound()
    ]
    return "\n".join(lines)


REACHES = {
    "viewer": "unless the chosen layer has such a key of its own",
    "strokes": "unless the chosen layer has such a key of its own; on strokes always",
    "only strokes": "on strokes only: while their layer is chosen",
    "layers": "always",
}
"""Where a key works on the canvas, in words."""


# ------------------------------------------------------------------------------ Python


def _public() -> str:
    import napari_wsol

    names = sorted(set(napari_wsol.__all__) - {"Session"}, key=str.lower)
    return "\n\n".join(_entry(getattr(napari_wsol, name), name) for name in names)


def _entry(thing: object, name: str, level: int = 3) -> str:
    """What mkdocstrings makes a section of, under the name by which it is asked for."""
    is_module = isinstance(thing, ModuleType)
    names = vars(thing) if is_module else {}
    path = names.get("__name__") or f"{thing.__module__}.{thing.__qualname__}"
    return (
        f"::: {path}\n    options:\n      heading: {name}\n      heading_level: {level}"
    )


def _session() -> str:
    """A session's own names lie in its parts: each is read where it is written."""
    from napari_wsol import Session

    tree = ast.parse(inspect.getsource(Session)).body[0]
    assert isinstance(tree, ast.ClassDef)
    signals = ["| signal | when |", "|---|---|"]
    values = ["| value | what it is |", "|---|---|"]
    lines = inspect.getsource(Session).splitlines()
    verbs: list[str] = []
    for node, after in zip_longest(tree.body, tree.body[1:]):
        name = _name_of(node)
        if not name or name.startswith("_"):
            continue
        thing = inspect.getattr_static(Session, name)
        said = _string(after)
        if isinstance(thing, property):
            values.append(f"| `{name}` | {_line(thing.__doc__)} |")
        elif said:
            values.append(f"| `{name}` | {_line(said)} |")
        elif "Signal(" in lines[node.lineno - 1]:
            said = lines[node.lineno - 1].partition("#")[2].strip()
            signals.append(f"| `{name}` | {said or name.replace('_', ' ')} |")
        else:
            verbs.append(_entry(inspect.unwrap(thing), f"Session.{name}"))
    # A property and its setter are one value.
    tables = ("\n".join(dict.fromkeys(table)) for table in (values, signals))
    return "\n\n".join([_entry(Session, "Session"), *tables, *verbs])


def _name_of(node: ast.stmt) -> str:
    if isinstance(node, ast.FunctionDef):
        return node.name
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return ""


def _string(node: ast.stmt | None) -> str:
    said = node.value if isinstance(node, ast.Expr) else None
    return str(said.value) if isinstance(said, ast.Constant) else ""


def _line(text: str | None) -> str:
    """A docstring in one cell: roles of reStructuredText become code."""
    words = " ".join((text or "").split())
    words = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", words)
    return words.replace("``", "`").replace("|", "&#124;")


# ------------------------------------------------------------------------------- files


def fields_of(kind: type) -> str:
    """A dataclass as a table: type, default, and what its docstring says."""
    from griffe import Docstring, DocstringSectionAttributes

    parsed = Docstring(inspect.getdoc(kind) or "").parse("google")
    said = {
        item.name: _line(item.description)
        for section in parsed
        if isinstance(section, DocstringSectionAttributes)
        for item in section.value
    }
    for names in [names for names in said if "," in names]:  # y, x, radius: …
        said.update(dict.fromkeys(re.findall(r"\w+", names), said[names]))
    rows = ["| entry | value | default | |", "|---|---|---|---|"]
    for item in dataclasses.fields(kind):
        kept = re.sub(
            r"^Annotated\[(.+?), .*\]$", r"\1", str(item.type), flags=re.DOTALL
        )
        rows.append(
            f"| `{item.name}` | `{kept}` | {_default(item)} "
            f"| {said.get(item.name, '')} |"
        )
    return "\n".join(rows)


def _default(item: dataclasses.Field[Any]) -> str:
    if item.default is not dataclasses.MISSING:
        return "" if item.default in {None, "", ()} else f"`{item.default!r}`"
    if item.default_factory is not dataclasses.MISSING:
        value = item.default_factory()
        return f"`{value}`" if isinstance(value, tuple) else ""
    return "*needed*"


def _recipe() -> str:
    from napari_wsol.methods.spec import ModelSpec
    from napari_wsol.training.config import AugmentConfig, SeedConfig, TrainConfig
    from napari_wsol.training.objectives import LossConfig
    from napari_wsol.training.pseudo_labels import PseudoLabelConfig
    from napari_wsol.training.recipe import DataConfig

    tables = {
        "[data]": DataConfig,
        "[model]": ModelSpec,
        "[train]": TrainConfig,
        "[augment]": AugmentConfig,
        "[seeds]": SeedConfig,
        "[seeds.draw]": PseudoLabelConfig,
        "[losses.HEAD]": LossConfig,
    }
    return _tables(tables)


def _tables(kinds: Mapping[str, type]) -> str:
    return "\n\n".join(
        f"**`{name}`**\n\n{fields_of(kind)}" for name, kind in kinds.items()
    )


def _card() -> str:
    from napari_wsol.methods.card import Card

    return fields_of(Card)


def _journal() -> str:
    from napari_wsol.journal.entries import KINDS
    from napari_wsol.journal.image import ImageFacts
    from napari_wsol.strokes.stroke import Stroke

    named = {"image, in the first line": ImageFacts, "stroke, in a line of it": Stroke}
    kinds = {f'"type": "{name}"': kind for name, kind in KINDS.items()}
    return _tables(kinds | named)


def _preferences() -> str:
    from napari_wsol.preferences import Preferences

    return fields_of(Preferences)


def _regions() -> str:
    from napari_wsol.export.regions import FEATURES
    from napari_wsol.export.writers import REGION_COLUMNS

    return ", ".join(f"`{name}`" for name in [*REGION_COLUMNS, *FEATURES])


def _exports() -> str:
    from napari_wsol.export.writers import WRITERS

    rows = ["| `--format` | files | what is in them |", "|---|---|---|"]
    for name, writers in WRITERS.items():
        files = ", ".join(f"`…_{part}{ending}`" for part, ending, _ in writers)
        said = " ".join(
            _line((write.__doc__ or "").partition("\n\n")[0]) for *_, write in writers
        )
        rows.append(f"| `{name}` | {files} | {said} |")
    return "\n".join(rows)


# ------------------------------------------------------------------------------- texts

MADE: dict[str, Callable[[], str]] = {
    "card": _card,
    "commands": _commands,
    "exports": _exports,
    "journal": _journal,
    "keys": _keys,
    "preferences": _preferences,
    "public": _public,
    "recipe": _recipe,
    "regions": _regions,
    "session": _session,
}
"""What a page can name."""
