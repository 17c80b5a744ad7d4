"""What became of events: lists, the timeline, dead letters, recovery, explanations, and the health check."""

from __future__ import annotations

import pytest

from tests.unit.cli.driving import Command, Deliver, Desk, publish, wait_until


def test_the_timeline_of_a_delivery(cli: Command, desk: Desk, deliver: Deliver) -> None:
    """Published, planned, each attempt with outcome, status and retry, and the end."""
    cli("endpoints", "create", desk.url, "--events", "**", "--retry", "10ms,1d")
    desk.status = 503
    event_id = publish(cli)

    def tried_twice() -> bool:
        deliver()
        return 2 == len(desk.requests)

    wait_until(tried_twice, "the second attempt")
    delivery = cli("deliveries", "list", "--event", event_id, "--json").record

    shown = cli("deliveries", "show", delivery["id"])
    record = cli("deliveries", "show", delivery["id"], "--json").record

    assert "pending" == delivery["state"]
    assert [("transient", 503), ("transient", 503)] == [(a["outcome"], a["status"]) for a in record["timeline"]]
    assert all(attempt["retry_at"] for attempt in record["timeline"])
    words = ["published", "planned", "attempt 1", "http 503", "retry at", "response: thanks", "attempt 2", "pending"]
    timeline = shown.out.partition("TIME")[2]
    positions = [timeline.index(word) for word in words]
    assert sorted(positions) == positions


def test_lists_can_be_narrowed(cli: Command, endpoint: str, deliver: Deliver) -> None:
    """State, endpoint, type and time choose deliveries."""
    cli("endpoints", "create", "http://127.0.0.1:9000/", "--events", "user.*", "--retry", "1d")
    publish(cli)
    publish(cli, "order.paid")
    publish(cli, "user.created")
    deliver()

    def types(*options: str) -> list[str]:
        return [record["event_type"] for record in cli("deliveries", "list", "--json", *options).records]

    assert ["user.created", "order.paid", "order.shipped"] == types()
    assert ["order.paid", "order.shipped"] == types("--state", "delivered", "--endpoint", endpoint)
    assert ["user.created"] == types("--state", "pending", "--state", "dead")
    assert ["order.paid"] == types("--type", "order.paid", "--since", "-1h")
    assert [] == types("--until", "-1h")
    assert ["user.created"] == types("--limit", "1")


def test_dead_letters_are_listed_and_sent_again(cli: Command, desk: Desk, endpoint: str, deliver: Deliver) -> None:
    """They fail a monitoring check, are redriven by id or by choice, and arrive."""
    desk.status = 500
    events = [publish(cli, type_) for type_ in ("order.a", "order.b", "order.c")]
    deliver()
    dead = cli("dead", "list", "--json", "--fail-if-any")

    one = cli("dead", "redrive", dead.records[0]["id"], "--json")
    some = cli("dead", "redrive", "--all", "--type", "order.b", "--endpoint", endpoint, "--since", "-1h", "--json")
    desk.status = 200
    deliver()
    left = cli("dead", "list", "--json").records
    rest = cli("dead", "redrive", "--all")
    deliver()

    assert (1, events[::-1]) == (dead.code, [record["event_id"] for record in dead.records])
    assert ({"redriven": 1}, {"redriven": 1}) == (one.record, some.record)
    assert [events[0]] == [record["event_id"] for record in left]
    assert "1 delivery is due again" in rest.out
    assert 0 == cli("dead", "list", "--fail-if-any").code
    assert 6 == len(desk.requests)


def test_what_waits_of_an_event_is_cancelled(cli: Command, desk: Desk, deliver: Deliver) -> None:
    """By its id or key, planned or not; for a recipient there is nothing here; what is unclear is refused."""
    cli("endpoints", "create", desk.url, "--events", "**")
    desk.status = 500
    event_id = publish(cli)
    deliver()
    cli("publish", "order.shipped", "{}", "--deliver-at", "+1h", "--key", "later")

    of_event = cli("deliveries", "cancel", "--event", event_id)
    by_key = [cli("deliveries", "cancel", "--key", "later", "--json").record for _ in range(2)]
    of_person = cli("deliveries", "cancel", "--recipient", "user:42", "--type", "order.shipped", "--json").record
    unclear = [
        cli("deliveries", "cancel", *arguments).code
        for arguments in ([], ["dlv_1", "--key", "k"], ["--key", "k", "--event", "e"], ["--type", "order.shipped"])
    ]

    assert (0, "1 cancelled\n") == (of_event.code, of_event.out)
    assert ([{"cancelled": 1}, {"cancelled": 0}], {"cancelled": 0}) == (by_key, of_person)
    assert ["cancelled"] == [each["state"] for each in cli("deliveries", "list", "--json").records]
    assert [2, 2] == unclear[:2]
    assert 0 not in unclear
    assert 3 == cli("deliveries", "cancel", "--event", "evt_nope").code


def test_a_delivery_under_way_is_not_redriven(cli: Command, desk: Desk, deliver: Deliver) -> None:
    """What has not ended cannot be sent again; what does not exist is exit code 3."""
    cli("endpoints", "create", desk.url, "--events", "**")
    desk.status = 500
    publish(cli)
    deliver()
    id_ = cli("deliveries", "list", "--json").record["id"]

    assert 1 == cli("dead", "redrive", id_).code
    assert 3 == cli("dead", "redrive", "dlv_nope").code


def test_recover_sends_what_was_missed(cli: Command, desk: Desk, endpoint: str, deliver: Deliver) -> None:
    """Dead letters and what was suppressed while the endpoint was disabled arrive after a recovery."""
    desk.status = 500
    publish(cli)
    deliver()
    cli("endpoints", "disable", endpoint)
    publish(cli)
    deliver()
    cli("endpoints", "resume", endpoint)
    desk.status = 200

    nothing = cli("recover", endpoint, "--since", "+1h", "--json")
    answer = cli("recover", endpoint, "--since", "-1h", "--json")
    deliver()

    assert ({"recovered": 0}, {"recovered": 2}) == (nothing.record, answer.record)
    assert ["delivered", "delivered"] == [record["state"] for record in cli("deliveries", "list", "--json").records]
    assert 3 == cli("recover", "end_nope", "--since", "-1h").code


def test_explain_says_why_somebody_got_nothing(cli: Command, desk: Desk, endpoint: str, deliver: Deliver) -> None:
    """Each subscription's verdict is named and put into words."""
    cli("subscriptions", "create", "user.*", "--endpoint", endpoint)
    cli("subscriptions", "create", "order.*", "--endpoint", endpoint, "--topic", "shop/**")
    cli("subscriptions", "create", "order.*", "--endpoint", endpoint, "--filter", '{"total": [8]}')
    event_id = publish(cli)
    before = cli("explain", event_id)
    deliver()

    record = cli("explain", event_id, "--json").record
    shown = cli("explain", event_id)

    verdicts = [verdict["verdict"] for verdict in record["verdicts"]]
    assert ["matched", "type_mismatch", "topic_mismatch", "filter_mismatch"] == verdicts
    assert (True, ["delivered"]) == (record["planned"], [delivery["state"] for delivery in record["deliveries"]])
    assert "its filter does not match the event's data" in shown.out
    assert "Start one: notifykit run" in before.out


def test_explain_may_be_asked_for_one_endpoint(cli: Command, desk: Desk, endpoint: str, deliver: Deliver) -> None:
    """Where there are very many, the others are left out; one without subscriptions is told."""
    other = cli("endpoints", "create", desk.url, "--events", "order.*", "--json").record["id"]
    event_id = publish(cli)
    deliver()

    both = cli("explain", event_id, "--json").record
    record = cli("explain", event_id, "--endpoint", other, "--json").record
    nobody = cli("explain", event_id, "--endpoint", "end_nope")

    assert (2, 2) == (len(both["verdicts"]), len(both["deliveries"]))
    assert [other] == [verdict["subscription"]["subscriber_id"] for verdict in record["verdicts"]]
    assert [other] == [delivery["subscriber_id"] for delivery in record["deliveries"]]
    assert "The endpoint has no subscriptions." in nobody.out


def test_what_a_receiver_answers_cannot_steer_the_terminal(
    cli: Command, desk: Desk, endpoint: str, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Escape sequences in an answer are shown, not obeyed."""
    from notifykit.cli.receiver import Reply

    async def hostile(request: object) -> Reply:
        return Reply(500, b"\x1b[2J\x1b]0;owned\x07 sorry")

    monkeypatch.setattr(desk.receiver, "_handle", hostile)
    publish(cli)
    deliver()
    id_ = cli("dead", "list", "--json").record["id"]

    shown = cli("deliveries", "show", id_).out

    assert "\\x1b[2J" in shown
    assert "\x1b" not in shown


def test_what_waits_can_be_cancelled(cli: Command, desk: Desk, deliver: Deliver) -> None:
    """A waiting delivery is cancelled; one that has ended, or that there is not, is told with its own exit code."""
    cli("endpoints", "create", desk.url, "--events", "order.**", "--retry", "1d")
    desk.status = 503
    publish(cli)
    deliver()
    id_ = cli("deliveries", "list", "--json").record["id"]

    done, again = cli("deliveries", "cancel", id_), cli("deliveries", "cancel", id_)
    unknown = cli("deliveries", "cancel", "dlv_1", "--json")

    assert (0, f"{id_} cancelled\n") == (done.code, done.out)
    assert (1, True) == (again.code, "only a waiting one can be cancelled" in again.err)
    assert 3 == unknown.code
    assert "cancelled" == cli("deliveries", "list", "--json").record["state"]


def test_recover_does_not_promise_what_an_endpoint_does_not_take(
    cli: Command, desk: Desk, endpoint: str, deliver: Deliver
) -> None:
    """A disabled endpoint is refused, with what to do; a paused one is named as what the deliveries wait for."""
    desk.status = 500
    publish(cli)
    deliver()

    cli("endpoints", "disable", endpoint, "--reason", "gone")
    disabled = cli("recover", endpoint, "--since", "-1h")
    cli("endpoints", "pause", endpoint)
    paused = cli("recover", endpoint, "--since", "-1h")

    assert 1 == disabled.code
    for answer in (disabled.err, paused.out):
        assert f"notifykit endpoints resume {endpoint}" in answer
        assert "notifykit run" not in answer
    assert "(gone)" in disabled.err
    assert paused.out.startswith("1 delivery is held")


def test_an_event_that_is_not_due_needs_no_dispatcher_yet(cli: Command) -> None:
    """``explain`` says when it is due; for one that has been due it asks for a dispatcher."""
    later = cli("publish", "order.shipped", "{}", "--deliver-at", "+1h", "--json").record["event_id"]
    now = publish(cli)

    assert "it is planned when it is due" in cli("explain", later).out
    assert "Start one: notifykit run" in cli("explain", now).out
