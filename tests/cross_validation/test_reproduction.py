"""A paper's figures made again, on a few made-up images of the published layouts."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from napari_wsol.cli.app import app
from napari_wsol.cross_validation.reproduction import (
    SYSTEMS,
    published_rows,
    reproduce,
)
from napari_wsol.data.datasets import load_images
from napari_wsol.errors import ConfigError, DatasetError, UnknownNameError
from napari_wsol.evaluation.report import UNITS
from napari_wsol.evaluation.truth import load_truth
from napari_wsol.training.recipe import read_recipe
from napari_wsol.training.run import Watcher, read_log
from napari_wsol.zoo import read_card

FINDINGS = ("Atelectasis", "Effusion|Infiltration", "No Finding", "Nodule")


def split_folder(
    place: Path, count: int, kind: str = "", *, masks: bool = True
) -> Path:
    """A split folder of the field: dark discs on light ground, half of them striped."""
    rng = np.random.default_rng(count)
    place.mkdir(parents=True)
    lists: dict[str, list[str]] = {"image_ids": [], "class_labels": []}
    for at in range(count):
        y, x = np.mgrid[:60, :64]
        mask = (y - rng.integers(20, 40)) ** 2 + (x - 32) ** 2 < 15**2
        pixels = rng.normal(200, 8, (60, 64, 3))
        pixels[mask] -= 110
        if at % 2:
            pixels[mask & (x % 4 < 2)] += 50
        name, beside = f"{kind}{at}.png", f"{kind}{at}-mask.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(place / name)
        Image.fromarray(mask.astype(np.uint8) * 255).save(place / beside)
        lists["image_ids"].append(name)
        lists["class_labels"].append(f"{name},{at % 2}")
        if masks:
            lists.setdefault("localization", []).append(f"{name},{beside}")
    for key, lines in lists.items():
        (place / f"{key}.txt").write_text("\n".join(lines) + "\n")
    return place


@pytest.fixture
def out(tmp_path):
    """Where it goes; models of full size do not stay."""
    yield tmp_path / "out"
    shutil.rmtree(tmp_path / "out", ignore_errors=True)


@pytest.fixture
def glas(tmp_path) -> Path:
    """GlaS in the split folders of PixelCAM's authors."""
    for split, count in {"train": 4, "valpx": 2, "valcl": 2, "test": 2}.items():
        split_folder(tmp_path / "data" / "folds" / "fold-0" / split, count)
    return tmp_path / "data"


@pytest.fixture
def nih(tmp_path) -> Path:
    """Twelve films of NIH ChestX-ray14, of ten patients, three with boxes."""
    data, rng = tmp_path / "nih", np.random.default_rng(0)
    (data / "images").mkdir(parents=True)
    rows, boxes = [], []
    for at in range(24):
        name = f"{at // 2:08d}_{at % 2:03d}.png"
        found = FINDINGS[at % 4]
        pixels = rng.integers(60, 120, (64, 64)).astype(np.uint8)
        pixels[20:40, 10 + at : 24 + at] += 90
        Image.fromarray(pixels).save(data / "images" / name)
        rows.append(f"{name},{found},0,{at // 2 + 1},57,M,PA,64,64,0.1,0.1")
        if at < 4 and found != "No Finding":
            kind = found.split("|")[-1].replace("Infiltration", "Infiltrate")
            boxes.append(f"{name},{kind},{160 + 16 * at},320.0,224.0,320.0,,,")
    head = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,"
    head += "Patient Gender,View Position,OriginalImage[Width,Height],"
    head += "OriginalImagePixelSpacing[x,y]"
    (data / "Data_Entry_2017.csv").write_text("\n".join([head, *rows]) + "\n")
    head = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
    (data / "BBox_List_2017.csv").write_text("\n".join([head, *boxes]) + "\n")
    names = [row.split(",")[0] for row in rows]
    (data / "train_val_list.txt").write_text("\n".join(names[4:]) + "\n")
    (data / "test_list.txt").write_text("\n".join(names[:4]) + "\n")
    return data


def run(system: str, data: Path, out: Path, *more: str):
    words = ["reproduce", system, "--data", str(data), "--out", str(out)]
    return CliRunner().invoke(app, [*words, "--device", "cpu", *more])


def table_of(out: Path) -> dict[tuple[str, ...], dict[str, str]]:
    with (out / "table.csv").open(encoding="utf-8", newline="") as file:
        keys = ("model", "images", "figure", "class")
        return {tuple(row[key] for key in keys): row for row in csv.DictReader(file)}


def kept(out: Path) -> dict[str, int]:
    """When each record was made."""
    names = ("lists/plan.json", "cam/cam/card.toml", "pixelcam/pixelcam/card.toml")
    evaluations = ("cam/test.json", "pixelcam/test.json")
    return {name: (out / name).stat().st_mtime_ns for name in (*names, *evaluations)}


class StopAtTraining(Exception):  # noqa: N818 - nothing is wrong
    """The lists are there."""


def until_training(stage: str) -> None:
    if stage != "the data set's splits":
        raise StopAtTraining


def ignore(*_args) -> None:
    pass


@pytest.mark.slow
def test_pixelcam_learns_from_cam_and_stands_beside_the_printed_figures(glas, out):
    done = run("pixelcam-glas", glas, out, "--quick")
    assert done.exit_code == 0, done.output
    rows = table_of(out)
    assert rows["pixelcam", "test", "pxap", ""]["published"] == "86.6"
    assert rows["cam", "test", "pxap", ""]["published"] == "64.4"
    for row in rows.values():
        assert 0 <= float(row["here"]) <= 100
    assert "86.6" in done.output
    assert "A quick run" in done.output
    assert "random weights" in done.output

    taught = read_recipe(out / "pixelcam" / "pixelcam" / "recipe.toml")
    assert taught.seeds is not None
    assert Path(taught.seeds.model) == (out / "cam" / "cam").resolve()
    assert read_card(out / "pixelcam" / "pixelcam").metrics["selected_by"] == (
        "localization"
    )
    # Once more: nothing is done twice.
    before, table = kept(out), (out / "table.csv").read_bytes()
    (out / "table.csv").unlink()
    assert run("pixelcam-glas", glas, out, "--quick").exit_code == 0
    assert kept(out) == before
    assert (out / "table.csv").read_bytes() == table
    # Nor is something else taken for it.
    other = run("pixelcam-glas", glas, out)
    assert isinstance(other.exception, ConfigError)
    assert "“quick”" in str(other.exception)


@pytest.mark.slow
def test_pcam_goes_on_where_it_was_stopped_and_tells_every_class(nih, out):
    steps: list[int] = []

    def stop(step) -> None:
        steps.append(step.step)
        if len(steps) == 1:
            raise KeyboardInterrupt

    def go():
        watcher = Watcher(say=ignore, step=stop)
        more = {"quick": True, "device": "cpu", "watcher": watcher}
        return reproduce("pcam-nih14", nih, out, **more)

    with pytest.raises(KeyboardInterrupt):
        go()
    lists = (out / "lists" / "plan.json").stat().st_mtime_ns
    found, _ = go()
    assert steps == [1, 2]
    assert (out / "lists" / "plan.json").stat().st_mtime_ns == lists
    logged = read_log(out / "pcam-nih14" / "metrics.jsonl")
    assert [line.step for line in logged if line.losses] == [1, 2]

    rows = {(row.figure, row.name): here for row, here in found}
    assert rows["macro_auc", ""] is not None
    measured = {
        name
        for (figure, name), here in rows.items()
        if figure == "region_iobb_0.5" and here is not None
    }
    assert measured == {"", "Atelectasis", "Infiltration", "Nodule"}
    assert table_of(out)["pcam-nih14", "test", "region_iobb_0.5", "Mass"]["here"] == ""


def test_no_patient_of_the_films_is_in_two_lists_and_boxes_keep_their_places(nih, out):
    with pytest.raises(StopAtTraining):
        reproduce("pylon-nih14", nih, out, watcher=None, begun=until_training)
    patients, films = {}, {}
    for name in ("train", "valcl", "test"):
        found = load_images(out / "lists" / name)
        films[name] = [sample.id for sample in found.samples]
        patients[name] = {Path(film).name[:8] for film in films[name]}
    assert sum(map(len, films.values())) == 24
    assert len(patients["train"] | patients["valcl"] | patients["test"]) == 12
    assert sum(map(len, patients.values())) == 12
    (_, box), *others = sorted(
        load_truth(out / "lists" / "test", None, films["test"]).boxes.items()
    )
    assert box[0].xywh == (160, 320, 224, 320)
    assert len(others) == 2


def test_glas_as_it_is_unpacked_is_dealt_as_in_the_published_folds(tmp_path, out):
    data, rows = tmp_path / "Warwick QU", ["name, patient ID, grade (GlaS)"]
    data.mkdir()
    names = [f"train_{at}" for at in range(1, 86)] + ["testA_1", "testB_1"]
    for at, name in enumerate(names):
        for file in (name, f"{name}_anno"):
            Image.new("L", (4, 4), at % 2).save(data / f"{file}.bmp")
        rows.append(f"{name}, {at % 16}, {' malignant' if at % 85 < 48 else ' benign'}")
    (data / "Grade.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(StopAtTraining):
        reproduce("pixelcam-glas", data, out, watcher=None, begun=until_training)
    found = {
        name: load_images(out / "lists" / name, classes=("benign", "malignant")).samples
        for name in ("train", "valcl", "valpx", "test")
    }
    assert {name: len(own) for name, own in found.items()} == {
        "train": 68,
        "valcl": 17,
        "valpx": 6,
        "test": 2,
    }
    ids = {name: {Path(item.id).name for item in own} for name, own in found.items()}
    assert len(ids["train"] | ids["valcl"]) == 85
    assert ids["valpx"] < ids["valcl"]
    for name, benign in {"valcl": 8, "valpx": 3}.items():
        assert sum(item.labels == (1, 0) for item in found[name]) == benign


def test_lists_keep_masks_and_what_is_to_be_ignored(glas, out):
    test = glas / "folds" / "fold-0" / "test"
    Image.new("L", (64, 60), 255).save(test / "edge.png")
    (test / "localization.txt").write_text(
        "0.png,0-mask.png\n0.png,1-mask.png,edge.png\n1.png,,\n"
    )
    with pytest.raises(StopAtTraining):
        reproduce("pixelcam-glas", glas, out, watcher=None, begun=until_training)
    lists = out / "lists"
    found, nothing = load_truth(lists / "test", None, ["a"]).masks.values()
    assert nothing.masks == ()
    assert [path.name for path in found.masks] == ["0-mask.png", "1-mask.png"]
    assert [path.name for path in found.ignored] == ["edge.png"]
    for name in ("train", "valcl"):  # which know of labels only
        assert [path.name for path in (lists / name).iterdir()] == ["labels.csv"]


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("name", list(SYSTEMS))
def test_the_recipes_of_a_system_can_be_read(name, quick, tmp_path):
    system, taught = SYSTEMS[name], None
    for recipe in system.recipes:
        path = tmp_path / f"{recipe}.toml"
        path.write_text(system.recipe(recipe, taught, quick=quick), encoding="utf-8")
        taught, made = tmp_path, read_recipe(path)
        assert made.name == recipe
        assert (made.train.epochs == 1) == quick
    if name == "pixelcam-camelyon":
        assert made.seeds is not None
        assert made.seeds.draw.normal_images == "none"


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_published_rows_name_what_is_made_and_measured(name):
    system, rows = SYSTEMS[name], published_rows(name)
    assert {row.model for row in rows} <= set(system.recipes)
    assert {row.images for row in rows} <= set(system.splits)
    assert {row.figure for row in rows} <= set(UNITS)
    assert all(bool(row.source) == (row.value is not None) for row in rows)


def test_the_published_mean_of_pcam_is_that_of_its_classes():
    found = {
        row.name: row.value
        for row in published_rows("pcam-nih14")
        if row.figure == "region_iobb_0.5"
    }
    assert found.pop("") == pytest.approx(mean(found.values()), abs=5e-4)
    assert len(found) == 8


def test_what_cannot_be_made_is_told_before_anything_is(glas, out):
    with pytest.raises(UnknownNameError, match="pylon-nih14"):
        reproduce("pylon", glas, out, watcher=None)
    with pytest.raises(DatasetError, match="as it was published"):
        reproduce("pcam-nih14", glas, out, watcher=None)
    shutil.rmtree(glas / "folds" / "fold-0" / "test")
    with pytest.raises(DatasetError, match=r"“test” .* GLAS/fold-0/test, folds/"):
        reproduce("pixelcam-glas", glas, out, watcher=None)
    assert not out.exists()


@pytest.mark.slow
def test_pylon_is_measured_by_point_localization(nih, out):
    done = run("pylon-nih14", nih, out, "--quick")
    assert done.exit_code == 0, done.output
    rows = table_of(out)
    assert rows["pylon", "test", "point_localization", ""]["published"] == "0.62"
    assert 0 <= float(rows["pylon", "test", "point_localization", ""]["here"]) <= 1


@pytest.mark.slow
def test_camelyon_is_measured_centre_by_centre(tmp_path, out):
    data = tmp_path / "data"
    for split, count in {"train": 4, "valpx": 2, "valcl": 2, "test": 2}.items():
        split_folder(data / "CAMELYON512" / "fold-0" / split, count)
    for centre in (0, 3):
        split_folder(data / "CAMELYON17_512" / f"fold-{centre}" / "test", 2)
    done = run("pixelcam-camelyon", data, out, "--quick")
    assert done.exit_code == 0, done.output
    rows = table_of(out)
    pxap = [rows["pixelcam", f"centre-{at}", "pxap", ""] for at in range(5)]
    assert [row["published"] for row in pxap] == [
        "49.8",
        "52.2",
        "54.9",
        "71.9",
        "50.6",
    ]
    assert [bool(row["here"]) for row in pxap] == [True, False, False, True, False]
    for at in (1, 2, 4):
        assert f"Not measured: the data has no images for centre-{at}." in done.output


def test_the_centres_of_wilds_are_lists_too(tmp_path, out):
    data = tmp_path / "data"
    for split in ("train", "valpx", "valcl", "test"):
        split_folder(data / "CAMELYON512" / "fold-0" / split, 2)
    wilds = data / "camelyon17_v1.0"
    rows = [",patient,node,x_coord,y_coord,tumor,slide,center,split"]
    for at in range(10):
        slide = f"patient_{at:03d}_node_0"
        (wilds / "patches" / slide).mkdir(parents=True)
        patch = wilds / "patches" / slide / f"patch_{slide}_x_32_y_64.png"
        Image.new("RGB", (96, 96), (200, 150, 20 * at)).save(patch)
        rows.append(f"{at},{at:03d},0,32,64,{at % 2},{at},{at // 2},0")
    (wilds / "metadata.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(StopAtTraining):
        reproduce("pixelcam-camelyon", data, out, watcher=None, begun=until_training)
    for centre in range(5):
        found = load_images(out / "lists" / f"centre-{centre}").samples
        assert all(f"patient_00{2 * centre + at}_" in found[at].id for at in (0, 1))
        assert [sample.labels for sample in found] == [(1, 0), (0, 1)]
