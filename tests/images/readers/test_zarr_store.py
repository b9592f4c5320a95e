"""What zarr's metadata asks for is judged before zarr does it."""

import json
import os
import pickle

import numcodecs
import numpy as np
import pytest
import zarr
from fixtures.memory import peak_mb

from napari_wsol.errors import ImageError, UnreadableImageError
from napari_wsol.images.readers import open_slide
from napari_wsol.images.readers.zarr_store import CHUNK_BYTES, CODECS, inflate

PIXELS = np.random.default_rng(0).integers(0, 255, (96, 128), dtype=np.uint8)


@pytest.fixture(params=[2, 3])
def version(request):
    return request.param


def write(folder, version, **how):
    """An OME-Zarr image of one level; gives the metadata file of its array."""
    group = zarr.open_group(folder, mode="w", zarr_format=version)
    group.create_array("0", data=PIXELS, chunks=(32, 32), **how)
    told = {"multiscales": [{"datasets": [{"path": "0"}], "axes": ["y", "x"]}]}
    group.attrs.update(told if version == 2 else {"ome": told})
    return folder / "0" / (".zarray" if version == 2 else "zarr.json")


def change(file, **values):
    told = json.loads(file.read_text())
    for path, value in values.items():
        inner = told
        *outer, last = path.split("__")
        for name in outer:
            inner = inner[name]
        inner[last] = value
    file.write_text(json.dumps(told))


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_what_is_packed_is_what_was_stored(tmp_path, codec):
    packed = {
        "blosc": numcodecs.Blosc(shuffle=2),
        "bz2": numcodecs.BZ2(),
        "gzip": numcodecs.GZip(),
        "lz4": numcodecs.LZ4(),
        "zlib": numcodecs.Zlib(),
        "zstd": numcodecs.Zstd(),
    }[codec]
    write(tmp_path / "a.zarr", 2, compressors=packed, filters=[numcodecs.Shuffle(1)])
    slide = open_slide(tmp_path / "a.zarr")
    assert np.array_equal(slide.read(0, 0, 0, 96, 128)[..., 0], PIXELS)
    data = bytes(packed.encode(bytes(50_000)))
    assert inflate(codec, data, 50_000) == bytes(50_000)
    for most in (0, 100, 49_999):
        with pytest.raises((ValueError, RuntimeError)):
            inflate(codec, data, most)


class Harmful:
    """Leaves a file when it is unpickled."""

    def __reduce__(self):
        return (os.system, ("touch it-ran",))


@pytest.mark.parametrize("place", ["compressor", "filters"])
@pytest.mark.parametrize("dtype", ["|u1", "|O"])
def test_no_pickle_is_opened(tmp_path, monkeypatch, place, dtype):
    monkeypatch.chdir(tmp_path)
    # As for a person who allowed it once, for data of their own.
    monkeypatch.setattr("numcodecs.pickles.ALLOW_UNSAFE_PICKLE_DECODE", True)
    file = write(tmp_path / "a.zarr", 2)
    codec = {"id": "pickle", "protocol": 5}
    objects = [{"id": "vlen-utf8"}] if dtype == "|O" else []
    change(file, compressor=None, filters=None, dtype=dtype)
    change(file, **{place: codec if place == "compressor" else [*objects, codec]})
    for chunk in file.parent.rglob("*.*"):
        if chunk != file:
            chunk.write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(ImageError):
        open_slide(tmp_path / "a.zarr").read(0, 0, 0, 32, 32)
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize(
    "values",
    [
        {"shape": [0, 8]},
        {"shape": [-1, 128]},
        {"shape": [96]},
        {"shape": [1 << 50, 128]},
        {"shape": [1 << 24, 1 << 24]},
        {"shape": ["96", 128]},
        {"shape": 96},
        {"shape": [1] * 100},
        {"fill_value": {"a": 1}},
        {"fill_value": "x" * 1000},
    ],
    ids=str,
)
def test_shapes_that_cannot_be_are_refused(tmp_path, version, values):
    change(write(tmp_path / "a.zarr", version), **values)
    with pytest.raises(ImageError):
        open_slide(tmp_path / "a.zarr")


CHUNKS = [[0, 32], [-1, 32], [1 << 16, 1 << 16], [1, 1], [32], ["32", 32], None]


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
def test_chunks_that_cannot_be_are_refused(tmp_path, version, chunks):
    file = write(tmp_path / "a.zarr", version)
    where = "chunks" if version == 2 else "chunk_grid__configuration__chunk_shape"
    change(file, **{where: chunks})
    with pytest.raises(UnreadableImageError):
        open_slide(tmp_path / "a.zarr")


@pytest.mark.parametrize("kind", ["|O", "|S9", "<U4", "|V2000000000", "<c16", "<M8[s]"])
def test_only_numbers_are_read(tmp_path, kind):
    change(write(tmp_path / "a.zarr", 2), dtype=kind)
    with pytest.raises(UnreadableImageError, match="no kind of number"):
        open_slide(tmp_path / "a.zarr")


@pytest.mark.parametrize("kind", ["string", "complex64", "r2000000000", {"name": "x"}])
def test_only_numbers_are_read_of_the_third_format(tmp_path, kind):
    change(write(tmp_path / "a.zarr", 3), data_type=kind)
    with pytest.raises(UnreadableImageError):
        open_slide(tmp_path / "a.zarr")


@pytest.mark.parametrize("codec", ["pickle", "vlen-utf8", "numcodecs.pickle", "x"])
def test_other_codecs_of_the_third_format_are_refused(tmp_path, codec):
    codecs = [{"name": "bytes"}, {"name": codec, "configuration": {}}]
    change(write(tmp_path / "a.zarr", 3), codecs=codecs)
    with pytest.raises(UnreadableImageError, match="compression"):
        open_slide(tmp_path / "a.zarr")


@pytest.mark.parametrize("codec", sorted({"blosc", "gzip", "zstd"}))
def test_a_chunk_holds_no_more_than_its_shape(tmp_path, version, codec):
    packed = {
        "blosc": numcodecs.Blosc(),
        "gzip": numcodecs.GZip(),
        "zstd": numcodecs.Zstd(),
    }[codec]
    of_version_3 = getattr(zarr.codecs, f"{codec.title()}Codec")
    how = packed if version == 2 else of_version_3()
    file = write(tmp_path / "a.zarr", version, compressors=how)
    bomb = bytes(packed.encode(bytes(400 << 20)))
    for chunk in file.parent.rglob("*"):
        if chunk.is_file() and chunk != file and chunk.name[0] != ".":
            chunk.write_bytes(bomb)
    del bomb
    before = peak_mb()
    with pytest.raises(UnreadableImageError, match="a chunk of 0 could not be"):
        open_slide(tmp_path / "a.zarr").read(0, 0, 0, 96, 128)
    assert peak_mb() - before < 100


def test_a_shard_holds_no_more_than_its_shape(tmp_path):
    how = {"shards": (64, 64), "compressors": zarr.codecs.GzipCodec()}
    file = write(tmp_path / "a.zarr", 3, **how)
    slide = open_slide(tmp_path / "a.zarr")
    assert np.array_equal(slide.read(0, 0, 0, 96, 128)[..., 0], PIXELS)
    told = json.loads(file.read_text())
    told["codecs"][0]["configuration"]["chunk_shape"] = [1 << 14, 1 << 14]
    file.write_text(json.dumps(told))
    with pytest.raises(UnreadableImageError, match="chunks of"):
        open_slide(tmp_path / "a.zarr")
    assert CHUNK_BYTES < 1 << 28


def test_what_a_group_says_of_its_arrays_does_not_count(tmp_path):
    """Consolidated metadata could say other things than what was judged."""
    write(tmp_path / "a.zarr", 2)
    zarr.consolidate_metadata(tmp_path / "a.zarr", zarr_format=2)
    all_of_it = tmp_path / "a.zarr" / ".zmetadata"
    told = json.loads(all_of_it.read_text())
    told["metadata"]["0/.zarray"]["compressor"] = {"id": "pickle"}
    all_of_it.write_text(json.dumps(told))
    slide = open_slide(tmp_path / "a.zarr")
    assert np.array_equal(slide.read(0, 0, 0, 96, 128)[..., 0], PIXELS)


def test_very_many_levels_are_refused(tmp_path, version):
    folder = tmp_path / "a.zarr"
    write(folder, version)
    levels = [{"path": "0"}] * 20_000
    if version == 2:
        change(folder / ".zattrs", multiscales=[{"datasets": levels}])
    else:
        told = {"multiscales": [{"datasets": levels}]}
        change(folder / "zarr.json", attributes__ome=told)
    with pytest.raises(UnreadableImageError, match="length <= 32"):
        open_slide(folder)


def test_a_pipe_in_place_of_a_chunk_is_damage(tmp_path):
    file = write(tmp_path / "a.zarr", 2)
    (chunk,) = file.parent.glob("0.0")
    chunk.unlink()
    os.mkfifo(chunk)
    with pytest.raises(UnreadableImageError, match="pipe"):
        open_slide(tmp_path / "a.zarr").read(0, 0, 0, 32, 32)
