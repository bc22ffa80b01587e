"""A TCP proxy before the database that cuts connections at their commits.

``before``: the server never gets it. ``held``: it is done, and the answer is dropped. ``racing``: the server has it
and may still be at it when the client comes back. All three look alike to the client.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from tests.storm.wire import FRAMES, Frames, Session

CHUNK = 65536
ANSWER_SECONDS = 10.0
MODES = ("before", "held", "racing")


class Proxy:
    """Runs in a thread of its own. rate: the share of commits to cut; 0 lets everything pass."""

    def __init__(self, database: str, upstream: int, *, seed: str, on_cut: Callable[[str], None]) -> None:
        self.rate = 0.0
        self.port = 0
        self.commits = 0
        self.cuts: Counter[str] = Counter()
        self._frames, self._upstream, self._on_cut = FRAMES[database], upstream, on_cut
        self._chance = random.Random(seed)
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, name="storm-proxy", daemon=True).start()
        self._ready.wait()

    def _run(self) -> None:
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:  # the server is down; so is the way to it
            writer.transport.abort()
            return
        await _Line(self, reader, writer, *upstream).run()

    def chooses(self) -> str | None:
        """How to cut this commit, or None."""
        self.commits += 1
        return self._chance.choice(MODES) if self._chance.random() < self.rate else None

    def note(self, mode: str) -> None:
        self.cuts[mode] += 1
        self._on_cut(mode)

    def frames(self) -> Frames:
        return self._frames()


class _Line:
    """One client and its server."""

    def __init__(
        self,
        proxy: Proxy,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        self._proxy = proxy
        self._client, self._to_client = client, to_client
        self._server, self._to_server = server, to_server
        self._holds = False
        self._answered = asyncio.Event()

    async def run(self) -> None:
        ways = [asyncio.create_task(self._forth()), asyncio.create_task(self._back())]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        self._to_client.transport.abort()
        self._to_server.close()  # what was written still arrives

    async def _forth(self) -> None:
        frames, session = self._proxy.frames(), Session()
        while data := await self._client.read(CHUNK):
            for request, sql in frames.feed(data):
                mode = self._proxy.chooses() if sql is not None and session.commits(sql) else None
                if mode is not None:
                    await self._cut(mode, request)
                    return
                self._to_server.write(request)
            await self._to_server.drain()

    async def _cut(self, mode: str, request: bytes) -> None:
        self._proxy.note(mode)
        self._holds = True
        if mode == "before":
            return
        self._to_server.write(request)
        await self._to_server.drain()
        if mode == "held":
            with suppress(TimeoutError):  # blocked on a lock: then it is a race after all
                await asyncio.wait_for(self._answered.wait(), ANSWER_SECONDS)

    async def _back(self) -> None:
        while data := await self._server.read(CHUNK):
            if self._holds:
                self._answered.set()
                continue
            self._to_client.write(data)
            await self._to_client.drain()
