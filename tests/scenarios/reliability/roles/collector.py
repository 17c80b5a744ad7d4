"""A worker that plans events into digests and sends the digests, by the verbs of a store alone, until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from notifykit.models.delivery import Claim, DeliveryState, DigestEntry, Lane, NewDelivery, Priority
from notifykit.models.digest import Digest
from notifykit.models.event import TakenEvent
from notifykit.policies.digest import collected, enter
from notifykit.ports import Record, Settlement
from notifykit.stores import store_from_url
from notifykit.testing import make_attempt, make_delivery, make_event

from .. import sabotage
from .orders import Log, orders, ready

EMAIL = Lane("email", Priority.NORMAL)
LEASE = timedelta(seconds=1)
#: Events of one tick of the planner: few, so that planners meet on the same digests.
_BATCH = 5
#: Short, so that many close while others join.
_WINDOW = timedelta(seconds=0.1)
#: One with a fixed window, and one whose end moves with each event.
DIGESTS = (
    Digest("fixed", group="data.thread", window=_WINDOW * 2),
    Digest("sliding", group="data.thread", window=_WINDOW, max_window=_WINDOW * 3),
)


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def planned(event: TakenEvent) -> NewDelivery:
    """Return the event's delivery as its digest collects it: metadata names recipient and thread."""
    person, _, thread = (event.details.metadata or "").strip('"').partition(" ")
    source = make_event(id=event.id, tenant=event.tenant)
    new = make_delivery(source, person, channel=EMAIL.channel, address=f"{person}@example.org", due_at=now())
    digest = DIGESTS[len(thread) % len(DIGESTS)]
    entry = enter(new, digest, thread, clock=UTC, quiet=None, now=now())
    assert isinstance(entry, DigestEntry), entry
    return collected(new, entry)


async def main(options: dict[str, Any]) -> None:
    """Plan and send until SIGTERM."""
    log = Log(Path(options["log"]))
    store: Any = store_from_url(options["url"])
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await store.open()
    ready()
    while not stopped.is_set():
        taken = await store.take(_BATCH, now=now(), lease=LEASE)
        settlements = [Settlement(event.id, event.fence, [planned(event)]) for event in taken]
        await store.settle(settlements, now=now(), lease=LEASE, worker="w")
        claims = await store.claim(EMAIL, _BATCH, now=now(), lease=LEASE, worker="w")
        for claim in claims:
            await send(store, log, claim)
        await store.rescue(50, now=now(), max_abandoned=1000)
        if not taken and not claims:
            await asyncio.sleep(random.uniform(0.01, 0.03))
    await store.aclose()


async def send(store: Any, log: Log, claim: Claim) -> None:
    """Send what a digest has collected: to the log."""
    found = await store.collected(claim.tenant, claim.delivery_id)
    assert found is not None, f"{claim.delivery_id} is no digest"
    assert found.total == len(found.items)
    log.add(digest=claim.delivery_id, events=[item.event_id for item in found.items])
    attempt = make_attempt(claim, at=now())
    await store.record([Record(claim.delivery_id, claim.fence, DeliveryState.DELIVERED, None, None, now(), attempt)])


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s")
    sabotage.apply()
    asyncio.run(main(orders()))
