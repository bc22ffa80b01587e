"""Limit and Rate: how many executions or bodies of steps may run at once, and how many may begin in a time. Pure.

They are declared with ``@workflow`` and ``@step`` and read from there at each admission, so a deploy changes them. What
holds a slot or waits for one is in the database (``models.Slot``); ``engine/gate.py`` admits executions,
``engine/step_limits.py`` bodies.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django_durable.clock import to_seconds
from django_durable.exceptions import ConfigurationError, InvalidOptionError
from django_durable.names import check_key, check_name

# No name of a user has a slash.
QUEUE_PREFIX, WORKFLOW_PREFIX, RATE_PREFIX, STEP_PREFIX = "queue/", "workflow/", "rate/", "step/"
MOST = 1_000_000
KeyFunction = Callable[..., object]


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``capacity`` executions between their first pass and their end; the others wait without being looked at.

    Of a step: at most so many bodies that run at one time, of all executions.

    key: a function of the workflow's or step's arguments, of those that it names; each key has a limit of its own.
    fair: another; who waits is admitted in turn of these keys, and not by arrival. name: shared by all that give it.
    cancel_in_progress: a newer execution has the older ones of its key cancelled and waits until they have ended.
    while_waiting: False has an execution give its slot back whenever it waits, and queue for one before it goes on.
    """

    capacity: int
    _: KW_ONLY
    name: str | None = None
    key: KeyFunction | None = None
    fair: KeyFunction | None = None
    cancel_in_progress: bool = False
    while_waiting: bool = True

    def __post_init__(self) -> None:
        _check_count("Limit", self.capacity)
        _check(self)
        for option in ("cancel_in_progress", "while_waiting"):
            if not isinstance(getattr(self, option), bool):
                raise InvalidOptionError(f"Limit({option}={getattr(self, option)!r}): give True or False.")
        if self.cancel_in_progress and not self.while_waiting:
            raise InvalidOptionError(
                "Limit(cancel_in_progress=True, while_waiting=False): give one; who waits without a slot is not found."
            )
        if self.cancel_in_progress and self.fair is not None:
            raise InvalidOptionError("Limit(cancel_in_progress=True, fair=...): give one; the newest does not wait.")

    @property
    def is_lent(self) -> bool:
        """By one that waits, to others."""
        return not self.while_waiting

    def stored_name(self, workflow: str) -> str:
        return self.name or f"{WORKFLOW_PREFIX}{workflow}"


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``count`` executions begin in each ``per``, evenly spread; after a rest ``burst`` of them at once.

    key, name: as of ``Limit``. An execution counts once, at its first pass.
    """

    count: int
    _: KW_ONLY
    per: timedelta | float
    name: str | None = None
    key: KeyFunction | None = None
    burst: int = 1

    def __post_init__(self) -> None:
        _check_count("Rate", self.count)
        _check_count("Rate burst", self.burst)
        _check(self)
        if not to_seconds(self.per, "per"):
            raise InvalidOptionError("Rate(per=0): give a positive duration.")

    @property
    def interval(self) -> timedelta:
        """Between two that begin, on average."""
        return timedelta(seconds=to_seconds(self.per, "per") / self.count)

    def stored_name(self, workflow: str) -> str:
        return f"{RATE_PREFIX}{self.name or workflow}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one execution or body needs of one limit: its stored name and key, and the key that its turn goes by."""

    rule: Limit | Rate
    name: str
    key: str = ""
    fair: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.key}".rstrip()

    @property
    def order(self) -> tuple[bool, bool, bool, str, str]:
        """One order for everybody who needs several, so that no two wait for each other: the narrowest first.

        It goes by the identity of the limit alone. Rates are last: a reservation that waits for a slot is lost.
        Source: E. Coffman et al., "System Deadlocks" (1971), resources requested in one order.
        """
        is_queue = self.name.startswith(QUEUE_PREFIX)
        return isinstance(self.rule, Rate), is_queue, not self.key, self.name, self.key


def checked(
    workflow: str, signature: inspect.Signature, concurrency: Limit | Iterable[Limit] | None, rate: Rate | None
) -> tuple[Limit | Rate, ...]:
    """The options of ``@workflow`` as one tuple. Raises InvalidOptionError, ConfigurationError."""
    if concurrency is None:
        given: tuple[object, ...] = ()
    else:
        given = tuple(concurrency) if isinstance(concurrency, Iterable) else (concurrency,)
    if not all(isinstance(limit, Limit) for limit in given) or not (rate is None or isinstance(rate, Rate)):
        raise InvalidOptionError("Give concurrency=Limit(...), or a list of them, and rate=Rate(...).")
    rules = tuple(rule for rule in (*given, rate) if isinstance(rule, Limit | Rate))
    names = [rule.stored_name(workflow) for rule in rules]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"Workflow {workflow!r} has two limits of one name: give each but one a name=.")
    for rule in rules:
        for function in _functions(rule):
            _named(function, signature)
    return rules


def checked_for_step(fn: Callable[..., Any], limit: object) -> Limit | None:
    """The option of ``@step``. Raises InvalidOptionError, ConfigurationError."""
    if limit is None:
        return None
    if not isinstance(limit, Limit):
        raise InvalidOptionError(f"limit={limit!r}: a step takes one Limit(...); it has no rate, a workflow has.")
    if limit.cancel_in_progress or not limit.while_waiting:
        raise InvalidOptionError(
            "Limit(cancel_in_progress=..., while_waiting=...) is for workflows: a step holds its slot while it runs."
        )
    for function in _functions(limit):
        _named(function, _signature_of(fn))
    return limit


def wanted_by_step(
    limit: Limit, step: str, fn: Callable[..., Any], args: Iterable[Any], kwargs: Mapping[str, Any]
) -> Wanted:
    """What a body needs that is called with these arguments. Raises InvalidOptionError."""
    name = f"{STEP_PREFIX}{limit.name or step}"
    if not _functions(limit):
        return Wanted(limit, name)
    signature = _signature_of(fn)
    arguments = _bound(signature, args, kwargs)
    key, fair = (_key_of(getattr(limit, what), what, signature, arguments) for what in ("key", "fair"))
    return Wanted(limit, name, key, fair)


def _signature_of(fn: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(fn)
    except (TypeError, ValueError) as error:
        raise InvalidOptionError(f"The arguments of {fn!r} are not known, so its limit has no key.") from error


def wanted(
    rules: Iterable[Limit | Rate],
    workflow: str,
    signature: inspect.Signature,
    args: Iterable[Any],
    kwargs: Mapping[str, Any],
) -> list[Wanted]:
    """What an execution with these arguments needs. Raises InvalidOptionError if a key function gives no key."""
    arguments = _bound(signature, args, kwargs)
    found = []
    for rule in rules:
        key = _key_of(rule.key, "key", signature, arguments)
        fair = _key_of(rule.fair, "fair", signature, arguments) if isinstance(rule, Limit) else ""
        found.append(Wanted(rule, rule.stored_name(workflow), key, fair))
    return found


def _bound(signature: inspect.Signature, args: Iterable[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:  # of one that was started by other code
        raise InvalidOptionError(
            f"The arguments no longer fit the function, so its limits have no key: {error}"
        ) from error
    bound.apply_defaults()
    return bound.arguments


def _key_of(function: KeyFunction | None, what: str, signature: inspect.Signature, arguments: Mapping[str, Any]) -> str:
    if function is None:
        return ""
    given = {name: arguments[name] for name in _named(function, signature) if name in arguments}
    try:
        value = function(**given)
    except Exception as error:
        raise InvalidOptionError(f"The {what}= function of a limit raised {error!r} for these arguments.") from error
    if isinstance(value, bool) or not isinstance(value, str | int | UUID):
        raise InvalidOptionError(
            f"The {what}= function of a limit gave {value!r}: let it give text, a number or a UUID."
        )
    return check_key(str(value), f"{what} of a limit")


def _functions(rule: Limit | Rate) -> list[KeyFunction]:
    given = (rule.key, rule.fair if isinstance(rule, Limit) else None)
    return [function for function in given if function is not None]


def _named(function: KeyFunction, signature: inspect.Signature) -> list[str]:
    """The arguments that a key function names; all of them if it takes any."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return list(signature.parameters)
    names = [parameter.name for parameter in parameters]
    unknown = [
        parameter.name
        for parameter in parameters
        if parameter.name not in signature.parameters and parameter.default is parameter.empty
    ]
    if unknown:
        raise ConfigurationError(
            f"A key function of a limit asks for {', '.join(unknown)}; the function takes {list(signature.parameters)}."
        )
    return [name for name in names if name in signature.parameters]


def _check(rule: Limit | Rate) -> None:
    if rule.name is not None:
        check_name(rule.name, "Name of a limit")
    for function in _functions(rule):
        if not callable(function):
            raise InvalidOptionError(f"{function!r} as key of a limit: give a function of the arguments.")


def _check_count(what: str, count: object) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST:
        raise InvalidOptionError(f"{what}: {count!r} is no whole number from 1 to {MOST}.")
