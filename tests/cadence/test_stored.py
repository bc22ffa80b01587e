"""What a row stores of a cadence, and what another parser means for it."""

import json
import pickle
from datetime import UTC, datetime
from importlib.metadata import version

import pytest

from django_durable import Cron, Interval, InvalidOptionError
from django_durable.cadence import is_reinterpreted, load

CADENCES = [
    Cron("30 2 * * SUN#2,FRIL", "Europe/Berlin"),
    Cron("@daily"),
    Interval(90),
    Interval(3600.5, anchor=datetime(2026, 1, 1, 0, 20, tzinfo=UTC)),
]


@pytest.mark.parametrize("cadence", CADENCES, ids=repr)
def test_what_is_stored_is_read_again(cadence):
    loaded = load(json.loads(json.dumps(cadence.dump())))

    assert (loaded, loaded.dump(), loaded.fingerprint()) == (cadence, cadence.dump(), cadence.fingerprint())


@pytest.mark.parametrize("cadence", CADENCES, ids=repr)
def test_a_cadence_can_be_pickled_and_is_hashable(cadence):
    assert {pickle.loads(pickle.dumps(cadence))} == {cadence}


def test_the_parser_and_its_version_are_stored():
    assert Cron("@daily").dump() == {
        "kind": "cron",
        "expression": "@daily",
        "timezone": "UTC",
        "parser": "croniter",
        "parser_version": version("croniter"),
    }


def stored_by(parser, number):
    return {**Cron("@daily").dump(), "parser": parser, "parser_version": number}


def test_only_another_major_reads_it_anew():
    major = int(version("croniter").partition(".")[0])

    assert not is_reinterpreted(Cron("@daily").dump())
    assert not is_reinterpreted(stored_by("croniter", f"{major}.99.1"))
    assert is_reinterpreted(stored_by("croniter", f"{major - 1}.0.0"))
    assert is_reinterpreted(stored_by("croniter", f"{major}0.0.0"))
    assert is_reinterpreted(stored_by("cronsim", version("croniter")))
    assert is_reinterpreted({"kind": "cron", "expression": "@daily", "timezone": "UTC"})
    assert not is_reinterpreted(Interval(90).dump())


def test_the_fingerprint_does_not_go_by_the_version_of_the_parser():
    assert load(stored_by("croniter", "1.0")).fingerprint() == Cron("@daily").fingerprint()


def test_a_stored_expression_that_is_refused_by_now_says_why():
    with pytest.raises(InvalidOptionError, match="minute, character 1"):
        load({**Cron("@daily").dump(), "expression": "77 * * * *"})


@pytest.mark.parametrize("dumped", [{}, {"kind": "moon"}, {"kind": "cron"}, {"kind": "interval", "every_seconds": 5}])
def test_what_was_never_stored_by_us(dumped):
    with pytest.raises(InvalidOptionError, match="is no stored cadence"):
        load(dumped)
