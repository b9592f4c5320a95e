# Shared by the scripts of this folder; sourced, not run.
# shellcheck shell=sh

say() { printf '%s\n' "napari-wsol: $*" >&2; }

fail() {
    say "$*"
    exit 1
}

# Riverbank builds PyQt5 for these machines only.
has_pyqt5() {
    case "$(uname -s)-$(uname -m)" in
        Linux-x86_64 | Darwin-*) return 0 ;;
        *) return 1 ;;
    esac
}

has_apt() { command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; }

# Install Debian packages if this user may without being asked: root, or sudo without a
# password. Fails otherwise, and prints the one line to run.
apt_install() {
    if [ "$(id -u)" = 0 ]; then
        may=
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        may='sudo -n'
    else
        say "system packages are missing. To install them:
    sudo apt-get install -y $*"
        return 1
    fi
    say "installing system packages: $*"
    $may apt-get update -qq </dev/null \
        || say "apt-get update failed; trying with the package lists that are here"
    # shellcheck disable=SC2086  # "sudo -n" is two words
    $may env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null \
        || {
            say "that failed; the reason stands above. To try again:
    sudo apt-get install -y $*"
            return 1
        }
}
