"""A receiver: a real server on this machine, which checks what it gets with the library of Standard Webhooks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

ALLOWED = {"WEBHOOK_QUEUE": "default", "WEBHOOK_ALLOW_HTTP": True, "WEBHOOK_NETWORKS": ["127.0.0.0/8"]}


@dataclass
class Receiver:
    """answers: statuses of the next requests, then 204. secret: what it verifies by."""

    url: str = ""
    secret: str = ""
    answers: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], Any]] = field(default_factory=list)  # headers and verified body
    refused: list[str] = field(default_factory=list)  # what was wrong with the others
    location: str = ""  # of a redirect

    @property
    def kinds(self) -> list[str]:
        return [body["type"] for _, body in self.got]

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                receiver.got.append((headers, Webhook(receiver.secret).verify(body, headers)))
            except WebhookVerificationError as error:
                receiver.refused.append(str(error))
            self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
            if receiver.location:
                self.send_header("Location", receiver.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook?from=durable"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
