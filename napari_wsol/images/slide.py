"""What every image and slide offers, whatever file or array it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    from napari_wsol.images.geometry import Level, Rgb


@runtime_checkable
class Slide(Protocol):
    """An image of any size, read piece by piece as 8-bit RGB."""

    @property
    def name(self) -> str:
        """What the user knows it by."""
        ...

    @property
    def path(self) -> Path | None:
        """The file or folder, None for an array."""
        ...

    @property
    def reader(self) -> str:
        """Who read it: a name of ``list_readers``, or "array"."""
        ...

    @property
    def levels(self) -> tuple[Level, ...]:
        """Resolutions, from fine to coarse."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of level 0."""
        ...

    @property
    def mpp(self) -> float | None:
        """µm a level-0 pixel, None where not known or not believed."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences: how pixels were read, and what could not be told."""
        ...

    @property
    def associated(self) -> tuple[str, ...]:
        """Names of thumbnail, label and macro photo."""
        ...

    @property
    def icc_profile(self) -> bytes | None:
        """Colour profile; pixels are not converted by it."""
        ...

    def read_associated(self, name: str) -> Rgb:
        """A thumbnail, label or macro photo: (h, w, 3) uint8. May show patient data.

        Raises:
            UnknownNameError: the slide has no such picture.
            UnreadableImageError: its pixels are damaged.
        """
        ...

    def read(self, level: int, y: int, x: int, height: int, width: int) -> Rgb:
        """Pixels of a rectangle of one level; any thread may call it.

        Returns:
            (height, width, 3) uint8 RGB, white outside the image.

        Raises:
            UnreadableImageError: the file is damaged there, or the slide is closed.
            ImageError: the pixels there are not numbers.
        """
        ...

    def fingerprint(self) -> str:
        """The sha256 (hex) that tells this image from others, whatever its name."""
        ...

    def close(self) -> None:
        """Gives the file back; reading afterwards is an error."""
        ...
