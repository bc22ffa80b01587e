"""Waiting: for a time, or for a signal."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, TypeVar, overload

from django_durable.clock import to_instant, to_seconds
from django_durable.context.runtime import Calls
from django_durable.exceptions import InvalidOptionError
from django_durable.names import check_step_id
from django_durable.signal_types import SignalType, signal_name

R = TypeVar("R")
T = TypeVar("T")


class WaitCalls(Calls):
    """``ctx.sleep``, ``ctx.sleep_until``, ``ctx.wait_for_signal`` and ``ctx.signal_token``."""

    def sleep(self, duration: timedelta | float, *, id: str | None = None) -> None:
        """Wait durably; duration: a timedelta or seconds, >= 0. The worker is free meanwhile; never ends early.

        id: names the checkpoint, default "sleep"; repeats are numbered.
        """
        self._runtime.sleep(_checked(id), to_seconds(duration, "sleep duration"))

    def sleep_until(self, at: datetime, *, id: str | None = None) -> None:
        """Wait durably until an aware point in time; one in the past ends at once. id: default "sleep_until"."""
        self._runtime.sleep_until(_checked(id), to_instant(at, "sleep_until at"))

    @overload  # without a time-out there is always a payload
    def wait_for_signal(
        self, signal: SignalType[T], *, timeout: None = None, default: Any = None, id: str | None = None
    ) -> T: ...
    @overload
    def wait_for_signal(
        self, signal: SignalType[T], *, timeout: timedelta | float | None, default: None = None, id: str | None = None
    ) -> T | None: ...
    @overload
    def wait_for_signal(
        self, signal: SignalType[T], *, timeout: timedelta | float | None, default: R, id: str | None = None
    ) -> T | R: ...
    @overload
    def wait_for_signal(
        self, signal: str, *, timeout: timedelta | float | None = None, default: Any = None, id: str | None = None
    ) -> Any: ...
    def wait_for_signal(
        self,
        signal: SignalType[Any] | str,
        *,
        timeout: timedelta | float | None = None,
        default: Any = None,
        id: str | None = None,
    ) -> Any:
        """Consume the oldest unconsumed signal of that name, waiting for one if there is none.

        Returns its payload, or ``default`` once ``timeout`` has passed. id: names the checkpoint, default
        "signal:" and the signal's name.
        """
        name = signal_name(signal)
        seconds = None if timeout is None else to_seconds(timeout, "timeout")
        return self._runtime.wait_for_signal(_checked(id), name, seconds, default)

    def signal_token(self, signal: SignalType[Any] | str, *, expires: timedelta | float) -> str:
        """A signed, single-use text with which somebody outside may send that signal: for a link, a CI job, a webhook.

        expires: a timedelta or seconds, > 0, by the database's clock; give the wait the same timeout. The text needs
        no escaping in a URL and is a secret. Every replay gets the same one, until SECRET_KEY changes: then another
        one for the same single use. It is not in the history, so do not return it from a step or the workflow.
        """
        name = signal_name(signal)
        lifetime_seconds = to_seconds(expires, "expires")
        if lifetime_seconds == 0:
            raise InvalidOptionError("expires=0: give a positive duration.")
        return self._runtime.signal_token(name, lifetime_seconds)


def _checked(step_id: str | None) -> str | None:
    return None if step_id is None else check_step_id(step_id)
