"""Text of any kind becomes plain data or a reason, never more."""

import json
import math
import os
from dataclasses import dataclass

import pytest

from napari_wsol.errors import ConfigError, MalformedError
from napari_wsol.files.parsing import (
    DEPTH,
    VALUES,
    Count,
    Finite,
    Positive,
    parse_json,
    parse_toml,
    read_json,
    read_text,
    typed,
)
from napari_wsol.files.tables import parse_table


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"a":' * (DEPTH + 1) + "1" + "}" * (DEPTH + 1), "nested too deeply"),
        ("[" + "1," * (VALUES + 1) + "1]", "more than"),
        (b"\xff", "no JSON"),
    ],
)
def test_json_that_cannot_be_used_has_a_reason(text, why):
    with pytest.raises(MalformedError, match=why):
        parse_json(text)


def test_brackets_in_words_are_no_nesting():
    text = json.dumps({"a": "[" * 1000 + '"\\' + "{" * 1000, "b": [["]"]]})
    assert parse_json(text) == json.loads(text)
    deepest = "[" * DEPTH + "]" * DEPTH
    assert parse_json(deepest) == json.loads(deepest)


def test_long_numbers_are_read_as_real_ones():
    found = parse_json(f"[{2**63 - 1}, {2**63}, {'9' * 5000}, -1]")
    assert found == [2**63 - 1, float(2**63), math.inf, -1]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a =", "no TOML"),
        ("a = " + "9" * 5000, "no TOML"),
        (f"a = {10**30}", "18 digits"),
        ("a = " + "[" * 5000 + "]" * 5000, "no TOML"),
        ("a = " + "[" * 100 + "]" * 100, "nested too deeply"),
        ("a" + ".a" * 50_000 + " = 1", "more nested"),
        ("x = { a" + ".a" * 50_000 + " = 1 }", "more nested"),
        ("#" * (5 << 20), "larger"),
    ],
)
def test_toml_that_cannot_be_used_has_a_reason(text, why):
    with pytest.raises(MalformedError, match=why):
        parse_toml(text)


def test_toml_gives_plain_values():
    found = parse_toml("a.b = 1\nc = [1979-05-27, 07:32:00]\nd = 'a.b.c'")
    assert found == {"a": {"b": 1}, "c": ["1979-05-27", "07:32:00"], "d": "a.b.c"}


def test_a_table_is_read_as_spreadsheets_write_it():
    rows = parse_table('a, b\n\n"x\ny","\'=1+1"\n,\n3,4\n')
    assert rows == [(1, ["a", "b"]), (4, ["x\ny", "=1+1"]), (6, ["3", "4"])]


@pytest.mark.parametrize(
    ("text", "why"),
    [("a\n" + '"' + "x" * 200_000, "line 2"), ("," * (VALUES + 1), "more than")],
)
def test_a_table_that_cannot_be_used_has_a_reason(text, why):
    with pytest.raises(MalformedError, match=why):
        parse_table(text)


@dataclass(frozen=True, kw_only=True)
class Example:
    """A little of everything."""

    count: Count
    size: Positive = 1.0
    shift: Finite = 0.0
    names: tuple[str, ...] = ()

    def __post_init__(self):
        if self.count == 13:
            raise ConfigError("Not 13.")


def test_values_get_their_types():
    found = typed({"count": 2, "size": 1, "names": ["a"], "newer": 1}, Example)
    assert found == Example(count=2, size=1.0, names=("a",))
    assert isinstance(found.size, float)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"count": -1},
        {"count": 1.0},
        {"count": True},
        {"count": "1"},
        {"count": 2**60},
        {"count": 13},
        {"count": 1, "size": 0},
        {"count": 1, "size": math.nan},
        {"count": 1, "shift": math.inf},
        {"count": 1, "shift": 10**400},
        {"count": 1, "names": "abc"},
        {"count": 1, "names": [1]},
        {"\ud800": 1},
        [],
        None,
    ],
)
def test_values_of_other_types_have_a_reason(wrong):
    with pytest.raises(MalformedError):
        typed(wrong, Example)


def test_a_closed_table_names_what_it_does_not_know():
    with pytest.raises(MalformedError, match="unknown entry newer; known are count"):
        typed({"count": 1, "newer": 2}, Example, closed=True)


def test_a_pipe_and_a_huge_file_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe"):
        read_text(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(MalformedError, match="larger"):
        read_json(tmp_path / "huge", Example)
    with pytest.raises(OSError, match="folder"):
        read_text(tmp_path)
    with pytest.raises(OSError, match="such a name"):
        read_text(tmp_path / "a\0b")
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    with pytest.raises(MalformedError, match="no text in UTF-8"):
        read_text(tmp_path / "latin")
