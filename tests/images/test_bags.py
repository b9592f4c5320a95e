"""Bags of TRIDENT and CLAM: what they say is read, and where their tiles lie."""

import numpy as np
import pytest
from fixtures.bags import grid_corners, write_h5

from napari_wsol.errors import ImageError
from napari_wsol.images.bags import is_bag, lattice_of, open_bag

h5py = pytest.importorskip("h5py")


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(24, 8)).astype(np.float32)


def test_a_bag_of_trident_is_read_as_it_was_written(tmp_path, vectors):
    corners = grid_corners(4, 6)
    path = write_h5(
        tmp_path / "slide-1.h5",
        vectors,
        corners,
        level0_width=3100,
        level0_height=2100,
        encoder="uni_v1",
    )
    bag = open_bag(path)
    assert (bag.name, len(bag), bag.width, bag.side) == ("slide-1", 24, 8, 512)
    assert bag.image_shape == (2100, 3100)
    assert (bag.encoder, bag.tile) == ("uni_v1", 256)
    assert np.array_equal(bag.corners, corners[:, ::-1])
    assert np.array_equal(bag.vectors(), vectors)
    places = np.array([5, 0, 5, 23])
    assert np.array_equal(bag.vectors(places), vectors[places])
    assert np.array_equal(np.concatenate(list(bag.pieces())), vectors)


def test_vectors_behind_a_first_axis_of_one_are_read_too(tmp_path, vectors):
    path = write_h5(
        tmp_path / "a.h5", vectors[None].astype(np.float16), grid_corners(4, 6)
    )
    bag = open_bag(path)
    assert (len(bag), bag.width) == (24, 8)
    assert np.array_equal(bag.vectors(), vectors.astype(np.float16))
    places = np.array([7, 3])
    assert np.array_equal(bag.vectors(places), vectors[places].astype(np.float16))


def test_the_side_of_clams_tiles_is_told_from_their_distance(tmp_path, vectors):
    path = tmp_path / "clam.h5"
    with h5py.File(path, "w") as file:
        file["features"] = vectors
        file["coords"] = grid_corners(4, 6, 1024) + 17
    assert open_bag(path).side == 1024
    with h5py.File(path, "w") as file:
        file["features"] = vectors
        coords = file.create_dataset("coords", data=grid_corners(4, 6, 1024))
        coords.attrs.update(patch_size=256, patch_level=1, downsample=(4.0, 4.0))
    assert open_bag(path).side == 1024


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"features": np.zeros((3, 2))}, "is no bag: it needs"),
        ({"features": np.zeros((3, 2)), "coords": np.zeros((4, 2))}, "one row of"),
        ({"features": np.zeros((2, 3, 2)), "coords": np.zeros((3, 2))}, "one row of"),
        ({"features": np.zeros((1, 2)), "coords": np.zeros((1, 2))}, "how large its"),
    ],
)
def test_what_is_no_bag_is_told(tmp_path, entries, words):
    path = tmp_path / "no.h5"
    with h5py.File(path, "w") as file:
        for key, values in entries.items():
            file[key] = values
    with pytest.raises(ImageError, match=words):
        open_bag(path)


def test_a_file_that_is_no_hdf5_is_told(tmp_path):
    (tmp_path / "no.h5").write_bytes(b"something else")
    with pytest.raises(ImageError, match="cannot be read as HDF5"):
        open_bag(tmp_path / "no.h5")
    assert is_bag(tmp_path / "NO.H5")
    assert not is_bag(tmp_path / "no.svs")
    assert not is_bag(np.zeros((3, 3)))


def test_what_lies_in_another_file_is_not_followed(tmp_path, vectors):
    write_h5(tmp_path / "a.h5", vectors, grid_corners(4, 6))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["features"] = h5py.ExternalLink("a.h5", "features")
        file["coords"] = grid_corners(4, 6)
    with pytest.raises(ImageError, match="is no bag"):
        open_bag(tmp_path / "b.h5")


def test_the_bag_of_another_slide_is_refused(tmp_path, vectors):
    plain = open_bag(write_h5(tmp_path / "a.h5", vectors, grid_corners(4, 6)))
    plain.check((2048, 3072), "slide")
    plain.check((5000, 9000), "slide")  # it does not say, and it fits
    with pytest.raises(ImageError, match="3072 × 2048 pixels, and slide has 2000 × 2"):
        plain.check((2000, 2000), "slide")
    told = open_bag(
        write_h5(
            tmp_path / "b.h5",
            vectors,
            grid_corners(4, 6),
            level0_width=3100,
            level0_height=2100,
        )
    )
    told.check((2100, 3100), "slide")
    with pytest.raises(ImageError, match="Choose the bag that was made from this"):
        told.check((5000, 9000), "slide")


def centres_of(lattice):
    rows, columns = np.divmod(lattice.places, lattice.shape[1])
    at = np.stack([rows, columns], 1) * lattice.scale + np.array(lattice.translate)
    return at + 0.5  # borders count from 0, pixels from their centres


@pytest.mark.parametrize("shift", [(0, 0), (100, 300), (511, 1)])
def test_tiles_of_one_grid_are_cells_of_their_size(tmp_path, vectors, shift):
    corners = grid_corners(4, 6) + shift
    bag = open_bag(write_h5(tmp_path / "a.h5", vectors, corners))
    lattice = lattice_of(bag, (6000, 7000))
    assert lattice.scale == (512, 512)
    assert lattice.is_exact
    assert np.allclose(centres_of(lattice), corners[:, ::-1] + 256)
    assert len(set(lattice.places.tolist())) == 24
    # The last cell reaches the border of the slide.
    for axis, side in enumerate((6000, 7000)):
        last = lattice.translate[axis] + 512 * (lattice.shape[axis] - 0.5) + 0.5
        assert last >= side


def test_tiles_that_overlap_are_cells_of_their_step(tmp_path, vectors):
    corners = grid_corners(4, 6, 256)  # half of a tile
    bag = open_bag(write_h5(tmp_path / "a.h5", vectors, corners))
    lattice = lattice_of(bag)
    assert lattice.scale == (256, 256)
    assert lattice.is_exact
    assert np.allclose(centres_of(lattice), corners[:, ::-1] + 256)


def test_tiles_of_several_grids_go_to_the_nearest_cell(tmp_path, vectors):
    corners = grid_corners(4, 6)
    corners[12:] += (130, 4777)
    bag = open_bag(write_h5(tmp_path / "a.h5", vectors, corners))
    lattice = lattice_of(bag)
    assert lattice.scale == (512, 512)
    assert not lattice.is_exact
    away = np.abs(centres_of(lattice) - (corners[:, ::-1] + 256))
    assert away.max() <= 256
