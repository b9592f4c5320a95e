"""What a TIFF may ask for, looked at before a library does it.

A file of some kB may list so many directories that reading them takes minutes, and a
tile may hold a picture of its own that is a thousand times larger than the tile.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from napari_wsol.errors import UnreadableImageError

if TYPE_CHECKING:
    from collections.abc import Callable

DIRECTORIES = 100_000
"""In a row: a stack of so many planes is listed in some seconds."""

SUBDIRECTORIES = 1_000
"""Below all of them; a pyramid has one a level, and they are read one by one."""

TAGS = 4_096
"""Of a directory; scanners write some fifty."""

_SUB_IFDS = 330
_ROUNDED = 64
"""Pixels by which a tile's own picture may be larger: codecs fill up their blocks."""

_START_OF_FRAME = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})


def check_directories(read: Callable[[int, int], bytes], size: int, name: str) -> None:
    """Walks the directories of a TIFF, and counts those below them.

    Args:
        read: ``read(offset, size)`` gives bytes of the file.
        size: bytes of the file.
        name: of the file, for messages.

    Raises:
        UnreadableImageError: there are more than any image has, or they go in a circle.
    """
    head = read(0, min(size, 16))
    order = "<" if head[:2] == b"II" else ">"
    is_big = head[2:4] in (b"+\0", b"\0+")
    count, tag, link = ("Q", "HHQQ", "Q") if is_big else ("H", "HHII", "I")
    if not is_big and size >= 1 << 32:
        return  # only NDPI, which hides the upper half of its links, is so large
    count, tag, link = order + count, order + tag, order + link
    at = struct.unpack_from(link, head, 8 if is_big else 4)[0] if len(head) > 15 else 0
    seen: set[int] = set()
    below = 0
    while at:
        if at in seen or len(seen) > DIRECTORIES or below > SUBDIRECTORIES:
            raise UnreadableImageError(
                f"“{name}” lists more pages than any image has, or lists them in a "
                "circle: the file is damaged. Copy or download it again."
            )
        seen.add(at)
        if at + struct.calcsize(count) > size:
            return  # cut off, which whoever reads it tells
        (tags,) = struct.unpack(count, read(at, struct.calcsize(count)))
        entries = at + struct.calcsize(count)
        end = entries + tags * struct.calcsize(tag)
        if tags > TAGS or end + struct.calcsize(link) > size:
            return
        data = read(entries, end - entries + struct.calcsize(link))
        for place in range(0, end - entries, struct.calcsize(tag)):
            code, _, values, _ = struct.unpack_from(tag, data, place)
            below += values if code == _SUB_IFDS else 0
        (at,) = struct.unpack_from(link, data, end - entries)
    if below > SUBDIRECTORIES:
        raise UnreadableImageError(
            f"“{name}” lists {below} pictures below its pages, more than any image "
            "has: the file is damaged. Copy or download it again."
        )


def check_picture(data: bytes, tile_shape: tuple[int, int]) -> None:
    """Whether the picture that a tile holds is of the size of the tile.

    Args:
        data: a tile of JPEG, JPEG-LS, JPEG 2000, PNG or WebP; others tell no size.
        tile_shape: (height, width) that the file says.

    Raises:
        ValueError: it is larger.
    """
    found = _size(data)
    if found is not None and any(
        own > told + _ROUNDED for own, told in zip(found, tile_shape, strict=True)
    ):
        raise ValueError(
            f"it holds a picture of {found[0]}×{found[1]} pixels in a tile of "
            f"{tile_shape[0]}×{tile_shape[1]}"
        )


def _size(data: bytes) -> tuple[int, int] | None:
    """(height, width) that the head of a picture tells."""
    try:
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)
        if data.startswith(b"\xff\x4f\xff\x51"):
            x, y, x0, y0 = struct.unpack_from(">IIII", data, 8)
            return (y - y0, x - x0)
        if data[4:12] == b"jP  \r\n\x87\n":
            at = data.find(b"\xff\x4f\xff\x51")
            return _size(data[at : at + 64]) if at > 0 else None
        if data.startswith(b"\x89PNG"):
            width, height = struct.unpack_from(">II", data, 16)
            return (height, width)
        if data.startswith(b"RIFF"):
            return _webp(data)
    except struct.error:
        pass  # cut off, which the codec tells
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker in _START_OF_FRAME:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return (height, width)
        if marker == 0xFF or marker in _NO_LENGTH:
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        at += 2 + length
    return None


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return (height & 0x3FFF, width & 0x3FFF)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return ((bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1)
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        return (int.from_bytes(data[27:30], "little") + 1, width)
    return None
