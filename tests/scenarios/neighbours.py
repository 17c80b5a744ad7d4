"""A receiver in a process of its own with a path for each kind of endpoint.

``python neighbours.py`` prints its port and serves until its standard input ends.
``/quick…`` answers at once, ``/slow…`` after three seconds, ``/silent…`` never; ``GET /ages`` returns how old
the events of ``/quick/measured`` were on arrival, in seconds, and forgets them.  It listens on every
loopback address, so that each endpoint can have one of its own.
An event says when it was published: ``{"sent": time.time()}`` in its data.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
import urllib.request
from types import TracebackType
from typing import Any, Self

import httptools

SLOWNESS = 3.0
_SENT = re.compile(rb'"sent":([0-9.]+)')
_OK = b"HTTP/1.1 204 No Content\r\n\r\n"


class Neighbours:
    """The receiver process, as its parent sees it."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=60)

    def ages(self) -> list[float]:
        """Return the ages of the measured events that came since the last call, in seconds, sorted."""
        with urllib.request.urlopen(f"{self.url}/ages", timeout=10) as answer:
            return sorted(json.load(answer))


class _Exchange(asyncio.Protocol):
    ages: list[float] = []  # noqa: RUF012 - one list for all connections is what is meant

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path, self._body = url, b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._path == b"/ages":
            text = json.dumps(self.ages).encode()
            self.ages.clear()
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))
        elif self._path.startswith(b"/slow"):
            asyncio.get_running_loop().call_later(SLOWNESS, self._transport.write, _OK)
        elif not self._path.startswith(b"/silent"):
            if self._path == b"/quick/measured" and (sent := _SENT.search(self._body)):
                self.ages.append(time.time() - float(sent[1]))
            self._transport.write(_OK)


async def _main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Exchange, "0.0.0.0", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(_main())
