"""What a run has left out: said under its results, and under its line in the closing table of ``make test``."""

import os
from pathlib import Path

import pytest

FILE = "DURABLE_TEST_SAMPLED"  # tests.matrix names a file here
SAID: list[str] = []


def tell(reporter: pytest.TerminalReporter) -> None:
    if SAID:
        reporter.section("sampled")
        for line in SAID:
            reporter.line(line)
    if FILE in os.environ:
        Path(os.environ[FILE]).write_text("".join(f"{line}\n" for line in SAID))
