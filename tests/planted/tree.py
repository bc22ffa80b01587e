"""A copy of the repository with one bug in it, and the tests that run there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.planted.bugs import Edit
from tests.planted.witness import REPORT

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT_SECONDS = 120.0
# A bug is asked for in more places than the gate has time for.
WHOLE = {"DURABLE_CRASH_STRIDE": "5", "DURABLE_TEST_ORDERS": "1000"}


class Moved(Exception):
    """A bug no longer fits the code."""


@dataclass(frozen=True)
class Run:
    """How the tests of one tree ended. status: pytest's, or None if it was stopped."""

    status: int | None
    passed: list[str]
    failed: list[str]
    error: str  # of the first that failed
    seconds: float
    output: str


def plant(edit: Edit, root: Path) -> str:
    """The text of the edit's file with the bug in it. Raises Moved unless the old text is there exactly once."""
    text = (root / edit.file).read_text()
    if (found := text.count(edit.old)) != 1:
        raise Moved(f"{edit.file} holds {edit.old!r} {found} times: the code has moved; plant it anew")
    return text.replace(edit.old, edit.new)


@contextmanager
def planted(edits: Iterable[Edit]) -> Iterator[Path]:
    """A temporary copy of what git knows or would add, with these edits."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    with tempfile.TemporaryDirectory(prefix="durable-planted-") as folder:
        tree = Path(folder) / "tree"
        for name in filter(None, names):
            if (ROOT / name).is_file():  # git still lists what was deleted and not committed
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, tree / name)
        for edit in edits:
            (tree / edit.file).write_text(plant(edit, tree))
        yield tree


def run(tree: Path, tests: Iterable[str], *, database: str, limit_seconds: float = LIMIT_SECONDS) -> Run:
    """Run these tests in the tree, up to the first that fails, in the order given."""
    report = tree.parent / "report"
    report.touch()
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"} | {
        "PYTHONPATH": str(tree),
        "DURABLE_TEST_DATABASE": database,
        **WHOLE,
        "DURABLE_TEST_DB_SUFFIX": os.environ.get("DURABLE_TEST_DB_SUFFIX", "") + "_planted",
        REPORT: str(report),
    }
    plugins = ["-p", "tests.planted.witness", "-p", "no:randomly", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=short", *plugins, *tests]
    began = time.monotonic()
    status, output = _until(limit_seconds, command, tree, environment)
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    failed = [line for line in lines if line["outcome"] == "failed"]
    return Run(
        status,
        passed=[line["test"] for line in lines if line["outcome"] == "passed"],
        failed=[line["test"] for line in failed],
        error=failed[0]["error"] if failed else "",
        seconds=time.monotonic() - began,
        output=output,
    )


def _until(seconds: float, command: list[str], tree: Path, environment: dict[str, str]) -> tuple[int | None, str]:
    """In a process group of its own, so that nothing it started outlives it."""
    with (tree.parent / "output").open("w+") as output:
        process = subprocess.Popen(
            command, cwd=tree, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        status = None
        try:
            with suppress(subprocess.TimeoutExpired):
                status = process.wait(timeout=seconds)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        return status, output.read()
