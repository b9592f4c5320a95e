"""What slides have in common, whoever reads them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING

from typing_extensions import override

from napari_wsol.errors import (
    ImageChangedError,
    ImageError,
    UnreadableImageError,
)
from napari_wsol.images.cache import TileCache
from napari_wsol.images.fingerprint import file_states, fingerprint_part
from napari_wsol.images.geometry import build_levels, check_size
from napari_wsol.images.readers.guard import in_words
from napari_wsol.images.readers.stacks import ANY
from napari_wsol.images.readers.tiled import TiledLevel
from napari_wsol.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from napari_wsol.images.fingerprint import FileStates
    from napari_wsol.images.geometry import Level, Rgb
    from napari_wsol.images.readers.guard import ClosingGuard
    from napari_wsol.images.readers.stacks import Pick
    from napari_wsol.images.readers.turned import TurnedLevel
    from napari_wsol.images.slide import Slide


class UndecodedError(UnreadableImageError):
    """Pixels that a reader knows of could not be decoded; another one may."""


class SlideBase(ABC):
    """Sizes, pictures beside the image, and a fingerprint that is computed once.

    Attributes:
        open_again: opens the same source, with the pixels that it holds then.
        opened_files: as they were before the first byte was read; None of an array.
        shown: the same image as somebody shows it: what is painted into that changes
            the image. None where nobody does.
    """

    name: str
    mpp: float | None
    levels: tuple[Level, ...]
    notes: tuple[str, ...]
    icc_profile: bytes | None = None
    open_again: Callable[[], Slide] | None = None
    _fingerprint: str | None = None
    opened_files: FileStates | None = None
    shown: SlideBase | None = None
    hides_file = False
    """Whether outputs do not tell the file: that of a film may name a patient."""

    _part = ""
    """Which pixels of a file of several are shown: others have another fingerprint."""

    def __init__(self) -> None:
        self._pictures: Registry[Callable[[], Rgb]] = Registry("picture")

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of level 0."""
        return (self.levels[0].height, self.levels[0].width)

    @property
    def associated(self) -> tuple[str, ...]:
        """Names of the pictures beside the image."""
        return tuple(self._pictures)

    def read_associated(self, name: str) -> Rgb:
        """A thumbnail, label or macro photo: (h, w, 3) uint8.

        Raises:
            UnknownNameError: the slide has no such picture.
            UnreadableImageError: its pixels are damaged, or the slide is closed.
        """
        return self._pictures[name]()

    def fingerprint(self) -> str:
        """The sha256 (hex) of what was opened; see ``images.fingerprint``.

        Raises:
            ImageChangedError: the file was overwritten before it was asked for.
        """
        if self._fingerprint is None:
            with in_words(self.name):
                found = self._compute_fingerprint()
            self.check_files()  # or it would be that of other pixels than were opened
            self._fingerprint = fingerprint_part(found, self._part)
        return self._fingerprint

    def check_files(self) -> None:
        """Makes sure that no file was overwritten; takes microseconds.

        Files that are gone are no reason: what was opened of them can be read on, or
        fails by itself.

        Raises:
            ImageChangedError: one was.
        """
        if self.opened_files is None:
            return
        now = file_states(self._sources())
        if now and now != self.opened_files:
            raise self.changed()

    def is_as_opened(self) -> bool:
        """Whether the source can only hold the pixels that were opened.

        Of files sizes and times are compared, of arrays the fingerprint.
        """
        if self.shown is not None and not self.shown.is_as_opened():
            return False
        if self.opened_files is None:
            return self.fingerprint() == self._compute_fingerprint()
        try:
            self.check_files()
        except ImageChangedError:
            return False
        return True

    def reread(self) -> Slide | None:
        """The source opened anew, where it holds other pixels by now; else None.

        Raises:
            ImageError: it holds other pixels, and they cannot be used.
        """
        if self.is_as_opened():
            return None
        if self.open_again is None:
            raise self.changed()
        fresh = self.open_again()
        if fresh.fingerprint() != self._fingerprint:
            return fresh
        fresh.close()  # it was touched, or copied over itself
        self.opened_files = file_states(self._sources())
        return None

    def changed(self) -> ImageChangedError:
        """The error for pixels that are not those that were opened."""
        return ImageChangedError(
            f"“{self.name}” has changed since it was opened: open it again."
        )

    @abstractmethod
    def _compute_fingerprint(self) -> str: ...

    def _sources(self) -> Sequence[Path]:
        """The files that the pixels come from; none of an array."""
        return ()

    def _set_levels(self, shapes: list[tuple[int, int]]) -> None:
        """Takes the (height, width) of each level, largest first."""
        check_size(shapes[0], self.name)
        self.levels = build_levels(shapes)


class FileSlide(SlideBase):
    """Levels of files, read tile by tile, and never while they are being closed.

    A subclass opens the files in :meth:`_open` and looks at them in :meth:`_describe`.
    """

    reader: str
    _levels: Sequence[TiledLevel | TurnedLevel]

    def __init__(
        self,
        path: Path,
        *,
        name: str | None = None,
        mpp: float | None = None,
        pick: Pick = ANY,
        cache: TileCache | None = None,
    ) -> None:
        """Reads the headers, and pixels only where 16 bits or more must become 8.

        Args:
            path: a file; of DICOM, any of the slide's or their folder.
            name: shown to the user.
            mpp: µm a level-0 pixel, instead of what the file says.
            pick: what is shown of a file of several channels or planes; only TIFF
                leaves that open.
            cache: keeps decoded tiles.

        Raises:
            UnreadableImageError: not of the reader's formats, damaged, or the reader is
                not installed.
            StackError: it must be said which channel or plane is shown.
            ImageError: several slides, or too small.
        """
        super().__init__()
        self.path = path
        self.name = name or path.name
        self._cache = cache or TileCache()
        self.opened_files = file_states(self._sources())
        self._guard = self._open()
        try:
            self._describe(pick)
        except BaseException:
            self._guard.close()
            raise
        if mpp is not None:
            self.mpp = mpp

    @abstractmethod
    def _open(self) -> ClosingGuard:
        """Opens the files, and says how they are closed."""

    @abstractmethod
    def _describe(self, pick: Pick) -> None:
        """Finds out all that a slide tells, and ``mpp`` as the file has it."""

    def _refuse(self, pick: Pick) -> None:
        """For files whose reader gives finished colours.

        Raises:
            ImageError: a channel or plane was asked for.
        """
        if pick.key:
            raise ImageError(
                f"“{self.name}” is read by {self.reader}, which gives colours and no "
                "channels or planes to choose from: leave these out."
            )

    def _cut(
        self,
        tiles: Iterable[tuple[int, int]],
        load: Callable[[int, int, int], Rgb],
    ) -> None:
        """Takes the (height, width) of each level's tiles, and who loads one.

        ``load`` is called with the level, row and column.
        """
        self._levels = [
            TiledLevel(
                (level.height, level.width), tile, partial(load, index), self._cache
            )
            for index, (level, tile) in enumerate(zip(self.levels, tiles, strict=True))
        ]

    @override
    def _sources(self) -> Sequence[Path]:
        return (self.path,)

    @override
    def read_associated(self, name: str) -> Rgb:
        with self._guard.reading(), in_words(self.name):
            return super().read_associated(name)

    def read(self, level: int, y: int, x: int, height: int, width: int) -> Rgb:
        """(height, width, 3) uint8 of a level; white outside. Thread-safe.

        Raises:
            UnreadableImageError: the file is damaged there, or the slide is closed.
            ImageError: the pixels there are not numbers.
        """
        with self._guard.reading(), in_words(self.name):
            return self._levels[level].read(y, x, height, width)

    def close(self) -> None:
        """Closes the files once no thread reads from them, and forgets their tiles."""
        self._guard.close()
        self._cache.clear()
