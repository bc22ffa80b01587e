"""A customer and a saboteur in one: uses the shop's pages over HTTP, as a browser would."""

from __future__ import annotations

import json
from http.cookiejar import CookieJar
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, ProxyHandler, Request, build_opener

ANSWER_SECONDS = 15


class Shopper:
    def __init__(self, url: str) -> None:
        self.url = url
        self._cookies = CookieJar()
        self._opener = build_opener(ProxyHandler({}), HTTPCookieProcessor(self._cookies))

    def is_open(self) -> bool:
        """Whether the shop answers already; also fetches the CSRF cookie."""
        try:
            return "A durable shop" in self._get("")
        except URLError:
            return False

    def orders(self) -> list[dict[str, Any]]:
        """Order, status, state, pid and detail of each, newest first."""
        answer: dict[str, Any] = json.loads(self._get("live/"))
        return list(answer["orders"])

    def buy(self, name: str, product_id: int, quantity: int = 1) -> None:
        email = f"{name.lower()}@shop.example"
        self._post("orders/", name=name, email=email, product=product_id, quantity=quantity)

    def approve(self, order_id: int) -> None:
        self._post(f"orders/{order_id}/approve/")

    def leave_note(self, order_id: int, note: str) -> None:
        self._post(f"orders/{order_id}/note/", note=note)

    def make_payments(self, *, slow_seconds: float = 0, fail_next: int = 0, decline_next: int = 0) -> None:
        self._post("misbehave/", slow_seconds=slow_seconds, fail_next=fail_next, decline_next=decline_next)

    def kill_process(self, pid: int) -> None:
        self._post("kill/", what="busy", pid=pid)

    def kill_worker(self) -> None:
        self._post("kill/", what="worker")

    def _get(self, path: str) -> str:
        with self._opener.open(self.url + path, timeout=ANSWER_SECONDS) as response:
            text: str = response.read().decode()
            return text

    def _post(self, path: str, **form: Any) -> None:
        token = next(cookie.value for cookie in self._cookies if cookie.name == "csrftoken")
        data = urlencode({"csrfmiddlewaretoken": token, **form}).encode()
        with self._opener.open(Request(self.url + path, data), timeout=ANSWER_SECONDS):  # noqa: S310 - our own site
            pass
