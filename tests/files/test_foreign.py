"""What has the name of an image or of weights and is something else is called so."""

from __future__ import annotations

import sys

import pytest

from napari_wsol.checkpoints import read_state
from napari_wsol.errors import ModelError, UnreadableImageError
from napari_wsol.files.foreign import foreign_kind
from napari_wsol.images.readers import open_slide
from napari_wsol.images.readers.plain import PlainSlide

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
FOREIGN = {
    "pointer": (LFS, "git lfs pull"),
    "page": (b"<!DOCTYPE html><html><head><title>Log in</title>", "web page"),
    "page with a mark": (b"\xef\xbb\xbf\n <HTML lang='en'>", "web page"),
    "page of 16 bits": ("\ufeff<html>".encode("utf-16-le"), "web page"),
    "XHTML": (b"<?xml version='1.0'?>\n<html xmlns='x'>", "web page"),
    "error of a server": (b"<?xml version='1.0'?><Error><Code>Denied", "XML"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "drawing"),
    "PDF": (b"%PDF-1.7\n", "drawing"),
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.svs", "a.jpg"])
def test_an_image_that_is_none_is_called_what_it_is(tmp_path, kind, name):
    content, says = FOREIGN[kind]
    (tmp_path / name).write_bytes(content * 20)
    with pytest.raises(UnreadableImageError, match=says):
        open_slide(tmp_path / name)


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.safetensors", "a.ckpt"])
def test_weights_that_are_none_are_called_what_they_are(tmp_path, kind, name):
    content, says = FOREIGN[kind]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=says):
        read_state(tmp_path / name)


@pytest.mark.parametrize(
    "head", [b"", b"\x89PNG\r\n\x1a\n", b"II*\0", b"PK\x03\x04", b"\x80\x02}q", b"<3"]
)
def test_others_are_not_judged(head):
    assert foreign_kind(head) is None


@pytest.mark.skipif(sys.platform == "win32", reason="the program is a shell's")
def test_a_drawing_starts_no_program(tmp_path, monkeypatch):
    """Pillow would give PostScript to Ghostscript, whatever the file is called."""
    ran, program = tmp_path / "ran", tmp_path / "bin/gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho > '{ran}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    path = tmp_path / "a.png"
    head = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n%%EndComments\n"
    path.write_bytes(head)
    with pytest.raises(UnreadableImageError, match="not an image"):
        PlainSlide(path)
    with pytest.raises(UnreadableImageError, match="drawing"):
        open_slide(path, reader="pillow")
    assert not ran.exists()
