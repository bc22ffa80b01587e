"""The benchmarks must not rot: every measure runs, small, and the judging is right. No timing is asserted."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from benchmarks.__main__ import NAMES
from benchmarks.figures import Figure, Target, percentile, table
from benchmarks.page import PAGE, PLACE, columns_of

SUFFIX = f"_smoke_{os.getpid()}"  # a database of its own, whatever else is measured on this machine


@pytest.fixture
def json_file(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "figures.json"
    for file in settings.VAR_DIR.glob(f"benchmarks{SUFFIX}.*"):
        file.unlink()


@pytest.mark.slow
def test_every_measure_runs(json_file: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--database", "sqlite", "--json", str(json_file)]
    run = subprocess.run(
        command,
        cwd=settings.BASE_DIR,
        env={**os.environ, "DURABLE_TEST_DB_SUFFIX": SUFFIX},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert run.returncode == 0, run.stderr
    rows = json.loads(json_file.read_text())
    assert {name for name in NAMES if any(row["name"].startswith(name) for row in rows)} == set(NAMES) - {"scale"}
    assert {row["name"].partition(",")[0] for row in rows} >= {"claim", "tick"}
    assert all(row["name"] in run.stdout for row in rows)
    assert [row["value"] for row in rows if row["name"] == "prune, violations"] == [0]


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        (Target(0.5), "reached"),
        (Target(0.51), "missed"),
        (Target(0.5, at_most=True), "reached"),
        (Target(0.49, at_most=True), "missed"),
        (Target(10, of="value"), "reached"),
        (Target(9, of="value", at_most=True), "missed"),
        (None, ""),
    ],
)
def test_a_figure_is_judged_by_what_its_target_names(target: Target | None, verdict: str) -> None:
    assert Figure("a", "b", [10], [20], target).verdict == verdict


def test_a_round_is_compared_with_the_floor_of_its_own_minute() -> None:
    figure = Figure("a", "b", [10, 40, 30], [10, 20, 10], Target(1))

    assert figure.ratio == 2
    assert figure.spread == (1, 3)


def test_samples_without_partners_are_compared_with_the_median_floor() -> None:
    assert Figure("a", "b", [10, 20, 30], [5, 10]).ratio == pytest.approx(20 / 7.5)


def test_percentile() -> None:
    assert percentile(range(101), 99) == 99


def test_columns_are_aligned() -> None:
    head, first, second = table([Figure("short", "ms", [1]), Figure("a longer name", "ms", [1234.5])]).splitlines()

    assert head.index("unit") == first.index("ms") == second.index("ms")
    assert "1,234" in second


def test_the_page_shows_each_run_in_a_column() -> None:
    fast, slow = Figure("a", "ms", [1], target=Target(5, of="value", at_most=True)), Figure("a", "ms", [9])
    runs = [
        [{**figure.as_dict(), "database": name, "about": f"about {name}"}]
        for figure, name in ((fast, "one"), (slow, "two"))
    ]

    assert columns_of(runs).splitlines() == [
        "| | target | one | two |",
        "|---|---|---|---|",
        "| a | value <= 5 | **1** ms | 9 ms |",
        "",
        "- about one",
        "- about two",
    ]


def test_the_page_has_a_place_for_the_figures() -> None:
    assert PLACE.search(PAGE.read_text(encoding="utf-8"))
