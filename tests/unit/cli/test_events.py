"""``notifykit events`` and ``notifykit stats``: what was published, and how much of it waits."""

from __future__ import annotations

import json

from tests.unit.cli.driving import Command, Deliver, Desk, publish


def test_events_are_listed_newest_first(cli: Command) -> None:
    """Type, time and limit choose events; JSON lines have the payload, and people learn that there is more."""
    first, second = publish(cli, data='{"n": 1}'), publish(cli, "order.paid", '{"n": 2}')

    everything = cli("events", "list", "--json").records

    assert [(second, {"n": 2}), (first, {"n": 1})] == [(record["id"], record["data"]) for record in everything]
    assert [first] == [record["id"] for record in cli("events", "list", "--type", "order.shipped", "--json").records]
    assert [] == cli("events", "list", "--since", "+1h", "--json").records
    assert 2 == len(cli("events", "list", "--since", "-1h", "--json").records)
    cut = cli("events", "list", "--limit", "1")
    assert second in cut.out
    assert "--limit" in cut.err
    assert "has no matching events" in cli("events", "list", "--tenant", "other").out


def test_an_event_is_shown_with_its_payload_and_deliveries(
    cli: Command, desk: Desk, endpoint: str, deliver: Deliver
) -> None:
    """What was published is readable: data, metadata, topic; and where it went."""
    published = cli(
        *("publish", "order.shipped", '{"name": "Zo\\u00eb", "lines": [{"sku": "S-1"}]}', "--topic", "shop/7"),
        *("--metadata", "source=test", "--key", "k-1", "--json"),
    )
    event_id = published.record["event_id"]
    before = cli("events", "show", event_id).out
    deliver()

    shown, record = cli("events", "show", event_id).out, cli("events", "show", event_id, "--json").record

    assert f"notifykit explain {event_id}" in before
    for text in ("shop/7", "k-1", "metadata source  test", '"name": "Zoë"', '"sku": "S-1"', endpoint, "delivered"):
        assert text in shown
    assert {"name": "Zoë", "lines": [{"sku": "S-1"}]} == record["data"]
    assert [("delivered", endpoint)] == [(d["state"], d["subscriber_id"]) for d in record["deliveries"]]


def test_a_payload_does_not_steer_the_terminal(cli: Command) -> None:
    """What a tenant published is shown with its control characters escaped."""
    event_id = publish(cli, data=json.dumps({"name": "\x9b2J\u202e"}))

    shown = cli("events", "show", event_id).out

    assert "\\x9b2J\\u202e" in shown
    assert "\x9b" not in shown


def test_an_event_of_another_tenant_is_not_found(cli: Command) -> None:
    """Exit code 3, as for everything that is looked for by id."""
    event_id = publish(cli)

    assert 3 == cli("events", "show", event_id, "--tenant", "other").code


def test_stats_count_what_waits_for_all_tenants(cli: Command) -> None:
    """The numbers are those of the whole store, and say so."""
    publish(cli)
    cli("publish", "order.shipped", "{}", "--tenant", "acme")

    record, text = cli("stats", "--json").record, cli("stats").out

    assert ("all", 2, 0, 0) == (record["tenants"], record["unplanned"], record["waiting"], record["dead"])
    assert record["oldest_due_age_s"] >= 0
    assert "all tenants" in text
