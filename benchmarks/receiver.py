"""A receiver that counts: nginx where it is installed (5 us a request), our own otherwise.

``python -m benchmarks.receiver PORT CONTROL`` runs our own.  It answers 204 to every
POST on the one port.  On the other, ``GET /st`` returns how many of those there were, and
``GET /ages`` how old the received events were.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import httptools

from notifykit.testing.servers import free_port

from .processes import launch

T = TypeVar("T")

_NGINX = """
worker_processes 1; pid {dir}/pid; error_log {dir}/error.log crit; daemon off; worker_rlimit_nofile 65536;
events {{ worker_connections 20000; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 300s; client_max_body_size 10m; tcp_nodelay on;
  client_header_buffer_size 4k;
  client_body_temp_path {dir}/t; proxy_temp_path {dir}/t; fastcgi_temp_path {dir}/t; uwsgi_temp_path {dir}/t;
  scgi_temp_path {dir}/t; client_body_buffer_size 64k;
  server {{ listen {host}:{port}{tls} backlog=8192; {certificate} location / {{ return 204; }} }}
  server {{ listen 127.0.0.1:{control}; location /st {{ stub_status; }} }}
}}
"""
_CERTIFICATE = "ssl_certificate {0}; ssl_certificate_key {0}; ssl_protocols TLSv1.2 TLSv1.3;"


class Receiver:
    """A receiver process on loopback.

    Args:
        port: Where it listens.
        measure: Use our own, which also measures how old an event is when it arrives.
        everywhere: Listen on all of 127.0.0.0/8, for many endpoints with a host each.
        certificate: A file with a certificate and its key: TLS only.
        fail_every: Use our own, and answer 503 to the first attempt of every n-th event.
        takes: Use our own, and answer after so many seconds.
    """

    def __init__(
        self,
        port: int,
        *,
        measure: bool = False,
        everywhere: bool = False,
        certificate: Path | None = None,
        fail_every: int = 0,
        takes: float = 0,
    ) -> None:
        self.port = port
        ours = measure or fail_every or takes
        self.nginx = None if ours else shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
        self._control = free_port()
        # no name stands for all of loopback: listen on all addresses
        self._host = "0.0.0.0" if everywhere else "127.0.0.1"
        self._certificate = certificate
        self._fail_every = fail_every
        self._takes = takes
        self._asked = 0

    def __enter__(self) -> Self:
        self._dir = tempfile.mkdtemp(prefix="notifykit-bench-")
        self._process = launch(self._nginx() if self.nginx else self._own())
        for _ in range(500):
            with contextlib.suppress(OSError):
                self.count()
                return self
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        self.__exit__()
        raise RuntimeError(f"the receiver ({self.name}) did not start")

    def _nginx(self) -> list[str]:
        assert self.nginx is not None
        certificate = self._certificate
        text = _NGINX.format(
            dir=self._dir,
            host=self._host,
            port=self.port,
            control=self._control,
            tls=" ssl" if certificate else "",
            certificate=_CERTIFICATE.format(certificate) if certificate else "",
        )
        config = Path(self._dir, "nginx.conf")
        config.write_text(text)
        as_root = ["-g", "user root;"] if os.geteuid() == 0 else []
        return [self.nginx, "-p", self._dir, "-c", str(config), *as_root]

    def _own(self) -> list[str]:
        options = ["--host", self._host, "--fail-every", str(self._fail_every), "--takes", str(self._takes)]
        if self._certificate:
            options += ["--certificate", str(self._certificate)]
        return [sys.executable, "-m", "benchmarks.receiver", str(self.port), str(self._control), *options]

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._dir, ignore_errors=True)

    @property
    def name(self) -> str:
        """Which receiver this is."""
        return "nginx" if self.nginx else "python"

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._process.pid

    def _get(self, path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self._control, timeout=5)
        connection.request("GET", path)
        text = connection.getresponse().read().decode()
        connection.close()
        return text

    def count(self) -> int:
        """Return how many POSTs have been answered with 204."""
        if not self.nginx:
            return int(json.loads(self._get("/st"))["count"])
        text = self._get("/st")
        self._asked += 1
        return int(text.splitlines()[2].split()[2]) - self._asked

    def follow(self, count: int, *, patience: float) -> tuple[int, float]:
        """Wait until there are ``count``, or no more arrive for so many seconds; return how many, and since when.

        A query costs as much as a dozen deliveries: there are few until the end is near.
        """
        first = last = self.count()
        moved = time.monotonic()
        while last < count and time.monotonic() - moved < patience:
            time.sleep(0.01 if last - first > 0.9 * (count - first) else 0.05)
            if (now := self.count()) != last:
                last, moved = now, time.monotonic()
        return last, moved

    def ages(self, *, reset: bool = False) -> list[float]:
        """Return the ages of the events received since the last reset, in milliseconds, sorted."""
        return list(json.loads(self._get("/reset" if reset else "/ages")))


_SENT = re.compile(rb'"sent":([0-9.]+)')
_ACCEPTED = b"HTTP/1.1 204 No Content\r\n\r\n"
_UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"


class _Answers(asyncio.Protocol):
    """Answers 204 to POSTs and counts them."""

    count: ClassVar[int] = 0
    ages: ClassVar[list[float]] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.body = b""

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        _Answers.count += 1
        if sent := _SENT.search(self.body):
            _Answers.ages.append((time.time() - float(sent[1])) * 1000)
        self.transport.write(_ACCEPTED)


class _FailsAtFirst(_Answers):
    """Refuses the first attempt of every n-th event."""

    every: ClassVar[int] = 0
    seen: ClassVar[set[bytes]] = set()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"webhook-id":
            self.event = value

    def on_message_complete(self) -> None:
        is_first = self.event not in self.seen
        self.seen.add(self.event)
        if is_first and len(self.seen) % self.every == 0:
            self.transport.write(_UNAVAILABLE)
        else:
            super().on_message_complete()


class _TakesTime(_Answers):
    """Answers after a while."""

    takes: ClassVar[float] = 0

    def on_message_complete(self) -> None:
        asyncio.get_running_loop().call_later(self.takes, super().on_message_complete)


class _Control(asyncio.Protocol):
    """Returns what was counted."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        path = data.split(b" ", 2)[1]
        answer: object = sorted(_Answers.ages) if path in {b"/ages", b"/reset"} else {"count": _Answers.count}
        if path == b"/reset":
            _Answers.ages = []
        text = json.dumps(answer).encode()
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))


async def _main(args: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    tls = None
    if args.certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(args.certificate)
    _FailsAtFirst.every = args.fail_every
    _TakesTime.takes = args.takes
    kind = _FailsAtFirst if args.fail_every else _TakesTime if args.takes else _Answers
    server = await loop.create_server(kind, args.host, args.port, backlog=8192, ssl=tls)
    control = await loop.create_server(_Control, "127.0.0.1", args.control)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    server.close()
    control.close()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.receiver", description=__doc__.partition("\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("control", type=int)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--certificate")
    parser.add_argument("--fail-every", type=int, default=0)
    parser.add_argument("--takes", type=float, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    run(_main(_arguments()))
