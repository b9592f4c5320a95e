"""``python -m napari_wsol.gui.doctor.probe``: a triangle, drawn as napari draws.

Qt makes the context and vispy draws into a texture, whose pixels are read back. A
driver may crash or hang here, so that this runs in a process of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsol.doctor.finding import Finding, tell

if TYPE_CHECKING:
    from collections.abc import Iterator

SIDE = 16
VERTEX = "attribute vec2 at; void main() { gl_Position = vec4(at, 0.0, 1.0); }"
FRAGMENT = "void main() { gl_FragColor = vec4(1.0, 0.0, 1.0, 1.0); }"
CORNERS = ((-1, -1), (1, -1), (-1, 1))
"""Of the lower left half."""
SOFTWARE = ("llvmpipe", "softpipe", "swrast", "gdi generic", "basic render")
DRIVER = (
    "Install the driver of the graphics card (Debian, Ubuntu: apt install libgl1 "
    "libegl1 libgl1-mesa-dri); on a remote desktop try LIBGL_ALWAYS_SOFTWARE=1."
)


def drawn() -> Iterator[Finding]:
    """Which Qt there is, and whether OpenGL draws."""
    from qtpy import API_NAME, QT_VERSION
    from qtpy.QtGui import QGuiApplication, QOffscreenSurface, QOpenGLContext

    application = QGuiApplication([])
    yield Finding("Qt", "ok", f"{API_NAME} with Qt {QT_VERSION} is what is used.")
    surface, context = QOffscreenSurface(), QOpenGLContext()
    surface.create()
    if not (context.create() and context.makeCurrent(surface)):
        text = f"Qt gets no OpenGL on the platform {application.platformName()}."
        yield Finding("OpenGL", "fault", text, DRIVER)
        return
    import numpy as np
    from vispy import gloo
    from vispy.gloo import gl
    from vispy.gloo.context import FakeCanvas

    canvas = FakeCanvas()
    renderer = str(gl.glGetParameter(gl.GL_RENDERER))
    program = gloo.Program(VERTEX, FRAGMENT)
    program["at"] = np.array(CORNERS, np.float32)
    with gloo.FrameBuffer(gloo.Texture2D((SIDE, SIDE, 4))) as target:
        gloo.set_viewport(0, 0, SIDE, SIDE)
        gloo.clear("black")
        program.draw("triangles")
        seen = target.read("color")[..., 0] > 127
    canvas.flush()
    rows, columns = np.mgrid[:SIDE, :SIDE]
    edge = columns == rows  # may go either way
    if not np.array_equal(seen | edge, columns <= rows):
        text = f"OpenGL ({renderer}) draws a triangle wrong."
        yield Finding("OpenGL", "fault", text, DRIVER)
    elif any(name in renderer.lower() for name in SOFTWARE):
        text = f"The processor draws ({renderer}): large images move slowly."
        yield Finding("OpenGL", "warning", text, DRIVER)
    else:
        yield Finding("OpenGL", "ok", f"{renderer} draws a triangle.")


if __name__ == "__main__":
    for one in drawn():
        tell(one)
