"""A zarr folder whose metadata is judged before zarr acts on it.

What an array is made of comes from its metadata: codecs that may run code, objects in
place of numbers, chunks of any size. Here only numbers are let through, in codecs that
are listed, and each compressed chunk is opened by :func:`inflate`, which stops where
the shape of the chunk says that it ends.
"""

from __future__ import annotations

import asyncio
import bz2
import json
import math
import re
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import imagecodecs
import numcodecs.abc
import numcodecs.registry
import zarr.registry
from msgspec import Meta, Struct
from typing_extensions import override
from zarr.abc.codec import BytesBytesCodec
from zarr.storage import LocalStore, WrapperStore

from napari_wsol.errors import MalformedError
from napari_wsol.files import check_file
from napari_wsol.files.parsing import parse_json, typed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from zarr.abc.store import ByteRequest
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, BufferPrototype

METADATA_BYTES = 4 << 20
"""Of a metadata file; those of plates have some 100 kB."""

CHUNK_BYTES = 128 << 20
"""Of a chunk in memory, of which four are read at once: 6,500 × 6,500 colours."""

STORED_BYTES = 1 << 30
"""Of a file of chunks: shards hold many."""

MOST_AXES = 8
LONGEST = 1 << 40

BOUNDED = "napari_wsol_bounded"
"""Name of our codec, in zarr's and in numcodecs' tables."""

_DTYPE = re.compile(r"[<>|]([bui])[1248]|[<>]f[248]|\|b1")
_NUMBERS = frozenset({
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64",
})  # fmt: skip
_BITS = re.compile(r"\d+$")

_Size = Annotated[int, Meta(ge=1, le=LONGEST)]
_Sizes = Annotated[tuple[_Size, ...], Meta(min_length=1, max_length=MOST_AXES)]


def inflate(codec: str, data: bytes, most: int) -> bytes:
    """A compressed chunk.

    Args:
        codec: one of :data:`CODECS`.
        data: as it is stored.
        most: bytes that it may have.

    Raises:
        ValueError: it has more, or is damaged.
    """
    found = CODECS[codec](data, most)
    if len(found) > most:
        raise ValueError(_TOO_MUCH)
    return found


_TOO_MUCH = "a chunk holds more than its shape says"


def _gzip(data: bytes, most: int) -> bytes:
    """Deflate with the head of zlib or gzip, also several one after the other."""
    found = b""
    while data:
        reader = zlib.decompressobj(wbits=47)
        try:
            found += reader.decompress(data, most + 1 - len(found))
        except zlib.error as error:
            raise ValueError(str(error)) from error
        if not reader.eof:
            why = _TOO_MUCH if len(found) > most else "a chunk is cut off"
            raise ValueError(why)
        data = reader.unused_data
    return found


def _bz2(data: bytes, most: int) -> bytes:
    return bz2.BZ2Decompressor().decompress(data, most + 1)


def _blosc(data: bytes, most: int) -> bytes:
    # Bytes 4 to 8 hold the size, which the library allocates before it looks further.
    if len(data) < 16 or int.from_bytes(data[4:8], "little") > most:
        raise ValueError(_TOO_MUCH)
    return bytes(imagecodecs.blosc_decode(data))


def _lz4(data: bytes, most: int) -> bytes:
    if int.from_bytes(data[:4], "little") > most:
        raise ValueError(_TOO_MUCH)
    return bytes(imagecodecs.lz4_decode(data, header=True))


def _zstd(data: bytes, most: int) -> bytes:
    # The room is given beforehand: what does not fit is an error.
    return bytes(imagecodecs.zstd_decode(data, out=most))


CODECS: dict[str, Callable[[bytes, int], bytes]] = {
    "blosc": _blosc,
    "bz2": _bz2,
    "gzip": _gzip,
    "lz4": _lz4,
    "zlib": _gzip,
    "zstd": _zstd,
}
"""Compressions that are read."""


class BoundedCodec(numcodecs.abc.Codec):
    """:func:`inflate` for arrays of zarr's second format."""

    codec_id = BOUNDED

    def __init__(self, codec: str, most: int) -> None:
        self.codec, self.most = codec, most

    @override
    def encode(self, buf: Any) -> Any:
        raise NotImplementedError("Slides are not written.")

    @override
    def decode(self, buf: Any, out: Any = None) -> Any:
        del out  # zarr gives none
        return inflate(self.codec, bytes(memoryview(buf)), self.most)


@dataclass(frozen=True)
class BoundedBytes(BytesBytesCodec):
    """:func:`inflate` for arrays of zarr's third format."""

    codec: str
    most: int
    is_fixed_size = False

    @classmethod
    @override
    def from_dict(cls, data: dict[str, Any]) -> Self:
        return cls(**data["configuration"])

    @override
    def to_dict(self) -> dict[str, Any]:
        about = {"codec": self.codec, "most": self.most}
        return {"name": BOUNDED, "configuration": about}

    @override
    def compute_encoded_size(
        self, input_byte_length: int, chunk_spec: ArraySpec
    ) -> int:
        raise NotImplementedError("Slides are not written.")

    @override
    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> Buffer:
        data = chunk_data.to_bytes()
        found = await asyncio.to_thread(inflate, self.codec, data, self.most)
        return chunk_spec.prototype.buffer.from_bytes(found)


numcodecs.registry.register_codec(BoundedCodec)
zarr.registry.register_codec(BOUNDED, BoundedBytes)


class JudgedStore(WrapperStore[LocalStore]):
    """A folder that gives zarr only judged metadata, and files of a fair size."""

    def __init__(self, root: Path) -> None:
        super().__init__(LocalStore(root, read_only=True))
        self._folder = root

    @override
    async def get(
        self,
        key: str,
        prototype: BufferPrototype,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        path = self._folder / key
        try:
            size = check_file(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise MalformedError(f"{key}: {error.strerror}") from error
        judge = _JUDGES.get(PurePosixPath(key).name)
        if size > (STORED_BYTES if judge is None else METADATA_BYTES):
            raise MalformedError(f"{key} is larger than such a file can be")
        if judge is None:
            return await super().get(key, prototype, byte_range)
        try:
            told = typed(parse_json(path.read_bytes()), dict[str, object])
            return prototype.buffer.from_bytes(json.dumps(judge(told)).encode())
        except MalformedError as error:
            raise MalformedError(f"{key}: {error}") from error


Json = dict[str, object]


class _Filter(Struct):
    """What comes before the compression in the second format."""

    id: Literal["shuffle", "delta"]
    dtype: str = "|u1"
    astype: str = "|u1"
    elementsize: Annotated[int, Meta(ge=1, le=8)] = 4


class _Compressor(Struct):
    """A compression in the second format."""

    id: str


class _Array2(Struct):
    """The second format's ``.zarray``."""

    shape: _Sizes
    chunks: _Sizes
    dtype: str
    compressor: _Compressor | None = None
    filters: list[_Filter] | None = None
    fill_value: int | float | bool | Literal["NaN", "Infinity", "-Infinity"] | None = (
        None
    )


def _judged_array2(told: Json) -> Json:
    array = typed(told, _Array2)
    names = [array.dtype]
    for each in array.filters or ():
        names += [each.dtype, each.astype]
    strange = [name for name in names if not _DTYPE.fullmatch(name)]
    if strange:
        raise MalformedError(f"it holds {strange[0]}, which is no kind of number")
    most = _check_chunk(array.chunks, int(array.dtype[2:]))
    if array.compressor is None:
        return told
    return {
        **told,
        "compressor": {"id": BOUNDED, **_bounded(array.compressor.id, most)},
    }


class _Grid(Struct):
    """How the third format cuts an array."""

    class Sizes(Struct):
        """Of a chunk."""

        chunk_shape: _Sizes

    name: Literal["regular"]
    configuration: Sizes


class _Codec(Struct):
    """A step from an array to bytes in the third format."""

    name: str
    configuration: Json = {}


class _Array3(Struct):
    """The third format's ``zarr.json`` of an array."""

    shape: _Sizes
    data_type: str
    chunk_grid: _Grid
    codecs: list[_Codec | str]
    fill_value: int | float | bool | Literal["NaN", "Infinity", "-Infinity"] = 0
    storage_transformers: Annotated[list[object], Meta(max_length=0)] = []


def _judged_node(told: Json) -> Json:
    """Of an array or a group; what a group says of others is read where they are."""
    if told.get("node_type") != "array":
        return {
            key: value for key, value in told.items() if key != "consolidated_metadata"
        }
    array = typed(told, _Array3)
    if array.data_type not in _NUMBERS:
        raise MalformedError(f"it holds {array.data_type}, which is no kind of number")
    bits = _BITS.search(array.data_type)
    width = 1 if bits is None else int(bits[0]) // 8
    chunk = array.chunk_grid.configuration.chunk_shape
    return {**told, "attributes": {}, "codecs": _steps(array.codecs, chunk, width)}


_PLAIN_STEPS = frozenset({"bytes", "transpose", "crc32c"})


def _steps(
    codecs: list[_Codec | str], chunk: _Sizes, width: int, *, inside: bool = False
) -> list[Json]:
    """The codecs of a chunk of ``width`` bytes a number, or a refusal."""
    found: list[Json] = []
    for codec in codecs:
        step = _Codec(codec) if isinstance(codec, str) else codec
        if step.name == "sharding_indexed" and not inside:
            found.append(_shard(step.configuration, width))
        elif step.name in _PLAIN_STEPS:
            found.append({"name": step.name, "configuration": step.configuration})
        else:
            about = _bounded(step.name, _check_chunk(chunk, width))
            found.append({"name": BOUNDED, "configuration": about})
    if not any(step["name"] == "sharding_indexed" for step in found):
        _check_chunk(chunk, width)
    return found


class _Shard(Struct):
    """A file of many chunks, and an index of them."""

    chunk_shape: _Sizes
    codecs: list[_Codec | str]
    index_codecs: list[_Codec | str]
    index_location: Literal["start", "end"] = "end"


def _shard(told: Json, width: int) -> Json:
    shard = typed(told, _Shard)
    names = {one if isinstance(one, str) else one.name for one in shard.index_codecs}
    if not names <= _PLAIN_STEPS:
        raise MalformedError("the index of its shards is packed in an unknown way")
    steps = _steps(shard.codecs, shard.chunk_shape, width, inside=True)
    return {"name": "sharding_indexed", "configuration": {**told, "codecs": steps}}


def _bounded(codec: str, most: int) -> Json:
    if codec not in CODECS:
        raise MalformedError(
            f"its compression “{codec}” is not read; save it with {', '.join(CODECS)}"
        )
    return {"codec": codec, "most": most}


def _check_chunk(chunk: tuple[int, ...], width: int) -> int:
    """The bytes that a chunk may inflate to: its own, and a filter's few more."""
    size = math.prod(chunk) * width
    if size > CHUNK_BYTES:
        shape = "×".join(map(str, chunk))
        raise MalformedError(
            f"it is stored in chunks of {shape} numbers, too large to read one by "
            "one: save it again with chunks of about 512×512"
        )
    return size + 64


_JUDGES: dict[str, Callable[[Json], Json]] = {
    ".zarray": _judged_array2,
    ".zattrs": dict,
    ".zgroup": dict,
    "zarr.json": _judged_node,
}
"""Who judges what a metadata file says."""
