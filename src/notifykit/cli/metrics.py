"""``--metrics``: serve what a process measures to Prometheus, and whether its event loop turns."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from ..environment import METRICS
from . import inputs
from .failures import CommandError, UsageError

if TYPE_CHECKING:
    from ..kit import Notifykit
    from ..telemetry import Subscriber

#: Seconds between two looks at the store.
_EVERY = 10.0
#: Seconds after which an event loop that has not turned counts as hung.
_HUNG = 60.0


class Address(NamedTuple):
    """Where metrics are served.

    Attributes:
        ports: How many ports, one after the other, the workers of a command share.
    """

    host: str
    port: int
    ports: int = 1


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add the option to a command."""
    parser.add_argument(
        "--metrics",
        type=address,
        metavar="[HOST:]PORT",
        help=f"serve /metrics for Prometheus, and /healthz, on this port of 127.0.0.1 or another address ({METRICS})",
    )


@inputs.argument
def address(text: str) -> Address:
    """Read ``9464`` or ``0.0.0.0:9464``."""
    host, _, port = text.rpartition(":")
    return Address(host.strip("[]") or "127.0.0.1", inputs.port(port))


def metrics_of(given: Address | None) -> Metrics | None:
    """Return what serves metrics if the command line or the environment says where."""
    text = os.environ.get(METRICS, "").strip()
    if given is None and text:
        try:
            given = address(text)
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"{METRICS}: {error}") from None
    return None if given is None else Metrics(given)


class Metrics:
    """Measures this process.

    Attributes:
        address: Where the metrics are served.
        subscriber: What a kit must tell its events to.
    """

    def __init__(self, given: Address) -> None:
        from ..contrib.prometheus import PrometheusMetrics  # says which extra is missing

        from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, make_wsgi_app  # isort: skip

        self.address = given
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.subscriber: Subscriber = (metrics := PrometheusMetrics(registry))
        self._metrics = metrics
        self._app: Any = make_wsgi_app(registry)
        self._turned = time.monotonic()

    @contextlib.asynccontextmanager
    async def serving(self, kit: Notifykit) -> AsyncIterator[None]:
        """Serve the metrics of a kit while the block runs."""
        server = self._bound()
        thread = threading.Thread(target=server.serve_forever, name="notifykit-metrics", daemon=True)
        looking = asyncio.create_task(self._look(kit), name="notifykit-metrics")
        thread.start()
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            await asyncio.to_thread(server.shutdown)
            server.server_close()

    async def _look(self, kit: Notifykit) -> None:
        from ..errors import NotifykitError

        while True:
            if kit.is_open:
                with contextlib.suppress(NotifykitError):  # a store that is away is told by the loops that need it
                    await self._metrics.observe(kit)
            self._turned = time.monotonic()
            await asyncio.sleep(_EVERY if kit.is_open else 0.1)

    def _bound(self) -> WSGIServer:
        host, first, ports = self.address
        kind = _Server6 if ":" in host else _Server
        for port in range(first, first + ports):
            with contextlib.suppress(OSError):
                return make_server(host, port, self._answer, server_class=kind, handler_class=_Silent)
        raise CommandError(f"cannot serve metrics on {host}:{first}; try another --metrics")

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                return cast("Iterable[bytes]", self._app(environ, start))
            case "/healthz":
                hung = time.monotonic() - self._turned > _HUNG
                return _text(start, "503 Service Unavailable" if hung else "200 OK", b"hung\n" if hung else b"ok\n")
        return _text(start, "404 Not Found", b"see /metrics\n")


def _text(start: Callable[..., Any], status: str, body: bytes) -> Sequence[bytes]:
    start(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_address = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Silent(WSGIRequestHandler):
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:
        pass
