"""``notifykit endpoints`` and ``subscriptions``: the life of an endpoint, and its secrets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from notifykit.cli.endpoint_test import _nothing_tried
from notifykit.models.delivery import WEBHOOK, Delivery, DeliveryState, Priority
from notifykit.signing import generate_secret
from tests.unit.cli.driving import Command, Desk

ADDRESS = "http://127.0.0.1:9000/hooks"


def test_the_secret_is_printed_once(cli: Command) -> None:
    """``create`` prints the whole secret; afterwards it is masked unless it is asked for."""
    created = cli("endpoints", "create", ADDRESS, "--json").record
    secret = created["secrets"][0]["value"]
    others = [
        cli("endpoints", "list", "--json"),
        cli("endpoints", "list"),
        cli("endpoints", "show", created["id"]),
        cli("endpoints", "show", created["id"], "--json"),
        cli("endpoints", "pause", created["id"], "--json"),
        cli("endpoints", "update", created["id"], "--description", "new", "--json"),
    ]

    revealed = cli("endpoints", "show", created["id"], "--secret")

    assert secret.startswith("whsec_")
    assert [] == [answer.out for answer in others if secret in answer.out]
    assert f"whsec_…{secret[-4:]}" in others[2].out
    assert secret in revealed.out


def test_header_values_are_masked_like_secrets(cli: Command) -> None:
    """An extra header may be a credential, so only its name is shown."""
    created = cli("endpoints", "create", ADDRESS, "--header", "Authorization: Bearer geheim", "--json").record

    masked = cli("endpoints", "show", created["id"])
    revealed = cli("endpoints", "show", created["id"], "--secret", "--json")

    assert "authorization" in masked.out
    assert "geheim" not in masked.out
    assert {"authorization": "Bearer geheim"} == revealed.record["headers"]


def test_settings_are_what_was_asked_for(cli: Command) -> None:
    """Every setting can be given at creation and changed later; the rest stays."""
    created = cli(
        *("endpoints", "create", ADDRESS, "--json", "--description", "Büro", "--retry", "5s,1h30m", "--timeout", "10s"),
        *("--max-in-flight", "3", "--rate-limit", "0.5,4"),
    ).record

    changed = cli(
        "endpoints", "update", created["id"], "--retry", "none", "--address", f"{ADDRESS}/v2", "--json"
    ).record

    assert {"per_second": 0.5, "burst": 4} == created["rate_limit"]
    assert ("Büro", [5, 5400], 10, 3) == (
        created["description"],
        created["retry"]["delays"],
        created["timeout"],
        created["max_in_flight"],
    )
    assert (f"{ADDRESS}/v2", [], "Büro", 3) == (
        changed["url"],
        changed["retry"]["delays"],
        changed["description"],
        changed["max_in_flight"],
    )


def test_pause_resume_disable_delete(cli: Command) -> None:
    """Each verb does what it says, and deletion is final."""
    id_ = cli("endpoints", "create", ADDRESS, "--json").record["id"]

    states = [
        cli("endpoints", *words, "--json").record["state"]
        for words in (["pause", id_, "--reason", "maintenance"], ["resume", id_], ["disable", id_])
    ]
    deleted = cli("endpoints", "delete", id_)
    gone = cli("endpoints", "show", id_)

    assert ["paused", "active", "disabled"] == states
    assert (0, 3) == (deleted.code, gone.code)


def test_rotation_overlaps_and_the_old_secret_can_be_revoked_by_its_ending(cli: Command) -> None:
    """``rotate`` prints the new secret alone; ``revoke`` takes what ``show`` prints."""
    created = cli("endpoints", "create", ADDRESS, "--json").record
    id_, old = created["id"], created["secrets"][0]["value"]

    rotated = cli("endpoints", "rotate", id_, "--overlap", "48h")
    both = cli("endpoints", "show", id_, "--secret", "--json").record["secrets"]
    revoked = cli("endpoints", "revoke", id_, f"whsec_…{old[-4:]}")
    left = cli("endpoints", "show", id_, "--secret", "--json").record["secrets"]

    assert (0, 0) == (rotated.code, revoked.code)
    assert both[0]["value"] in rotated.out
    assert old not in rotated.out + revoked.out
    assert old == both[1]["value"]
    assert [both[0]["value"]] == [secret["value"] for secret in left]


@pytest.mark.parametrize("ending", ["", "abc", "nope"])
def test_revoking_needs_an_ending_that_hits_one_secret(cli: Command, ending: str) -> None:
    """A slip of the finger revokes nothing."""
    id_ = cli("endpoints", "create", ADDRESS, "--json").record["id"]

    assert 3 == cli("endpoints", "revoke", id_, ending).code


def test_an_ed25519_endpoint_tells_the_receivers_half(cli: Command) -> None:
    """With a ``whsk_`` key, people learn the public key that receivers verify with."""
    answer = cli("endpoints", "create", ADDRESS, "--secret", generate_secret("v1a"))

    assert "verifies with whpk_" in answer.out


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("http://10.1.2.3/", "--allow 10.0.0.0/8"),
        ("http://192.168.7.1/", "--allow 192.168.0.0/16"),
        ("http://[::ffff:172.16.0.1]/", "--allow 172.16.0.0/12"),
        ("http://[fd00::1]/", "--allow fc00::/7"),
        ("http://[::1]/", "--allow ::1/128"),
        ("https://user:pw@acme.example/", "--header"),
        ("ftp://x/", "https"),
        ("https://receiver/", "--allow-name"),
        ("http://169.254.169.254/", "correct the address"),  # no allow-list lifts it
    ],
)
def test_a_refused_address_says_what_to_do(cli: Command, address: str, remedy: str) -> None:
    """An address that nothing is delivered to is refused with exit code 1 and a remedy that fits it."""
    answer = cli("endpoints", "create", address)

    assert 1 == answer.code
    assert remedy in answer.err.partition("; ")[2]


def test_subscribing_in_one_step_or_two(cli: Command) -> None:
    """``create --events`` subscribes with topic and filter; ``subscriptions create`` does it later."""
    created = cli(
        *("endpoints", "create", ADDRESS, "--json", "--events", "order.*", "--events", "invoice.paid"),
        *("--topic", "shop/**", "--filter", '{"total": [{"numeric": [">", 5]}]}'),
    ).record

    second = cli("subscriptions", "create", "user.**", "--endpoint", created["id"], "--json").record
    listed = cli("subscriptions", "list", "--json", "--endpoint", created["id"]).records

    first = created["subscription"]
    assert ["order.*", "invoice.paid"] == first["event_types"]
    assert ("shop/**", {"total": [{"numeric": [">", 5]}]}) == (first["topic"], first["filter"])
    assert [first["id"], second["id"]] == [record["id"] for record in listed]


def test_a_subscription_can_be_changed_and_deleted(cli: Command) -> None:
    """Conditions are set and removed, a subscription is switched off, shown and deleted."""
    endpoint = cli("endpoints", "create", ADDRESS, "--json").record["id"]
    id_ = cli("subscriptions", "create", "a.*", "--endpoint", endpoint, "--topic", "x/**", "--json").record["id"]

    changed = cli("subscriptions", "update", id_, "--no-topic", "--events", "b.*", "--disable", "--json").record
    shown = cli("subscriptions", "show", id_)
    deleted = cli("subscriptions", "delete", id_)

    assert (["b.*"], None, False) == (changed["event_types"], changed["topic"], changed["enabled"])
    assert "enabled   no" in shown.out
    assert (0, 3) == (deleted.code, cli("subscriptions", "show", id_).code)


@pytest.mark.parametrize(
    "arguments",
    [["order.**.x*"], ["order.*", "--topic", "a//b"], ["order.*", "--filter", '{"a": {}}']],
    ids=["pattern", "topic", "filter"],
)
def test_a_subscription_that_is_none_is_refused(cli: Command, arguments: list[str]) -> None:
    """Every part is checked before anything is stored."""
    endpoint = cli("endpoints", "create", ADDRESS, "--json").record["id"]

    answer = cli("subscriptions", "create", *arguments, "--endpoint", endpoint)

    assert 1 == answer.code
    assert [] == cli("subscriptions", "list", "--json").records


def test_a_subscription_that_can_never_match_is_warned_of(cli: Command) -> None:
    """It is stored, the warning goes to stderr, and programs find it in the record: new, changed or shown."""
    impossible = '{"total": [{"numeric": [">", 5, "<", 3]}]}'
    created = cli("endpoints", "create", ADDRESS, "--events", "order.*", "--filter", impossible)
    record = cli("subscriptions", "list", "--json").record
    id_ = record["id"]
    changed = cli("subscriptions", "update", id_, "--no-filter", "--topic", "shop.7", "--json")

    assert 0 == created.code
    assert "filter.total[0].numeric: no number is > 5 and < 3" in created.err
    assert ["topic_is_no_path"] == [warning["code"] for warning in changed.record["warnings"]]
    assert "shop/7/**" in changed.err
    assert "shop/7/**" in cli("subscriptions", "show", id_).err
    assert "" == cli("subscriptions", "update", id_, "--no-topic").err


def test_lists_are_cut_where_asked_and_say_so(cli: Command) -> None:
    """``--limit`` bounds a list, and people learn that there is more."""
    ids = [cli("endpoints", "create", f"{ADDRESS}/{n}", "--json").record["id"] for n in range(3)]

    answer = cli("endpoints", "list", "--limit", "2", "--json")

    assert ids[:2] == [record["id"] for record in answer.records]
    assert "--limit" in answer.err
    assert "" == cli("endpoints", "list", "--limit", "3", "--json").err


def test_a_test_event_goes_out_with_a_running_dispatcher(cli: Command, desk: Desk, store_url: str) -> None:
    """``endpoints test --wait`` answers whether it arrived; without a dispatcher it says what is missing."""
    id_ = cli("endpoints", "create", desk.url, "--json").record["id"]

    alone = cli("endpoints", "test", id_, "--wait", "100ms")
    with running(store_url):
        answer = cli("endpoints", "test", id_, "--wait", "10s", "--json")
        desk.status = 500
        failing = cli("endpoints", "test", id_, "--wait", "10s")

    assert 1 == alone.code
    assert "notifykit run" in alone.err
    assert (0, "accepted", 200) == (answer.code, answer.record["outcome"], answer.record["status"])
    assert (1, True) == (failing.code, "http_500" in failing.out)
    assert b"notifykit.test" in desk.requests[0].body


@pytest.mark.parametrize("verb", ["pause", "disable"])
def test_an_endpoint_that_gets_nothing_is_not_tested(cli: Command, verb: str) -> None:
    """The answer names its state and how to change that, not a dispatcher; nothing is published."""
    id_ = cli("endpoints", "create", ADDRESS, "--json").record["id"]
    cli("endpoints", verb, id_, "--reason", "maintenance")

    answer = cli("endpoints", "test", id_, "--wait", "10s")

    assert 1 == answer.code
    assert f"is {verb}d (maintenance)" in answer.err
    assert f"notifykit endpoints resume {id_}" in answer.err
    assert "notifykit run" not in answer.err
    assert [] == cli("deliveries", "list", "--json").records


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        ("suppressed", "endpoint_disabled", "is suppressed (endpoint_disabled)"),
        ("cancelled", "endpoint_deleted", "is cancelled (endpoint_deleted)"),
        ("held", "endpoint_failing", "is held until 2026-01-31 09:05:00Z (endpoint_failing)"),
        ("sending", None, "the receiver has not answered yet"),
        ("pending", None, "if no dispatcher runs, start one"),
        (None, None, "no dispatcher runs, or the receiver has not answered yet"),
    ],
)
def test_no_attempt_has_its_own_reason(state: str | None, reason: str | None, words: str) -> None:
    """When nothing was tried within the time, the delivery itself says why."""
    at = datetime(2026, 1, 31, 9, tzinfo=UTC)
    delivery = None if state is None else a_delivery(state=DeliveryState(state), reason=reason, at=at)

    assert words in _nothing_tried(delivery, "evt_1", timedelta(seconds=1))


def a_delivery(*, state: DeliveryState, reason: str | None, at: datetime) -> Delivery:
    return Delivery(
        id="dlv_1",
        event_id="evt_1",
        event_type="notifykit.test",
        tenant="default",
        subscription_id="",
        subscriber_id="end_1",
        channel=WEBHOOK,
        priority=Priority.HIGH,
        state=state,
        reason=reason,
        created_at=at,
        due_at=at + timedelta(minutes=5),
    )


def running(url: str):
    """A dispatcher in a thread, for the length of a block."""
    from contextlib import contextmanager

    from anyio.from_thread import start_blocking_portal

    from notifykit import Notifykit
    from tests.unit.cli.driving import LOOPBACK

    @contextmanager
    def block():
        with start_blocking_portal("asyncio") as portal:
            kit = portal.call(lambda: _open(Notifykit(url, egress=LOOPBACK)))
            with portal.wrap_async_context_manager(kit.dispatcher()):
                yield
            portal.call(kit.aclose)

    async def _open(kit: Notifykit) -> Notifykit:
        return await kit.open()

    return block()
