"""Weights are read without importing, calling or building what a file names."""

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.torch
import torch
from fixtures.memory import peak_mb

from napari_wsol.checkpoints import network_of, read_state
from napari_wsol.checkpoints.pickles import ASIDE, read_pickle
from napari_wsol.errors import MalformedError, ModelError
from napari_wsol.methods.spec import ModelSpec


def state():
    torch.manual_seed(0)
    flat = torch.rand(40)
    tied = torch.rand(4, 3)
    return OrderedDict(
        {
            "a": torch.rand(2, 3, 4),
            "transposed": torch.rand(5, 6).T,
            "part": flat[8:20].reshape(3, 4),
            "other part": flat[20:],
            "tied": tied,
            "tied again": tied,
            "scalar": torch.tensor(3.5),
            "empty": torch.zeros(0, 4),
            "whole": torch.arange(7),
            "yes": torch.rand(9) > 0.5,
            "half": torch.rand(4).half(),
            "brain": torch.rand(4).bfloat16(),
            "parameter": torch.nn.Parameter(torch.rand(3)),
        }
    )


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"pickle_protocol": 3},
        {"pickle_protocol": 4},
        {"pickle_protocol": 5},
        {"_use_new_zipfile_serialization": False},
        {"_use_new_zipfile_serialization": False, "pickle_protocol": 4},
    ],
)
def test_weights_are_those_that_torch_reads(tmp_path, how):
    beside = {
        "epoch": np.int64(3),
        "best": np.float64(0.5),
        "curve": np.arange(3.0),
        "shape": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "dtype": torch.float32,
        "names": {"a", "b"},
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}},
        "bytes": b"\xff\0",
    }
    torch.save({"state_dict": state(), **beside}, tmp_path / "a.pt", **how)
    found = read_state(tmp_path / "a.pt")
    wanted = {f"state_dict.{name}": tensor for name, tensor in state().items()}
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor.detach()), name


class Harmful:
    """What a pickle may do when it is opened."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "call",
    [
        (os.system, ("touch it-ran",)),
        (exec, ("open('it-ran', 'w')",)),
        (eval, ("1",)),
        (getattr, ("text", "upper")),
        (np.load, ("it-ran.npy",)),
        (torch.load, ("it-ran.pt",)),
        (bytearray, (10**10,)),
        (np.dtype, ("V2000000000",)),
        (np.ndarray, ((10**9,), "O")),
    ],
    ids=lambda call: call[0].__name__,
)
def test_nothing_that_a_pickle_names_is_called(tmp_path, monkeypatch, call, protocol):
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps({"a": Harmful(*call)}, protocol)
    try:
        found = read_pickle(io.BytesIO(data)).plain
    except MalformedError:
        found = {"a": ASIDE}
    assert found == {"a": ASIDE}
    assert not list(tmp_path.iterdir())


def test_the_state_of_a_dtype_is_passed_over():
    """Flags of objects with raw bytes as pointers end the process in numpy itself."""
    array = pickle.dumps({"a": np.arange(3.0)}, 2)
    flagged = array.replace(b"K\x00tq", b"K\x3ftq")
    assert flagged != array
    assert read_pickle(io.BytesIO(flagged)).plain == {"a": ASIDE}


def saved(tmp_path, content, **how):
    path = tmp_path / "bomb.pt"
    torch.save(content, path, **how)
    return path


def test_few_numbers_do_not_become_many(tmp_path):
    before = peak_mb()
    wide = torch.rand(1).expand(600_000, 2048)
    path = saved(tmp_path, {"fc.weight": wide, "fc.bias": torch.rand(2)})
    with pytest.raises(ModelError, match="more numbers than are stored"):
        read_state(path)
    many = {f"w{index}": state()["a"] for index in range(3)}
    one = torch.rand(50)
    path = saved(tmp_path, many | {f"x{index}": one for index in range(1000)})
    with pytest.raises(ModelError, match="same numbers as many weights"):
        read_state(path)
    assert peak_mb() - before < 200


def test_a_compressed_zip_is_not_unpacked(tmp_path):
    path = saved(tmp_path, {"a": torch.zeros(1000)})
    packed = tmp_path / "packed.pt"
    with (
        zipfile.ZipFile(path) as old,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            data = bytes(200 << 20) if name.endswith("/0") else old.read(name)
            new.writestr(name, data)
    before = peak_mb()
    with pytest.raises(ModelError, match="compressed"):
        read_state(packed)
    assert peak_mb() - before < 100


def test_a_zip_of_very_many_files_is_not_listed(tmp_path):
    path = saved(tmp_path, {"a": torch.zeros(3)})
    data = bytearray(path.read_bytes())
    end = data.rfind(b"PK\5\6")
    data[end + 12 : end + 16] = struct.pack("<I", 1 << 30)
    path.write_bytes(data)
    with pytest.raises(ModelError, match="more files than any network"):
        read_state(path)


def test_texts_that_are_repeated_cost_what_they_are(tmp_path):
    long = "x" * 100_000
    content = {"names": [long] * 100_000, "a": torch.zeros(3)}
    path = saved(tmp_path, content, pickle_protocol=4)
    before = peak_mb()
    assert list(read_state(path)) == ["a"]
    assert peak_mb() - before < 200


@pytest.mark.parametrize("where", ["state_dict", "model", "a.b"])
def test_a_table_within_itself_has_an_end(tmp_path, where):
    content = {"w": torch.zeros(2)}
    content[where] = content
    assert list(read_state(saved(tmp_path, content))) == ["w"]


@pytest.mark.parametrize(
    ("tensor", "why"),
    [
        (torch.eye(3).to_sparse(), "sparse"),
        (torch.quantize_per_tensor(torch.rand(3), 0.1, 0, torch.qint8), "quantized"),
    ],
)
def test_weights_of_other_kinds_are_called_that(tmp_path, tensor, why):
    with pytest.raises(ModelError, match=why):
        read_state(saved(tmp_path, {"a": tensor}))


def test_pipes_and_long_headers_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(ModelError, match="pipe"):
        read_state(tmp_path / "pipe.pt")
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(2)}, path)
    path.write_bytes(struct.pack("<Q", 1 << 62) + path.read_bytes()[8:])
    with pytest.raises(ModelError, match="cut off or damaged"):
        read_state(path)


def test_a_network_that_does_not_fit_is_never_built():
    """A few bytes of a card may describe a network of many GB."""
    huge = ModelSpec(
        encoder="mobilenet_v2",
        classes=tuple(map(str, range(300_000))),
    )
    before = peak_mb()
    with pytest.raises(ModelError, match="is missing"):
        network_of(huge, {"a": torch.zeros(1)}, "It", "It does not fit")
    assert peak_mb() - before < 200
