"""A worker process of ``notifykit run --processes N``: ``python -m notifykit.cli.worker``.

The supervisor writes one line of JSON to the worker's stdin and keeps that pipe open. When the
supervisor dies for any reason, the pipe is closed, and the worker finishes its attempts and ends.
The worker writes ``{"ready": true}`` to its stdout, or the error that prevented its start.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from io import FileIO
from typing import TYPE_CHECKING, Any

from .failures import FAILED, INTERRUPTED, OK, explained
from .logs import logging_to_stderr
from .metrics import Address, Metrics
from .serving import run_fast, serve

if TYPE_CHECKING:
    from ..dispatch.settings import DispatchSettings
    from ..options import EgressRules

_DURATIONS = ("lease", "hold", "max_timeout", "lease_margin", "poll", "grace", "retention", "idempotency_window")


def encode(
    url: str,
    egress: EgressRules,
    settings: DispatchSettings,
    verbose: int,
    channels: Sequence[str] = (),
    *,
    email: str | None = None,
    sms: str | None = None,
    broker: str | None = None,
    metrics: Address | None = None,
) -> bytes:
    """Return the line with the configuration of a worker.

    Args:
        email: The provider of e-mails; by default what the environment says.
        sms: The provider of text messages; by default what the environment says.
        broker: The broker's URL; by default what the environment says.
        metrics: Where the workers serve metrics, each on a port of its own.
    """
    from ..codec import dumps, unstructure

    orders = {
        "url": url,
        "egress": unstructure(egress),
        "channels": [*channels],
        "email": email,
        "sms": sms,
        "broker": broker,
        "metrics": metrics,
        "settings": unstructure(settings),
        "verbose": verbose,
    }
    return dumps(orders) + b"\n"


def main() -> int:
    """Work until a signal or the end of the pipe; return the exit code."""
    from ..errors import NotifykitError

    lifeline = FileIO(0, closefd=False)
    line = lifeline.readline()
    if not line.endswith(b"\n"):
        return FAILED  # the supervisor died before it sent the configuration
    orders = json.loads(line)
    try:
        with logging_to_stderr(orders["verbose"]):
            run_fast(_work(orders, lifeline))
    except NotifykitError as error:
        failure = explained(error, "")
        _say({"error": str(failure), "code": failure.code})
        return failure.code
    except KeyboardInterrupt:
        return INTERRUPTED
    return OK


async def _work(orders: Mapping[str, Any], lifeline: FileIO) -> None:
    from ..codec import structure
    from ..dispatch.settings import DispatchSettings
    from ..kit import Notifykit
    from ..options import EgressRules

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    reader = asyncio.StreamReader()
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), lifeline)
    watching = asyncio.create_task(_watch(reader, stop))
    metrics = None if orders["metrics"] is None else Metrics(Address(*orders["metrics"]))
    kit = Notifykit(
        orders["url"],
        egress=structure(orders["egress"], EgressRules),
        channels=orders["channels"],
        email=orders["email"],
        sms=orders["sms"],
        broker=orders["broker"],
        subscribers=[] if metrics is None else [metrics.subscriber],
    )
    settings = structure(orders["settings"], DispatchSettings)
    try:
        await serve(kit, settings, ready=lambda: _say({"ready": True}), stop=stop, metrics=metrics)
    finally:
        watching.cancel()
        pipe.close()


async def _watch(reader: asyncio.StreamReader, stop: asyncio.Event) -> None:
    while await reader.read(1024):
        pass
    stop.set()


def _say(message: Mapping[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):  # the supervisor has died, which the pipe to stdin reports too
        print(json.dumps(message), flush=True)


if __name__ == "__main__":
    sys.exit(main())
