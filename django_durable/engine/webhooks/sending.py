"""One HTTP request to an endpoint: to the address that was checked, no redirect followed, bounded in time.

By the standard library: what other clients add (redirects, proxies, pools, cookies, bodies unpacked) is what must not
happen here, and they choose the address of a connection by themselves.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from django_durable.engine.webhooks import addresses
from django_durable.exceptions import WebhookError

SILENCE_SECONDS = 5.0  # to connect, and between two packets
LONGEST_SECONDS = 15.0  # for all of it but the look-up of the name; far below the lease of a delivery
MOST_ADDRESSES = 4  # of one name that are tried

GONE = 410  # the receiver wants no more: Standard Webhooks


def post(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Send a message. Returns if it was taken (2xx); nothing but the status of the answer is read.

    Raises WebhookError for another status or an address that is not allowed, OSError and http.client.HTTPException
    for what went wrong on the way, InvalidOptionError for a URL that the settings do not allow any more.
    """
    target = addresses.parse(url)
    with _connected(addresses.resolve(target), target.port) as raw, _hung_up_after(raw, LONGEST_SECONDS):
        status = _status(_secured(raw, target), target, body, headers)
    if not 200 <= status < 300:
        raise WebhookError(f"The endpoint answered with status {status}.", status=status)


def _connected(found: Sequence[str], port: int) -> socket.socket:
    """To the first address that answers; raises what the last one that was tried did."""
    *others, last = found[:MOST_ADDRESSES]
    for address in others:
        with suppress(OSError):
            return socket.create_connection((address, port), SILENCE_SECONDS)
    return socket.create_connection((last, port), SILENCE_SECONDS)


def _secured(raw: socket.socket, target: addresses.Target) -> socket.socket:
    """The certificate has to be the host's, whatever address it has."""
    if not target.is_secure:
        return raw
    return ssl.create_default_context().wrap_socket(raw, server_hostname=target.host)


def _status(connected: socket.socket, target: addresses.Target, body: bytes, headers: Mapping[str, str]) -> int:
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.sock = connected
    try:
        connection.request(
            "POST",
            target.path,
            body,
            {
                "Host": target.authority,
                "Content-Type": "application/json",
                "User-Agent": "django-durable",
                "Connection": "close",
                **headers,
            },
        )
        with connection.getresponse() as answer:
            return answer.status
    finally:
        connection.close()


@contextmanager
def _hung_up_after(connected: socket.socket, seconds: float) -> Iterator[None]:
    """A receiver that answers by one byte in every few seconds would keep a worker for hours."""
    same = connected.dup()  # TLS takes the first one over

    def hang_up() -> None:
        with suppress(OSError):
            same.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        same.close()
