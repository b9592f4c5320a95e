"""Changes the program at random places, and counts the changes that a test notices.

    make mutants
    make mutants ARGS="--seed 2 --count 50 --only journal"

A change that no test notices is a line that nothing holds. The operators are those of
mutmut; a seed draws from all places of the core (all but the window and the command
line), so that two people see the same ones. The tree itself is never touched: each
worker has a copy.

One change costs seconds: torch is imported once and the process forked for each, and
only those tests of the same package run that came by the changed line when all of them
ran under coverage; where none of these fails, the quick ones of the other packages.
That survey takes minutes, and is kept in ``build/mutants`` for as long as neither the
program nor the tests of the package change. Needs a system that can fork.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import hashlib
import importlib
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import libcst as cst
import libcst.matchers as m
import pytest
from coverage import CoverageData
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation import mutators

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from libcst.metadata import CodeRange

    Operator = Callable[[Any], Iterable[cst.CSTNode]]

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = "napari_wsol"
KEPT = ROOT / "build" / "mutants"
EQUIVALENT = ROOT / "tools" / "mutants.toml"

OPTIONAL = {
    f"{PROGRAM}/encoders/timm_backbone.py": "timm",
    f"{PROGRAM}/encoders/presets.py": "timm",
    f"{PROGRAM}/checkpoints/presets.py": "timm",
    f"{PROGRAM}/batch/workflow.py": "snakemake",
}
"""Files whose tests are skipped without a library: they count where it is there."""

NOT_CORE = ("gui", "cli", "__init__.py", "__main__.py")
GOAL = 0.9
"""Share of the changes that must be noticed."""

LIBRARIES = (
    "torch",
    "torch._dynamo",
    "torch.optim",
    "scipy.ndimage",
    "skimage",
    "zarr",
)
"""Imported once: they take longer than most tests."""

MEMORY = 6 << 30
"""Bytes that a changed program may take."""

SECONDS, TIMES = 30, 4
"""A changed program may take this long, and this often what its tests took: it hangs
when it takes more, and that is noticed."""

OTHERS_SECONDS = 60
"""For the tests of other packages, the quick ones first, where its own see nothing."""

PLUGINS = ("-p", "pytest_timeout", "-p", "pytest_cov", "-p", "no:cacheprovider")

FORK = multiprocessing.get_context("fork")


def negated(node: cst.If | cst.While | cst.IfExp | cst.CompIf) -> Iterable[cst.CSTNode]:
    """The other way round."""
    inner = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    yield node.with_changes(test=cst.UnaryOperation(cst.Not(), inner))


def returned(node: cst.Return) -> Iterable[cst.CSTNode]:
    """None in place of what is returned; for a truth value there is its opposite."""
    names = m.Name("None") | m.Name("True") | m.Name("False")
    if node.value is not None and not m.matches(node.value, names):
        yield node.with_changes(value=cst.Name("None"))


OPERATORS: tuple[tuple[tuple[type, ...], Operator], ...] = (
    ((cst.BaseNumber,), mutators.operator_number),
    ((cst.Name,), mutators.operator_name),
    ((cst.UnaryOperation,), mutators.operator_remove_unary_ops),
    ((cst.CSTNode,), mutators.operator_keywords),
    ((cst.CSTNode,), mutators.operator_swap_op),
    ((cst.If, cst.While, cst.IfExp, cst.CompIf), negated),
    ((cst.Return,), returned),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of one file.

    Attributes:
        path: of the file, from the root.
        function: that it is in; empty at the level of the module.
        lines: first and last one of the statement or of its head.
        change: lines that go, an arrow, lines that come.
        text: of the whole changed file.
    """

    path: str
    function: str
    lines: tuple[int, int]
    change: str
    text: str

    @property
    def package(self) -> str:
        """The folder or the module right under the program's."""
        return Path(self.path).parts[1].removesuffix(".py")

    @property
    def key(self) -> tuple[str, str, str]:
        """By which it is named as equivalent."""
        return self.path, self.function, self.change

    @property
    def words(self) -> str:
        """Where it is, and what."""
        return f"{self.path}:{self.lines[0]} {self.function}: {self.change}"


class Place(NamedTuple):
    """Where a change can be made, and what comes for what is there."""

    function: str
    lines: tuple[int, int]
    old: cst.CSTNode
    new: cst.CSTNode


class Places(cst.CSTVisitor):
    """All changes of a module, in the order of its text."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Place] = []
        self._names: list[str] = []
        self._lines: list[tuple[int, int]] = [(1, 1)]

    def on_visit(self, node: cst.CSTNode) -> bool:
        """Collects what is here; False where nothing below counts."""
        if _is_passed_over(node):
            return False
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self._names.append(node.name.value)
        if isinstance(node, cst.BaseCompoundStatement | cst.SimpleStatementLine):
            self._lines.append(self._head(node))
        name = ".".join(self._names)
        for kinds, operator in OPERATORS:
            if isinstance(node, kinds):
                self.found += [
                    Place(name, self._lines[-1], node, new) for new in operator(node)
                ]
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        """Goes up again."""
        if _is_passed_over(original_node):
            return
        if isinstance(original_node, cst.FunctionDef | cst.ClassDef):
            self._names.pop()
        if isinstance(
            original_node, cst.BaseCompoundStatement | cst.SimpleStatementLine
        ):
            self._lines.pop()

    def _head(
        self, node: cst.BaseCompoundStatement | cst.SimpleStatementLine
    ) -> tuple[int, int]:
        """Its lines, without those of the statements in it."""
        where = cast("CodeRange", self.get_metadata(PositionProvider, node))
        first, last = where.start.line, where.end.line
        if isinstance(node, cst.SimpleStatementLine):
            return first, last
        inside = getattr(node, "body", None)
        if isinstance(inside, cst.IndentedBlock):
            body = self.get_metadata(PositionProvider, inside.body[0])
            last = cast("CodeRange", body).start.line - 1
        return first, max(first, last)


def _is_passed_over(node: cst.CSTNode) -> bool:
    """What is no behaviour: types, ``frozen=True``, a guard against a slip of ours."""
    if isinstance(node, cst.Annotation | cst.Decorator):
        return True
    if isinstance(node, cst.If):
        return m.matches(node.test, m.Name("TYPE_CHECKING"))
    return isinstance(node, cst.Arg) and m.matches(
        node, m.Arg(keyword=m.Name("strict"))
    )


def core(tree: Path) -> list[str]:
    """Files of the core, from the root of the tree, in order."""
    every = sorted(path.relative_to(tree) for path in (tree / PROGRAM).rglob("*.py"))
    skipped = [path for path, name in OPTIONAL.items() if find_spec(name) is None]
    return [
        path.as_posix()
        for path in every
        if path.parts[1] not in NOT_CORE and path.as_posix() not in skipped
    ]


def sample(tree: Path, paths: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """Changes drawn from all of the files, in the order of the files."""
    sizes = {path: len(_places(tree / path)[1]) for path in paths}
    every = [(path, index) for path, size in sizes.items() for index in range(size)]
    drawn = random.Random(seed).sample(every, min(count, len(every)))
    return [_mutant(tree, path, index) for path, index in sorted(drawn)]


@lru_cache(maxsize=1)  # those of one file are asked for one after another
def _places(path: Path) -> tuple[cst.Module, list[Place]]:
    wrapper = MetadataWrapper(cst.parse_module(path.read_bytes()))
    places = Places()
    wrapper.visit(places)
    return wrapper.module, places.found


def _mutant(tree: Path, path: str, index: int) -> Mutant:
    module, found = _places(tree / path)
    place = found[index]
    text = cast("cst.Module", module.deep_replace(place.old, place.new)).code
    before, after = module.code.splitlines(), text.splitlines()
    lines = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
    gone, come = (
        " ".join(line[1:].strip() for line in lines if line[0] == mark) for mark in "-+"
    )
    return Mutant(
        path=path,
        function=place.function,
        lines=place.lines,
        change=f"{gone} → {come}",
        text=text,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Survey:
    """What the tests of a package do.

    Attributes:
        seconds: that each test took; those that failed are not there.
        data: of coverage, which of them came by which line; None without tests.
    """

    seconds: dict[str, float]
    data: Path | None

    def tests(self, mutant: Mutant) -> list[str]:
        """Those that may notice it, the files of the fastest ones first."""
        if self.data is None:
            return []
        data = CoverageData(str(self.data))
        data.read()
        paths = [path for path in data.measured_files() if path.endswith(mutant.path)]
        contexts = data.contexts_by_lineno(paths[0]) if paths else {}
        first, last = mutant.lines
        by = {
            name for line in range(first, last + 1) for name in contexts.get(line, ())
        }
        if "" in by:  # while it was imported: whoever runs any of the file
            by = {name for names in contexts.values() for name in names}
        # What a fixture did is seen by the other tests that share it, too.
        shared = {_file(name) for name in by if name.endswith("|setup")}
        chosen = {name for name in self.seconds if _file(name) in shared}
        chosen |= {name.partition("|")[0] for name in by} & self.seconds.keys()
        if by and not chosen:  # a file of constants, say
            chosen = set(self.seconds)
        took: dict[str, float] = defaultdict(float)
        for name in chosen:
            took[_file(name)] += self.seconds[name]
        kept = [name for name in self.seconds if name in chosen]
        return sorted(kept, key=lambda name: took[_file(name)])


def _file(test: str) -> str:
    return test.partition("::")[0]


class Timed:
    """Notes how long each test takes, and which ones do not pass."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seconds: dict[str, float] = defaultdict(float)
        self._bad: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called three times a test."""
        self._seconds[report.nodeid] += report.duration
        if not report.passed:
            self._bad.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        """Writes it down."""
        good = {k: v for k, v in self._seconds.items() if k not in self._bad}
        self._path.write_text(json.dumps(good))


class Chosen:
    """Leaves out all tests but some, and sorts those."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._rank = {name: rank for rank, name in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Called with all tests of the files that were named."""
        kept = [item for item in items if item.nodeid in self._rank]
        items[:] = sorted(kept, key=lambda item: self._rank[item.nodeid])


def run(
    copy: Path, arguments: Sequence[str], plugin: object, limit: float
) -> int | None:
    """Runs tests in a process of their own; what pytest says, None where it hung.

    Args:
        copy: of the tree, whose tests they are.
        arguments: of pytest.
        plugin: of pytest.
        limit: seconds.
    """
    process = FORK.Process(target=_tested, args=(copy, arguments, plugin))
    process.start()
    process.join(limit)
    code = process.exitcode
    with contextlib.suppress(ProcessLookupError):
        os.killpg(cast("int", process.pid), signal.SIGKILL)  # and its own children
    process.join()
    return code


def _tested(copy: Path, arguments: Sequence[str], plugin: object) -> None:
    os.setsid()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    os.chdir(copy)
    sys.path.insert(0, str(copy))
    os.environ["PYTHONPATH"] = str(copy)  # of what the tests start
    with (copy / "pytest.log").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    scratch = ["--basetemp", str(copy / "scratch")]
    os._exit(pytest.main([*PLUGINS, *scratch, *arguments], [plugin]))


def survey(copies: Path, package: str) -> Survey:
    """Runs the tests of a package under coverage, or takes what is known of them."""
    tests = tests_of(package)
    if not (copies / "first" / tests).exists():
        return Survey(seconds={}, data=None)
    known = KEPT / f"{package}-{_digest(copies / 'first', tests)}.json"
    data = known.with_suffix(".coverage")
    if not known.exists():
        os.environ["COVERAGE_FILE"] = str(data)
        watched = [f"--cov={PROGRAM}", "--cov-context=test", "--cov-report="]
        copy = own_copy(copies)
        run(copy, [tests, *watched], Timed(known), 3600)
        if not known.exists():
            raise RuntimeError((copy / "pytest.log").read_text())
    return Survey(seconds=json.loads(known.read_text()), data=data)


def tests_of(package: str) -> str:
    """Where the tests of a package are, from the root."""
    folder = f"tests/{package}"
    return folder if (ROOT / folder).is_dir() else f"tests/test_{package}.py"


def _digest(tree: Path, tests: str) -> str:
    """Of all that the survey of some tests depends on."""
    digest = hashlib.sha256()
    for folder in (PROGRAM, tests, "tests/fixtures", "tests/conftest.py"):
        top = tree / folder
        for path in sorted(top.rglob("*.py")) if top.is_dir() else [top]:
            digest.update(f"{path.relative_to(tree)}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def noticed(
    copies: Path, mutant: Mutant, rounds: Sequence[dict[str, float]]
) -> tuple[str, float]:
    """What notices a change, empty if nothing does, and how many seconds that took.

    Args:
        copies: of the tree.
        mutant: the change.
        rounds: tests and the seconds of each; the next where none of these fails.
    """
    copy = own_copy(copies)
    path = copy / mutant.path
    before, times = path.read_bytes(), path.stat()
    began = time.perf_counter()
    by = ""
    try:
        path.write_text(mutant.text, "utf-8")
        for tests in filter(None, rounds):
            by = by or _failure(copy, tests)
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return by, time.perf_counter() - began


def _failure(copy: Path, tests: dict[str, float]) -> str:
    """The first of the tests that fails, or what else is wrong; empty if nothing is."""
    files = sorted({_file(name) for name in tests})
    limit = SECONDS + TIMES * sum(tests.values())
    code = run(copy, [*files, "-x", "-q"], Chosen([*tests]), limit)
    if code == 0:
        return ""
    log = (copy / "pytest.log").read_text()
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", log, re.MULTILINE)
    return (failed or ["a hang" if code is None else f"status {code}"])[0]


def own_copy(copies: Path) -> Path:
    """The copy of this process."""
    copy = copies / str(os.getpid())
    if not copy.exists():
        shutil.copytree(copies / "first", copy, symlinks=True)
    return copy


def copied(folder: Path) -> Path:
    """Copies what is in the tree, without what git ignores."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    for name in filter(None, names):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, target, follow_symlinks=False)
    return folder


def equivalent() -> dict[tuple[str, str, str], str]:
    """File, function and change of what no test can notice, and why."""
    rows = tomllib.loads(EQUIVALENT.read_text("utf-8"))["equivalent"]
    return {(row["path"], row["function"], row["change"]): row["why"] for row in rows}


def rounds(mutant: Mutant, surveys: Mapping[str, Survey]) -> list[dict[str, float]]:
    """Tests that may notice a change: those of its package, then those of others."""
    own = surveys[mutant.package]
    # Where no test of this process comes by, one may start a process that does.
    first = {name: own.seconds[name] for name in own.tests(mutant) or own.seconds}
    others = {
        name: one.seconds[name]
        for one in surveys.values()
        if one is not own
        for name in one.tests(mutant)
    }
    second: dict[str, float] = {}
    for name in sorted(others, key=others.__getitem__):
        if sum(second.values()) + others[name] <= OTHERS_SECONDS:
            second[name] = others[name]
    return [first, second]


def vanished(tree: Path) -> list[str]:
    """Changes that are named as equivalent, and that the program has no place for."""
    gone: list[str] = []
    for path, function, change in equivalent():
        places = _places(tree / path)[1]
        here = [index for index, one in enumerate(places) if one.function == function]
        if all(_mutant(tree, path, index).change != change for index in here):
            gone.append(f"{path} {function}: {change}")
    return gone


def tried(
    copies: Path, drawn: Sequence[Mutant], jobs: int
) -> Iterator[tuple[Mutant, str]]:
    """Each change with "noticed", "survived" or "equivalent"; says so line by line."""
    named = equivalent()
    with ProcessPoolExecutor(jobs, FORK) as pool:
        packages = sorted({mutant.package for mutant in drawn})
        print(f"Surveying the tests of {', '.join(packages)} …", flush=True)
        surveys = dict(
            zip(packages, pool.map(partial(survey, copies), packages), strict=True)
        )
        waiting = [
            (
                mutant,
                None
                if mutant.key in named
                else pool.submit(noticed, copies, mutant, rounds(mutant, surveys)),
            )
            for mutant in drawn
        ]
        for mutant, future in waiting:
            outcome, by, took = "equivalent", "", 0.0
            if future is not None:
                by, took = future.result()
                outcome = "noticed" if by else "survived"
            print(f"{outcome:10} {took:5.1f} s  {mutant.words}  {by}", flush=True)
            yield mutant, outcome


def table(outcomes: Sequence[tuple[Mutant, str]]) -> list[str]:
    """The score of each package and of all, a line each."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for mutant, outcome in outcomes:
        counts[mutant.package][outcome] += 1
    rows = [*sorted(counts.items()), ("all", sum(counts.values(), Counter[str]()))]
    return [
        f"{'package':18}{'noticed':>9}{'survived':>10}{'equivalent':>12}{'score':>8}"
    ] + [
        f"{name:18}{one['noticed']:9}{one['survived']:10}{one['equivalent']:12}"
        f"{score(one):8.0%}"
        for name, one in rows
    ]


def score(counts: Counter[str]) -> float:
    """The share that was noticed of what can be."""
    can_be = counts["noticed"] + counts["survived"]
    return counts["noticed"] / can_be if can_be else 1.0


def main() -> None:
    """Draws, tries and counts; exit status 1 below the goal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="another one draws others")
    parser.add_argument("--count", type=int, default=200, help="of changes (200)")
    parser.add_argument("--only", default="", help="files with this in their path")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="at once")
    given = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for name in LIBRARIES:
        importlib.import_module(name)
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        tree = copied(Path(folder) / "first")
        paths = [path for path in core(tree) if given.only in path]
        drawn = sample(tree, paths, given.count, given.seed)
        outcomes = list(tried(Path(folder), drawn, given.jobs))
    print(f"\n{len(drawn)} changes of seed {given.seed}:", *table(outcomes), sep="\n")
    sys.exit(score(Counter(outcome for _, outcome in outcomes)) < GOAL)


if __name__ == "__main__":
    main()
