"""One channel, one plane or three channels of an image that has more."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
import tifffile
import zarr

from napari_wsol.errors import ImageError, StackError
from napari_wsol.images.readers import open_slide
from napari_wsol.images.readers.pixels import to_rgb8
from napari_wsol.images.readers.stacks import answered

AXES = ("ZCYX", "CZYX", "TZCYX")
SIZES = {"T": 2, "Z": 3, "C": 4, "Y": 60, "X": 50}
COLOURS = ("0000FF", "00FF00", "FFFFFF", "FF00FF")


def stack(axes: str, **sizes: int) -> np.ndarray:
    """Noise, other in every plane."""
    rng = np.random.default_rng(3)
    shape = tuple((SIZES | sizes)[axis] for axis in axes)
    return rng.integers(0, 256, shape).astype(np.uint8)


def as_ome_tiff(path, pixels, axes):
    tifffile.imwrite(
        path, pixels, ome=True, photometric="minisblack", metadata={"axes": axes}
    )


def as_tiles(path, pixels, axes):
    tifffile.imwrite(
        path,
        pixels,
        ome=True,
        photometric="minisblack",
        metadata={"axes": axes},
        tile=(32, 32),
        compression="zlib",
    )


def as_imagej(path, pixels, axes):
    order = "".join(axis for axis in "TZCYX" if axis in axes)
    turned = pixels.transpose([axes.index(axis) for axis in order])
    tifffile.imwrite(path, turned, imagej=True, metadata={"axes": order})


def as_imagej_of_one_header(path, pixels, axes):
    """As ImageJ saves what is larger than 4 GB."""
    order = "".join(axis for axis in "TZCYX" if axis in axes)
    turned = pixels.transpose([axes.index(axis) for axis in order])
    with tifffile.TiffWriter(path, imagej=True) as tif:
        tif.write(turned, metadata={"axes": order}, truncate=True)


def as_zarr(path, pixels, axes):
    root = zarr.open_group(path, mode="w", zarr_format=3)
    root.create_array("0", data=pixels, chunks=(*[1] * (pixels.ndim - 2), 32, 32))
    described = [{"name": axis.lower()} for axis in axes]
    channels = [{"color": colour, "label": f"dye {colour}"} for colour in COLOURS]
    root.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"axes": described, "datasets": [{"path": "0"}]}],
        "omero": {"channels": channels[: pixels.shape[axes.index("C")]]},
    }


WRITERS = {
    "a.ome.tif": as_ome_tiff,
    "tiles.ome.tif": as_tiles,
    "imagej.tif": as_imagej,
    "one header.tif": as_imagej_of_one_header,
    "a.zarr": as_zarr,
}


def order_of(name: str, axes: str) -> str:
    """Of the axes of planes, as the file has them."""
    kept = [axis for axis in axes if axis not in "CYX"]
    return "".join(sorted(kept, key="TZ".index)) if "tif" in name else "".join(kept)


def read(slide) -> np.ndarray:
    pixels = slide.read(0, 0, 0, *slide.shape)
    slide.close()
    return pixels


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("name", WRITERS)
def test_a_channel_and_a_plane_are_chosen(tmp_path, name, axes):
    pixels = stack(axes)
    WRITERS[name](tmp_path / name, pixels, axes)
    with pytest.raises(StackError, match=r"--plane 0.*--channel 0"):
        open_slide(tmp_path / name)
    at = {"T": 1, "Z": 2, "C": 3}
    plane = [at[axis] for axis in order_of(name, axes)]
    slide = open_slide(tmp_path / name, channel=3, plane=plane)
    expected = pixels[tuple(at.get(axis, slice(None)) for axis in axes)]
    assert "Channel 3" in " ".join(slide.notes)
    assert "Plane 2 of 3 on " in " ".join(slide.notes)
    assert np.array_equal(read(slide), to_rgb8(expected))


@pytest.mark.parametrize("name", WRITERS)
def test_three_channels_become_colours(tmp_path, name):
    pixels = stack("CYX")
    WRITERS[name](tmp_path / name, pixels, "CYX")
    slide = open_slide(tmp_path / name, channel=(3, 0, 2))
    assert np.array_equal(read(slide), np.moveaxis(pixels[[3, 0, 2]], 0, -1))


@pytest.mark.parametrize("name", WRITERS)
def test_three_planes_of_colours_are_joined_when_told(tmp_path, name):
    pixels = stack("CYX", C=3)
    WRITERS[name](tmp_path / name, pixels, "CYX")
    with pytest.raises(StackError, match="--rgb"):
        open_slide(tmp_path / name)
    slide = open_slide(tmp_path / name, rgb=True)
    assert np.array_equal(read(slide), np.moveaxis(pixels, 0, -1))


def test_channels_that_a_tiff_calls_red_green_and_blue_are_colours(tmp_path):
    pixels = stack("CYX", C=3)
    colours = {"Name": ["r", "g", "b"], "Color": [-16776961, 16711935, 65535]}
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        pixels,
        photometric="minisblack",
        metadata={"axes": "CYX", "Channel": colours},
    )
    slide = open_slide(tmp_path / "a.ome.tif")
    assert np.array_equal(read(slide), np.moveaxis(pixels, 0, -1))
    with pytest.raises(StackError, match="3 channels"):
        open_slide(tmp_path / "a.ome.tif", rgb=False)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_one_sample_of_many_is_chosen(tmp_path, planar):
    pixels = stack("YXC", C=7)
    data = pixels if planar == "contig" else np.moveaxis(pixels, -1, 0)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, data, photometric="minisblack", planarconfig=planar, metadata=None
    )
    with pytest.raises(StackError, match="7 channels"):
        open_slide(path)
    assert np.array_equal(
        read(open_slide(path, channel=5)), to_rgb8(np.ascontiguousarray(pixels[..., 5]))
    )
    three = read(open_slide(path, channel=(5, 1, 6)))
    assert np.array_equal(three, pixels[..., [5, 1, 6]])


@pytest.mark.parametrize("wrap", [np.asarray, dask.array.from_array, zarr.array])
def test_of_arrays_too(wrap):
    pixels = stack("ZYX", Z=6)
    assert np.array_equal(read(open_slide(wrap(pixels), plane=4)), to_rgb8(pixels[4]))
    three = read(open_slide(wrap(pixels), channel=(4, 2, 0)))
    assert np.array_equal(three, np.moveaxis(pixels[[4, 2, 0]], 0, -1))
    colours = stack("TYXC", C=3)
    assert np.array_equal(read(open_slide(wrap(colours), plane=1)), colours[1])
    two = stack("YXC", C=2)
    assert np.array_equal(read(open_slide(wrap(two), channel=1)), to_rgb8(two[..., 1]))


def test_every_level_shows_what_was_chosen():
    fine = stack("CYX", C=5)
    slide = open_slide([fine, fine[:, ::2, ::2]], channel=2)
    assert np.array_equal(slide.read(1, 0, 0, 30, 25), to_rgb8(fine[2, ::2, ::2]))


def test_the_questions_lead_to_what_is_asked(tmp_path):
    pixels = stack("ZCYX", C=3)
    as_zarr(tmp_path / "a.zarr", pixels, "ZCYX")
    with pytest.raises(StackError) as asked:
        open_slide(tmp_path / "a.zarr")
    texts = {question.key: question.choices for question in asked.value.questions}
    assert texts["z"] == ("0", "1", "2")
    assert texts["channel"][1] == "1 (dye 00FF00)"
    pick = answered({"z": "2", "channel": texts["channel"][1]})
    slide = open_slide(tmp_path / "a.zarr", channel=pick.channel, plane=pick.plane)
    assert np.array_equal(read(slide), to_rgb8(pixels[2, 1]))
    pick = answered({"z": "0", "channel": texts["channel"][3]})
    slide = open_slide(tmp_path / "a.zarr", channel=pick.channel, plane=pick.plane)
    assert np.array_equal(read(slide), np.moveaxis(pixels[0], 0, -1))


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"channel": 4, "plane": 0}, "from 0 to 3"),
        ({"channel": 0, "plane": 3}, "from 0 to 2"),
        ({"channel": 0, "plane": (0, 0)}, "1 axes of planes"),
        ({"channel": (0, 1), "plane": 0}, "not 2"),
        ({"channel": -1, "plane": 0}, "counted from 0"),
        ({"channel": 0, "plane": 0, "rgb": True}, "not both"),
        ({"channel": 0}, "plane"),
    ],
)
def test_what_is_not_there_is_refused_in_words(tmp_path, wanted, says):
    as_ome_tiff(tmp_path / "a.ome.tif", stack("ZCYX"), "ZCYX")
    with pytest.raises(ImageError, match=says):
        open_slide(tmp_path / "a.ome.tif", **wanted)


@pytest.mark.parametrize("name", WRITERS)
def test_another_channel_has_another_fingerprint(tmp_path, name):
    """Strokes and maps of one channel are not those of another."""
    WRITERS[name](tmp_path / name, stack("CYX"), "CYX")
    seen = set()
    for channel in (0, 1, (0, 1, 2), (2, 1, 0)):
        slide = open_slide(tmp_path / name, channel=channel)
        seen.add(slide.fingerprint())
        slide.close()
    assert len(seen) == 4


def test_a_picture_of_an_animation_is_chosen(tmp_path):
    from PIL import Image

    frames = [Image.fromarray(plane) for plane in stack("TYX", T=3)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    slide = open_slide(tmp_path / "a.png", plane=2)
    assert np.array_equal(read(slide)[..., 0], np.asarray(frames[2]))
    with pytest.raises(ImageError, match="3 pictures"):
        open_slide(tmp_path / "a.png", plane=3)
