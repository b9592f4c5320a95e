"""Of several processes that share a folder, one at a time works on a thing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from napari_wsol.batch import claims
from napari_wsol.batch.claims import Claim, Holder, take
from napari_wsol.errors import ClaimLostError

# The module alone: the package would import torch in each of the processes.
SCRIPT = f"""
import importlib.util, sys, time
from pathlib import Path
spec = importlib.util.spec_from_file_location("claims", {claims.__file__!r})
claims = sys.modules["claims"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(claims)
folder, stale = Path(sys.argv[1]), float(sys.argv[2])
"""
RACE = (
    SCRIPT
    + """
while not (folder / "go").exists():
    time.sleep(0.001)
got = []
for number in range(30):
    claim = claims.take(folder / str(number), stale)
    if isinstance(claim, claims.Claim):
        got.append((number, claim))
print(*(number for number, _ in got), flush=True)
sys.stdin.read()  # none ends, and lets go, before all have tried
"""
)
HOLD = (
    SCRIPT
    + """
claim = claims.take(folder, stale)
print(type(claim).__name__, flush=True)
try:
    while True:
        time.sleep(0.02)
        claim.check()
except Exception as error:
    print(type(error).__name__, flush=True)
    claim.release()
    print("released", flush=True)
"""
)
posix = pytest.mark.skipif(os.name != "posix", reason="sends signals of POSIX")


def start(script, folder, stale):
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder), str(stale)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def holder(tmp_path):
    """Starts a process that holds a claim in ``tmp_path / "work"``."""
    started = []

    def make(stale):
        process = start(HOLD, tmp_path / "work", stale)
        started.append(process)
        assert process.stdout.readline() == "Claim\n"
        return process

    yield make
    for process in started:
        process.kill()
        process.communicate()


def race(folder, workers=4):
    """What each of several processes got of 30 pieces of work."""
    running = [start(RACE, folder, 60) for _ in range(workers)]
    time.sleep(0.3)
    (folder / "go").touch()
    lines = [process.stdout.readline().split() for process in running]
    for process in running:
        process.communicate("")
    return lines


def test_each_thing_is_claimed_once(tmp_path):
    got = race(tmp_path)
    assert sorted(int(n) for line in got for n in line) == list(range(30))


def test_each_stale_claim_is_taken_over_once(tmp_path):
    for number in range(30):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / "claim.1"
        path.write_text(json.dumps({"host": "gone", "pid": 1, "token": "old"}))
        os.utime(path, (time.time() - 90, time.time() - 90))
    got = race(tmp_path)
    assert sorted(int(n) for line in got for n in line) == list(range(30))
    assert all(
        path.parent.joinpath("claim.1").exists() for path in tmp_path.glob("*/claim.2")
    )


def test_a_live_claim_is_kept_by_its_heartbeat(tmp_path, holder):
    process = holder(1.0)
    time.sleep(1.6)
    found = take(tmp_path / "work", 1.0)
    assert isinstance(found, Holder)
    assert found.pid == process.pid
    assert found.age < 1.0
    assert str(process.pid) in str(found)


@posix
@pytest.mark.skipif(not Path("/proc/self/ns/pid").exists(), reason="needs /proc")
def test_a_killed_holder_on_this_machine_is_known_at_once(tmp_path, holder):
    process = holder(600)
    assert isinstance(take(tmp_path / "work", 600), Holder)
    process.kill()
    process.wait()
    with take(tmp_path / "work", 600) as claim:
        assert isinstance(claim, Claim)
        assert claim.path.name == "claim.2"


@posix
def test_who_slept_too_long_finds_out_and_harms_nobody(tmp_path, holder):
    process = holder(0.8)
    process.send_signal(signal.SIGSTOP)
    time.sleep(1.2)
    with take(tmp_path / "work", 0.8) as claim:
        assert isinstance(claim, Claim)
        process.send_signal(signal.SIGCONT)
        assert process.stdout.readline() == "ClaimLostError\n"
        assert process.stdout.readline() == "released\n"
        assert claim.path.exists()
        assert not claim.is_lost
        assert isinstance(take(tmp_path / "work", 0.8), Holder)


def test_released_work_is_free_again(tmp_path):
    with take(tmp_path / "work") as claim:
        assert isinstance(take(tmp_path / "work"), Holder)
    assert not claim.path.exists()
    with take(tmp_path / "work") as again:
        assert isinstance(again, Claim)
    claim.release()  # once more harms nothing


def test_a_claim_whose_folder_was_removed_is_lost(tmp_path):
    claim = take(tmp_path / "work", 0.3)
    claim.path.unlink()
    time.sleep(0.2)
    with pytest.raises(ClaimLostError, match="Another worker"):
        claim.check()
    claim.release()


ODD_NAMES = ["claim.", "claim.tmp", "claim.1~", "claim.²", "claim.-1", "claim.1.5",
             "claim.99999999999999999999", "claim.٣", "claim.0", "claims"]  # fmt: skip


def test_files_that_are_no_claims_are_ignored(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    for name in ODD_NAMES:
        (folder / name).write_text("mine")
    (folder / "claim.7").mkdir()
    with take(folder) as claim:
        assert claim.path.name == "claim.8"
        assert isinstance(take(folder), Holder)
        claim.check()
    assert {path.name for path in folder.iterdir()} == {*ODD_NAMES, "claim.7"}


ODD = [
    "[]",
    "null",
    "1",
    "{}",
    '{"pid": 1e999}',
    "[" * 100_000,
    "\0" * 9,
    "mine",
    "\xff",
]


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_claims_that_nobody_can_have_written_keep_nobody_away(tmp_path, text):
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "claim.3").write_bytes(text.encode("latin-1"))
    with take(folder) as claim:
        assert isinstance(claim, Claim)
        assert claim.path.name == "claim.4"
        claim.check()


@pytest.mark.parametrize(
    "text", ["", '{"host": "other", "pi', '{"host": [], "pid": "x"}']
)
def test_a_claim_that_is_being_filled_is_somebodys(tmp_path, text):
    (tmp_path / "claim.1").write_text(text)
    found = take(tmp_path)
    assert isinstance(found, Holder)
    assert str(found)
