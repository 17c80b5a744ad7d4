"""A worker: the dispatcher of a kit, until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from notifykit.brokers import broker_from_url
from notifykit.channels.webhook import Guard, WebhookChannel, pool
from notifykit.channels.webhook.connection import Connection
from notifykit.channels.webhook.protocol import WireProtocol
from notifykit.failpoints import VARIABLE as FAILPOINTS
from notifykit.failpoints import failpoint
from notifykit.models.delivery import Claim
from notifykit.models.destination import Destination
from notifykit.ports import Broker, Ticket

from .. import sabotage
from . import disk
from .orders import kit_for, orders, ready, settings_from

#: Events of this type kill the worker that sends them.
POISON = "test.poison"


#: How far a clock jumps at a signal; receivers take a timestamp that is off by less than five minutes.
JUMP = timedelta(minutes=4)


class JumpingClock:
    """A correct clock until a signal changes it: SIGHUP sets it forward, SIGUSR2 back."""

    def __init__(self) -> None:
        self._off = timedelta(0)

    def jump(self, by: timedelta) -> None:
        """Be off by so much more."""
        self._off += by

    def now(self) -> datetime:
        """Return the current instant by this clock."""
        return datetime.now(UTC) + self._off


class PoisonedChannel(WebhookChannel):
    """A channel with the worst of bugs: some events bring the whole process down."""

    async def send(self, claim: Claim, destination: Destination, **options: Any) -> Any:
        if claim.event_type == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().send(claim, destination, **options)


class HalvingTransport:
    """Writes everything in two halves, so that a worker can die in between."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def write(self, data: bytes) -> None:
        half = len(data) // 2
        self._transport.write(data[:half])
        failpoint("att.partial_write")
        self._transport.write(data[half:])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class HalvingProtocol(WireProtocol):
    """Hands its connection a transport that writes in halves."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        made: Any = connection.connection_made
        self.connection_made = lambda transport: made(HalvingTransport(transport))  # type: ignore[method-assign]


class UnrulyBroker:
    """Loses some tickets, repeats the others and hands them out in any order."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._rng = random.Random(7)

    async def put(self, tickets: Sequence[Ticket]) -> None:
        kept = [ticket for ticket in [*tickets] * 2 if self._rng.random() < 0.7]
        self._rng.shuffle(kept)
        await self._broker.put(kept)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)


async def main(options: dict[str, Any]) -> None:
    """Work until SIGTERM; then drain."""
    loop = asyncio.get_running_loop()
    channel = PoisonedChannel(guard=Guard(["127.0.0.0/8"], allow_http=True))
    clock = JumpingClock()
    loop.add_signal_handler(signal.SIGHUP, clock.jump, JUMP)
    loop.add_signal_handler(signal.SIGUSR2, clock.jump, -JUMP)
    broker: Any = options.get("broker")
    if options.get("unruly"):
        broker = UnrulyBroker(broker_from_url(broker))
    async with kit_for(options["url"], clock, broker) as kit:
        dispatcher = kit.dispatcher([channel], settings_from(options["settings"]))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, dispatcher.stop)
        running = asyncio.create_task(dispatcher.run())
        ready()
        await running


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s")
    options = orders()
    disk.limit(options.get("max_pages"))
    sabotage.apply()
    if "att.partial_write" in os.environ.get(FAILPOINTS, ""):
        pool.WireProtocol = HalvingProtocol  # type: ignore[attr-defined]
    asyncio.run(main(options))
