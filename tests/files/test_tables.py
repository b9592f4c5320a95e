"""Tables that spreadsheets open: no cell computes, no row is lost."""

import csv
import os

import pytest

from napari_wsol.files.tables import (
    GrowingTable,
    append_row,
    columns_of,
    lines_of,
    quoted,
    table_of,
    unquoted,
    write_table,
)

FORMULAS = [
    "=1+1",
    "+1+1",
    "-1-1",
    "@sum(a1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "-a",
    "+1 2",
    "-1=1",
]
PLAIN = [
    "a=1",
    "",
    "-",
    "+",
    "-1",
    "+0.5",
    "-1.5e-7",
    "-inf",
    "-nan",
    "1e3",
    "’=1",
    " =1",
]


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("text", FORMULAS)
def test_what_would_be_a_formula_is_quoted_and_read_again(text):
    assert quoted(text) == f"'{text}"
    assert unquoted(f"'{text}") == text


@pytest.mark.parametrize("text", [*PLAIN, -1, -0.5, 7])
def test_numbers_and_other_text_stay(text):
    assert quoted(text) == text
    if isinstance(text, str):
        assert unquoted(text) == text
        assert unquoted(f"'{text}") == f"'{text}"


def test_cells_of_every_kind_come_back(tmp_path):
    cells = ["a,b", '"', "a\nb", "a\rb", "ä", -1.5, "=1"]
    write_table(tmp_path / "a.csv", ["x"] * 7, iter([cells]))
    found = rows_of(tmp_path / "a.csv")[1]
    assert [unquoted(cell) for cell in found] == [str(cell) for cell in cells]
    assert lines_of([cells]).count("\r\n") == 1


def test_rows_of_different_columns_make_one_table():
    columns, text = table_of([{"b": 1}, {"a": "=2", "c": 3}], ["a"])
    assert columns == ["a", "b", "c"]
    assert text == "a,b,c\r\n,1,\r\n'=2,,3\r\n"


def test_a_growing_table_has_each_row_at_once(tmp_path):
    (tmp_path / "t.csv").write_text("mine")
    table = GrowingTable(tmp_path / "t.csv", ["name", "value"])
    assert table.path == tmp_path / "t-2.csv"
    assert rows_of(table.path) == [["name", "value"]]
    table.add({"name": os.fsdecode(b"caf\xe9"), "value": "1"})
    assert rows_of(table.path)[1:] == [["caf\\udce9", "1"]]
    table.add({"value": "=2"})
    assert rows_of(table.path)[2:] == [["", "'=2"]]
    table.add({"name": "c", "more": "3"})
    assert rows_of(table.path)[0] == columns_of(table.path) == ["name", "value", "more"]
    assert rows_of(table.path)[3] == ["c", "", "3"]
    append_row(table.path, ["name", "value", "more"], {"name": "d"})
    assert rows_of(table.path)[4] == ["d", "", ""]
    assert (tmp_path / "t.csv").read_text() == "mine"


def test_columns_of_what_is_no_table_are_none(tmp_path):
    assert columns_of(tmp_path / "no.csv") == []
    (tmp_path / "a.csv").write_bytes(b"\xff\0")
    assert columns_of(tmp_path / "a.csv") == []
