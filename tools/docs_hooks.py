"""What the documentation says of the program, read from the program when it is built.

A page has ``<!-- made: NAME -->`` where one of the texts of ``MADE`` belongs: commands with
their options, keys, the fields of files. `mkdocs.yml` names this file as a hook.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[1]
NETWORK = re.compile(
    r"<!-- Load mathjax -->.*?<!-- End of mathjax configuration -->"
    r"|<script type=\"module\">(?:(?!</script>).)*?mermaid.*?</script>",
    re.DOTALL,
)
MARK = re.compile(r"<!-- made: ([\w-]+) -->")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The changelog lies beside the code, and is a page."""
    files.append(
        File.generated(config, "changelog.md", abs_src_path=str(ROOT / "CHANGELOG.md"))
    )
    return files


def on_page_content(html: str, **_about: object) -> str:
    """Notebooks bring MathJax and Mermaid from the network: no formulas, no need."""
    return NETWORK.sub("", html)


def on_page_markdown(markdown: str, **_about: object) -> str:
    """Fills in what is made."""
    return MARK.sub(lambda mark: MADE[mark[1]](), markdown)


# ---------------------------------------------------------------------------- commands


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that a person can give: its words, and what typer knows of it."""
    from typer.main import get_command

    from napari_wsol.cli import app

    yield from _below("napari-wsol", get_command(app))


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for word, part in getattr(command, "commands", {}).items():
        if not part.hidden:
            yield from _below(f"{name} {word}", part)


def _commands() -> str:
    return "\n\n".join(_of_command(name, command) for name, command in commands())


def _of_command(name: str, command: Any) -> str:
    context = command.context_class(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    lines = [f"## {name}", "", _plain(command.help or ""), "", f"`{usage}`", ""]
    for word, part in getattr(command, "commands", {}).items():
        if not part.hidden:
            first = _plain(part.help or "").split("\n\n")[0].replace("\n", " ")
            lines.append(f"- [{word}](#{f'{name} {word}'.replace(' ', '-')}): {first}")
    for panel, records in _panels(command, context).items():
        lines += ["", f"| {panel} | what it does |", "|---|---|"]
        lines += [f"| `{_cell(names)}` | {_cell(_plain(words))} |" for names, words in records]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Help is plain text: what would be markup in it is none here."""
    return re.sub(r"([*_<\[\]])", r"\\\1", text.replace("\f", "").strip())


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "&#124;").split())


def _panels(command: Any, context: Any) -> dict[str, list[tuple[str, str]]]:
    """The groups of the help, each with its options and their defaults."""
    panels: dict[str, list[tuple[str, str]]] = {}
    for option in command.params:
        record = option.get_help_record(context)
        if record is not None and not option.hidden:
            usual = f"{option.param_type_name}s"
            panel = getattr(option, "rich_help_panel", None) or usual
            panels.setdefault(panel, []).append(record)
    return panels


# ------------------------------------------------------------------------------- texts

MADE: dict[str, Callable[[], str]] = {"commands": _commands}
"""What a page can name."""
