"""Settings: read once, checked, forgotten when a test overrides them."""

from dataclasses import FrozenInstanceError

import pytest
from django.test import override_settings

from django_durable import conf
from django_durable.conf import Settings, get_settings, read
from django_durable.exceptions import ConfigurationError


def test_nothing_given_means_the_defaults():
    assert read({}) == Settings()


def test_keys_are_the_fields_in_capitals():
    assert read({"LEASE_SECONDS": 9, "QUEUES": ["a", "b"]}) == Settings(lease_seconds=9, queues=("a", "b"))


def test_an_unknown_key_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigurationError, match=r"LEASE_SECOND'.*Did you mean 'LEASE_SECONDS'"):
        read({"LEASE_SECOND": 9})


def test_a_key_like_nothing_is_refused_without_a_guess():
    with pytest.raises(ConfigurationError) as caught:
        read({"QQQQ": 1})
    assert "Did you mean" not in str(caught.value)


def test_keys_in_small_letters_are_unknown():
    assert conf.field_for("lease_seconds") is None
    assert conf.nearest_key("lease_seconds") == "LEASE_SECONDS"


@pytest.mark.parametrize("given", [{"LEASE_SECONDS": 0}, {"LEASE_SECONDS": -1}, {"HEARTBEAT_SECONDS": -0.1}], ids=repr)
def test_leases_and_heartbeats_must_be_positive(given):
    with pytest.raises(ConfigurationError, match="positive"):
        read(given)


@pytest.mark.parametrize("threads", [0, -1, True, 2.5, "4"], ids=repr)
def test_parallel_steps_are_a_whole_number(threads):
    with pytest.raises(ConfigurationError, match=r"PARALLEL_STEPS.*whole number from 1"):
        read({"PARALLEL_STEPS": threads})
    assert read({"PARALLEL_STEPS": 2}).parallel_steps == 2


@pytest.mark.parametrize(
    "given", [{"AUDIT": "off"}, {"AUDIT": None}, {"LOG_LEVEL": "info"}, {"LOG_LEVEL": 20}], ids=repr
)
def test_a_level_is_one_of_those_there_are(given):
    with pytest.raises(ConfigurationError, match="give one of"):
        read(given)


def test_the_heartbeat_defaults_to_a_third_of_the_lease():
    assert read({"LEASE_SECONDS": 12}).heartbeat_interval_seconds == 4
    assert read({"LEASE_SECONDS": 12, "HEARTBEAT_SECONDS": 1}).heartbeat_interval_seconds == 1


def test_settings_cannot_be_changed_in_place():
    with pytest.raises(FrozenInstanceError):
        Settings().lease_seconds = 1


def test_override_settings_takes_effect_and_is_undone():
    before = get_settings()
    with override_settings(DURABLE={"MAX_CLAIMS": 3}):
        assert get_settings().max_claims == 3
    assert get_settings() == before
