"""What providers have reported, in the timeline of a delivery and in explanations."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from notifykit import Notifykit
from notifykit.models.delivery import Claim, DeliveryState, NewDelivery
from notifykit.testing import (
    FakeClock,
    make_attempt,
    make_delivery,
    make_event,
    make_receipt,
    make_recipient,
    make_record,
)
from notifykit.testing.suites.store.receipts import LANE
from notifykit.testing.suites.store.steps import claim, plan
from tests.unit.cli.driving import Command

TENANT = ("--tenant", "acme")


def given_bounce(url: str) -> NewDelivery:
    """Return a delivery that a provider took, and then reported as bounced."""

    async def prepare() -> NewDelivery:
        clock = FakeClock()
        async with Notifykit(url, clock=clock) as kit:
            await kit.store.save(make_recipient("user:42"))
            event = make_event(at=clock.now())
            new = make_delivery(event, "user:42", address="ada@example.org", channel="email")
            await plan(kit.store, clock, event, [new])
            claimed: list[Claim] = await claim(kit.store, clock, lane=LANE)
            attempt = make_attempt(claimed[0], at=clock.now(), reference="ref-1")
            await kit.store.record([make_record(claimed[0], DeliveryState.DELIVERED, at=clock.now(), attempt=attempt)])
            later = clock.advance(timedelta(minutes=1))
            bounced = make_receipt(
                "r1", kind="bounced", permanent=True, code="5.1.1", address="ada@example.org", at=later
            )
            assert 2 == await kit.record_receipts([make_receipt("r2", kind="sent"), bounced])
        return new

    return asyncio.run(prepare())


def test_the_timeline_ends_with_what_was_reported(cli: Command, store_url: str) -> None:
    """The strongest report stands beside the state; addresses are in the JSON only."""
    cli("migrate")
    new = given_bounce(store_url)

    shown = cli("deliveries", "show", new.id, *TENANT)
    record = cli("deliveries", "show", new.id, "--json", *TENANT).record
    listed = cli("deliveries", "list", "--json", *TENANT).record
    table = cli("deliveries", "list", *TENANT).out

    words = ["attempt 1", "delivered", "sent", "reported by postmark", "bounced", "5.1.1, there is no such address"]
    timeline = shown.out.partition("TIME")[2]
    positions = [timeline.index(word) for word in words]
    assert sorted(positions) == positions
    assert ["RECEIPT", "bounced"] == [line.split()[-1] for line in table.splitlines()[:2]]
    assert ("delivered", "bounced", "bounced") == (record["state"], record["receipt"], listed["receipt"])
    assert [("sent", None), ("bounced", "a***@example.org")] == [
        (receipt["kind"], receipt["address"]) for receipt in record["timeline"][0]["receipts"]
    ]


def test_explain_says_what_was_reported(cli: Command, store_url: str) -> None:
    """A message that the provider took may have bounced."""
    cli("migrate")
    new = given_bounce(store_url)

    shown = cli("explain", new.event_id, "--recipient", "user:42", *TENANT)

    assert "email: delivered, then reported as bounced" in shown.out


def test_receipts_are_exported_and_erased_with_the_person(store_url: str) -> None:
    """They have the address of the person."""
    given_bounce(store_url)

    async def export() -> tuple[list[str], int]:
        async with Notifykit(store_url) as kit:
            exported = await kit.recipients.export("user:42", tenant="acme")
            await kit.recipients.erase("user:42", tenant="acme")
            kinds = [each["kind"] for each in exported["deliveries"][0]["attempts"][0]["receipts"]]
            return kinds, await kit.record_receipts([make_receipt("r3", kind="opened")])

    assert (["sent", "bounced"], 0) == asyncio.run(export())
