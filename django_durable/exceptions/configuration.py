"""What is wrong with the project: its settings, its code, a call of it."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured

from django_durable.exceptions.base import DurableError


class ConfigurationError(DurableError, ImproperlyConfigured):
    """A setting or a definition is wrong; the message says which and what to do."""


class InvalidOptionError(DurableError, ValueError):
    """An argument was refused at the call; nothing was written."""


class SignalRefusedError(InvalidOptionError):
    """The validator of a ``SignalType`` refused this payload; nothing was written.

    signal: its name. reason: the validator's own words, for people; may be empty.
    """

    def __init__(self, signal: str, reason: str = "") -> None:
        super().__init__(signal, reason)
        self.signal, self.reason = signal, reason

    def __str__(self) -> str:
        return f"Signal {self.signal!r} was refused by its validator" + (f": {self.reason}" if self.reason else ".")


class UnknownWorkflowError(DurableError):
    """No workflow of that name and version is registered in this process."""

    def __init__(self, name: str, version: int | None = None) -> None:
        super().__init__(name, version)
        self.name = name
        self.version = version

    def __str__(self) -> str:
        wanted = self.name if self.version is None else f"{self.name} version {self.version}"
        return (
            f"No workflow {wanted!r} is registered. Workflows are found in `workflows.py` of installed apps; "
            "check the name, or import the module that defines it."
        )


class SourceUnavailableError(DurableError):
    """``describe()`` reads the text of a workflow's function, and there is none to read."""

    def __init__(self, function: str) -> None:
        super().__init__(function)
        self.function = function

    def __str__(self) -> str:
        return (
            f"The source of {self.function} cannot be read: it was typed at a prompt, made by exec() or without `def`, "
            "or its file is not there or has changed since it was imported. Define it with `def` in a module."
        )


class NotInWorkflowError(DurableError):
    """Called outside a step body or a workflow."""
