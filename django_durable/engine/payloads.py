"""Stored payloads: the codec, the size limit, the project's cipher around it, and the file for a large one."""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from django_durable import codec
from django_durable.conf import get_settings
from django_durable.engine import offloading
from django_durable.exceptions import PayloadErasedError

ERASED = "durable:erased"  # stands where a payload was erased


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
    return keep(codec.encode(value, limit_bytes=get_settings().payload_limit_bytes))


def dump_own(value: object) -> str:
    """Encode what the engine itself keeps: its size is not the caller's to mend, so there is no limit."""
    return keep(codec.encode(value))


def load(text: str) -> Any:
    """A fresh decoded value. Raises CodecError."""
    return codec.decode(unseal(text))


def load_unless_erased(text: str) -> Any:
    """None for what was erased: for readers of many, who have to get past it."""
    return None if text == ERASED else load(text)


def keep(text: str) -> str:
    """What is stored of an encoded value: sealed, and in a file if it is large."""
    return offloading.put(seal(text))


def copied(text: str) -> str:
    """A stored payload for a row of another execution: each has files of its own, which go with it."""
    return offloading.put(offloading.get(text)) if text.startswith(offloading.PREFIX) else text


def seal(text: str) -> str:
    cipher = _cipher()
    return cipher.seal(text) if cipher else text


def unseal(text: str) -> str:
    """The encoded value, from its file if it has one. Raises PayloadErasedError."""
    if text == ERASED:
        raise PayloadErasedError
    cipher, text = _cipher(), offloading.get(text)
    return cipher.open(text) if cipher else text


def dump_error(error: BaseException, *, traceback_text: str) -> str:
    """Messages are payload too: they may quote it."""
    return keep(codec.encode_error(error, traceback_text=traceback_text))


def load_error(text: str) -> codec.RecordedError:
    return codec.decode_error(unseal(text))
