"""Where a webhook may go, and what a receiver can do to a worker: nothing beyond some seconds."""

import ipaddress
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from django_durable import InvalidOptionError
from django_durable.engine.webhooks import addresses, sending, signing
from django_durable.exceptions import WebhookError
from tests.engine.webhook_server import receiving

PRIVATE = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",  # the metadata of cloud machines
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fec0::1",  # site-local, which Python takes for public
    "::7f00:1",
    "64:ff9b:1::a9fe:a9fe",
    "fd00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001:0:4136:e378:8000:63bf:f5ff:fffe",  # Teredo to 10.0.0.1
]
PUBLIC = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34"]


def in_url(address):
    return f"[{address}]" if ":" in address else address


@pytest.fixture
def names(monkeypatch):
    """What the look-up of a name gives, by name; asked ones are kept."""
    known, real = {}, socket.getaddrinfo

    def look_up(host, port, *rest, **options):
        if host not in known:  # a number
            return real(host, port, *rest, **options)
        answers = known[host]
        found = answers.pop(0) if isinstance(answers[0], list) else answers
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


@pytest.fixture
def local(settings):
    settings.DURABLE = {"WEBHOOK_ALLOW_HTTP": True, "WEBHOOK_NETWORKS": ["127.0.0.0/8"]}


# -- where to ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", PRIVATE)
def test_no_address_inside_is_asked_by_number_or_by_name(address, names):
    with pytest.raises(InvalidOptionError, match="WEBHOOK_NETWORKS"):
        addresses.parse(f"https://{in_url(address)}/")
    names["example.com"] = [address]
    with pytest.raises(WebhookError, match="WEBHOOK_NETWORKS"):
        addresses.resolve(addresses.parse("https://example.com/"))


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_is(address, names):
    names["example.com"] = [address]
    found = [ipaddress.ip_address(each) for each in addresses.resolve(addresses.parse("https://example.com/"))]
    assert found == [ipaddress.ip_address(address)]
    assert addresses.parse(f"https://{in_url(address)}/").host == address


@pytest.mark.parametrize("found", [["127.0.0.1", PUBLIC[0]], [PUBLIC[0], "10.0.0.1"]])
def test_a_name_with_one_address_inside_is_refused(names, found):
    names["example.com"] = found
    with pytest.raises(WebhookError):
        addresses.resolve(addresses.parse("https://example.com/"))


def test_a_network_of_the_settings_is_allowed_and_no_other(settings, names):
    settings.DURABLE = {"WEBHOOK_NETWORKS": ["10.1.0.0/16", "fd00::/8"]}
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::7"):
        assert addresses.parse(f"https://{in_url(address)}/hook").port == 443
    with pytest.raises(InvalidOptionError):
        addresses.parse("https://10.2.0.1/")


def test_the_address_that_was_checked_is_connected_to(names, local):
    """A name that gives another address at the second question is asked once."""
    with receiving() as receiver:
        receiver.secret = signing.new_secret()
        port = receiver.url.partition(":")[2].rpartition(":")[2].partition("/")[0]
        names["rebound.example"] = [["127.0.0.1"], ["10.0.0.1"]]
        sending.post(f"http://rebound.example:{port}/", b"{}", {})
        assert receiver.refused == ["Missing required headers"]
    assert names["rebound.example"] == [["10.0.0.1"]]


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "example.com",
        "https://",
        "https:///path",
        "https://user:word@example.com/",
        "https://user@example.com/",
        "https://example.com/#part",
        "https://example.com:port/",
        "https://example.com:99999/",
        "https://[::1/",
        "https://example.com/a b",
        "https://example.com/\r\nX-Evil: 1",
        "https://exämple.com/",
        "https://example.com/" + "a" * 2000,
        "",
        None,
        7,
    ],
)
def test_what_is_no_plain_https_url_is_refused(url):
    with pytest.raises(InvalidOptionError, match=r"^url: "):
        addresses.parse(url)


@pytest.mark.parametrize("number", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1"])
def test_other_spellings_of_an_address_are_looked_up_and_refused(number):
    """Some C libraries take them for numbers: what the look-up makes of them is what counts."""
    with pytest.raises((WebhookError, OSError, InvalidOptionError)):
        addresses.resolve(addresses.parse(f"https://{number}/"))


# -- what comes back -----------------------------------------------------------------------------------


def taken(connection):
    """The whole request: what is left unread when a socket is closed may take the answer along."""
    request = b""
    while not request.endswith(b"\r\n\r\n{}") and (more := connection.recv(65536)):
        request += more


@contextmanager
def answering(serve):
    """A server that does with each connection what it is told to; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    serve(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(20)


def test_a_body_is_not_read_however_long_it_is(local):
    def serve(connection):
        taken(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with answering(serve) as url:
        sending.post(url, b"{}", {})


def test_one_that_says_nothing_is_waited_for_for_a_short_time(local, monkeypatch):
    monkeypatch.setattr(sending, "SILENCE_SECONDS", 0.05)
    done = threading.Event()
    with answering(lambda _: done.wait(20)) as url:
        with pytest.raises(TimeoutError):
            sending.post(url, b"{}", {})
        done.set()


def test_one_that_drips_is_hung_up_on(local, monkeypatch):
    """Every byte comes in time; the whole would take for ever."""
    monkeypatch.setattr(sending, "LONGEST_SECONDS", 0.2)
    done = threading.Event()

    def serve(connection):
        taken(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not done.wait(0.01):
            connection.sendall(b"X")

    began = time.monotonic()
    with answering(serve) as url:
        with suppress(Exception):  # it depends on where it was
            sending.post(url, b"{}", {})
        done.set()
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 99999 no\r\n\r\n"])
def test_what_is_no_answer_is_a_failure(local, answer):
    def serve(connection):
        taken(connection)
        connection.sendall(answer)

    with answering(serve) as url, pytest.raises(Exception):  # noqa: B017 - the library's, of many kinds
        sending.post(url, b"{}", {})


# -- TLS -----------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path, monkeypatch):
    """For the name localhost, and trusted here."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, made = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-keyout", key, "-out", made], check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(made))
    return made, key


@pytest.mark.parametrize(("host", "is_taken"), [("localhost", True), ("127.0.0.1", False)])
def test_the_certificate_has_to_be_the_hosts(settings, certificate, host, is_taken):
    settings.DURABLE = {"WEBHOOK_NETWORKS": ["127.0.0.0/8", "::1/128"]}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def serve(connection):
        with context.wrap_socket(connection, server_side=True) as secured:
            taken(secured)
            secured.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with answering(serve) as url:
        wanted = url.replace("http://127.0.0.1", f"https://{host}")
        if is_taken:
            sending.post(wanted, b"{}", {})
        else:
            with pytest.raises(ssl.SSLCertVerificationError):
                sending.post(wanted, b"{}", {})
