"""Planted faults, each told with the sentence that mends it; and a bundle's silence."""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from napari_wsol.cli.app import app
from napari_wsol.doctor import checks
from napari_wsol.doctor.bundle import bundle_of
from napari_wsol.doctor.finding import Finding, asked
from napari_wsol.journal import ImageFacts, JournalLibrary, StatusChanged
from napari_wsol.paths import bundled_folder, journals_folder, preferences_file
from napari_wsol.zoo import WEIGHTS

PATIENT, BUNDLED = "Mueller_Hans", "glands-mobilenetv2"
DULL = {"root", "user", "runner"}
"""Names of users that may stand elsewhere, too."""
READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1"'
FULL = 'mount -t tmpfs -o size=64k none "$1"'
needs_window = pytest.mark.skipif(
    not (find_spec("napari") and find_spec("qtpy")), reason="needs the window"
)


@pytest.fixture
def in_home(tmp_path):
    """Runs a command with an empty home, after a fault was planted for it alone."""
    home = tmp_path / "home"
    (home / "journals").mkdir(parents=True)

    def run(plant: str, folder: Path, *words: str):
        own = {**os.environ, "NAPARI_WSOL_HOME": str(home)}
        own.pop("NAPARI_WSOL_JOURNALS")
        isolated = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
        tried = [*isolated, plant, "sh", str(folder)]
        if sys.platform != "linux" or subprocess.run(tried, check=False).returncode:
            pytest.skip("needs Linux, where this user may mount folders of their own")
        doctor = [sys.executable, "-m", "napari_wsol", "doctor", "--fast", *words]
        script = f'{plant} && shift && exec "$@"'
        command = [*isolated, script, "sh", str(folder), *doctor]
        return subprocess.run(
            command, env=own, capture_output=True, text=True, check=False
        )

    run.home = home
    return run


def told(findings, state):
    return [item for item in findings if item.state == state]


def test_a_home_that_is_read_only(in_home):
    done = in_home(READ_ONLY, in_home.home)
    assert done.returncode == 1
    faults = [line for line in done.stdout.splitlines() if line.startswith("fault")]
    assert len(faults) == 1  # what lies in it is not told again
    assert (
        f"“{in_home.home}” may not be written to. Choose another folder." in faults[0]
    )
    assert faults[0].endswith("set NAPARI_WSOL_HOME to another folder.")


def test_journals_that_may_not_be_written(in_home):
    journals = in_home.home / "journals"
    done = in_home(READ_ONLY, journals, "--json")
    assert done.returncode == 1
    [fault] = [item for item in json.loads(done.stdout) if item["state"] == "fault"]
    assert fault["name"] == "journals"
    assert f"“{journals}” may not be written to." in fault["text"]
    assert fault["text"].endswith("set NAPARI_WSOL_JOURNALS to another folder.")


def test_a_full_disk(in_home):
    done = in_home(FULL, in_home.home)
    assert done.returncode == 1
    assert f"The disk of “{in_home.home}” is full" in done.stdout
    assert "Free some space, or choose a folder on another disk." in done.stdout


def test_nothing_is_left_of_the_trial(tmp_path, monkeypatch):
    home = tmp_path / "not" / "there"
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(home))
    monkeypatch.setenv("NAPARI_WSOL_JOURNALS", str(home / "journals"))
    assert not told(checks.folders(), "fault")
    assert not any(tmp_path.iterdir())


def test_too_little_room(monkeypatch):
    monkeypatch.setenv("NAPARI_WSOL_MEMORY", "900000")  # GB
    [short] = told(checks.folders(), "warning")
    assert "900000.0 GB are wanted: free some, or set NAPARI_WSOL_CACHE" in short.text


def test_an_old_package(tmp_path, monkeypatch):
    about = tmp_path / "numcodecs-0.15.1.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text("Metadata-Version: 2.1\nName: numcodecs\nVersion: 0.15.1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    [fault] = told(checks.versions(), "fault")
    assert fault.text.startswith("numcodecs 0.15.1 is too old (earlier ones run code")
    assert 'pip install "numcodecs>=0.16.6' in fault.text


def test_a_clock_that_is_late():
    assert told(checks.clock(), "ok")
    file = journals_folder() / "image" / "journal-0001.jsonl"
    file.parent.mkdir(parents=True)
    file.touch()
    tomorrow = time.time() + 86_400
    os.utime(file, (tomorrow, tomorrow))
    [fault] = checks.clock()
    assert fault.state == "fault"
    assert "so set the clock" in fault.text
    assert time.ctime(tomorrow) in fault.text


@needs_window
def test_no_opengl(monkeypatch):
    monkeypatch.setenv("QT_QPA_PLATFORM", "minimal")
    [fault] = told(checks.window(), "fault")
    assert fault.name == "OpenGL"
    assert "on the platform minimal: install the driver of the graphics" in fault.text


@needs_window
def test_another_qt_than_is_there(monkeypatch):
    monkeypatch.setenv("QT_API", "pyside2")
    [fault] = checks.window()
    assert fault.state == "fault"
    assert (
        "QT_API asks for “pyside2”, which is not installed: set QT_API=p" in fault.text
    )


@needs_window
def test_two_bindings_and_no_screen(tmp_path, monkeypatch):
    (tmp_path / "PySide2").mkdir()
    (tmp_path / "PySide2" / "__init__.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in (*checks.SCREENS, "QT_API"):
        monkeypatch.delenv(name, raising=False)
    two, *others = (
        checks.window() if sys.platform == "linux" else told(checks.window(), "warning")
    )
    assert "Several Qt bindings are installed" in two.text
    assert "keep one (pip uninstall PySide2), or set QT_API=" in two.text
    if sys.platform == "linux":
        [screen] = others
        assert "There is no screen." in screen.text


def test_a_process_that_crashes_or_hangs_is_told(tmp_path, monkeypatch):
    (tmp_path / "dies.py").write_text(
        "from napari_wsol.doctor.finding import Finding, tell\n"
        "import os\nprint('hello')\ntell([Finding('one', 'ok', 'fine')])\nos.abort()\n"
    )
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    broken = Finding("two", "fault", "mend it")
    first, last = asked("dies", broken)
    assert first == Finding("one", "ok", "fine")
    assert (last.text, "SIGABRT" in last.said) == ("mend it", os.name != "nt")
    [hung] = asked("hangs", broken, seconds=0.5)
    assert "timed out after 0.5 seconds" in hung.said


def test_what_plugins_print_or_end_changes_no_line(tmp_path, monkeypatch):
    (tmp_path / "prints.py").write_text(
        "import os\nfrom napari_wsol.doctor.finding import Finding, tell\n"
        "def found():\n    print('{\"name\": 1}')\n    os.write(1, b'half a line')\n"
        "    yield Finding('one', 'ok', '“h\\udce4ns”')\n    os._exit(0)\n"
        "tell(found())\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    one, broken = asked("prints", Finding("two", "fault", "mend it"))
    assert one.text == "“h\udce4ns”"
    assert broken.text == "mend it"
    assert broken.said.startswith("it ended too early")


def test_without_torch_nothing_is_said_of_plugins(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('no torch')")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = [item for item in checks.libraries() if item.name != "readers"]
    assert [item.text for item in found] == [checks.BROKEN["torch"]]
    assert "no torch" in found[0].said


def test_no_folder_for_temporary_files(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/not/there"])
    [fault] = told(checks.folders(), "fault")
    assert fault.text == "There is none: set TMPDIR to another folder."
    assert "/not/there" in fault.said


def test_what_is_chosen_and_cannot_be(monkeypatch):
    assert not [*checks.config()]
    monkeypatch.setenv("NAPARI_WSOL_MEMORY", "much")
    preferences_file().write_text("{")
    variable, file = (item.text for item in checks.config())
    assert variable.startswith("NAPARI_WSOL_MEMORY does not say what can be")
    assert file.startswith(f"“{preferences_file()}” does not say")


def test_a_check_that_fails_is_a_line(monkeypatch, tmp_path):
    # A distribution of ours without what it needs: the doctor lives.
    about = tmp_path / "napari_wsol-9.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text("Metadata-Version: 2.1\nName: napari-wsol\nRequires-Dist: ?\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = [*checks.examine(fast=True)]
    assert [item.name for item in told(found, "fault")] == ["versions"]
    assert any(item.name == "clock" for item in found)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """One whole run at a place full of a patient's name, with three faults."""
    home = tmp_path_factory.mktemp(PATIENT)
    model = home / "models" / f"{PATIENT}-model"
    shutil.copytree(bundled_folder() / BUNDLED, model)
    with (model / WEIGHTS).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    shadow, plugin = home / "shadow", home / f"{PATIENT}.py"
    shadow.mkdir()
    (shadow / "openslide.py").write_text("raise ModuleNotFoundError")
    plugin.write_text(f"raise ValueError('/data/{PATIENT}.svs ” is missing')")
    image = ImageFacts(
        fingerprint="ab" * 32,
        name=f"{PATIENT}.svs",
        path=f"/data/{PATIENT}.svs",
        shape=(40, 60),
        canvas_shape=(40, 60),
        canvas_scale=(1.0, 1.0),
        canvas_translate=(0.0, 0.0),
        mpp=0.5,
    )
    journals = home / f"{PATIENT} ” journals"
    journal = JournalLibrary(journals).open(image)
    for status in ("stroked", "reviewed"):
        journal.append(StatusChanged(status=status))
    journal.close()
    kept = {"model": str(model), "memory_bytes": 2_000_000_000, PATIENT: PATIENT}
    (home / "preferences.json").write_text(json.dumps(kept))
    paths = [str(shadow), os.environ.get("PYTHONPATH", "")]
    own = {
        "NAPARI_WSOL_HOME": str(home),
        "NAPARI_WSOL_JOURNALS": str(journals),
        "NAPARI_WSOL_PLUGINS": str(plugin),
        "QT_API": PATIENT,
        "USER": PATIENT,
        "PYTHONPATH": os.pathsep.join(paths),
    }
    command = [sys.executable, "-m", "napari_wsol", "doctor", "--yes", "--bundle"]
    file = home / "bundle.zip"
    done = subprocess.run(
        [*command, str(file)],
        env=os.environ | own,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 1, done.stderr
    with zipfile.ZipFile(file) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    return done, texts


def test_a_damaged_model_a_missing_extra_and_a_plugin_that_fails(planted):
    lines = planted[0].stdout.splitlines()
    [model] = [line for line in lines if line.startswith("fault   models")]
    assert f"“{PATIENT}-model” is damaged. Copy its whole folder again" in model
    assert f"ok      models: “{BUNDLED}” is intact." in lines
    [extra] = [line for line in lines if line.startswith("warning readers")]
    assert "No slides of MRXS, VMS and others without openslide: pip" in extra
    assert extra.endswith("pip install openslide-bin openslide-python")
    [plugin] = [line for line in lines if line.startswith("fault   plugins")]
    assert f"“{PATIENT}.py” was left out: update it, or take it away. (Val" in plugin
    assert any(line.startswith("ok      torch: torch 2") for line in lines)


def test_a_bundle_tells_nothing_of_a_patient(planted):
    done, texts = planted
    names = {"report.txt", "versions.txt", "settings.txt", "journals.txt", "files.txt"}
    assert texts.keys() == names
    for part in (*PATIENT.split("_"), getpass.getuser(), Path.home().name):
        if part not in DULL:
            assert not [name for name, text in texts.items() if part in text]
    assert PATIENT in done.stdout  # on the screen it is told
    *shown, last = done.stderr.splitlines()
    assert last.endswith("bundle.zip was written.")
    assert PATIENT not in "".join(shown)  # but not in what is shown of the bundle
    assert all(name in done.stderr for name in names)
    assert "fault models: “#" in texts["report.txt"]
    assert f"torch=={version('torch')}" in texts["versions.txt"]
    settings = texts["settings.txt"].splitlines()
    assert "memory_bytes=2000000000" in settings
    [journal] = texts["journals.txt"].splitlines()
    assert journal.startswith("#")
    assert journal.endswith("{'StatusChanged': 2}")
    key = re.search(r"^NAPARI_WSOL_JOURNALS=(.*)$", texts["settings.txt"], re.MULTILINE)
    assert key
    assert f"{key[1]}” can be written to" in texts["report.txt"]
    assert "#" in key[1]


def test_names_have_other_digests_in_another_bundle():
    findings = [Finding("one", "ok", "“anna\nmaria” and “bert”, “anna”, not carl.")]
    one, two = (bundle_of(findings)["report.txt"] for _ in range(2))
    assert re.fullmatch(r"ok one: “.*”, not carl.", one)
    assert one != two
    assert "anna" not in one
    assert "bert" not in one


def test_a_number_or_a_package_may_have_a_patients_name(tmp_path, monkeypatch):
    number = "0012345"
    about = tmp_path / f"{PATIENT}.egg-info"
    about.mkdir()
    (about / "PKG-INFO").write_text(f"Name: {PATIENT}\nVersion: {number}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("NAPARI_WSOL_MODEL", number)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    (journals_folder() / number).mkdir(parents=True)
    texts = bundle_of([Finding("cache", "ok", f"“/{number}/1961.3.4” has 2.5 GB.")])
    whole = "\n".join(texts.values())
    assert not [word for word in (number, PATIENT, "1961") if word in whole]
    assert "has 2.5 GB." in texts["report.txt"]
    assert "OMP_NUM_THREADS=3" in texts["settings.txt"]


def test_a_bundle_replaces_nothing(tmp_path):
    file = tmp_path / "slide.svs"
    file.write_text("mine")
    done = CliRunner().invoke(app, ["doctor", "--yes", "--bundle", str(file)])
    assert "nothing is replaced" in str(done.exception)
    assert not done.stdout  # told before anything is looked at
    assert file.read_text() == "mine"


def test_a_bundle_is_asked_for(tmp_path):
    file = tmp_path / "bundle.zip"
    for answer, is_there in (("n\n", False), ("y\n", True)):
        words = ["doctor", "--fast", "--bundle", str(file)]
        done = CliRunner().invoke(app, words, input=answer)
        assert f"Write this to {file}? [y/N]" in done.stderr
        assert file.exists() == is_there
        assert is_there or done.exit_code == 130
