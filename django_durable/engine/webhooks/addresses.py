"""Where webhooks may go: the public internet, and what ``DURABLE["WEBHOOK_NETWORKS"]`` adds.

Whoever may name a URL could otherwise have our network asked from inside. What is checked is the address that is then
connected to: a name that resolves to another one later (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from django_durable.conf import get_settings
from django_durable.exceptions import InvalidOptionError, WebhookError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # its last four bytes are an IPv4 address
_SITE_LOCAL = ipaddress.ip_network("fec0::/10")  # deprecated, so nobody's list of what is private has it
_LONGEST_URL = 2000
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Target:
    """A URL, taken apart."""

    is_secure: bool
    host: str  # as a certificate names it
    port: int
    path: str  # with the query
    authority: str  # for the Host header


def parse(url: object) -> Target:
    """Take a URL apart, without asking the network. Raises InvalidOptionError for one that is never sent to."""
    if not isinstance(url, str) or len(url) > _LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidOptionError(f"url: give an https URL of at most {_LONGEST_URL} printable ASCII characters.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidOptionError("url: this is no URL; give one like https://example.com/hook.") from None
    if parts.scheme not in _PORTS or (parts.scheme == "http" and not get_settings().webhook_allow_http):
        raise InvalidOptionError("url: give an https URL; http needs DURABLE['WEBHOOK_ALLOW_HTTP'].")
    if not host or parts.username is not None or parts.password is not None or parts.fragment:
        raise InvalidOptionError("url: give a host, and no user, password or fragment.")
    if (literal := _literal(host)) is not None and not is_allowed(literal):
        raise InvalidOptionError(_refusal(literal))
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    authority = parts.netloc
    return Target(parts.scheme == "https", host, port or _PORTS[parts.scheme], path, authority)


def resolve(target: Target) -> list[str]:
    """The addresses of the host, all of which may be connected to.

    Raises WebhookError if one of its addresses may not be: who owns the name would choose which is asked.
    Raises OSError if there is none.
    """
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    addresses = [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in found]
    for address in addresses:
        if not is_allowed(address):
            raise WebhookError(_refusal(address))
    return [str(address) for address in addresses]


def is_allowed(address: Address) -> bool:
    """Whether it is on the public internet or in a network that the settings name."""
    inner = _inner(address)
    networks = [ipaddress.ip_network(network) for network in get_settings().webhook_networks]
    if any(inner in network for network in networks):
        return True
    is_special = inner.is_multicast or inner.is_reserved or inner.is_unspecified or inner in _SITE_LOCAL
    return inner.is_global and not is_special


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    teredo = address.teredo[1] if address.teredo else None
    nat64 = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
    return address.ipv4_mapped or address.sixtofour or teredo or nat64 or address


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _refusal(address: Address) -> str:
    return f"{address} is not on the public internet: add its network to DURABLE['WEBHOOK_NETWORKS'] if you mean it."
