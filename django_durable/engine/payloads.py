"""Stored payloads: the codec, the size limit, and the project's cipher around it."""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from django_durable import codec
from django_durable.conf import get_settings


class Cipher(Protocol):
    """Named by ``DURABLE["PAYLOAD_CIPHER"]``: turns every stored payload into text only the project can read."""

    def seal(self, text: str) -> str: ...
    def open(self, text: str) -> str: ...


@cache
def _cipher() -> Cipher | None:
    path = get_settings().payload_cipher
    cipher: Cipher | None = import_string(path)() if path else None
    return cipher


def _forget(*, setting: str, **_: object) -> None:
    if setting == "DURABLE":
        _cipher.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_durable.payloads")


def dump(value: object) -> str:
    """Encode for storage. Raises CodecError before anything is written."""
    return seal(codec.encode(value, limit_bytes=get_settings().payload_limit_bytes))


def dump_own(value: object) -> str:
    """Encode what the engine itself keeps: its size is not the caller's to mend, so there is no limit."""
    return seal(codec.encode(value))


def load(text: str) -> Any:
    """A fresh decoded value. Raises CodecError."""
    return codec.decode(unseal(text))


def seal(text: str) -> str:
    cipher = _cipher()
    return cipher.seal(text) if cipher else text


def unseal(text: str) -> str:
    cipher = _cipher()
    return cipher.open(text) if cipher else text


def dump_error(error: BaseException, *, traceback_text: str) -> str:
    """Messages are payload too: they may quote it."""
    return seal(codec.encode_error(error, traceback_text=traceback_text))


def load_error(text: str) -> codec.RecordedError:
    return codec.decode_error(unseal(text))
