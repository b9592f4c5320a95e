"""The folder that several workers fill."""

import csv
import json
import os

import pytest

from napari_wsol.batch.results import ResultsFolder, folder_name
from napari_wsol.errors import ExportError


@pytest.fixture
def results(tmp_path):
    return ResultsFolder(tmp_path / "out")


def publish(results, name, key, **row):
    draft = results.work(key) / "results"
    draft.mkdir(parents=True)
    (draft / "map.txt").write_text(json.dumps(row))
    return results.publish(draft, name, {"image": name, "status": "ok", **row}, key=key)


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_images_of_one_name_get_numbers(results):
    folders = [publish(results, "a.svs", f"a-{n}", n=str(n)) for n in range(3)]
    assert [folder.name for folder in folders] == ["a", "a-2", "a-3"]
    assert results.finished("a.svs", "a-1")["folder"] == "a-2"
    assert results.finished("a.svs", "a-9") is None
    assert results.finished("b.svs", "a-1") is None


def test_the_same_image_replaces_itself_only(results):
    publish(results, "a.svs", "one", n="1")
    publish(results, "a.svs", "two", n="2")
    assert publish(results, "a.svs", "one", n="3").name == "a"
    assert json.loads((results.path / "a" / "map.txt").read_text()) == {"n": "3"}
    assert json.loads((results.path / "a-2" / "map.txt").read_text()) == {"n": "2"}


def test_what_the_user_keeps_there_is_not_touched(results):
    (results.path / "a").mkdir(parents=True)
    (results.path / "a" / "mine.txt").write_text("mine")
    assert publish(results, "a.svs", "one").name == "a-2"
    assert (results.path / "a" / "mine.txt").read_text() == "mine"


def failed(name, reason):
    return {"image": name, "path": f"/in/{name}", "status": reason}


def test_the_table_is_that_of_all_workers(results):
    publish(results, "b.svs", "b", target="benign")
    results.keep("/slides/c.svs", failed("c.svs", "It is damaged."))
    publish(ResultsFolder(results.path), "a.svs", "a", **{"p(benign)": "0.1"})
    rows = table(results.write_summary())
    assert [(row["image"], row["status"]) for row in rows] == [
        ("a.svs", "ok"),
        ("b.svs", "ok"),
        ("c.svs", "It is damaged."),
    ]
    assert rows[0]["p(benign)"] == "0.1"
    publish(results, "c.svs", "c")
    results.clear("c", "/slides/c.svs")
    assert {row["status"] for row in table(results.write_summary())} == {"ok"}
    assert not (results.path / "summary-2.csv").exists()


def test_only_what_is_newer_counts_when_all_is_done_again(results):
    before = results.now()
    publish(results, "a.svs", "one")
    assert results.finished("a.svs", "one", before) is not None
    assert results.finished("a.svs", "one", results.now() + 1) is None


def test_keys_tell_everything_apart_and_are_names(results):
    one = results.key("patient/../7: a.svs", {"model": 1})
    assert one != results.key("patient/../7: a.svs", {"model": 2})
    assert "/" not in one
    assert folder_name("slide_x_x.ome.tiff") == "slide_x_x"
    assert folder_name("...") != ""
    assert folder_name("aux.png") == "aux-image"  # Windows has a device of that name


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="Choose another folder"):
        ResultsFolder(tmp_path / "file").keep("a", failed("a", "b"))


def test_rows_come_one_by_one_and_none_twice(results):
    for name in ("b", "a"):
        publish(results, name, name, path=f"/in/{name}")
        row = results.finished(name, name)
        results.add_to_summary(row)
        results.add_to_summary(row)
    found = table(results.path / "summary.csv")
    assert [row["image"] for row in found] == ["b", "a"]
    assert [row["output"] for row in found] == [row["folder"] for row in found]
    results.add_to_summary(results.keep("/in/c", failed("c", "=odd")))
    assert table(results.path / "summary.csv")[2]["status"] == "'=odd"
    publish(results, "c", "c", path="/in/c", more="1")
    results.clear("c", "/in/c")
    results.add_to_summary(results.finished("c", "c"))
    found = table(results.path / "summary.csv")
    assert [row["image"] for row in found] == ["a", "b", "c"]
    assert {row["status"] for row in found} == {"ok"}


def test_two_workers_add_to_one_table(results):
    other = ResultsFolder(results.path)
    for worker, name in ((results, "a"), (other, "b"), (results, "c"), (other, "d")):
        publish(worker, name, name, path=f"/in/{name}")
        worker.add_to_summary(worker.finished(name, name))
    found = table(results.path / "summary.csv")
    assert sorted(row["image"] for row in found) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("text", ["[]", "1", "{", "[" * 100_000, '{"key": 1}'])
def test_a_row_that_is_none_is_no_result(results, text):
    (results.path / "a").mkdir(parents=True)
    (results.path / "a" / "row.json").write_text(text)
    assert results.finished("a", "a") is None
    results.write_summary()


def test_names_that_are_no_utf8_fail_and_finish(results):
    name = os.fsdecode(b"caf\xe9.png")
    results.keep(f"/in/{name}", failed(name, "odd"))
    publish(results, name, "key")
    assert len(table(results.write_summary())) == 2
    assert {row["image"] for row in results.rows()} == {name}
