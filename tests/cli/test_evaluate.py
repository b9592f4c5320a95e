"""``napari-wsol evaluate`` as a shell runs it."""

import gzip
import json

import numpy as np
import pytest
from fixtures.models import small_card
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from napari_wsol.cli import app
from napari_wsol.errors import ConfigError, DatasetError, ImageError
from napari_wsol.zoo import find_card, save_model, verify


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, small_model):
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "home"))
    save_model(small_model, small_card(small_model, small_model.spec.heads))


@pytest.fixture
def data(tmp_path):
    """A table of four images with masks."""
    rng = np.random.default_rng(0)
    lines = ["path,label,split,mask"]
    for k in range(4):
        pixels = rng.integers(60, 120, (64, 72, 3)).astype(np.uint8)
        pixels[10:40, 20:50] += 100
        mask = np.zeros((64, 72), np.uint8)
        mask[10:40, 20:50] = 255
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
        Image.fromarray(mask).save(tmp_path / f"m{k}.png")
        lines.append(f"{k}.png,{'bright' if k % 2 else 'dark'},test,m{k}.png")
    (tmp_path / "set.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "set.csv"


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *(str(item) for item in arguments)])


def test_figures_table_and_picture_are_written(data, tmp_path):
    out = tmp_path / "out" / "metrics.json"
    result = run(
        "small", "--data", data, "--split", "test", "--method", "cam",
        "--method", "pixelcam", "--bootstrap", 50, "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    stored = json.loads(out.read_text("utf-8"))
    assert [item["name"] for item in stored["methods"]] == ["cam", "pixelcam"]
    assert stored["images"] == stored["references"] == 4
    figure = stored["methods"][1]["figures"]["pxap"]
    assert 0 < figure["low"] <= figure["value"] <= figure["high"] <= 100
    table = out.with_suffix(".md").read_text("utf-8")
    assert "| PxAP (%) | " in table
    assert f"{figure['value']:.1f}" in table
    assert f"{figure['value']:.1f}" in result.output
    with Image.open(out.with_suffix(".png")) as picture:
        assert picture.width > 900
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "metrics.json",
        "metrics.md",
        "metrics.png",
    ]


@pytest.mark.slow
def test_an_older_run_is_replaced_only_on_request(data, tmp_path):
    out = tmp_path / "metrics.json"
    arguments = ("small", "--data", data, "--method", "cam", "--bootstrap", 0)
    assert run(*arguments, "--out", out).exit_code == 0
    before = out.read_text("utf-8")
    out.with_suffix(".md").unlink()
    again = run(*arguments, "--out", out, "--threshold", 0.3)
    assert again.exit_code == 1
    assert isinstance(again.exception, ConfigError)
    assert "--overwrite" in str(again.exception)
    assert out.read_text("utf-8") == before
    done = run(*arguments, "--out", out, "--threshold", 0.3, "--overwrite")
    assert done.exit_code == 0
    assert json.loads(out.read_text("utf-8"))["settings"]["threshold"] == 0.3


@pytest.mark.slow
def test_sanity_is_written_told_and_kept_in_the_card(data, tmp_path):
    out = tmp_path / "metrics.json"
    arguments = ("small", "--data", data, "--method", "cam", "--method", "pixelcam")
    done = run(*arguments, "--sanity", "--road", "--bootstrap", 50, "--out", out)
    assert done.exit_code == 0, done.output
    stored = json.loads(out.read_text("utf-8"))
    cam, pixelcam = stored["methods"]
    assert pixelcam["sanity"]["heads"] == pytest.approx(1)
    assert abs(cam["sanity"]["heads"]) < 0.99
    for item in (cam, pixelcam):
        assert [*item["sanity"]] == ["heads", "last_stage", "encoder"]
        for part, value in item["sanity"].items():
            figure = item["figures"][f"sanity_{part}"]
            assert figure["low"] <= figure["value"] == value <= figure["high"]
        assert -0.5 <= item["figures"]["road"]["value"] <= 0.5
    table = out.with_suffix(".md").read_text("utf-8")
    assert "| Rank correlation, other heads |" in table
    assert any(
        note.startswith("PixelCAM: It does not depend on the image's verdict")
        for note in stored["notes"]
    )
    kept = find_card("small").metrics["sanity"]
    assert kept["pixelcam"] == pytest.approx(pixelcam["sanity"], abs=5e-4)
    assert verify(find_card("small")) is None


def test_without_sanity_nothing_is_said_of_it(data, tmp_path):
    out = tmp_path / "metrics.json"
    arguments = ("small", "--data", data, "--method", "cam", "--bootstrap", 0)
    assert run(*arguments, "--out", out).exit_code == 0
    stored = json.loads(out.read_text("utf-8"))
    assert stored["methods"][0]["sanity"] == {}
    assert "sanity" not in find_card("small").metrics
    assert "Rank correlation" not in out.with_suffix(".md").read_text("utf-8")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--out", "m.txt"), "must end in .json"),
        (("--box-frame", "1024"), "WIDTHxHEIGHT"),
        (("--target", "all"), "predicted"),
    ],
)
def test_options_that_cannot_be_are_refused_in_words(data, tmp_path, options, words):
    out = ("--out", tmp_path / "m.json") if "--out" not in options else ()
    result = run("small", "--data", data, *options, *out)
    assert result.exit_code == 1
    assert words in str(result.exception)
    assert not (tmp_path / "m.json").exists()


def test_a_prior_is_a_row_beside_the_methods(data, tmp_path):
    out = tmp_path / "metrics.json"
    result = run(
        "small", "--data", data, "--method", "cam", "--bootstrap", 0, "--out", out,
        "--prior", data, "--group-pattern", r"^(\d)\.",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    stored = json.loads(out.read_text("utf-8"))
    figures = {item["name"]: item["figures"] for item in stored["methods"]}
    assert list(figures) == ["cam", "location_prior", "centre", "darkness"]
    assert figures["location_prior"]["pxap"]["value"] == pytest.approx(100)
    assert figures["centre"]["pxap"]["value"] < 90


def test_groups_without_a_prior_are_refused(data, tmp_path):
    out = tmp_path / "m.json"
    result = run("small", "--data", data, "--group-pattern", "^.", "--out", out)
    assert result.exit_code == 1
    assert "add --prior" in str(result.exception)
    assert not out.exists()


def test_wrong_data_is_refused_in_words(tmp_path):
    result = run("small", "--data", tmp_path / "no", "--out", tmp_path / "m.json")
    assert isinstance(result.exception, DatasetError)
    assert "There is no folder" in str(result.exception)


def test_wrong_usage_is_status_2(data):
    assert run("small").exit_code == 2
    assert run("small", "--data", data, "--threshold", 2).exit_code == 2


@pytest.mark.slow
def test_images_that_cannot_be_used_are_left_out_and_told(data, tmp_path):
    out, good = tmp_path / "all.json", tmp_path / "good.json"
    arguments = ("small", "--data", data, "--method", "cam", "--bootstrap", 0)
    lines = data.read_text().splitlines()
    data.write_text("\n".join(lines[:3]) + "\n")
    assert run(*arguments, "--out", good).exit_code == 0
    data.write_text("\n".join(lines) + "\n")
    (tmp_path / "2.png").write_bytes(b"nothing")
    (tmp_path / "m3.png").write_bytes(b"nothing")
    result = run(*arguments, "--out", out)
    assert result.exit_code == 1
    stored, wanted = json.loads(out.read_text()), json.loads(good.read_text())
    assert list(stored["failed"]) == ["2.png", "3.png"]
    assert all(stored["failed"].values())
    assert "2 images could not be used: 2.png: " in stored["notes"][0]
    # Not even half of the image whose mask is damaged counts.
    assert stored["images"] == 2
    for key in ("methods", "classification", "cases", "references"):
        assert stored[key] == wanted[key]
    assert "2.png: " in result.output
    assert "3.png: " in result.output
    assert "2 images could not be used" in out.with_suffix(".md").read_text("utf-8")


def test_where_no_image_can_be_used_its_reason_is_given(data, tmp_path):
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(b"nothing")
    out = tmp_path / "m.json"
    result = run("small", "--data", data, "--method", "cam", "--out", out)
    assert isinstance(result.exception, ImageError)
    assert not out.exists()


def test_a_folder_of_that_name_is_never_replaced(data, tmp_path):
    out = tmp_path / "m.json"
    (tmp_path / "m.md").mkdir()
    result = run("small", "--data", data, "--out", out, "--overwrite")
    assert result.exit_code == 1
    assert "m.md is a folder" in str(result.exception)


def outlines(folder, group="Tumor", hole_group="Exclusion"):
    """One blob with a hole, as a mask of independent making, as GeoJSON and as XML."""
    turns = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    far = 18 + 6 * np.sin(3 * turns)
    ring = np.stack([35 + far * np.cos(turns), 27 + far * np.sin(turns)], 1).round(2)
    hole = np.array([[30.0, 22.0], [41.5, 23.0], [36.0, 33.3]])
    mask = Image.new("L", (72 * 16, 64 * 16))  # 16 × 16 points a pixel
    for corners, value in ((ring, 255), (hole, 0)):
        ImageDraw.Draw(mask).polygon([tuple(p) for p in corners * 16], value)
    at_centres = np.asarray(mask)[8::16, 8::16]
    Image.fromarray(at_centres).save(folder / "blob.png")
    rings = [[*corners.tolist(), corners[0].tolist()] for corners in (ring, hole)]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": rings},
        "properties": {
            "objectType": "annotation",
            "classification": {"name": group, "color": [1, 2, 3]},
        },
    }
    text = json.dumps({"type": "FeatureCollection", "features": [feature]})
    (folder / "blob.geojson.gz").write_bytes(gzip.compress(text.encode()))
    places = [
        "".join(
            f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>'
            for n, (x, y) in enumerate(corners)
        )
        for corners in (hole, ring)
    ]
    (folder / "blob.xml").write_text(
        "<ASAP_Annotations><Annotations>"
        f'<Annotation Name="1" Type="Polygon" PartOfGroup="{hole_group}">'
        f"<Coordinates>{places[0]}</Coordinates></Annotation>"
        f'<Annotation Name="2" Type="Spline" PartOfGroup="{group}">'
        f"<Coordinates>{places[1]}</Coordinates></Annotation>"
        "</Annotations></ASAP_Annotations>"
    )


@pytest.mark.parametrize("size", [224, 0])
@pytest.mark.slow
def test_geojson_xml_and_mask_of_one_shape_give_the_same_figure(data, tmp_path, size):
    outlines(tmp_path)
    found = {}
    for name in ("blob.png", "blob.geojson.gz", "blob.xml"):
        lines = [f"{k}.png,{'bright' if k % 2 else 'dark'},{name}" for k in range(4)]
        data.write_text("\n".join(["path,label,mask", *lines]) + "\n")
        out = tmp_path / f"{name}.json"
        result = run(
            "small", "--data", data, "--method", "pixelcam", "--bootstrap", 0,
            "--size", size, "--out", out,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        (method,) = json.loads(out.read_text("utf-8"))["methods"]
        found[name] = method["figures"]["pxap"]["value"]
    assert max(found.values()) - min(found.values()) <= 0.1
    assert 5 < found["blob.png"] < 100


@pytest.mark.slow
def test_what_classes_of_annotations_mean_can_be_said(data, tmp_path):
    outlines(tmp_path, "Gland", "Stroma")
    lines = [f"{k}.png,{'bright' if k % 2 else 'dark'},blob.xml" for k in range(2)]
    data.write_text("\n".join(["path,label,mask", *lines]) + "\n")
    common = ("small", "--data", data, "--method", "pixelcam", "--bootstrap", 0)
    result = run(*common, "--out", tmp_path / "a.json")
    assert isinstance(result.exception, ImageError)
    words = str(result.exception)
    assert "Gland (1), Stroma (1). Name them so, or say it" in words
    figures = []
    for name, options in (
        ("b", ("--foreground", "Gland", "--background", "Stroma")),
        ("c", ("--foreground", "Gland")),  # the stroma does not count
        ("d", ("--foreground", "Gland", "--foreground", "Stroma")),
    ):
        out = tmp_path / f"{name}.json"
        result = run(*common, *options, "--out", out)
        assert result.exit_code == 0, result.output
        stored = json.loads(out.read_text("utf-8"))
        assert stored["settings"]["classes"]["Gland"] == 2
        figures.append(stored["methods"][0]["figures"]["pxap"]["value"])
    assert len({round(value, 2) for value in figures}) == 3
    both = ("--foreground", "Gland", "--background", "Gland")
    result = run(*common, *both, "--out", tmp_path / "e.json")
    assert isinstance(result.exception, ConfigError)
