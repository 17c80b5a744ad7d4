"""What follows from receipts: every kind, and the alarm."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from notifykit.models.delivery import Delivery, DeliveryState, Priority
from notifykit.models.preferences import Purpose
from notifykit.models.receipt import ReceiptKind, ReceiptMatch
from notifykit.policies.plan import OPERATIONAL_TYPES
from notifykit.policies.receipts import (
    BOUNCING,
    TOLD,
    WINDOW,
    BounceWindow,
    MarkGone,
    SuppressAddress,
    effect_of,
    is_definitive,
    to_record,
    window_at,
)
from notifykit.testing import make_receipt
from notifykit.testing.clock import START

BOTH = (Purpose.MARKETING, Purpose.TRANSACTIONAL)
STRENGTH = ["sent", "deferred", "failed", "delivered", "opened", "clicked", "bounced", "unsubscribed", "complained"]


def match(kind: str, *, channel: str = "email", address: str | None = "ada@example.org", **changes) -> ReceiptMatch:
    delivery = Delivery(
        id="dlv_1",
        event_id="evt_1",
        event_type="order.shipped",
        tenant="acme",
        subscription_id="subr_1",
        subscriber_id="user:42",
        channel=channel,
        priority=Priority.NORMAL,
        state=DeliveryState.DELIVERED,
        created_at=START,
        address=address,
    )
    return ReceiptMatch(make_receipt(kind=kind, **changes), delivery)


def test_every_kind_has_a_rank():
    """The order does not depend on when a receipt arrives."""
    ranks = {kind.value: to_record(make_receipt(kind=kind)).rank for kind in ReceiptKind}

    assert STRENGTH == sorted(ranks, key=ranks.__getitem__)
    assert len(STRENGTH) == len(set(ranks.values()))


def test_what_was_read_has_arrived():
    """A receipt that could not be without the message confirms an uncertain delivery."""
    confirming = {kind.value for kind in ReceiptKind if to_record(make_receipt(kind=kind)).confirms}

    assert {"delivered", "opened", "clicked", "unsubscribed", "complained"} == confirming


def suppressed(purposes: tuple[Purpose, ...], reason: str, channel: str = "email") -> SuppressAddress:
    return SuppressAddress(
        channel=channel,
        address="ada@example.org",
        purposes=purposes,
        reason=reason,
        evidence="postmark:report-1",
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            match("bounced", permanent=True, code="5.1.1"),
            MarkGone(channel="email", address="ada@example.org", reason="postmark_5.1.1"),
        ),
        (
            match("bounced", permanent=True),
            MarkGone(channel="email", address="ada@example.org", reason="postmark_bounced"),
        ),
        (match("bounced"), None),
        (match("failed", permanent=True), None),
        (match("bounced", permanent=True, address=None), None),
        (match("complained"), suppressed(BOTH, "complaint")),
        (match("unsubscribed"), suppressed((Purpose.MARKETING,), "unsubscribe")),
        (match("unsubscribed", channel="sms"), suppressed(BOTH, "stop", "sms")),
        (match("complained", channel="sms"), suppressed(BOTH, "complaint", "sms")),
        *((match(kind), None) for kind in ("sent", "deferred", "failed", "delivered", "opened", "clicked")),
    ],
)
def test_effects(given, expected):
    """Only definitive codes, complaints and unsubscribing change anything; security is never suppressed."""
    assert expected == effect_of(given)


def test_the_events_about_receipts_are_operational():
    """They are made only for tenants that name them."""
    assert {BOUNCING, *TOLD.values()} <= OPERATIONAL_TYPES


def window(bounced: int, others: int, kind: str = "delivered") -> BounceWindow:
    found = BounceWindow(since=START)
    receipts = [make_receipt(kind="bounced", permanent=True)] * bounced + [make_receipt(kind=kind)] * others
    for receipt in receipts:
        found = found.counting(receipt)
    return found


@pytest.mark.parametrize(
    ("bounced", "delivered", "expected"),
    [
        (19, 0, False),
        (20, 0, True),
        (20, 46, True),
        (20, 47, False),
        (300, 700, False),
        (301, 699, True),
        (0, 0, False),
    ],
)
def test_an_unusual_share_is_our_fault(bounced, delivered, expected):
    """From twenty definitive bounces on, if they are more than three in ten."""
    assert expected == window(bounced, delivered).is_unusual


@pytest.mark.parametrize(
    ("kind", "total"), [("delivered", 2), ("failed", 2), ("bounced", 2), ("opened", 1), ("sent", 1), ("complained", 1)]
)
def test_only_what_became_of_a_message_counts(kind, total):
    """A message may be opened any number of times; a bounce that is not definitive is no bounce here."""
    assert (1, total) == (window(1, 1, kind).bounced, window(1, 1, kind).total)
    assert is_definitive(make_receipt(kind="bounced", permanent=True))


def test_a_window_leaves_half_of_its_counts_to_the_next():
    """An alarm does not end while its cause goes on, and ends when it is over."""
    full = window(50, 10)
    times = [timedelta(0), WINDOW - timedelta(seconds=1), WINDOW, 2 * WINDOW]

    found = [window_at(full, START + time) for time in times]

    assert [(50, 60), (50, 60), (25, 30), (0, 0)] == [(each.bounced, each.total) for each in found]
    assert [START, START, START + WINDOW, START + 2 * WINDOW] == [each.since for each in found]
    assert BounceWindow(since=START) == window_at(None, START)


def test_counting_does_not_depend_on_the_order():
    """Receipts of a batch come in any order."""
    receipts = [make_receipt(kind="bounced", permanent=True), make_receipt(kind="delivered"), make_receipt(kind="sent")]
    found = set()
    for order in itertools.permutations(receipts):
        counted = BounceWindow(since=START)
        for receipt in order:
            counted = counted.counting(receipt)
        found.add((counted.bounced, counted.total))

    assert {(1, 2)} == found
