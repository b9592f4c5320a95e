"""What the strokes of all images teach, found beside their journals."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from napari_wsol.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_wsol.journal import JournalLibrary
    from napari_wsol.refinement.samples import Samples

logger = logging.getLogger(__name__)


class SampleStore:
    """Samples by image and model: in memory once they were asked for, else in files.

    A round must be possible to repeat, so a file that one has learnt from stays. Of the
    files that a refit after each stroke would leave behind, only the last one does.

    Args:
        library: the journals; None where nothing is written.
    """

    def __init__(self, library: JournalLibrary | None) -> None:
        self._library = library
        self._known: dict[tuple[str, str], Samples | None] = {}
        self._written: dict[tuple[str, str], Path] = {}
        self._used: set[str] = set()

    def keep(
        self, fingerprint: str, model: str, samples: Samples | None, folder: Path | None
    ) -> None:
        """These count from now on; None where the strokes are gone.

        Args:
            fingerprint: of the image.
            model: digest of the model.
            samples: what its strokes teach.
            folder: of the image's journal; None keeps them in memory.
        """
        key = (fingerprint, model)
        before = self._known.get(key)
        self._known[key] = samples
        if samples is None or folder is None:
            return
        if before is not None and before.digest == samples.digest:
            return
        try:
            path = samples.save(folder)
        except OSError as error:
            # They are made anew from the strokes, which are safe.
            logger.warning("Samples stay in memory: %s", error)
            return
        old = self._written.get(key)
        self._written[key] = path
        is_used = before is not None and before.digest in self._used
        if old is not None and old != path and not is_used:
            old.unlink(missing_ok=True)

    def of(self, fingerprint: str, model: str) -> Samples | None:
        """The latest of an image; None where a model has not read its strokes yet."""
        from napari_wsol.refinement.samples import load_samples, newest

        key = (fingerprint, model)
        if key not in self._known:
            library = self._library
            folders = [] if library is None else library.folders_of(fingerprint)
            paths = (newest(folder, model) for folder in folders)
            found: list[Samples] = []
            for path in filter(None, paths):
                try:
                    found.append(load_samples(path))
                except ModelError as error:
                    logger.warning("%s", error)
            self._known[key] = max(found, key=lambda one: one.time, default=None)
        return self._known[key]

    def of_all(self, fingerprints: Iterable[str], model: str) -> list[Samples]:
        """Of several images, in the order of their fingerprints."""
        found = (self.of(one, model) for one in sorted(set(fingerprints)))
        return [item for item in found if item is not None]

    def by_digest(self, digests: Iterable[str]) -> list[Samples]:
        """Those that a round has learnt from, whatever was drawn since.

        Raises:
            ModelError: some are not there any more, or damaged.
        """
        from napari_wsol.refinement.samples import load_samples, name_of

        found: list[Samples] = []
        folder = self._library.folder if self._library is not None else None
        for digest in digests:
            paths = (
                [] if folder is None else sorted(folder.glob(f"*/{name_of(digest)}"))
            )
            if not paths:
                raise ModelError(
                    f"What was learnt from another image ({digest[:16]}…) is not there "
                    "any more. Refine that image and this one again."
                )
            found.append(load_samples(paths[0]))
        return found

    def use(self, digests: Iterable[str]) -> None:
        """A round has learnt from these: their files stay."""
        self._used.update(digests)

    def forget(self, fingerprint: str) -> None:
        """What another window may have written for an image is looked for again."""
        for key in [key for key in self._known if key[0] == fingerprint]:
            if self._known[key] is None:
                del self._known[key]
