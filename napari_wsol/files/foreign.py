"""Files that are not what their name says, told by their first bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsol.files import check_file

if TYPE_CHECKING:
    from pathlib import Path

HEAD_BYTES = 1024
"""So much of a file tells."""

_LFS = b"version https://git-lfs.github.com/"
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<!--")
_XML = (b"<?xml", b"<svg", b"<error", b"<rss")
_DRAWINGS = (b"%!ps", b"\xc5\xd0\xd3\xc6", b"%pdf", b"\xd7\xcd\xc6\x9a")
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
"""At the start of texts, before what they say."""


def foreign_kind(head: bytes) -> str | None:
    """What a file is that is neither image nor weights, and what to do, in words.

    Args:
        head: the first bytes of the file.

    Returns:
        What follows after its name in a sentence; None where nothing is known.
    """
    for mark in _MARKS:
        head = head.removeprefix(mark)
    text = head.replace(b"\0", b"").lstrip().lower()
    if text.startswith(_LFS):
        return (
            "is a pointer of Git LFS, and not the file itself: run “git lfs pull” in "
            "its folder, or download the file from its web page"
        )
    if text.startswith(_PAGES) or (text.startswith(_XML) and b"<html" in text):
        return (
            "is a web page (HTML): the download gave a page, perhaps one to log in, in "
            "place of the file. Download it again in a browser"
        )
    if text.startswith(_XML):
        return (
            "is a text in XML, perhaps the error of a server in place of the file: "
            "download it again"
        )
    if text.startswith(_DRAWINGS):
        return (
            "is a drawing (PostScript, PDF or WMF), which is not opened: export it as "
            "PNG or TIFF first"
        )
    return None


def kind_of_file(path: Path) -> str | None:
    """As :func:`foreign_kind`, of a file; None where it cannot be read."""
    try:
        check_file(path)
        with path.open("rb") as file:
            return foreign_kind(file.read(HEAD_BYTES))
    except OSError:
        return None
