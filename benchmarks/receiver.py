"""A receiver that counts: nginx where it is installed (5 us a request), our own otherwise.

``python -m benchmarks.receiver PORT`` runs our own; it answers 204 to every POST,
and to ``GET /st`` with how many POSTs it has seen and how old their events were.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar, Self

import httptools

_NGINX = """
worker_processes 1; pid {dir}/pid; error_log {dir}/error.log crit; daemon off; worker_rlimit_nofile 65536;
events {{ worker_connections 20000; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 300s; client_max_body_size 10m; tcp_nodelay on;
  client_body_temp_path {dir}/t; proxy_temp_path {dir}/t; fastcgi_temp_path {dir}/t; uwsgi_temp_path {dir}/t;
  scgi_temp_path {dir}/t; client_body_buffer_size 64k;
  server {{ listen 127.0.0.1:{port} backlog=8192; location /st {{ stub_status; }} location / {{ return 204; }} }}
}}
"""


class Receiver:
    """A receiver process on loopback.

    Args:
        port: Where it listens.
        measure: Use our own, which also measures how old an event is when it arrives.
    """

    def __init__(self, port: int, *, measure: bool = False) -> None:
        self.port = port
        self.nginx = None if measure else shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
        self._asked = 0

    def __enter__(self) -> Self:
        self._dir = tempfile.mkdtemp(prefix="notifykit-bench-")
        if self.nginx:
            config = Path(self._dir, "nginx.conf")
            config.write_text(_NGINX.format(dir=self._dir, port=self.port))
            command = [self.nginx, "-p", self._dir, "-c", str(config)]
            if os.geteuid() == 0:
                command += ["-g", "user root;"]
        else:
            command = [sys.executable, "-m", "benchmarks.receiver", str(self.port)]
        self._process = subprocess.Popen(command)
        for _ in range(200):
            with contextlib.suppress(OSError):
                self.count()
                break
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(10)
        shutil.rmtree(self._dir, ignore_errors=True)

    @property
    def name(self) -> str:
        """Which receiver this is."""
        return "nginx" if self.nginx else "python"

    def _get(self, path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request("GET", path)
        text = connection.getresponse().read().decode()
        connection.close()
        return text

    def count(self) -> int:
        """Return how many POSTs have been answered."""
        if not self.nginx:
            return int(json.loads(self._get("/st"))["count"])
        text = self._get("/st")
        self._asked += 1
        return int(text.splitlines()[2].split()[2]) - self._asked

    def ages(self, *, reset: bool = False) -> list[float]:
        """Return the ages of the events received since the last reset, in milliseconds, sorted."""
        return list(json.loads(self._get("/reset" if reset else "/ages")))


_SENT = re.compile(rb'"sent":([0-9.]+)')


class _Answers(asyncio.Protocol):
    count = 0
    ages: ClassVar[list[float]] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.path = b""
        self.body = b""

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.path = url
        self.body = b""

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if self.parser.get_method() == b"POST":
            _Answers.count += 1
            if sent := _SENT.search(self.body):
                _Answers.ages.append((time.time() - float(sent[1])) * 1000)
            self.transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            return
        answer: object = {"count": _Answers.count}
        if self.path in {b"/ages", b"/reset"}:
            answer = sorted(_Answers.ages)
            if self.path == b"/reset":
                _Answers.ages = []
        text = json.dumps(answer).encode()
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))


async def _main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Answers, "127.0.0.1", port, backlog=8192)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    server.close()


def run(main: Any) -> None:
    """Run a coroutine on uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


if __name__ == "__main__":
    run(_main(int(sys.argv[1])))
