"""``python -m napari_wsol.gui.doctor.probe``: a triangle, drawn as napari draws.

Qt makes the context and vispy draws into a texture, whose pixels are read back. A
driver may crash or hang here, so that this is run in a process of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy import API_NAME
from qtpy.QtCore import qVersion
from qtpy.QtGui import QGuiApplication, QOffscreenSurface, QOpenGLContext
from vispy import gloo
from vispy.gloo.context import FakeCanvas

from napari_wsol.doctor.finding import Finding, tell

if TYPE_CHECKING:
    from collections.abc import Iterator

VERTEX = "attribute vec2 at; void main() { gl_Position = vec4(at, 0.0, 1.0); }"
FRAGMENT = "void main() { gl_FragColor = vec4(1.0, 0.0, 1.0, 1.0); }"
SOFTWARE = ("llvmpipe", "softpipe", "swrast", "gdi generic", "basic render")
DRIVER = "install the driver of the graphics card, or set LIBGL_ALWAYS_SOFTWARE=1."


def drawn() -> Iterator[Finding]:
    """Which Qt there is, and whether OpenGL draws."""
    application = QGuiApplication([])
    yield Finding("Qt", "ok", f"{API_NAME} with Qt {qVersion()} is used.")
    surface, context = QOffscreenSurface(), QOpenGLContext()
    surface.create()
    if not (context.create() and context.makeCurrent(surface)):
        text = f"Qt gets none on the platform {application.platformName()}: {DRIVER}"
        yield Finding("OpenGL", "fault", text)
        return
    canvas = FakeCanvas()
    program = gloo.Program(VERTEX, FRAGMENT)
    program["at"] = np.array([(-1, -1), (1, -1), (-1, 1)], np.float32)  # lower left
    with gloo.FrameBuffer(gloo.Texture2D((16, 16, 4))) as target:
        gloo.set_viewport(0, 0, 16, 16)
        gloo.clear("black")
        program.draw("triangles")
        seen = target.read("color")[..., 0] > 127
    canvas.flush()
    gl: Any = gloo.gl
    renderer = str(gl.glGetParameter(gl.GL_RENDERER))
    if not seen[12, 3] or seen[3, 12]:
        yield Finding("OpenGL", "fault", f"{renderer} draws wrong: {DRIVER}")
    elif any(name in renderer.lower() for name in SOFTWARE):
        text = f"The processor draws ({renderer}), slowly: install the driver of the "
        yield Finding("OpenGL", "warning", f"{text}graphics card, if there is one.")
    else:
        yield Finding("OpenGL", "ok", f"{renderer} draws.")


if __name__ == "__main__":
    tell(drawn())
