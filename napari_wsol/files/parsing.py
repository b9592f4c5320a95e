"""Text that a person or another program may have touched: read, parsed and typed.

The one way from such a text to values: it is read from a real file and not beyond a
bound, parsed to plain data by a parser that cannot be overrun, and converted by
:func:`typed` to what the program works with. Whatever the bytes are, there is a result
or a :class:`~napari_wsol.errors.MalformedError`.
"""

from __future__ import annotations

import datetime
import gzip
import io
import json
import re
import tomllib
import zipfile
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

import msgspec

from napari_wsol.errors import MalformedError, told_as
from napari_wsol.files import read_whole

if TYPE_CHECKING:
    from pathlib import Path
    from xml.etree.ElementTree import Element

T = TypeVar("T")

Finite = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]
"""A number that is neither infinite nor NaN."""

Positive = Annotated[float, msgspec.Meta(gt=0, le=1e300)]
"""A finite number above 0."""

Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
"""A number between 0 and 1, and neither of them."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""A whole number from 0 on, as every program that reads JSON holds it."""

TEXT_BYTES = 64 << 20
"""Of a text: a GeoJSON file of a million corners has 40 MB."""

VALUES = 8_000_000
"""In a text: each costs up to 72 bytes once it is parsed, so that they take 0.6 GB."""

XML_PARTS = 4_000_000
"""Elements and attributes in XML: each costs up to 200 bytes. An annotation file of a
million corners has as many."""

TOML_BYTES = 4 << 20
"""Of a recipe or a card, which a person wrote: they have some kB."""

DEPTH = 64
"""Levels of nesting; what this program reads has ten."""

DOTS = 100
"""In one TOML key: the parser's time grows with their square."""

MOST = 2**63
"""A whole number is below; larger ones are read as real ones, which all code bounds."""

_ZIPPED = 10_000
"""Files in a zip of which one is wanted: each costs some 500 bytes."""

_BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ALIKE = bytes.maketrans(b"{}", b"[]")
_DOTTED = re.compile(rf"(?:\.[^.=\n]*+){{{DOTS}}}")


def read_text(path: Path, most: int = TEXT_BYTES) -> str:
    """A text file in UTF-8, without its byte order mark.

    Raises:
        OSError: it cannot be read, or is a pipe or a device.
        MalformedError: it is too large, or no such text.
    """
    try:
        return read_whole(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedError(f"it is no text in UTF-8 ({error.reason})") from error


def read_unpacked(path: Path, endings: tuple[str, ...]) -> bytes:
    """A file, or what a gzip file or a zip of one such file holds, as its bytes tell.

    Args:
        path: of the file.
        endings: of the file that is wanted in a zip.

    Raises:
        OSError: it cannot be read, or is no file.
        MalformedError: it is larger than texts may be, damaged, or no zip of one.
    """
    data = read_whole(path, TEXT_BYTES)
    with told_as(lambda error: MalformedError(f"it is cut off or damaged ({error})")):
        if data.startswith(b"\x1f\x8b"):
            data = gzip.GzipFile(fileobj=io.BytesIO(data)).read(TEXT_BYTES + 1)
        elif data.startswith(b"PK\3\4"):
            if data.count(b"PK\1\2") > _ZIPPED:
                raise MalformedError("it is a zip of too many files")
            archive = zipfile.ZipFile(io.BytesIO(data))
            names = [
                name
                for name in archive.namelist()  # macOS adds some that are hidden
                if name.lower().endswith(endings) and "/." not in f"/{name}"
            ]
            if len(names) != 1:
                raise MalformedError(f"it is a zip of {len(names)} files: take one out")
            # Python unpacks other kinds without a bound.
            if archive.getinfo(names[0]).compress_type not in _BOUNDED:
                raise MalformedError("it is packed in an unusual way: unpack it")
            data = archive.open(names[0]).read(TEXT_BYTES + 1)
    if len(data) > TEXT_BYTES:
        raise MalformedError(f"it is larger than {TEXT_BYTES >> 20} MB unpacked")
    return data


def parse_json(text: str | bytes) -> object:
    """JSON as plain data.

    Whole numbers of more than 64 bits come as real ones.

    Raises:
        MalformedError: it is no JSON, too large or nested too deeply.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    _check_size(raw)
    try:
        return json.loads(text, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"it is no JSON ({error})") from error


def parse_xml(data: bytes) -> Element:
    """The outermost element of an XML file that declares nothing.

    Raises:
        MalformedError: it is no XML, too large, or declares entities or a DTD.
    """
    if len(data) > TEXT_BYTES or data.count(b"<") + data.count(b"=") > XML_PARTS:
        raise MalformedError(f"it has more than {XML_PARTS} elements and attributes")
    from defusedxml.ElementTree import fromstring  # few files are XML

    with told_as(lambda error: MalformedError(f"it is no XML that is read ({error})")):
        return fromstring(data, forbid_dtd=True)


def parse_toml(text: str) -> dict[str, object]:
    """TOML as plain data; dates come as text.

    Raises:
        MalformedError: it is no TOML, too large or nested too deeply.
    """
    if len(text) > TOML_BYTES or _DOTTED.search(text):
        raise MalformedError("it is larger or more nested than this program reads")
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"it is no TOML ({error})") from error
    return cast("dict[str, object]", _plain(found, DEPTH))


def typed(value: object, kind: type[T], *, closed: bool = False) -> T:
    """Plain data as a value of a type: a dataclass, a list or table of such.

    Args:
        value: plain data; values that are of their type already stay.
        kind: what is wanted. The checks of a dataclass run.
        closed: whether an entry that the dataclass does not know is an error, as in
            what people write. Else it is passed over: newer versions may write more.

    Raises:
        MalformedError: an entry is missing, unknown, of another type or out of bounds.
    """
    if closed and isinstance(value, Mapping) and is_dataclass(kind):
        known = [item.name for item in fields(kind)]
        given = cast("Mapping[object, object]", value)
        unknown = sorted(str(name) for name in given if name not in known)
        if unknown:
            raise MalformedError(
                f"unknown entry {', '.join(unknown)}; known are "
                f"{', '.join(sorted(known))}"
            )
    try:
        return msgspec.convert(value, kind)
    except UnicodeEncodeError as error:  # half a letter, in the name of an entry
        raise MalformedError("the name of an entry is no text") from error
    except (msgspec.ValidationError, RecursionError) as error:
        raise MalformedError(str(error)) from error


def read_json(path: Path, kind: type[T]) -> T:
    """A JSON file as a value of a type.

    Raises:
        OSError: it cannot be read.
        MalformedError: it does not say what it should.
    """
    return typed(parse_json(read_text(path)), kind)


def _check_size(raw: bytes) -> None:
    """Looks at commas and brackets before anything is built of them."""
    if len(raw) > TEXT_BYTES or sum(map(raw.count, (b"[", b"{", b","))) > VALUES:
        raise MalformedError(f"it holds more than {VALUES} values")
    brackets = _STRINGS.sub(b"", raw).translate(_ALIKE, _NO_BRACKETS)
    for _ in range(DEPTH):
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return
    # What is left may be unbalanced instead, which the parser tells better.
    if brackets.count(b"[") == brackets.count(b"]"):
        raise MalformedError("it is nested too deeply")


def _whole(digits: str) -> int | float:
    value = int(digits) if len(digits) <= 20 else MOST
    return value if abs(value) < MOST else float(digits)


def _plain(value: object, depth: int) -> object:
    """TOML's values as JSON's."""
    if depth < 0:
        raise MalformedError("it is nested too deeply")
    if isinstance(value, dict):
        table = cast("dict[str, object]", value)
        return {key: _plain(item, depth - 1) for key, item in table.items()}
    if isinstance(value, list):
        return [_plain(item, depth - 1) for item in cast("list[object]", value)]
    if isinstance(value, int) and abs(value) >= MOST:
        raise MalformedError("it has a number of more than 18 digits")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return value


__all__ = [
    "Count",
    "Finite",
    "Positive",
    "Share",
    "parse_json",
    "parse_toml",
    "parse_xml",
    "read_json",
    "read_text",
    "read_unpacked",
    "typed",
]
