"""People's digests as the rules see them: whose digest it is, what the clock on the wall shows, what is explained."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifykit.models.delivery import Claim, DigestEntry, EventDetails, Priority
from notifykit.models.digest import Digest
from notifykit.models.event import TakenEvent
from notifykit.models.event_type import StoredEventType
from notifykit.models.preferences import Purpose, Scope, Selector, Setting
from notifykit.models.quiet_hours import QuietHours, Weekday, Window
from notifykit.models.recipient import TenantPreferences
from notifykit.models.steps import Step
from notifykit.models.unreadable import UnreadableRecipient
from notifykit.policies.audience import NoticePlan, clock_of, decide_claimed, notice_plan, plan_person, quiet_for
from notifykit.policies.contact import Code, Verdict, person_of
from notifykit.policies.decide import SEND, Hold, Join
from notifykit.policies.explain import explain_steps
from notifykit.testing import make_recipient

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MAIL = "ada@example.org"
COMMENTS = Digest("comments", group="data.thread", window=HOUR)
STEPS = (Step("in_app"), Step("email"))
NIGHT = QuietHours(windows=[Window(days=list(Weekday), from_="12:30", to="14:00")], exceptions=["alarms"])


def plan_of(digest: Digest | None = COMMENTS, body: bytes | None = None, **changes: Any) -> NoticePlan:
    """Return what is the same for all recipients of an event."""
    declared = StoredEventType(id="a.b", steps=STEPS, digest=digest)
    details = EventDetails(category=changes.pop("category", None), purpose=changes.pop("purpose", None))
    return notice_plan("a.b", details, declared, expires_at=None, body=body, **changes)


def daily(channel: str | None = "email") -> tuple[Setting, ...]:
    """Return the setting of a person who wants a digest."""
    return (Setting(scope=Scope.RECIPIENT, select=Selector(channel=channel), value="digest:daily"),)


def claim(digest: str | None = None) -> Claim:
    """Return a claim on a person's delivery."""
    return Claim(
        *("dlv_2", 1, 1, 0, 0, "acme", "evt_0", "a.b", "", "user:42", "email", Priority.NORMAL, None, NOW, None),
        *(NOW + HOUR, b"{}", 1, MAIL),
        digest=digest,
    )


def test_the_group_is_read_once_for_all_recipients() -> None:
    """From the event's body, for a type whose digest groups."""
    assert '"7"' == plan_of(body=b'{"data":{"thread":"7"}}').group
    assert plan_of(body=b"{}").group is None
    assert plan_of().group is None
    assert plan_of(Digest("a", window=HOUR), b"not read").group is None


def planned(plan: NoticePlan, **changes: Any) -> list[tuple[str, str, str | None, str | None]]:
    """Return channel, state, reason and digest of each delivery to a person."""
    event = TakenEvent("evt_" + "0" * 26, 1, "acme", "a.b", None, Priority.NORMAL, None, NOW, None, b"{}", None, 1)
    made = plan_person(event, plan, "user:42", make_recipient(**changes), None, now=NOW)
    return [(d.channel, d.state.value, d.reason, d.digest and d.digest.name) for d in made]


@pytest.mark.parametrize(
    ("plan", "changes", "expected"),
    [
        (plan_of(body=b'{"data":{"thread":7}}'), {}, ("held", "digest", "comments")),
        (plan_of(body=b"{}"), {}, ("pending", "digest_group_missing", None)),
        (plan_of(body=b"{}"), {"settings": daily(None)}, ("held", "digest", "daily")),
        (plan_of(None), {}, ("pending", None, None)),
        (plan_of(None, purpose=Purpose.SECURITY), {"settings": daily(None)}, ("pending", None, None)),
        (plan_of(collects=False), {"settings": daily(None)}, ("pending", None, None)),
    ],
)
def test_a_digest_collects_what_is_mailed_but_not_the_inbox(
    plan: NoticePlan, changes: dict[str, Any], expected: tuple[str, str | None, str | None]
) -> None:
    """An inbox is a list already; what cannot be collected is sent by itself, and says why."""
    assert [("in_app", "pending", None, None), ("email", *expected)] == planned(plan, **changes)


def test_what_waits_for_another_reason_keeps_it() -> None:
    """A delivery that no digest collects waits for the end of quiet hours."""
    noon = QuietHours(windows=[Window(days=list(Weekday), from_="11:00", to="13:00")])

    assert [(channel, "held", "quiet_hours", None) for channel in ("in_app", "email")] == planned(
        plan_of(body=b"{}"), quiet_hours=noon
    )


def test_the_clock_on_the_wall_is_the_persons_then_the_tenants() -> None:
    """And UTC if no zone is known."""
    tokyo = TenantPreferences(tenant="acme", zone="Asia/Tokyo")

    nowhere = TenantPreferences(tenant="acme")
    cases = (("Europe/Berlin", tokyo), (None, tokyo), (None, None), (None, nowhere))
    assert ["Europe/Berlin", "Asia/Tokyo", "UTC", "UTC"] == [
        str(clock_of(make_recipient(zone=zone), tenant)) for zone, tenant in cases
    ]


def test_quiet_hours_count_unless_the_category_is_an_exception() -> None:
    """As when an event is sent by itself."""
    person = person_of(make_recipient(quiet_hours=NIGHT), None)

    assert person.quiet_hours is quiet_for(person, plan_of().notice)
    assert quiet_for(person, plan_of(category="alarms").notice) is None


@pytest.mark.parametrize(
    ("plan", "settings", "of", "expected"),
    [
        (plan_of(body=b'{"data":{"thread":7}}'), (), claim(), "comments"),
        (plan_of(body=b"{}"), (), claim(), SEND),
        (plan_of(body=b"{}"), daily(), claim(), "daily"),
        (plan_of(None), daily(), claim(), "daily"),
        (plan_of(None), (), claim(), SEND),
        (plan_of(), daily(), claim("comments"), SEND),
        (plan_of(None), daily(), None, SEND),
        (plan_of(None, purpose=Purpose.SECURITY), daily(), claim(), SEND),
        (plan_of(COMMENTS, b'{"data":{"thread":7}}', collects=False), daily(), claim(), SEND),
    ],
)
def test_what_wakes_is_collected_once(plan: NoticePlan, settings: Any, of: Claim | None, expected: object) -> None:
    """In the digest that the person chose, else in that of the type; what a digest sends is not collected again."""
    decision = decide_claimed(plan, "email", MAIL, make_recipient(settings=settings), None, claim=of, now=NOW)

    if isinstance(decision, Join):
        assert expected == decision.entry.name
        assert isinstance(decision.entry, DigestEntry)
    else:
        assert expected == decision


def test_a_digest_waits_for_quiet_hours_and_for_a_record_that_can_be_read() -> None:
    """Like any other delivery."""
    quiet = make_recipient(quiet_hours=NIGHT)
    damaged = UnreadableRecipient(id="user:42", tenant="acme", created_at=NOW, updated_at=NOW)

    waits, unread = (
        decide_claimed(plan_of(), "email", MAIL, person, None, claim=claim("comments"), now=NOW + HOUR)
        for person in (quiet, damaged)
    )

    assert Hold(NOW + 2 * HOUR, "quiet_hours") == waits
    assert isinstance(unread, Hold)


def test_a_digest_is_explained() -> None:
    """Of the type or of the person, with the time at which it is sent; the inbox gets each event at once."""
    in_app, mail = explain_steps(plan_of(), make_recipient(quiet_hours=NIGHT), None, now=NOW)
    chosen = explain_steps(plan_of(None), make_recipient(settings=daily(None)), None, now=NOW)

    assert [(Verdict.SEND, Code.OK, NOW), (Verdict.DIGEST, Code.DIGEST, NOW + 2 * HOUR)] == [
        (step.verdict, step.code, step.at) for step in (in_app, mail)
    ]
    assert [(Code.OK, NOW), (Code.DIGEST, NOW + 20 * HOUR)] == [(step.code, step.at) for step in chosen]
    assert Code.DIGEST is mail.trail[-1].code
