"""Joins the list of images to viewer and session: a click opens, work is kept."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_wsol.errors import WsolError
from napari_wsol.gui.background import Background
from napari_wsol.gui.compat import camera_of, cell_size
from napari_wsol.gui.images.reader import layer_of
from napari_wsol.gui.layers.marks import MARK, our_layers, remove
from napari_wsol.worklist.items import WorkList
from napari_wsol.worklist.saved import list_of_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari.layers import Image

    from napari_wsol.gui.dock import WsolWidget
    from napari_wsol.session.other_images import Scored
    from napari_wsol.worklist.saved import SavedList

FILLED = 0.95
"""Share of the view that a new image fills."""

NO_LIST = "There is no list of images: choose a folder first (Folder…)."


@dataclass(frozen=True, slots=True)
class _Read:
    """An image that was read for the viewer."""

    row: int
    layer: tuple[Any, dict[str, Any], str]


class ListDesk(QObject):
    """Opens the images of a list, one at a time, and takes the one before away.

    Layers that the list did not add, and all layers of the user's own, stay as they
    are.
    """

    failed = Signal(str)
    """A sentence for the person."""

    said = Signal(str)
    """Likewise, but nothing is wrong."""

    def __init__(self, window: WsolWidget) -> None:
        super().__init__(window)
        self._window = window
        self._viewer = window.napari_viewer
        self._session = window.session
        self._stage = window.stage
        self._panel = window.image_list
        self._wanted: int | None = None
        self._layers: dict[Path, Image] = {}
        self._prints: dict[Path, str] = {}
        self._views: dict[Path, tuple[Any, float]] = {}
        self._fits = False
        self.lists, self.images, self.notes = Background(), Background(), Background()
        self._remember = QTimer(self, singleShot=True, interval=400)
        self._remember.timeout.connect(self._remember_now)
        self._connect()
        self._look_for_saved()

    def _connect(self) -> None:
        panel, button = self._panel, self._window.image_line.list_button
        button.folder_wanted.connect(self.open_folder)
        button.files_wanted.connect(self.open_files)
        button.table_wanted.connect(self.open_table)
        button.saved_wanted.connect(self.go_on)
        self._window.image_line.go_on_wanted.connect(self.go_on)
        panel.row_wanted.connect(self.open)
        panel.step_wanted.connect(self.step)
        panel.untouched_wanted.connect(self.next_untouched)
        panel.reviewed_wanted.connect(self._on_reviewed)
        panel.aside_wanted.connect(self._on_aside)
        self.lists.answered.connect(self._on_list)
        self.images.answered.connect(self._on_read)
        self.notes.answered.connect(self._on_remembered)
        self._stage.image_changed.connect(self._on_image)
        events = self._window.events
        events.scored.connect(self._on_scored)

    @property
    def look_ups(self) -> tuple[Background, ...]:
        """Threads that have to be closed with the window."""
        return (self.lists, self.images, self.notes)

    def close(self) -> None:
        """Let go of the viewer; the image that is open stays in it."""
        self._remember.stop()
        for look_up in self.look_ups:
            look_up.close()
        self._panel.model.close()

    # ------------------------------------------------------------------------- lists

    def open_folder(self, folder: Path, recursive: bool = False) -> None:
        """Work on the images of a folder."""
        saved = self._session.lists_folder
        self._list(
            lambda: (
                WorkList.of_folder(folder, recursive=recursive)
                if saved is None
                else list_of_folder(folder, saved, recursive=recursive)
            )
        )

    def open_files(self, paths: list[Path]) -> None:
        """Work on files that were chosen."""
        self._list(lambda: WorkList.of_files(paths))

    def open_table(self, table: Path) -> None:
        """Work on the images that a text file or table names."""
        self._list(lambda: WorkList.of_table(table))

    def go_on(self, saved: SavedList) -> None:
        """Go on with a list of an earlier day."""
        self._list(saved.open)

    def _list(self, make: Callable[[], WorkList]) -> None:
        self.said.emit("Listing the images …")
        self.lists.ask(make)

    def _look_for_saved(self) -> None:
        self.lists.ask(self._session.remembered_lists)

    def _on_list(self, answer: object) -> None:
        if isinstance(answer, WorkList):
            self.use(answer)
        elif isinstance(answer, list):
            self._window.image_line.show_saved(answer)
        else:
            self.failed.emit(str(answer))

    def use(self, worklist: WorkList) -> None:
        """Show a list, and open the image where one was, or the first."""
        start = worklist.current  # where one was the last time; it is not open
        worklist.go_to(None)
        self._session.use_list(worklist)
        self._panel.show_list(worklist)
        self._panel.expand(animate=False)
        self.said.emit("")
        self._wanted = worklist.current
        if worklist.current is None and len(worklist):
            self.open(start if start is not None else 0)
        self._remember.start()

    # ------------------------------------------------------------------------ images

    def open(self, row: int) -> None:
        """Work on an image of the list; the one before is kept as it is."""
        worklist = self._session.worklist
        if worklist is None or not 0 <= row < len(worklist):
            self.failed.emit(NO_LIST)
            return
        self._wanted = row
        self._panel.choose(row)
        path = worklist[row].path
        layer = self._layers.get(path)
        if layer is not None and layer in self._viewer.layers:
            self._choose(layer)
            return
        self.images.ask(lambda: _read(row, path))

    def step(self, count: int) -> None:
        """So many images further on."""
        worklist = self._session.worklist
        if worklist is None:
            self.failed.emit(NO_LIST)
            return
        row = worklist.after(self._wanted, count)
        if row is None:
            words = "last" if count > 0 else "first"
            self.said.emit(f"This is the {words} image of the list.")
        else:
            self.open(row)

    def next_untouched(self) -> None:
        """The next image that nothing was done on."""
        worklist = self._session.worklist
        if worklist is None:
            self.failed.emit(NO_LIST)
            return
        row = worklist.next_untouched(self._wanted)
        if row is None:
            self.said.emit("No image of the list is untouched any more.")
        else:
            self.open(row)

    def _on_read(self, answer: object) -> None:
        worklist = self._session.worklist
        if worklist is None:
            return
        if isinstance(answer, _Failed):
            worklist.learn(answer.row, note=answer.sentence)
            self.failed.emit(answer.sentence)  # N goes on behind it
        elif isinstance(answer, _Read):
            self._keep_view()
            data, options, _ = answer.layer
            mark = options["metadata"][MARK]
            options["metadata"] = {MARK: {**mark, "listed": True}}
            layer = self._viewer.add_image(data, **options)
            self._layers[worklist[answer.row].path] = layer
            self._choose(layer)
        elif isinstance(answer, BaseException):
            self.failed.emit(str(answer))

    def _choose(self, layer: Image) -> None:
        self._fits = True
        if self._window.image_line.layer != layer:  # the first is taken by itself
            self._window.image_line.choose(layer)

    def _on_image(self) -> None:
        """The session works on an image: those before it go, if the list added them."""
        image, slide = self._stage.image, self._session.slide
        path = self._path_of(image)
        if path is None or slide is None:
            return
        self._prints[path] = slide.fingerprint()
        for other in [other for other in self._layers if other != path]:
            self._take_away(other)
        if self._fits:
            self._fits = False
            self._fit(path)
            self._window.desk.localize_when_ready()
            self._remember.start()

    def _take_away(self, path: Path) -> None:
        """An image with our own layers on it; strokes are in the journal."""
        layer, fingerprint = self._layers.pop(path), self._prints.get(path)
        ours = our_layers(self._viewer, fingerprint=fingerprint) if fingerprint else []
        remove(self._viewer, [*ours, layer])

    def _path_of(self, image: Image | None) -> Path | None:
        """The file of a layer that the list added."""
        found = (path for path, layer in self._layers.items() if layer == image)
        return None if image is None else next(found, None)

    def _keep_view(self) -> None:
        """Where one looks now, for when the image is opened again."""
        path = self._path_of(self._stage.image)
        if path is not None:
            camera = camera_of(self._viewer)
            self._views[path] = (camera.center, camera.zoom)

    def _fit(self, path: Path) -> None:
        """Show all of an image, or what was seen of it before."""
        camera, view = camera_of(self._viewer), cell_size(self._viewer)
        if path in self._views:
            camera.center, camera.zoom = self._views[path]
            return
        image = self._layers[path]
        low, high = image.extent.world[:, -2:]
        middle = (low + high) / 2
        camera.center = (*camera.center[:-2], *middle)
        if view is not None:
            size = [max(float(x), 1e-9) for x in high - low]
            camera.zoom = FILLED * min(view[0] / size[0], view[1] / size[1])

    # ------------------------------------------------------------------------- marks

    def _on_reviewed(self, reviewed: bool) -> None:
        session = self._session
        if reviewed:
            session.set_status("reviewed")
            return
        learnt = any(item.learnt_from for item in session.rounds)
        strokes = "stroked" if session.strokes else "untouched"
        session.set_status("refined" if learnt else strokes)

    def _on_aside(self, row: int, aside: bool) -> None:
        worklist = self._session.worklist
        if worklist is None:
            return
        worklist.set_aside(row, aside)
        self._panel.show_scores(self._session.scores)
        self._stage.show_stale()
        self._remember.start()

    def _on_scored(self, scored: Scored) -> None:
        del scored
        self._panel.show_scores(self._session.scores)

    def _remember_now(self) -> None:
        self.notes.ask(self._session.remember_list)

    def _on_remembered(self, answer: object) -> None:
        if isinstance(answer, BaseException):
            self.failed.emit(str(answer))


@dataclass(frozen=True, slots=True)
class _Failed:
    """An image that could not be read."""

    row: int
    sentence: str


def _read(row: int, path: Path) -> _Read | _Failed:
    """Runs in the background: a scan on a network drive takes a while."""
    try:
        return _Read(row, layer_of(path))
    except WsolError as error:
        return _Failed(row, str(error))
