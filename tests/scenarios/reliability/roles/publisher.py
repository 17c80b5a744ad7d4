"""A publisher: publishes numbered events, and notes in its log what was acknowledged.

Started again after a crash it reads its log and publishes again what was not acknowledged,
under the same idempotency keys, as a careful program would.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, make_url, text

from notifykit import Event, Notifykit
from notifykit.errors import NotifykitError, StoreError
from notifykit.failpoints import failpoint

from .. import sabotage
from . import disk
from .orders import Log, kit_for, lines, orders, ready

#: What a row of the host's own table is called: its transactions are what joined events are part of.
HOST_TABLE = "host_orders"


class Publisher:
    """Publishes until all is published or it gets SIGTERM.

    Args:
        options: ``url``, ``prefix`` of the keys, ``tenants`` with their endpoints, ``count`` (or ``None``),
            ``rate`` a second, ``concurrency``, ``type`` of the events, ``log``.
    """

    def __init__(self, options: dict[str, Any], kit: Notifykit) -> None:
        self._options = options
        self._kit = kit
        self._tenants = sorted(options["tenants"])
        acknowledged = {line["n"] for line in lines(Path(options["log"])) if "id" in line}
        self._log = Log(Path(options["log"]))
        self._numbers = self._open_numbers(acknowledged)
        self._next_at = time.monotonic()
        self.stopping = False

    def _open_numbers(self, acknowledged: set[int]) -> Iterator[int]:
        count = self._options["count"]
        numbers = itertools.count() if count is None else iter(range(count))
        return (n for n in numbers if n not in acknowledged)

    async def run(self) -> None:
        """Publish with as many tasks as were asked for."""
        syncing = asyncio.create_task(self._sync())
        await asyncio.gather(*(self._publish_next() for _ in range(self._options["concurrency"])))
        syncing.cancel()
        self._log.sync()

    async def _sync(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            self._log.sync()

    async def _publish_next(self) -> None:
        rate = self._options["rate"]
        for n in self._numbers:
            if rate:
                self._next_at = max(self._next_at + 1 / rate, time.monotonic() - 0.1)
                await asyncio.sleep(max(self._next_at - time.monotonic(), 0))
            if self.stopping:
                return
            await self._publish(n)

    async def _publish(self, n: int) -> None:
        tenant, key, event = self._event(n)
        while not self.stopping:
            started = time.monotonic()
            try:
                receipt = await self._kit.apublish(event, tenant=tenant, idempotency_key=key)
            except StoreError as error:
                self._failed(n, error, started)
                await asyncio.sleep(0.1)
                continue
            except NotifykitError as error:
                self._failed(n, error, started)
                return
            self._acknowledge(n, tenant, key, receipt.event_id)
            return

    def _failed(self, n: int, error: NotifykitError, started: float) -> None:
        self._log.add(n=n, error=type(error).__name__, text=str(error), took=time.monotonic() - started, at=time.time())

    def _acknowledge(self, n: int, tenant: str, key: str, event_id: str) -> None:
        self._log.add(
            n=n, key=key, id=event_id, tenant=tenant, endpoints=self._options["tenants"][tenant], at=time.time()
        )
        failpoint("pub.replied")

    def _event(self, n: int) -> tuple[str, str, Event]:
        tenant = self._tenants[n % len(self._tenants)]
        # A number that JSON writers disagree about, and letters that they escape or do not.
        data = {"tenant": tenant, "n": n, "amount": 1e22, "to": "Zürich </b>", "prefix": self._options["prefix"]}
        return tenant, f"{self._options['prefix']}-{n}", Event(type=self._options["type"], data=data)

    def run_joined(self) -> None:
        """Publish from sync code, each event in a transaction with a row of the host's own."""
        url = make_url(self._options["url"])
        driver = "postgresql+psycopg" if url.get_backend_name() == "postgresql" else "sqlite"
        engine = create_engine(url.set(drivername=driver))
        insert = text(f"INSERT INTO {HOST_TABLE} (n) VALUES (:n)")
        for n in self._numbers:
            tenant, key, event = self._event(n)
            with engine.begin() as connection:
                connection.execute(insert, {"n": n})
                receipt = self._kit.publish(event, connection=connection, tenant=tenant, idempotency_key=key)
            self._acknowledge(n, tenant, key, receipt.event_id)
            self._log.sync()
        engine.dispose()


async def main(options: dict[str, Any]) -> None:
    """Publish without a transaction of the host's."""
    kit = kit_for(options["url"])
    while True:
        try:
            await kit.open()
            break
        except StoreError:
            await asyncio.sleep(0.1)  # started during an outage
    publisher = Publisher(options, kit)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, setattr, publisher, "stopping", True)
    ready()
    await publisher.run()
    await kit.aclose()


if __name__ == "__main__":
    options = orders()
    disk.limit(options.get("max_pages"))
    sabotage.apply()
    if options["joined"]:
        ready()
        Publisher(options, kit_for(options["url"])).run_joined()
    else:
        asyncio.run(main(options))
