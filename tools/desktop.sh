#!/bin/sh
# Run a command that opens windows: tools/desktop.sh COMMAND [ARGUMENT...]
# On Linux, sees to the libraries that Qt and OpenGL load, and starts a virtual display
# (Xvfb) where there is none. Needs the environment of tools/setup.sh.
set -eu

[ "$(uname -s)" = Linux ] || exec "$@"
. "$(dirname "$0")/system.sh"

# Seen to be enough on a bare Debian 12; xauth is what xvfb-run calls.
packages='xvfb xauth libgl1 libegl1 libgl1-mesa-dri libglib2.0-0 libfontconfig1 libdbus-1-3
    libxkbcommon-x11-0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0
    libxcb-render-util0 libxcb-xinerama0 libxcb-shape0 libxcb-cursor0'
libraries='libGL.so.1 libEGL.so.1 libglib-2.0.so.0 libfontconfig.so.1 libdbus-1.so.3
    libxkbcommon-x11.so.0 libxcb-icccm.so.4 libxcb-image.so.0 libxcb-keysyms.so.1
    libxcb-randr.so.0 libxcb-render-util.so.0 libxcb-xinerama.so.0 libxcb-shape.so.0
    libxcb-cursor.so.0'

is_installed() {
    # Newer releases renamed some libraries: libglib2.0-0 became libglib2.0-0t64.
    dpkg-query --show --showformat '${db:Status-Status}\n' "$1" "$1t64" 2>/dev/null \
        | grep -qx installed
}

missing_packages() {
    for package in $packages; do
        is_installed "$package" || printf '%s\n' "$package"
    done
}

missing_libraries() {
    # shellcheck disable=SC2086  # one word a library
    .venv/bin/python - $libraries <<'END'
import ctypes
import sys

for name in sys.argv[1:]:
    try:
        ctypes.CDLL(name)
    except OSError:
        print(name, end=" ")
END
}

if has_apt; then
    missing=$(missing_packages)
    # Whether it can go on without them is decided below, by what can be loaded.
    # shellcheck disable=SC2086  # one word a package
    [ -z "$missing" ] || apt_install $missing || true
fi
missing=$(missing_libraries)
[ -z "$missing" ] || fail "no window can be opened without these system libraries: $missing"

[ -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] || exec "$@"
command -v xvfb-run >/dev/null && command -v xauth >/dev/null \
    || fail "there is no display, and none can be simulated: install xvfb and xauth."
say "no display here, so a virtual one is used (Xvfb)"
# Qt's offscreen platform has no OpenGL under PyQt5, so that setting is not passed on.
export QT_QPA_PLATFORM=xcb
exec xvfb-run -a -s '-screen 0 1920x1200x24' "$@"
