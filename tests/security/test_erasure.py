"""A person who was erased is nowhere in the database: not in a row, an index, or a page that is free."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from notifykit import EgressRules, Event, Notifykit
from notifykit.channels.messages import MessageChannel
from notifykit.channels.plain import PlainRenderer
from notifykit.codec import loads
from notifykit.models.delivery import DeliveryState
from notifykit.models.outcome import Accepted, Answer, Outcome, Permanent
from notifykit.ports import Inbox, Settlement
from notifykit.testing import (
    FakeClock,
    make_attempt,
    make_delivery,
    make_event,
    make_inbox_item,
    make_receipt,
    make_record,
    make_subscription,
)
from notifykit.testing.suites.store.steps import LEASE, claim_one, given_claim, given_delivery, take_one
from tests.unit.dispatch.support import ScriptedChannel

from .test_secrets_at_rest import dump, hits

ACME = "acme"
ADA, EVE = "user:canary-ada-4815162342", "user:canary-eve-4815162342"
MAIL, PHONE, TOKEN = "canary-ada@example.org", "+4915199999942", "canary-token-of-ada-0123456789"
TRAIT, ANSWER = "canary-trait-of-ada", "550 canary-answer-of-ada"
TRACES = (ADA, MAIL, PHONE, TOKEN, TRAIT, ANSWER)


@pytest.fixture
async def kit(store_url):
    async with Notifykit(store_url, clock=FakeClock(), egress=EgressRules()) as kit:
        yield kit


async def provide(kit: Notifykit, id_: str) -> None:
    """Give a person everything that a person can have, in every table and in every state."""
    clock: Any = kit._clock
    store, now = kit.store, clock.now()
    person = await kit.recipients.save(
        id_, tenant=ACME, name="Ada", email=MAIL, sms=PHONE, zone="Asia/Tokyo", traits={"note": TRAIT}
    )
    await kit.recipients.add_address(id_, "push", TOKEN, tenant=ACME, app="shop", platform="ios")
    await kit.recipients.suppress(id_, "email", MAIL, tenant=ACME, purposes=["marketing"])
    await kit.preferences(id_, tenant=ACME).consent(by=id_)
    await store.save(make_subscription(person, at=now, channel="email", address=MAIL))  # type: ignore[arg-type]
    for state in (DeliveryState.PENDING, DeliveryState.DEAD):
        event = make_event(at=now, audience=f'{{"to":["{id_}"]}}', actor=id_)
        await store.append([event])
        taken = await take_one(store, clock)
        new = make_delivery(event, id_, address=MAIL)
        await store.settle([Settlement(taken.id, taken.fence, [new])], now=now, lease=LEASE, worker="w")
        claimed = await claim_one(store, clock)
        attempt = make_attempt(claimed, at=now, outcome="permanent", response=ANSWER.encode(), reference=MAIL)
        due_at = None if state is DeliveryState.DEAD else now + timedelta(1)
        await store.record([make_record(claimed, state, at=now, attempt=attempt, due_at=due_at)])
    for audience in (f'{{"to":["{id_}"]}}', f'{{"to":["{id_}","{EVE}"]}}'):
        await store.append([make_event(at=now, due_at=now + timedelta(1), audience=audience)])
    await given_delivery(store, clock, subscriber=id_, state=DeliveryState.HELD, due_at=now + timedelta(1))
    await given_claim(store, clock, subscriber=id_)
    assert isinstance(store, Inbox)
    await store.inbox_put([make_inbox_item(id_, at=now, tenant=ACME, title=TRAIT)])


async def test_nothing_of_a_person_is_left_in_the_database(kit, store_url):
    """Ids, addresses, traits and answers: searched in every byte that the database has, once its space is freed."""
    await provide(kit, ADA)
    await kit.recipients.save(EVE, tenant=ACME, email="eve@example.org")
    before = hits(dump(store_url), *TRACES, EVE)

    erased = await kit.recipients.erase(ADA, tenant=ACME)
    await kit.aclose()
    free_space(store_url)
    after = hits(dump(store_url), *TRACES, EVE)

    assert [*TRACES, EVE] == before
    assert [EVE] == after
    assert erased > 9


class Refusing:
    """A provider that takes messages, and refuses the third one with an answer that has the address in it."""

    name = account = "mail"

    def __init__(self) -> None:
        self.sent = 0

    async def send(self, message: Any, claim: Any, destination: Any, *, now: Any) -> Outcome:
        self.sent += 1
        answer = Answer(body=f"{ANSWER} <{destination.address}>".encode(), reference=f"ref-{self.sent}")
        return Permanent(reason="550", answer=answer) if self.sent > 2 else Accepted(answer=answer)

    async def aclose(self) -> None:
        """Nothing is open."""


async def test_nothing_is_left_of_what_became_of_their_messages(kit, store_url):
    """Attempts, receipts, suppressions and the operational events that tell the tenant."""
    clock: Any = kit._clock
    webhooks = ScriptedChannel()
    channels = [MessageChannel("email", PlainRenderer(), Refusing()), webhooks]
    await kit.subscribe(["delivery.*", "order.*"], tenant=ACME, endpoint="https://203.0.114.7/hooks")
    await kit.recipients.save(ADA, tenant=ACME, email=MAIL, traits={"note": TRAIT})
    await kit.recipients.save(EVE, tenant=ACME, email="eve@example.org")
    async with kit.dispatcher(channels) as dispatcher:
        for number in range(3):
            shipped = Event(type="order.shipped", data={"number": number}, to=[ADA])
            await kit.apublish(shipped, tenant=ACME)
            await dispatcher.drained()
        for number, kind in ((1, "bounced"), (2, "complained")):
            told: dict[str, Any] = {"reference": f"ref-{number}", "address": MAIL, "permanent": True, "code": ANSWER}
            await kit.record_receipts([make_receipt(f"{kind}", kind=kind, at=clock.now(), **told)])
        clock.advance(timedelta(seconds=5))
        await dispatcher.drained()
    named = [each.event_type for each in webhooks.sent if ADA.encode() in each.body]
    before = hits(dump(store_url), ADA, MAIL, TRAIT, ANSWER, EVE)

    await kit.recipients.erase(ADA, tenant=ACME)
    kept = [each for each in await kit.events.list(tenant=ACME) if each.type.startswith("delivery.")]
    suppressed = await kit.suppressions.check("email", MAIL, tenant=ACME)
    await kit.aclose()
    free_space(store_url)

    assert ["delivery.bounced", "delivery.complained", "delivery.exhausted"] == sorted(named)
    assert [ADA, MAIL, TRAIT, ANSWER, EVE] == before
    assert [{}] * 3 == [loads(each.body)["data"] for each in kept]
    assert suppressed is not None, "an address that complained is not written to again"
    assert [EVE] == hits(dump(store_url), *TRACES, EVE)


def free_space(url: str) -> None:
    """Overwrite what was deleted, as an operator of an SQLite file does; PostgreSQL's rows are read as rows."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(Path(make_url(url).database or ""))) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
