"""A pytest plugin for a planted tree: makes sure that the tree is what is tested, and writes down how tests ended."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import django_durable

REPORT = "DURABLE_PLANTED_REPORT"  # names the file: one JSON object a line


def pytest_configure() -> None:
    if not Path(django_durable.__file__).is_relative_to(Path.cwd()):
        pytest.exit(f"{django_durable.__file__} was imported, not the copy in {Path.cwd()}", returncode=3)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Only the test itself counts: what breaks in its set-up proves nothing."""
    if report.when == "call":
        crash = getattr(report.longrepr, "reprcrash", None)
        line = {"test": report.nodeid, "outcome": report.outcome, "error": crash.message if crash else ""}
        with Path(os.environ[REPORT]).open("a") as file:
            file.write(json.dumps(line) + "\n")
