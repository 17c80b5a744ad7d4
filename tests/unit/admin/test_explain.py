"""Why a person was told of an event or was not: what an explanation says, and what it leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from notifykit import Digest, Step, Throttle, event
from notifykit.testing import Outbox

ACME, ADA = "acme", "user:ada"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@event("alert.raised", steps=[Step("email")], throttle=Throttle(1, per=HOUR))
@attrs.frozen
class AlertRaised:
    text: str = "x"


@event("comment.liked", steps=[Step("email")], digest=Digest("likes", window=HOUR))
@attrs.frozen
class CommentLiked:
    text: str = "x"


@pytest.fixture
def outbox() -> Iterator[Outbox]:
    with Outbox(start=NOON, event_types=[AlertRaised, CommentLiked]) as outbox:
        outbox.kit.blocking.recipients.save(ADA, tenant=ACME, email="ada@example.org")
        yield outbox


def test_a_channel_without_a_step_is_said(outbox: Outbox) -> None:
    """An event that is only for channels that its type has no step over tells nobody."""
    receipt = outbox.kit.publish(AlertRaised(), tenant=ACME, to=ADA, channels=["sms"])
    outbox.deliver()

    told = outbox.kit.blocking.explain(ADA, receipt.event_id, tenant=ACME)

    assert (("sms",), ("sms",), (), ()) == (told.channels, told.stepless, told.deliveries, told.steps)
    assert [
        "only over sms, as the event says",
        "sms: not sent, alert.raised has no step over this channel",
    ] == [line.strip() for line in str(told).splitlines()[2:]]


def test_an_event_has_the_steps_that_the_program_declares(outbox: Outbox) -> None:
    """Also while nobody has stored the type: so it is planned."""
    receipt = outbox.kit.publish(AlertRaised(), tenant=ACME, to=ADA)

    of_event = outbox.kit.blocking.explain(ADA, receipt.event_id, tenant=ACME)
    of_type = outbox.kit.blocking.explain(ADA, "alert.raised", tenant=ACME)

    assert ["email"] == [step.channel for step in of_event.steps]
    assert of_type.steps == of_event.steps


def test_a_frequency_cap_is_said(outbox: Outbox) -> None:
    """Whether it has a token left is only known when the event is planned."""
    of_type = outbox.kit.blocking.explain(ADA, AlertRaised, tenant=ACME)
    of_digest = outbox.kit.blocking.explain(ADA, CommentLiked, tenant=ACME)

    assert [Throttle(1, per=HOUR)] == [step.throttle for step in of_type.steps]
    assert ", unless the cap of 1 in 1:00:00 is used up (ok)" in str(of_type)
    assert [None] == [step.throttle for step in of_digest.steps]


def test_the_first_event_of_a_digest_is_told_once(outbox: Outbox) -> None:
    """The delivery of the digest has the id of its first event, and is not that event's own."""
    first = outbox.kit.publish(CommentLiked(), tenant=ACME, to=ADA)
    outbox.kit.publish(CommentLiked(), tenant=ACME, to=ADA)
    outbox.deliver()

    held = outbox.kit.blocking.explain(ADA, first.event_id, tenant=ACME)
    outbox.advance(HOUR)
    sent = outbox.kit.blocking.explain(ADA, first.event_id, tenant=ACME)

    assert [("held", "digest")] == [(each.state.value, each.reason) for each in held.deliveries]
    assert ["delivered"] == [each.state.value for each in sent.deliveries]
