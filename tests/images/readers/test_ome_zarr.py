"""OME-Zarr images of all versions, written here."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr

from napari_wsol.errors import ImageError, UnreadableImageError
from napari_wsol.images.cache import TileCache
from napari_wsol.images.readers import list_readers, open_slide
from napari_wsol.images.readers.zarr_slide import ZarrSlide

if TYPE_CHECKING:
    from pathlib import Path

UM = 0.5


def write_zarr(
    path: Path,
    picture: np.ndarray,
    *,
    axes: str = "cyx",
    version: str = "0.5",
    chunk: int = 100,
    unit: str = "micrometer",
    um: float = UM,
    shard: int | None = None,
    channels: list[dict[str, str]] | None = None,
) -> None:
    """Two levels of a (h, w, c) or (h, w) picture, all other axes of size 1."""
    group = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    datasets = []
    for level, step in enumerate((1, 2)):
        pixels = picture[::step, ::step]
        pixels = pixels[: picture.shape[0] // step, : picture.shape[1] // step]
        order = [{"y": 0, "x": 1, "c": 2}[axis] for axis in axes if axis in "yxc"]
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        stored = pixels.transpose(order) if len(order) == 3 else pixels[..., 0]
        shape = tuple(
            stored.shape[[a for a in axes if a in "yxc"].index(axis)]
            if axis in "yxc"
            else 1
            for axis in axes
        )
        sides = tuple(
            min(chunk, size) if a in "yx" else 1
            for a, size in zip(axes, shape, strict=True)
        )
        shards = shard and tuple(shard if a in "yx" else 1 for a in axes)
        array = group.create_array(
            str(level), shape=shape, dtype=stored.dtype, chunks=sides, shards=shards
        )
        array[...] = stored.reshape(shape)
        scale = [um * step if axis in "yx" else 1.0 for axis in axes]
        datasets.append(
            {
                "path": str(level),
                "coordinateTransformations": [{"type": "scale", "scale": scale}],
            }
        )
    described = [
        {"name": a, "type": "space", "unit": unit} if a in "yxz" else {"name": a}
        for a in axes
    ]
    meta: dict[str, object] = {
        "multiscales": [{"axes": described, "datasets": datasets, "version": version}]
    }
    if channels is not None:
        meta["omero"] = {"channels": channels}
    group.attrs.update(
        {"ome": {"version": "0.5", **meta}} if version == "0.5" else meta
    )


def whole(slide):
    return slide.read(0, 0, 0, *slide.shape)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["cyx", "tczyx", "yxc", "zcyx"])
def test_every_layout_reads_the_same_pixels(tmp_path, picture, version, axes):
    path = tmp_path / "a.ome.zarr"
    write_zarr(path, picture, axes=axes, version=version)
    slide = open_slide(path)
    assert (slide.reader, slide.name, slide.path) == ("zarr", "a.ome.zarr", path)
    assert [level.downsample for level in slide.levels] == [(1, 1), (2, 2)]
    assert np.array_equal(whole(slide), picture)
    half = picture[::2, ::2][:350, :261]
    assert np.array_equal(slide.read(1, 0, 0, 350, 261), half)
    assert slide.mpp == pytest.approx(UM)
    assert list_readers(path) == ["zarr"]


@pytest.mark.parametrize(
    ("told", "found"), [(2.0, 2.0), (2.03, 2.03), (1.97, 1.97), (2.05, 2.0), (1.5, 2.0)]
)
def test_the_scale_of_a_level_counts_where_it_fits_its_size(
    tmp_path, picture, told, found
):
    path = tmp_path / "odd.zarr"
    write_zarr(path, picture[:601, :403])
    meta = json.loads((path / "zarr.json").read_text())
    (image,) = meta["attributes"]["ome"]["multiscales"]
    image["datasets"][1]["coordinateTransformations"][0]["scale"][1:] = [UM * told] * 2
    (path / "zarr.json").write_text(json.dumps(meta))
    assert open_slide(path).levels[1].downsample == pytest.approx((found, found))


def test_the_metadata_file_stands_for_its_folder(tmp_path, picture):
    write_zarr(tmp_path / "a.zarr", picture)
    assert np.array_equal(whole(open_slide(tmp_path / "a.zarr/zarr.json")), picture)


@pytest.mark.parametrize("axes", ["yx", "cyx"])
def test_one_channel_is_grey(tmp_path, picture, axes):
    write_zarr(tmp_path / "a.zarr", picture[..., :1], axes=axes)
    expected = np.repeat(picture[..., :1], 3, axis=2)
    assert np.array_equal(whole(open_slide(tmp_path / "a.zarr")), expected)


def test_shards_are_read_by_their_chunks(tmp_path, picture):
    write_zarr(tmp_path / "a.zarr", picture, chunk=64, shard=256)
    slide = open_slide(tmp_path / "a.zarr")
    assert np.array_equal(slide.read(0, 33, 77, 400, 300), picture[33:433, 77:377])


def test_16_bits_are_read_at_their_depth(tmp_path, picture):
    deep = picture[..., 0].astype(np.uint16) * 257
    write_zarr(tmp_path / "a.zarr", deep, axes="yx")
    slide = open_slide(tmp_path / "a.zarr")
    assert "divided by 257" in slide.notes[0]
    assert np.array_equal(whole(slide)[..., 2], picture[..., 0])


@pytest.mark.parametrize(
    ("unit", "um", "mpp"),
    [
        ("micrometer", 0.25, 0.25),
        ("nanometer", 250.0, 0.25),
        ("millimeter", 0.00025, 0.25),
        ("", 0.25, None),
        ("micrometer", 352.8, None),
    ],
)
def test_the_scale_tells_the_pixel_size(tmp_path, picture, unit, um, mpp):
    write_zarr(tmp_path / "a.zarr", picture, unit=unit, um=um)
    slide = open_slide(tmp_path / "a.zarr")
    assert slide.mpp == (mpp and pytest.approx(mpp))
    assert mpp or any("give the pixel size" in note for note in slide.notes)


def test_only_the_chunks_that_are_asked_for_are_read(tmp_path, picture):
    path = tmp_path / "a.zarr"
    write_zarr(path, picture, chunk=100)
    slide = open_slide(path)
    for chunk in (path / "0/c").rglob("*"):
        if chunk.is_file() and chunk.parent.name not in "01234":
            chunk.write_bytes(b"broken")
    # Chunks of 100 are read five at a time.
    assert np.array_equal(slide.read(0, 7, 9, 490, 480), picture[7:497, 9:489])
    with pytest.raises(UnreadableImageError, match="damaged"):
        slide.read(0, 7, 9, 500, 480)


def test_a_chunk_that_was_never_written_holds_the_fill_value(tmp_path, picture):
    path = tmp_path / "a.zarr"
    write_zarr(path, picture)
    for channel in range(3):
        (path / "0/c" / str(channel) / "1/2").unlink()
    expected = picture.copy()
    expected[100:200, 200:300] = 0
    assert np.array_equal(whole(open_slide(path)), expected)


def test_a_cut_chunk_is_told_where_it_is_read(tmp_path, picture):
    path = tmp_path / "a.zarr"
    write_zarr(path, picture, chunk=512)
    chunk = path / "0/c/1/1/0"
    chunk.write_bytes(chunk.read_bytes()[:40])
    slide = open_slide(path)
    assert np.array_equal(slide.read(0, 0, 0, 99, 99), picture[:99, :99])
    with pytest.raises(UnreadableImageError, match=r"chunk.*again"):
        slide.read(0, 600, 0, 10, 10)


def test_what_is_read_is_kept_within_a_budget(tmp_path, picture):
    write_zarr(tmp_path / "a.zarr", picture, chunk=64)
    cache = TileCache(1 << 20)
    slide = ZarrSlide(tmp_path / "a.zarr", cache=cache)
    assert np.array_equal(whole(slide), picture)
    assert 0 < cache.held_bytes <= 1 << 20


@pytest.mark.parametrize(
    ("colours", "rgb", "good"),
    [
        (("FF0000", "00FF00", "0000FF"), None, True),
        (("0000FF", "00FF00", "FF0000"), None, False),
        (("0000FF", "00FF00", "FF0000"), True, True),
        (("FF0000", "00FF00", "0000FF"), False, False),
    ],
)
def test_dyes_are_not_taken_for_colours(tmp_path, picture, colours, rgb, good):
    channels = [{"color": colour} for colour in colours]
    write_zarr(tmp_path / "a.zarr", picture, channels=channels)
    if good:
        assert np.array_equal(whole(open_slide(tmp_path / "a.zarr", rgb=rgb)), picture)
    else:
        with pytest.raises(ImageError, match=r"3 channels.*rgb=True"):
            open_slide(tmp_path / "a.zarr", rgb=rgb)


def test_stacks_and_many_channels_are_refused_in_words(tmp_path, picture):
    write_zarr(tmp_path / "two.zarr", picture[..., :2])
    with pytest.raises(ImageError, match="2 channels"):
        open_slide(tmp_path / "two.zarr")
    write_zarr(tmp_path / "deep.zarr", picture[..., 0], axes="zyx")
    array = zarr.open_array(tmp_path / "deep.zarr/0", mode="r+")
    array.resize((4, 701, 523))
    with pytest.raises(ImageError, match=r"stack .z = 4."):
        open_slide(tmp_path / "deep.zarr")


def test_the_first_image_of_a_converted_file_is_shown(tmp_path, picture):
    path = tmp_path / "a.zarr"
    root = zarr.open_group(path, mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    write_zarr(path / "0", picture, version="0.4")
    write_zarr(path / "1", picture[:50, :60], version="0.4")
    slide = open_slide(path)
    assert np.array_equal(whole(slide), picture)
    assert any("several images" in note for note in slide.notes)


def test_what_is_no_image_is_refused_in_words(tmp_path, picture):
    root = zarr.open_group(tmp_path / "plate.zarr", mode="w")
    root.attrs["ome"] = {"plate": {"wells": []}}
    with pytest.raises(ImageError, match=r"plate.*A/1/0"):
        open_slide(tmp_path / "plate.zarr")
    zarr.open_group(tmp_path / "bare.zarr", mode="w")
    with pytest.raises(UnreadableImageError, match="without an OME-Zarr image"):
        open_slide(tmp_path / "bare.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(UnreadableImageError, match=r"OME-Zarr.*again"):
        open_slide(tmp_path / "empty.zarr")
    write_zarr(tmp_path / "cut.zarr", picture)
    shutil.rmtree(tmp_path / "cut.zarr/1")
    with pytest.raises(UnreadableImageError, match="again"):
        open_slide(tmp_path / "cut.zarr")
    write_zarr(tmp_path / "axes.zarr", picture)
    meta = json.loads((tmp_path / "axes.zarr/zarr.json").read_text())
    meta["attributes"]["ome"]["multiscales"][0]["axes"] = [{"name": "y"}]
    (tmp_path / "axes.zarr/zarr.json").write_text(json.dumps(meta))
    with pytest.raises(UnreadableImageError, match="axes"):
        open_slide(tmp_path / "axes.zarr")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_level_of_an_image_names_the_folder_above(tmp_path, picture, version):
    write_zarr(tmp_path / "a.zarr", picture, version=version)
    with pytest.raises(UnreadableImageError, match="choose the folder above"):
        open_slide(tmp_path / "a.zarr/0")


@pytest.mark.parametrize("kind", [2, 3])
@pytest.mark.parametrize("form", ["grey", "colours", "colours first"])
def test_an_array_on_its_own_is_an_image(tmp_path, picture, kind, form):
    pixels = {
        "grey": picture[..., 0],
        "colours": picture,
        "colours first": np.ascontiguousarray(np.moveaxis(picture, -1, 0)),
    }[form]
    zarr.save_array(tmp_path / "one", pixels, zarr_format=kind)
    expected = np.repeat(pixels[..., None], 3, 2) if form == "grey" else picture
    slide = open_slide(tmp_path / "one")
    assert np.array_equal(whole(slide), expected)
    assert "without a description" in " ".join(slide.notes)


def test_the_fingerprint_is_of_the_image_and_not_of_its_labels(tmp_path, picture):
    path = tmp_path / "a.zarr"
    write_zarr(path, picture)
    first = open_slide(path).fingerprint()
    shutil.copytree(path, tmp_path / "copy.zarr")
    labels = zarr.open_group(path / "labels", mode="w")
    labels.create_array("tissue", shape=(4, 4), dtype=np.uint8)
    assert open_slide(path).fingerprint() == first
    assert open_slide(tmp_path / "copy.zarr").fingerprint() == first
    zarr.open_array(path / "0", mode="r+")[0, 0, 0] = 255 - picture[0, 0, 0]
    assert open_slide(path).fingerprint() != first


def test_a_closed_image_says_so(tmp_path, picture):
    write_zarr(tmp_path / "a.zarr", picture)
    slide = open_slide(tmp_path / "a.zarr")
    slide.close()
    with pytest.raises(ImageError, match="closed"):
        slide.read(0, 0, 0, 5, 5)
