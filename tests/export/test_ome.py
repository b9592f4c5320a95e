"""OME-TIFF and OME-Zarr, read back by tifffile and by ome-zarr-models."""

import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import ome_zarr_models
import pytest
import tifffile
import zarr
from ome_zarr_models.v05.image import Image
from ome_zarr_models.v05.image_label import ImageLabel

from napari_wsol.config import ExportConfig
from napari_wsol.export import export_heatmap
from napari_wsol.export.ome import levels_for, pyramid
from napari_wsol.images.readers import open_slide
from napari_wsol.strokes.canvas import Canvas

OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


def exported(folder, heatmap, slide, name, **beside):
    config = ExportConfig(threshold=0.4, formats=(name,))
    paths = export_heatmap(folder, heatmap, slide, config, {}, **beside)
    return next(path for path in paths if "heatmap" in path.name)


def pixels_of(tiff):
    (image,) = ElementTree.fromstring(tiff.ome_metadata).iter(f"{OME}Image")
    (pixels,) = image.iter(f"{OME}Pixels")
    told = {**pixels.attrib, "Name": image.attrib["Name"]}
    return told | {"Description": json.loads(image.find(f"{OME}Description").text)}


def test_the_tiff_has_levels_and_the_physical_size_of_the_slide(
    tmp_path, make_heatmap, make_slide
):
    y, x = np.mgrid[:1300, :1100]
    values = (np.sin(y / 200) * np.sin(x / 300) / 2 + 0.5).astype(np.float32)
    heatmap = make_heatmap((1300, 825), values)
    path = exported(tmp_path, heatmap, make_slide((1300, 825)), "ome-tiff")
    assert path.name.endswith("_heatmap.ome.tiff")
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        assert len(tiff.pages) == 1  # the other levels are SubIFDs of it
        (series,) = tiff.series
        assert [level.shape for level in series.levels] == [
            (1300, 1100),
            (650, 550),
            (325, 275),
        ]
        for level in series.levels:
            page = level.pages[0]
            assert page.is_tiled
            assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
            above, below = page.tags["YResolution"].value
            um = 1e4 * below / above
            assert um * level.shape[0] == pytest.approx(1300 * 0.5, rel=1e-6)
        np.testing.assert_array_equal(series.levels[0].asarray(), values)
        means = values.reshape(650, 2, 550, 2).mean((1, 3))
        np.testing.assert_allclose(series.levels[1].asarray(), means, atol=1e-6)
        told = pixels_of(tiff)
    assert (told["Type"], told["SizeX"], told["SizeY"]) == ("float", "1100", "1300")
    for axis, side in (("X", 825), ("Y", 1300)):
        size = float(told[f"PhysicalSize{axis}"]) * float(told[f"Size{axis}"])
        assert size == pytest.approx(side * 0.5)
        assert told[f"PhysicalSize{axis}Unit"] == "µm"
    assert told["Description"]["range"] == [0, 1]
    assert told["Name"] == "pixelcam malignant"
    again = open_slide(path)  # our own reader takes it for an image, too
    assert again.shape == (1300, 1100)
    again.close()


def test_a_map_that_ends_elsewhere_is_brought_to_the_image(
    tmp_path, make_heatmap, make_slide
):
    # The cells reach 6 and 10 pixels beyond the image.
    heatmap = make_heatmap(
        (50, 46), [[0.2, 0.8], [0.2, 0.8]], scale=(28.0, 28.0), translate=(13.5, 13.5)
    )
    path = exported(tmp_path, heatmap, make_slide((50, 46)), "ome-tiff")
    with tifffile.TiffFile(path) as tiff:
        told, values = pixels_of(tiff), tiff.asarray()
    for axis, side in (("X", 46), ("Y", 50)):
        size = float(told[f"PhysicalSize{axis}"]) * float(told[f"Size{axis}"])
        assert size == pytest.approx(side * 0.5)
    facts = told["Description"]
    for row, column in np.ndindex(*values.shape):
        y, x = (
            scale * at + translate
            for scale, at, translate in zip(
                facts["scale"], (row, column), facts["translate"], strict=True
            )
        )
        assert values[row, column] == pytest.approx(heatmap.at(y, x), abs=1e-5)


def test_without_a_pixel_size_the_tiff_has_none(tmp_path, heatmap, make_slide):
    path = exported(tmp_path, heatmap, make_slide(mpp=None), "ome-tiff")
    with tifffile.TiffFile(path) as tiff:
        assert not any(name.startswith("Physical") for name in pixels_of(tiff))


def place_of(dataset):
    scale, translation = dataset.coordinateTransformations
    return scale.scale, translation.translation


def test_the_zarr_has_mask_tissue_and_strokes_as_labels(tmp_path, heatmap, slide):
    tissue = np.zeros((30, 38), bool)
    tissue[4:20] = True
    scribbles = np.zeros((60, 76), np.uint8)
    scribbles[3, 5:30], scribbles[40, 2:9] = 2, 1
    path = exported(
        tmp_path,
        heatmap,
        slide,
        "zarr",
        tissue=lambda: tissue,
        strokes=(scribbles, Canvas((60, 76), (2, 2), (0.5, 0.5))),
    )
    group = zarr.open_group(path, mode="r")
    image = ome_zarr_models.open_ome_zarr(group, version="0.5")
    assert isinstance(image, Image)
    assert image.labels.attributes.ome.labels == ["mask", "tissue", "strokes"]
    mask = heatmap.resized((120, 152)) >= 0.4
    # A map downsampled by d has scale d and translate (d - 1) / 2, here times 0.5 µm.
    expected = {
        "mask": (mask, 1, {1: "malignant"}),
        "tissue": (tissue, 4, {1: "Tissue"}),
        "strokes": (scribbles, 2, {1: "Background", 2: "Foreground"}),
    }
    for name, (values, d, classes) in expected.items():
        label = ImageLabel.from_zarr(group[f"labels/{name}"])
        told = label.attributes.ome
        (dataset,) = told.multiscales[0].datasets
        assert place_of(dataset) == ([0.5 * d] * 2, [0.5 * (d - 1) / 2] * 2)
        assert {axis.unit for axis in told.multiscales[0].axes} == {"micrometer"}
        array = group[f"labels/{name}/{dataset.path}"]
        assert array.dtype == np.uint8
        np.testing.assert_array_equal(array[...], values)
        plain = told.image_label
        assert {one.label_value for one in plain.colors} == set(classes)
        assert all(len(one.rgba) == 4 for one in plain.colors)
        raw = group[f"labels/{name}"].attrs["ome"]["image-label"]
        assert {
            one["label-value"]: one["class"] for one in raw["properties"]
        } == classes


def test_labels_have_as_many_levels_as_their_image_each_in_place(
    tmp_path, make_heatmap, make_slide
):
    shape = (1100, 900)
    y, x = np.mgrid[:275, :225]
    values = (np.sin(y / 20) * np.sin(x / 30) / 2 + 0.5).astype(np.float32)
    heatmap = make_heatmap(shape, values)
    path = exported(tmp_path, heatmap, make_slide(shape, mpp=0.25), "zarr")
    group = zarr.open_group(path, mode="r")
    image = Image.from_zarr(group)
    label = ImageLabel.from_zarr(group["labels/mask"])
    for item, step, fine in (
        (image.attributes.ome, 4, values),
        (label.attributes.ome, 1, heatmap.resized(shape) >= 0.4),
    ):
        datasets = item.multiscales[0].datasets
        assert len(datasets) == 3
        for level, dataset in enumerate(datasets):
            d = step * 2**level
            scale, translation = place_of(dataset)
            assert scale == [0.25 * d] * 2
            assert translation == [0.25 * (d - 1) / 2] * 2
        assert item is not image.attributes.ome or group["0"].shape == fine.shape
    coarse = group["labels/mask/1"][...]
    mask = heatmap.resized(shape) >= 0.4
    np.testing.assert_array_equal(coarse, mask.reshape(550, 2, 450, 2).any((1, 3)))
    assert np.abs(group["1"][0, 0] - values[:2, :2].mean()) < 1e-6


def test_without_tissue_and_strokes_there_is_the_mask(tmp_path, heatmap, make_slide):
    path = exported(tmp_path, heatmap, make_slide(mpp=None), "zarr")
    image = ome_zarr_models.open_ome_zarr(zarr.open_group(path, mode="r"))
    assert image.labels.attributes.ome.labels == ["mask"]


def test_odd_sides_are_halved_to_whole_pixels():
    values = np.arange(15, dtype=np.float32).reshape(3, 5)
    _, half = pyramid(values, 2, np.mean)
    assert half.shape == (2, 3)
    assert half[0, 0] == values[:2, :2].mean()
    assert half[1, 2] == values[2, 4]
    assert half.dtype == values.dtype
    assert [levels_for((side, 3)) for side in (1, 512, 513, 1024, 1025)] == [
        1,
        1,
        2,
        2,
        3,
    ]


def test_a_mask_that_nothing_reaches_is_an_empty_label(tmp_path, heatmap, slide):
    empty = replace(heatmap, values=heatmap.values * 0)
    path = exported(tmp_path, empty, slide, "zarr")
    assert not zarr.open_group(path, mode="r")["labels/mask/0"][...].any()
