"""Maps from elsewhere: what is in a file, and where on the image it lies."""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_wsol.errors import ConfigError, ImageError, UnansweredError
from napari_wsol.export.ome import describe_levels
from napari_wsol.images.foreign_map import read_map
from napari_wsol.images.heatmap import Heatmap, covering

SHAPE, MPP = (300, 450), 0.25
STEPS = (4.0, 16.0, 37.5)


def cornered(step: float) -> np.ndarray:
    """(h, w) with a bright cell at each corner of the image, as large as it."""
    values = np.zeros([int(np.ceil(side / step)) for side in SHAPE])
    values[np.ix_([0, -1], [0, -1])] = [[1.0, 0.9], [0.8, 0.7]]
    return values


def ours(values, step: float) -> Heatmap:
    return Heatmap(
        values=values.astype(np.float32),
        scale=(step, step),
        translate=((step - 1) / 2, (step - 1) / 2),
        image_shape=SHAPE,
        method="ours",
        target="",
        is_probability=True,
    )


def patches(values, step: float) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) x and y of the corners of all cells, and their values."""
    rows, columns = np.indices(values.shape).reshape(2, -1)
    return np.stack([columns * step, rows * step], 1), values.ravel()


def array(_folder, values, step):
    return values, {"scale": step}


def tiff(folder, values, step):
    tifffile.imwrite(folder / "m.tif", values.astype(np.float32))
    return folder / "m.tif", {"scale": (step, step)}


def imagej(folder, values, step):
    tifffile.imwrite(folder / "m.tif", values.astype(np.float32), imagej=True)
    return folder / "m.tif", {"answers": {"scale": f"{step}", "translate": "corner"}}


def ome_tiff(folder, values, step):
    tifffile.imwrite(folder / "m.ome.tif", values, metadata={"axes": "YX"})
    corner = (step - 1) / 2
    return folder / "m.ome.tif", {"scale": step, "translate": (corner, corner)}


def npy(folder, values, step):
    np.save(folder / "m.npy", values)
    return str(folder / "m.npy"), {"scale": step}


def ome_zarr(folder, values, step):
    group = zarr.open_group(folder / "m.zarr", mode="w", zarr_format=3)
    group.create_array("0", data=values.astype(np.float32))
    place = (step, step), ((step - 1) / 2, (step - 1) / 2)
    describe_levels(group, "m", [place], mpp=MPP)
    return folder / "m.zarr", {}


def clam(folder, values, step):
    h5py = pytest.importorskip("h5py")
    corners, scores = patches(values, step)
    with h5py.File(folder / "m.h5", "w") as file:
        coords = file.create_dataset("coords", data=corners.astype(np.int32))
        coords.attrs.update(patch_size=8, patch_level=1, downsample=[step / 8] * 2)
        file["attention_scores"] = scores[:, None]
        file["features"] = np.random.default_rng(0).normal(size=(len(scores), 32))
    return folder / "m.h5", {}


def trident(folder, values, step):
    h5py = pytest.importorskip("h5py")
    corners, scores = patches(values, step)
    with h5py.File(folder / "m.h5", "w") as file:
        coords = file.create_dataset("coords", data=corners)
        coords.attrs.update(patch_size=256, patch_size_level0=step, overlap=0)
        file["scores"] = scores
    return folder / "m.h5", {}


def table(folder, values, step):
    corners, scores = patches(values, step)
    rows = [
        f"a slide;{x};{y};{step};{step};{s}"
        for (x, y), s in zip(corners, scores, strict=True)
    ]
    (folder / "m.csv").write_text("slide;x;y;w;h;score\n" + "\n".join(rows))
    return folder / "m.csv", {}


KINDS = (array, tiff, imagej, ome_tiff, npy, ome_zarr, clam, trident, table)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("write", KINDS)
def test_corners_land_on_the_right_pixels(tmp_path, write, step):
    values = cornered(step)
    source, given = write(tmp_path, values, step)
    found = read_map(source, {**given, "name": "mine"}, SHAPE, MPP)
    expected = ours(values, step)
    assert found.at(0, 0) == 1.0
    assert np.allclose(found.scale, step)
    assert np.allclose(found.translate, (step - 1) / 2)
    # At full resolution the same everywhere, and so in mask, regions and layer.
    assert np.allclose(found.resized(SHAPE), expected.resized(SHAPE), atol=1e-6)
    assert found.is_probability
    assert found.method == found.key == "mine"
    assert found.notes[0].startswith("From elsewhere: ")


def test_what_it_is_from_is_said(tmp_path):
    source, given = npy(tmp_path, cornered(4), 4.0)
    digest = hashlib.sha256((tmp_path / "m.npy").read_bytes()).hexdigest()
    found = read_map(source, given, SHAPE, None)
    assert found.notes[0] == f"From elsewhere: m.npy, sha256 {digest}."
    assert (found.method, found.target) == ("m", "evidence")
    digest = hashlib.sha256(cornered(4).tobytes()).hexdigest()
    assert digest in read_map(cornered(4), given, SHAPE, None).notes[0]


def test_values_beyond_0_to_1_are_scaled_and_what_is_no_number_is_0():
    values = np.full((30, 45), 2.0)
    values[0, 0], values[0, 1], values[0, 2] = -6.0, 10.0, np.nan
    found = read_map(values, {}, SHAPE, None)
    assert found.raw_range == (-6.0, 10.0)
    assert not found.is_probability
    assert found.values[0, :3].tolist() == [0.0, 1.0, 0.0]
    assert found.values[1, 1] == 0.5
    assert any("1 cells without a value are 0" in note for note in found.notes)
    with pytest.raises(ImageError, match="none of its values is a number"):
        read_map(values * np.nan, {}, SHAPE, None)
    with pytest.raises(ImageError, match="no numbers"):
        read_map(values.astype(complex), {}, SHAPE, None)


def test_the_proportions_of_the_image_say_where_a_map_lies():
    found = read_map(np.ones((30, 45)), {}, SHAPE, None)
    assert (found.scale, found.translate) == covering(SHAPE, (30, 45))
    assert "It has the proportions of the image, and covers it exactly." in found.notes
    with pytest.raises(UnansweredError, match="not told where") as asked:
        read_map(np.ones((30, 44)), {}, SHAPE, None)
    answers = {item.key: item.proposed for item in asked.value.questions}
    assert set(answers) == {"scale", "translate"}
    found = read_map(np.ones((30, 44)), {"answers": answers}, SHAPE, None)
    assert found.scale == pytest.approx((10, 450 / 44), rel=1e-5)
    with pytest.raises(ConfigError, match="scale is one number, or two"):
        read_map(np.ones((30, 44)), {"answers": {"scale": "wide"}}, SHAPE, None)
    with pytest.raises(ImageError, match="beside the image"):
        read_map(np.ones((3, 3)), {"scale": 2, "translate": (0, 500)}, SHAPE, None)


def test_a_map_of_a_part_of_the_image_ends_where_it_ends():
    given = {"scale": 10, "translate": (104.5, 204.5)}
    found = read_map(np.ones((2, 3)), given, SHAPE, None)
    inside = found.resized(SHAPE) >= 0.5
    assert (np.argwhere(inside).min(0) == (100, 200)).all()
    assert (np.argwhere(inside).max(0) == (119, 229)).all()


def test_of_several_planes_one_is_asked_for(tmp_path):
    stack = np.stack([np.zeros((30, 45)), cornered(10)]).astype(np.float32)
    tifffile.imwrite(tmp_path / "m.tif", stack, metadata={"axes": "ZYX"})
    for source in (tmp_path / "m.tif", stack):
        with pytest.raises(UnansweredError, match="several planes") as asked:
            read_map(source, {}, SHAPE, None)
        (question,) = asked.value.questions
        answers = {question.key: question.choices[1]}
        assert read_map(source, {"answers": answers}, SHAPE, None).at(0, 0) == 1.0
    colours = np.stack([cornered(10) * 255] + [np.zeros((30, 45))] * 2, 2)
    Image.fromarray(colours.astype(np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(UnansweredError) as asked:
        read_map(tmp_path / "m.png", {}, SHAPE, None)
    (question,) = asked.value.questions
    answers = {question.key: question.choices[0]}
    assert read_map(tmp_path / "m.png", {"answers": answers}, SHAPE, None).at(0, 0) == 1


def test_grey_pictures_are_maps(tmp_path):
    Image.fromarray((cornered(10) * 255).astype(np.uint8)).save(tmp_path / "m.png")
    found = read_map(tmp_path / "m.png", {}, SHAPE, None)
    assert found.at(0, 0) == 1.0
    assert found.raw_range == (0, 255)


def test_overlapping_patches_are_averaged(tmp_path):
    lines = ["x,y,size,score", "0,0,20,1.0", "10,0,20,0.5", "430,280,20,0.25"]
    (tmp_path / "m.csv").write_text("\n".join(lines))
    found = read_map(tmp_path / "m.csv", {}, SHAPE, None)
    assert found.scale == (20, 10)
    assert found.values[0, :4].tolist() == [1.0, 0.75, 0.5, 0.0]
    assert found.values[-1, -2:].tolist() == [0.25, 0.25]
    assert any("cells without a value are 0" in note for note in found.notes)


def test_patches_off_a_lattice_are_near_their_place(tmp_path):
    lines = ["x,y,size,score", "0,0,64,0.0", "64,0,64,0.0", "201,133,64,1.0"]
    (tmp_path / "m.csv").write_text("\n".join(lines))
    inside = read_map(tmp_path / "m.csv", {}, SHAPE, None).resized(SHAPE) >= 0.5
    assert np.abs(np.argwhere(inside).min(0) - (133, 201)).max() <= 5
    assert np.abs(np.argwhere(inside).max(0) - (196, 264)).max() <= 5


def test_a_size_that_is_not_told_is_asked_for(tmp_path):
    corners, scores = patches(cornered(25), 25.0)
    rows = [f"{x},{y},{s},{1 - s}" for (x, y), s in zip(corners, scores, strict=True)]
    (tmp_path / "m.csv").write_text("x,y,first,second\n" + "\n".join(rows))
    with pytest.raises(UnansweredError) as asked:
        read_map(tmp_path / "m.csv", {}, SHAPE, None)
    assert asked.value.questions[0].choices == ("first", "second")
    answers = {"scores": "first"}
    with pytest.raises(UnansweredError) as asked:
        read_map(tmp_path / "m.csv", {"answers": answers}, SHAPE, None)
    assert asked.value.questions[0].proposed == "25"
    found = read_map(
        tmp_path / "m.csv", {"answers": {**answers, "patch": "25"}}, SHAPE, None
    )
    assert np.array_equal(found.values, cornered(25).astype(np.float32))


def test_patches_of_another_image_are_refused(tmp_path):
    (tmp_path / "m.csv").write_text("x,y,size,score\n0,0,20,1\n9000,0,20,1\n")
    with pytest.raises(ImageError, match=r"x up to 9000.*full image"):
        read_map(tmp_path / "m.csv", {}, SHAPE, None)
    (tmp_path / "m.csv").write_text("row,column,score\n0,0,1\n")
    with pytest.raises(ImageError, match="no places of patches"):
        read_map(tmp_path / "m.csv", {}, SHAPE, None)


def test_links_of_hdf5_into_other_files_are_not_followed(tmp_path):
    h5py = pytest.importorskip("h5py")
    clam(tmp_path, cornered(25), 25.0)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["coords"] = h5py.ExternalLink("m.h5", "coords")
        file["scores"] = h5py.ExternalLink("m.h5", "attention_scores")
    with pytest.raises(ImageError, match="no places of patches"):
        read_map(tmp_path / "b.h5", {}, SHAPE, None)


def test_without_h5py_is_said_how_to_get_it(tmp_path, monkeypatch):
    source, _ = clam(tmp_path, cornered(25), 25.0)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImageError, match="pip install h5py, and"):
        read_map(source, {}, SHAPE, None)


@pytest.mark.parametrize("name", ["m.npy", "m.tif", "m.csv", "m.h5", "m.png", "m.txt"])
def test_what_is_no_map_is_refused_in_words(tmp_path, name):
    heads = {"m.npy": b"\x93NUMPY", "m.tif": b"II*\0", "m.h5": b"\x89HDF\r\n\x1a\n"}
    (tmp_path / name).write_bytes(heads.get(name, b"") + b"\1\2;3\n,4" * 99)
    with pytest.raises(ImageError, match=r"m\."):
        read_map(tmp_path / name, {}, SHAPE, None)
    with pytest.raises(ImageError, match="no file"):
        read_map(tmp_path / "nowhere.npy", {}, SHAPE, None)


def test_pickles_are_not_opened(tmp_path):
    np.save(tmp_path / "m.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ImageError, match="is no map"):
        read_map(tmp_path / "m.npy", {}, SHAPE, None)
