"""A copy of the project, what is built from it, and environments to install it into."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    ".gitignore",
    "CHANGELOG.md",
    "CITATION.cff",
    "conda",
    "LICENSE",
    "LICENSES",
    "Makefile",
    "README.md",
    "constraints-oracles.txt",
    "constraints-timm.txt",
    "constraints.txt",
    "models",
    "napari.yaml",
    "napari_wsol",
    "pyproject.toml",
    "tools",
)


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """What the command prints; its complaints are in the failure."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A virtual environment with napari-wsol in it.

    Attributes:
        folder: of the environment.
        project: folder that the installation was made from.
        editable: whether it was installed with ``-e``.
    """

    folder: Path
    project: Path
    editable: bool

    @property
    def package(self) -> Path:
        """Where the package's files must be found."""
        home = self.project if self.editable else site_packages(self.folder)
        return home / "napari_wsol"

    def python(self, program: str, *arguments: str) -> str:
        """What a program prints when this environment's Python runs it."""
        # Away from the checkout, and deaf to a PYTHONPATH that leads back to it.
        env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        env["QT_QPA_PLATFORM"] = "offscreen"
        return run(
            interpreter(self.folder),
            *arguments,
            "-c",
            program,
            cwd=self.folder,
            env=env,
        )


def interpreter(folder: Path) -> Path:
    """The Python of an environment."""
    names = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return folder.joinpath(*names)


def site_packages(folder: Path) -> Path:
    """Where an environment keeps its packages."""
    places = {"base": str(folder), "platbase": str(folder)}
    scheme = "nt" if os.name == "nt" else "posix_prefix"
    return Path(sysconfig.get_path("purelib", scheme, vars=places))


def make_environment(folder: Path) -> None:
    """An empty environment that sees the packages of the one the tests run in.

    A plain path in a .pth file is added behind the environment's own packages, and the
    .pth files over there, an editable napari-wsol's among them, are not read.
    """
    venv.create(folder, with_pip=False)
    others = [
        path for path in sys.path if path.endswith(("site-packages", "dist-packages"))
    ]
    (site_packages(folder) / "others.pth").write_text("\n".join(others) + "\n")


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, in a folder with a space in its name."""
    folder = tmp_path_factory.mktemp("packaging") / "a clone"
    folder.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            no_caches = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, folder / part, symlinks=True, ignore=no_caches)
        else:
            shutil.copy2(ROOT / part, folder / part)
    return folder


@pytest.fixture(scope="session")
def sdist(project: Path) -> Path:
    """The source distribution."""
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", cwd=project)
    (built,) = project.joinpath("dist").glob("*.tar.gz")
    return built


@pytest.fixture(scope="session")
def wheel(sdist: Path) -> Path:
    """The wheel that is built from the source distribution."""
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps")
    run(*pip, "--no-build-isolation", "--wheel-dir", ".", sdist, cwd=sdist.parent)
    (built,) = sdist.parent.glob("*.whl")
    return built


@pytest.fixture(
    scope="session",
    # The editable one is what these tests run in.
    params=["pip install .", pytest.param("pip install -e .", marks=pytest.mark.slow)],
)
def installed(
    request: pytest.FixtureRequest,
    project: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Environment:
    """A fresh environment in which the project was installed, once in either mode."""
    folder = tmp_path_factory.mktemp("environments") / "an environment"
    make_environment(folder)
    editable = "-e" in request.param
    target = ("--editable", ".") if editable else (".",)
    pip = (sys.executable, "-m", "pip", "--python", interpreter(folder), "install")
    # What it depends on is here already, and the tests need no network.
    run(*pip, "--quiet", "--no-deps", "--no-build-isolation", *target, cwd=project)
    return Environment(folder=folder, project=project, editable=editable)
