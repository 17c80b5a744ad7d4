"""``notifykit explain --recipient``: why a person was told, or was not."""

from __future__ import annotations

import asyncio

from notifykit import EventType, Notifykit
from notifykit.testing.builders import make_recipient
from tests.unit.cli.driving import Command

TENANT = ("--tenant", "acme")


def test_explain_answers_for_a_person(cli: Command, store_url: str) -> None:
    """With an event or a type; a person can be subscribed from here."""

    async def prepare() -> None:
        async with Notifykit(store_url, event_types=[EventType(name="order.shipped", category="orders")]) as kit:
            await kit.sync_event_types()
            await kit.store.save(make_recipient("user:42"))

    cli("migrate")
    asyncio.run(prepare())
    subscription = cli("subscriptions", "create", "order.*", "--recipient", "user:42", "--json", *TENANT).record
    event_id = cli("publish", "order.shipped", "--json", *TENANT).record["event_id"]

    of_event = cli("explain", event_id, "--recipient", "user:42", *TENANT)
    record = cli("explain", "order.shipped", "--recipient", "user:42", "--topic", "shop/7", "--json", *TENANT).record
    unknown = cli("explain", "nope", "--recipient", "user:42", *TENANT)
    both = cli("explain", event_id, "--recipient", "user:42", "--endpoint", "end_1", *TENANT)

    assert ("user:42", "*") == (subscription["subscriber_id"], subscription["channel"])
    assert f"event {event_id}: the recipient is subscribed" in of_event.out
    assert "now, email: sent to a***@example.org at" in of_event.out
    assert [("email", "send", "ok", ["a***@example.org"])] == [
        (step["channel"], step["verdict"], step["code"], step["addresses"]) for step in record["steps"][-1:]
    ]
    assert [True] == [rule["applies"] for rule in record["steps"][-1]["trail"]][-1:]
    assert 2 == both.code
    assert unknown.err.strip().endswith("types are stored when a dispatcher of your program starts")
    listed = cli("subscriptions", "list", "--recipient", "user:42", "--json", *TENANT).record
    assert subscription["id"] == listed["id"]
    assert "recipient user:42" in " ".join(cli("subscriptions", "show", subscription["id"], *TENANT).out.split())
