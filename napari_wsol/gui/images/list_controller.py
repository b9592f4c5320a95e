"""Joins the list of images to viewer and session: a click opens, work is kept."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from qtpy.QtCore import QObject, Signal

from napari_wsol.errors import StackError, WsolError
from napari_wsol.gui.compat import camera_of, cell_size, centre_on
from napari_wsol.gui.images.reader import layer_of
from napari_wsol.gui.layers.marks import MARK, our_layers, remove
from napari_wsol.gui.tasks import once
from napari_wsol.worklist.items import WorkList
from napari_wsol.worklist.saved import list_of_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari.layers import Image

    from napari_wsol.gui.context import Context
    from napari_wsol.gui.images.line import ImageLine
    from napari_wsol.gui.images.list_panel import ImageList
    from napari_wsol.gui.session_events import SessionEvents
    from napari_wsol.gui.widgets.choosing import Chooser
    from napari_wsol.images.readers.stacks import Pick
    from napari_wsol.worklist.saved import SavedList

FILLED = 0.95
"""Share of the view that a new image fills."""

NO_LIST = "There is no list of images: choose a folder first (Folder…)."


class ListController(QObject):
    """Opens the images of a list, one at a time, and takes the one before away.

    Layers that the list did not add, and all layers of the user's own, stay as they
    are.
    """

    opened = Signal()
    """An image of the list was asked for, and is worked on now."""

    aside_changed = Signal()
    """Other images are set aside now."""

    def __init__(
        self, context: Context, panel: ImageList, line: ImageLine, chooser: Chooser
    ) -> None:
        super().__init__(context.dock)
        self._viewer, self._session = context.viewer, context.session
        self._tasks, self._messages = context.tasks, context.messages
        self._layers, self._panel, self._line = context.layers, panel, line
        self._chooser = chooser
        self._wanted: int | None = None
        self._added: dict[Path, Image] = {}
        self._prints: dict[Path, str] = {}
        self._views: dict[Path, tuple[Any, float]] = {}
        self._fits = False
        self._tool: str | None = None
        """What was in the hand when another image was asked for."""
        self._remember = once(self, 400, self._remember_now)
        context.at_the_end(panel.model.close)
        context.at_parting(self._remember.stop)
        self._connect(context.events)
        self._tasks.ask(
            self._session.remembered_lists,
            line.show_saved,
            self._messages.warn,
            kind="lists",
        )

    def _connect(self, events: SessionEvents) -> None:
        panel, button = self._panel, self._line.list_button
        button.folder_wanted.connect(self.open_folder)
        button.files_wanted.connect(self.open_files)
        button.table_wanted.connect(self.open_table)
        button.saved_wanted.connect(self.go_on)
        self._line.go_on_wanted.connect(self.go_on)
        panel.row_wanted.connect(self.open)
        panel.step_wanted.connect(self.step)
        panel.untouched_button.clicked.connect(self.next_untouched)
        panel.reviewed_button.clicked.connect(self._on_reviewed)
        panel.aside_wanted.connect(self._on_aside)
        self._layers.image_changed.connect(self._on_image)
        events.scored.connect(self._on_scored)

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
        self._messages.say("Listing the images …")
        self._tasks.ask(make, self.use, self._messages.warn, kind="lists")

    def use(self, worklist: WorkList) -> None:
        """Show a list, and open the image where one was, or the first."""
        start = worklist.current  # where one was the last time; it is not open
        worklist.go_to(None)
        self._session.use_list(worklist)
        self._panel.show_list(worklist)
        self._panel.expand(animate=False)
        self._messages.say(worklist.note)
        self._wanted = worklist.current
        if worklist.current is None and len(worklist):
            self.open(start if start is not None else 0)
        self._remember.start()

    # ------------------------------------------------------------------------ images

    def open(self, row: int) -> None:
        """Work on an image of the list; the one before is kept as it is."""
        worklist = self._session.worklist
        if worklist is None or not 0 <= row < len(worklist):
            self._messages.warn(NO_LIST)
            return
        # An image that comes into the viewer is chosen there, and the brush put away.
        kept = self._tool if self._waits_for(self._wanted) else None
        self._tool = self._layers.strokes.tool or kept
        self._wanted = row
        self._panel.choose(row)
        path = worklist[row].path
        layer = self._added.get(path)
        if layer is not None and layer in self._viewer.layers:
            self._choose(layer)
            return
        self._read(row, path)

    def _waits_for(self, row: int | None) -> bool:
        """Whether an image of the list was asked for and is not worked on yet."""
        worklist = self._session.worklist
        if worklist is None or row is None or row >= len(worklist):
            return False
        return self._path_of(self._layers.image) != worklist[row].path

    def _read(self, row: int, path: Path, pick: Pick | None = None) -> None:
        self._tasks.ask(
            lambda: layer_of(path, pick=pick),
            partial(self._on_read, row),
            partial(self._on_unreadable, row),
            kind="images",
        )

    def step(self, count: int) -> None:
        """So many images further on."""
        words = "last" if count > 0 else "first"
        self._go(
            lambda worklist: worklist.after(self._wanted, count),
            f"This is the {words} image of the list.",
        )

    def next_untouched(self) -> None:
        """The next image that nothing was done on."""
        self._go(
            lambda worklist: worklist.next_untouched(self._wanted),
            "No image of the list is untouched any more.",
        )

    def _go(self, find: Callable[[WorkList], int | None], nowhere: str) -> None:
        worklist = self._session.worklist
        if worklist is None:
            self._messages.warn(NO_LIST)
            return
        row = find(worklist)
        if row is None:
            self._messages.say(nowhere)
        else:
            self.open(row)

    def _on_read(self, row: int, found: tuple[Any, dict[str, Any], str]) -> None:
        worklist = self._session.worklist
        if worklist is None:
            return
        self._keep_view()
        data, options, _ = found
        mark = options["metadata"][MARK]
        options["metadata"] = {MARK: {**mark, "listed": True}}
        layer = cast("Image", self._viewer.add_image(data, **options))
        self._added[worklist[row].path] = layer
        self._choose(layer)

    def _on_unreadable(self, row: int, error: BaseException) -> None:
        worklist, self._tool = self._session.worklist, None
        if worklist is not None and isinstance(error, StackError):
            path = worklist[row].path
            again = partial(self._read, row, path)
            self._chooser.ask_pick(path.name, error.questions, again)
            return
        if worklist is not None and isinstance(error, WsolError):
            worklist.learn(row, note=str(error))
        self._messages.warn(error)  # N goes on behind it

    def _choose(self, layer: Image) -> None:
        self._fits = True
        if self._line.layer != layer:  # the first is taken by itself
            self._line.choose(layer)

    def _on_image(self) -> None:
        """The session works on an image: those before it go, if the list added them."""
        image, slide = self._layers.image, self._session.slide
        path = self._path_of(image)
        if path is None or slide is None:
            return
        self._prints[path] = slide.fingerprint()
        for other in [other for other in self._added if other != path]:
            self._take_away(other)
        if self._fits:
            self._fits = False
            self._fit(path)
            tool, self._tool = self._tool, None
            if tool is not None:
                self._layers.strokes.choose(tool)
            self.opened.emit()
            self._remember.start()

    def _take_away(self, path: Path) -> None:
        """An image with our own layers on it; strokes are in the journal."""
        layer, fingerprint = self._added.pop(path), self._prints.get(path)
        ours = our_layers(self._viewer, fingerprint=fingerprint) if fingerprint else []
        remove(self._viewer, [*ours, layer])

    def _path_of(self, image: Image | None) -> Path | None:
        """The file of a layer that the list added."""
        found = (path for path, layer in self._added.items() if layer == image)
        return None if image is None else next(found, None)

    def _keep_view(self) -> None:
        """Where one looks now, for when the image is opened again."""
        path = self._path_of(self._layers.image)
        if path is not None:
            camera = camera_of(self._viewer)
            self._views[path] = (camera.center, camera.zoom)

    def _fit(self, path: Path) -> None:
        """Show all of an image, or what was seen of it before."""
        camera, view = camera_of(self._viewer), cell_size(self._viewer)
        if path in self._views:
            camera.center, camera.zoom = self._views[path]
            return
        image = self._added[path]
        low, high = image.extent.world[:, -2:]
        centre_on(self._viewer, (low + high) / 2)
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
        self._layers.show_stale()
        self._remember.start()
        self.aside_changed.emit()

    def _on_scored(self) -> None:
        self._panel.show_scores(self._session.scores)

    def _remember_now(self) -> None:
        remember, warn = self._session.remember_list, self._messages.warn
        self._tasks.ask(remember, lambda _: None, warn, kind="remembering")
