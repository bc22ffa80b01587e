"""``make test``: run the suite on every database that answers, then say by name what was covered and what was not.

    python -m tests.matrix [--only sqlite,postgres] [--jobs 1] [-- pytest arguments]

Databases are covered side by side, as many as there are cores; what each run printed follows when it has ended. With
one job it is shown as it comes.

``DURABLE_REQUIRE=postgres,mariadb,redis,rabbitmq`` turns "not covered" into a failure for those named.
A broker counts as covered when a test that uses the ``broker_url`` fixture ran on it, not because it answered.
Tests that touch no database, and those of the second broker, run beside the first one. What a run has left out stands
under its line.
"""

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import IO

import celery
import django

from tests import sampling
from tests.conftest import ONCE_ELSEWHERE, USED_BROKERS_FILE
from tests.services import BROKERS, DATABASES, Service, Unavailable, answer

# Far above what a healthy run takes: a hung suite ends, and says where (faulthandler_timeout), instead of waiting.
LIMIT_SECONDS = float(os.environ.get("DURABLE_TEST_LIMIT_SECONDS", "3600"))
LAST_WORDS_SECONDS = 10.0


@dataclass
class Line:
    """One line of the closing table."""

    service: Service
    covered: bool
    text: str
    failed: bool = False
    sampled: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        verdict = "FAILED" if self.failed else "covered" if self.covered else "NOT covered"
        return "\n".join(
            [
                f"  {self.service.title:<12}{verdict:<13}{self.text}",
                *(f"{'':<14}sampled      {text}" for text in self.sampled),
            ]
        )


def main() -> int:
    """Run the suite once per database; return the exit status."""
    options = _parse()
    required = _names(os.environ.get("DURABLE_REQUIRE", ""))
    environment, broker_lines = _find_brokers()
    with tempfile.TemporaryDirectory() as folder:
        used = Path(folder) / "used"
        used.touch()
        environment[USED_BROKERS_FILE] = str(used)
        lines = _cover_all(environment, options)
        for line in broker_lines:
            _judge_broker(line, set(used.read_text().split()))
    return _report(lines + broker_lines, required)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default=",".join(DATABASES), help="databases, separated by commas")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at one time; default: cores")
    parser.add_argument("pytest", nargs="*", help="arguments for pytest, after --")
    options = parser.parse_args()
    options.only = _names(options.only, DATABASES)
    return options


def _names(text: str, known: object = (*DATABASES, *BROKERS)) -> set[str]:
    names = {name.strip() for name in text.split(",")} - {""}
    if unknown := names - set(known):
        raise SystemExit(f"Unknown: {', '.join(sorted(unknown))}. Choose from {', '.join(known)}.")
    return names


def _find_brokers() -> tuple[dict[str, str], list[Line]]:
    """Ask each broker once; an empty address in the environment tells the suite that it is not there."""
    environment, lines = dict(os.environ), []
    for broker in BROKERS.values():
        try:
            lines.append(Line(broker, True, answer(broker)))
            environment[broker.url_variable] = broker.url
        except Unavailable as reason:
            lines.append(Line(broker, False, str(reason)))
            environment[broker.url_variable] = ""
    return environment, lines


def _judge_broker(line: Line, used: set[str]) -> None:
    if line.covered and line.service.name not in used:
        line.covered = False
        line.text = f"answers {line.text}, but no test of this run used it"


def _cover_all(environment: dict[str, str], options: argparse.Namespace) -> list[Line]:
    lines = {service.name: _look(service, options) for service in DATABASES.values()}
    found = [line for line in lines.values() if line.covered]
    with ThreadPoolExecutor(max_workers=max(1, min(options.jobs, len(found)))) as pool:
        others = dict(environment)
        if found and not any(argument.startswith("tests") for argument in options.pytest):
            others[ONCE_ELSEWHERE] = found[0].service.title
        runs = [pool.submit(_cover, line, environment if line is found[0] else others, options) for line in found]
        try:
            lines |= {run.result().service.name: run.result() for run in runs}
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(_RUNNING):
                _end_group(process)
            raise SystemExit(130) from None
    return list(lines.values())


def _look(service: Service, options: argparse.Namespace) -> Line:
    """Whether it is to be covered, and its version or why it is not."""
    if service.name not in options.only:
        return Line(service, False, "left out of this run")
    try:
        return Line(service, True, answer(service))
    except Unavailable as reason:
        return Line(service, False, str(reason))


def _cover(line: Line, environment: dict[str, str], options: argparse.Namespace) -> Line:
    service, version, is_live = line.service, line.text, options.jobs == 1
    title = f"\n==== {service.title} {version}, {_versions()}"
    started = time.perf_counter()
    with (
        tempfile.NamedTemporaryFile("w+", errors="replace", prefix=f"test-{service.name}-", suffix=".log") as output,
        tempfile.NamedTemporaryFile("w+", prefix="sampled-") as sampled,
    ):
        print(title if is_live else f"{title}: started, tail -f {output.name}", flush=True)
        told = {"DURABLE_TEST_DATABASE": service.name, "PYTHONUNBUFFERED": "1", sampling.FILE: sampled.name}
        status = _pytest({**environment, **told}, options.pytest, None if is_live else output)
        output.seek(0)
        if not is_live:
            with _PRINTING:
                print(title, output.read(), sep="\n", flush=True)
        left_out = sampled.read().splitlines()
    text = f"{version}, in {time.perf_counter() - started:.0f} s"
    text = text if status == 0 else f"{text}, pytest ended with {status}"
    return Line(service, status == 0, text, status != 0, left_out)


_PRINTING = Lock()
_RUNNING: set[subprocess.Popen[bytes]] = set()


def _pytest(environment: dict[str, str], arguments: list[str], output: IO[str] | None) -> int:
    """Run pytest in a process group of its own, so that nothing it started outlives it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        start_new_session=True,
    )
    _RUNNING.add(process)
    try:
        return process.wait(timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        print(f"\npytest was stopped after {LIMIT_SECONDS:.0f} s (DURABLE_TEST_LIMIT_SECONDS)", file=output, flush=True)
        process.send_signal(signal.SIGABRT)  # faulthandler prints every thread's traceback, and with it the test
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=LAST_WORDS_SECONDS)
        return 124
    finally:
        _RUNNING.discard(process)
        _end_group(process)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _report(lines: list[Line], required: set[str]) -> int:
    print(f"\n==== What was covered: {_versions()}")
    for line in lines:
        print(line)
    missing = [line.service.title for line in lines if line.service.name in required and not line.covered]
    if missing:
        print(f"Required by DURABLE_REQUIRE and not covered: {', '.join(missing)}")
    sys.stdout.flush()
    return 1 if missing or any(line.failed for line in lines) else 0


def _versions() -> str:
    return f"Python {platform.python_version()}, Django {django.get_version()}, Celery {celery.__version__}"


if __name__ == "__main__":
    raise SystemExit(main())
