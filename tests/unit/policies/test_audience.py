"""Whom an event is told to, over which channels and when; what is decided anew; and how that is explained."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifykit.models.addresses import AddressState, Suppression
from notifykit.models.audience import Audience
from notifykit.models.delivery import NO_DETAILS, Claim, DeliveryState, EventDetails, NewDelivery, Priority
from notifykit.models.digest import Digest
from notifykit.models.event import TakenEvent
from notifykit.models.event_type import StoredEventType
from notifykit.models.preferences import Purpose, Scope, Selector, Setting
from notifykit.models.quiet_hours import QuietHours, Weekday, Window
from notifykit.models.recipient import Recipient, RecipientAddress, TenantPreferences
from notifykit.models.steps import Step, Unless
from notifykit.models.subscription import PEOPLE
from notifykit.models.throttle import Throttle
from notifykit.models.unreadable import UnreadableRecipient, UnreadableTenantPreferences
from notifykit.policies.audience import (
    FALLBACK_LOOK,
    SENTENCES,
    NoticePlan,
    addressees,
    decide_claimed,
    named_page,
    notice_plan,
    plan_person,
    takes_token,
    takes_token_later,
)
from notifykit.policies.contact import REASONS, Code, Verdict
from notifykit.policies.decide import HOLD, SEND, Cancel, Expire, Hold, Suppress
from notifykit.policies.explain import explain_steps, sentence_for
from notifykit.testing.builders import make_delivery, make_event, make_id, make_recipient

#: A Monday.
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ADA, MAIL = "user:ada", "ada@example.org"
NOON = QuietHours(windows=(Window(days=(Weekday.MON,), from_="11:00", to="14:00"),))
STEPS = (Step("in_app"), Step("email", after=HOUR, unless={"read"}), Step("sms", fallback=True))


def taken(**changes: Any) -> TakenEvent:
    """Return an event that a planner has taken."""
    event = TakenEvent(
        make_id("evt_"), 1, "acme", "comment.created", None, Priority.NORMAL, "key", NOW, None, b"{}", None, 1
    )
    return event._replace(**changes)


def planned(
    recipient: Recipient | None,
    steps: tuple[Step, ...] = STEPS,
    details: EventDetails = NO_DETAILS,
    tenant: TenantPreferences | None = None,
    **changes: Any,
) -> list[NewDelivery]:
    """Return the deliveries of an event to a recipient."""
    event = taken(**changes)
    plan = of_type(steps, details, expires_at=event.expires_at)
    return plan_person(event, plan, ADA, recipient, tenant, now=NOW)


def of_type(
    steps: tuple[Step, ...] = STEPS,
    details: EventDetails = NO_DETAILS,
    *,
    expires_at: datetime | None = None,
    **fields: Any,
) -> NoticePlan:
    declared = StoredEventType(id="comment.created", category="comments", steps=steps, **fields)
    return notice_plan("comment.created", details, declared, expires_at=expires_at)


def ada(*channels: str, **changes: Any) -> Recipient:
    """Return a recipient with an address on each channel."""
    addresses = {
        "email": RecipientAddress(channel="email", address=MAIL),
        "sms": RecipientAddress(channel="sms", address="+4915112345678"),
        "push": RecipientAddress(channel="push", address="token"),
    }
    return make_recipient(ADA, **{"addresses": tuple(addresses[name] for name in channels), **changes})


def brief(deliveries: list[NewDelivery]) -> list[tuple[str, str | None, str, str | None, timedelta]]:
    """Return of each delivery its channel, address, state, reason, and how long it waits."""
    return [(d.channel, d.address, d.state.value, d.reason, d.due_at - NOW) for d in deliveries]


NOTHING = timedelta(0)


# ── what is the same for all ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("steps", "channels", "available", "expected"),
    [
        ((), (), None, ["in_app", "email"]),
        ((), (), {"email"}, ["email"]),
        ((), ("sms",), {"email"}, ["sms"]),
        (STEPS, (), {"email"}, ["in_app", "email", "sms"]),
        (STEPS, ("sms", "push"), None, ["sms"]),
    ],
)
def test_the_steps_of_an_event(
    steps: tuple[Step, ...], channels: tuple[str, ...], available: set[str] | None, expected: list[str]
) -> None:
    """Those of its type, which the publisher may narrow; without any the publisher's channels, or the default."""
    declared = StoredEventType(id="a.b", steps=steps)
    plan = notice_plan("a.b", EventDetails(), declared, expires_at=None, channels=channels, available=available)

    assert expected == [step.channel for step in plan.steps]
    assert plan.is_default == (not steps and not channels)
    assert expected[:-1] == [step.channel for step in plan.before(plan.steps[-1])]


def test_what_the_publisher_said_comes_before_the_type() -> None:
    """The event tells category and purpose if its publisher knew them; else the stored type does, or the default."""
    declared = StoredEventType(id="a.b", category="orders", purpose="marketing")
    of_event = notice_plan("a.b", EventDetails(category="x", purpose="security"), declared, expires_at=None)
    of_type_ = notice_plan("a.b", EventDetails(topic="t"), declared, expires_at=NOW)
    unknown = notice_plan("a.b", EventDetails(purpose="strange"), None, expires_at=None)

    assert ("x", Purpose.SECURITY) == (of_event.notice.category, of_event.notice.purpose)
    assert ("orders", Purpose.MARKETING, "t", NOW) == (
        of_type_.notice.category,
        of_type_.notice.purpose,
        of_type_.notice.topic,
        of_type_.notice.expires_at,
    )
    assert ("general", Purpose.TRANSACTIONAL) == (unknown.notice.category, unknown.notice.purpose)


def test_named_recipients_come_in_pages() -> None:
    """Before those who are subscribed; if the last one was erased meanwhile, they begin anew, under the same ids."""
    audience = Audience(to=["a", "b", "c"])

    assert (("a", "b"), "@b") == named_page(audience, None, 2)
    assert (("c",), None) == named_page(audience, "@b", 2)
    assert (("a", "c"), None) == named_page(Audience(to=["a", "c"]), "@b", 2)
    assert (("a", "b", "c"), None) == named_page(audience, None, 3)
    assert ((), None) == named_page(audience, "sub_1", 2)
    assert ((), None) == named_page(Audience(channels="email"), None, 2)


def test_addressees_are_named_once() -> None:
    """Who is named is not told again by a subscription, also on another page."""
    audience = Audience(to=[ADA, "user:bob", ADA])
    event = make_event()
    matched = [make_delivery(event, who, channel=PEOPLE) for who in ("user:eve", ADA, "user:eve")]

    first = addressees(audience, audience.to, matched)
    second = addressees(audience, (), matched)

    assert {ADA: "", "user:bob": "", "user:eve": "sub_user:eve"} == first
    assert {"user:eve": "sub_user:eve"} == second


# ── planning ───────────────────────────────────────────────────────────────────────────────────


def test_each_step_and_address_is_a_delivery() -> None:
    """A later step is held, a fallback too if a step before it may arrive, and what is refused says why."""
    two = (*ada("email", "sms").addresses, RecipientAddress(channel="email", address="a@example.org"))
    made = planned(ada(addresses=two, settings=(_off("push"),)), (*STEPS, Step("push")))

    assert [
        ("in_app", ADA, "pending", None, NOTHING),
        ("email", MAIL, "held", "later_step", HOUR),
        ("email", "a@example.org", "held", "later_step", HOUR),
        ("sms", "+4915112345678", "held", "fallback", FALLBACK_LOOK),
        ("push", "", "suppressed", "turned_off", NOTHING),
    ] == brief(made)
    assert 5 == len({delivery.id for delivery in made})
    assert {None} == {delivery.ordering_key for delivery in made}
    assert {ADA} == {delivery.subscriber_id for delivery in made}


def _off(channel: str) -> Setting:
    return Setting(scope=Scope.RECIPIENT, select=Selector(channel=channel), value="off")


def test_a_fallback_runs_at_once_if_every_step_before_it_is_refused() -> None:
    """Or after its own time."""
    steps = (Step("email"), Step("sms", fallback=True), Step("push", fallback=True, after=HOUR))
    refused = ada("email", "sms", "push", settings=(_off("email"),))

    assert [
        ("email", MAIL, "suppressed", "turned_off", NOTHING),
        ("sms", "+4915112345678", "pending", None, NOTHING),
        ("push", "token", "held", "fallback", HOUR),
    ] == brief(planned(refused, steps))


def test_only_addresses_that_may_be_used_are() -> None:
    """The others of the channel are left out, and a channel without any says why."""
    states = (AddressState.GONE, AddressState.ACTIVE, AddressState.ACTIVE)
    addresses = tuple(
        RecipientAddress(channel="email", address=f"{number}@example.org", state=state)
        for number, state in enumerate(states)
    )
    suppression = Suppression(channel="email", address="1@example.org")
    some = ada(addresses=addresses, suppressions=(suppression,))
    none = ada(addresses=addresses[:1])

    assert [("email", "2@example.org", "pending", None, NOTHING)] == brief(planned(some, (Step("email"),)))
    assert [("email", "0@example.org", "suppressed", "address_gone", NOTHING)] == brief(planned(none, (Step("email"),)))


def test_a_type_without_steps_leaves_channels_without_an_address_out() -> None:
    """But not what the person has turned off."""
    assert ["in_app"] == [new.channel for new in planned(ada(), ())]
    assert [("in_app", "pending"), ("email", "suppressed")] == [
        (new.channel, new.state.value) for new in planned(ada("email", settings=(_off("email"),)), ())
    ]


def test_quiet_hours_hold_and_expiry_ends() -> None:
    """A step that comes later is only held for its own time: its quiet hours are looked at then."""
    quiet = ada("email", quiet_hours=NOON)

    assert [
        ("in_app", ADA, "held", "quiet_hours", 2 * HOUR),
        ("email", MAIL, "held", "later_step", HOUR),
        ("sms", "", "suppressed", "no_address", NOTHING),
    ] == brief(planned(quiet))
    assert {("expired", "expired_in_quiet_hours")} == {
        (new.state.value, new.reason) for new in planned(quiet, STEPS[:2], expires_at=NOW + HOUR)
    }
    assert {("expired", "expired")} == {
        (new.state.value, new.reason) for new in planned(ada("email"), STEPS[:2], expires_at=NOW)
    }


def test_a_tenants_settings_and_zone_count() -> None:
    """A lock of the tenant, and its zone for who has none."""
    lock = Setting(scope=Scope.TENANT, select=Selector(channel="email"), value="off", locked=True)
    tenant = TenantPreferences(tenant="acme", settings=(lock,), zone="Europe/Berlin")

    made = planned(ada("email", quiet_hours=NOON), (Step("in_app"), Step("email")), tenant=tenant)

    assert [("held", "quiet_hours", HOUR), ("suppressed", "locked_off", NOTHING)] == [each[2:] for each in brief(made)]


@pytest.mark.parametrize(
    ("recipient", "code"),
    [
        (None, "unknown_recipient"),
        (UnreadableRecipient(id=ADA, tenant="acme", created_at=NOW, updated_at=NOW), "recipient_unreadable"),
    ],
)
def test_who_cannot_be_read_is_one_delivery_with_a_code(recipient: Recipient | None, code: str) -> None:
    """Over the first step; none at all if the event has no steps left."""
    assert [("in_app", ADA, "suppressed", code, NOTHING)] == brief(planned(recipient))
    assert [] == plan_person(taken(), of_type()._replace(steps=()), ADA, recipient, None, now=NOW)


def test_preferences_of_the_tenant_that_cannot_be_read_hold_what_they_may_forbid() -> None:
    """What the person has set does not decide either: the tenant may have locked it.  Later steps wait as usual."""
    unread = UnreadableTenantPreferences(tenant="acme")
    recipient = ada("email", quiet_hours=NOON, settings=(_off("in_app"),))
    held = ("held", "preferences_unreadable", HOLD)

    made = planned(recipient, tenant=unread)
    security = planned(recipient, (Step("in_app"),), EventDetails(purpose="security"), unread)
    expired = planned(recipient, (Step("in_app"),), tenant=unread, expires_at=NOW)

    assert [
        ("in_app", ADA, *held),
        ("email", MAIL, "held", "later_step", HOUR),
        ("sms", "", "suppressed", "no_address", NOTHING),
    ] == brief(made)
    assert ["pending"] == [each.state.value for each in security]
    assert ["expired"] == [each.reason for each in expired]


@pytest.mark.parametrize(
    ("purpose", "expires_at", "expected"),
    [
        ("transactional", None, Hold(NOW + HOLD, "preferences_unreadable")),
        ("marketing", None, Hold(NOW + HOLD, "preferences_unreadable")),
        ("transactional", NOW, Expire("expired")),
        ("security", None, SEND),
    ],
)
def test_a_claim_waits_until_the_preferences_of_the_tenant_can_be_read(
    purpose: str, expires_at: datetime | None, expected: Any
) -> None:
    """Only security does not depend on them."""
    plan = of_type((Step("email"),), EventDetails(purpose=purpose), expires_at=expires_at)
    unread = UnreadableTenantPreferences(tenant="acme")

    assert expected == decide_claimed(plan, "email", MAIL, ada("email"), unread, now=NOW)


def test_the_actor_is_told_only_if_the_type_says_so() -> None:
    """Whoever caused the event knows of it."""
    details = EventDetails(actor=ADA)
    told = of_type(STEPS[:1], details, tells_actor=True)

    assert [] == planned(ada(), details=details)
    assert 1 == len(plan_person(taken(), told, ADA, ada(), None, now=NOW))


# ── waking ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("channel", "recipient", "more", "expected"),
    [
        ("email", ada("email"), {}, SEND),
        ("push", ada("push"), {}, SEND),  # the type has lost the step
        ("email", None, {}, Cancel("recipient_deleted")),
        (
            "email",
            UnreadableRecipient(id=ADA, tenant="acme", created_at=NOW, updated_at=NOW),
            {},
            Hold(NOW + HOLD, "recipient_unreadable"),
        ),
        ("email", ada("email"), {"marks": {Unless.READ, Unless.SEEN}}, Cancel("read")),
        ("email", ada("email"), {"marks": {Unless.SEEN}}, SEND),
        (
            "sms",
            ada("sms"),
            {"earlier": [DeliveryState.DELIVERED, DeliveryState.HELD]},
            Cancel("earlier_step_delivered"),
        ),
        (
            "sms",
            ada("sms"),
            {"earlier": [DeliveryState.DEAD, DeliveryState.HELD]},
            Hold(NOW + FALLBACK_LOOK, "fallback"),
        ),
        ("sms", ada("sms"), {"earlier": [DeliveryState.DEAD]}, SEND),
        ("email", ada("email", settings=(_off("email"),)), {}, Suppress("turned_off")),
        ("email", ada("sms"), {}, Suppress("address_removed")),
        ("email", ada("email", quiet_hours=NOON), {}, Hold(NOW + 2 * HOUR, "quiet_hours")),
        ("email", ada("email", quiet_hours=NOON), {"expires_at": NOW + HOUR}, Expire("expired_in_quiet_hours")),
        ("email", ada("email"), {"expires_at": NOW}, Expire("expired")),
    ],
)
def test_the_decision_of_a_claim(
    channel: str, recipient: Recipient | None, more: dict[str, Any], expected: Any
) -> None:
    """It is taken from what is true now, for the one address that the delivery goes to."""
    plan = of_type(expires_at=more.pop("expires_at", None))
    address = {"email": MAIL, "sms": "+4915112345678", "push": "token"}[channel]

    assert expected == decide_claimed(plan, channel, address, recipient, None, now=NOW, **more)


def test_an_item_that_was_seen_can_be_enough() -> None:
    """Who reads has also seen."""
    plan = of_type((Step("in_app"), Step("email", after=HOUR, unless="seen")))
    for marks, code in (({Unless.SEEN}, "seen"), ({Unless.READ}, "read")):
        assert Cancel(code) == decide_claimed(plan, "email", MAIL, ada("email"), None, marks=marks, now=NOW)


def test_an_address_on_the_tenants_list_is_not_used() -> None:
    """It is left out at planning, refused when it wakes, and shown by what explains; security asks for its purpose."""
    listed = [Suppression(channel="email", address=MAIL, purposes=(Purpose.MARKETING, Purpose.TRANSACTIONAL))]
    steps, recipient = (Step("email"),), ada("email")
    security = of_type(steps, EventDetails(purpose="security"))
    unread = UnreadableTenantPreferences(tenant="acme")

    refused = plan_person(taken(), of_type(steps), ADA, recipient, None, listed=listed, now=NOW)
    (explained,) = explain_steps(of_type(steps), recipient, None, listed, now=NOW)

    assert [("email", MAIL, "suppressed", "suppressed", NOTHING)] == brief(refused)
    assert (Code.SUPPRESSED, None) == (explained.code, explained.at)
    for tenant in (None, unread):
        assert Suppress("suppressed") == decide_claimed(
            of_type(steps), "email", MAIL, recipient, tenant, listed=listed, now=NOW
        )
    assert SEND == decide_claimed(security, "email", MAIL, recipient, None, listed=listed, now=NOW)


def test_another_address_of_the_channel_does_not_help() -> None:
    """Each delivery goes to its own address, or nowhere."""
    old = RecipientAddress(channel="email", address="old@example.org", state=AddressState.GONE)
    both = ada(addresses=(old, *ada("email").addresses))

    assert Suppress("address_gone") == decide_claimed(of_type(), "email", old.address, both, None, now=NOW)


# ── explaining ─────────────────────────────────────────────────────────────────────────────────


def test_each_step_is_explained_with_its_trail() -> None:
    """Where and when it would be sent, and the rules that were tried up to the one that decided."""
    recipient = ada("email", "push", quiet_hours=NOON, settings=(_off("push"),))
    in_app, mail, sms, push = explain_steps(of_type((*STEPS, Step("push"))), recipient, None, now=NOW)

    assert (Verdict.DEFER, Code.QUIET_HOURS, NOW + 2 * HOUR, (ADA,)) == (
        in_app.verdict,
        in_app.code,
        in_app.at,
        in_app.addresses,
    )
    assert NOW + 2 * HOUR == mail.at  # an hour later it is still quiet
    assert (None, Code.NO_ADDRESS, True, ()) == (sms.at, sms.code, sms.fallback, sms.addresses)
    assert [Code.EXPIRED, Code.LOCKED_OFF, Code.TURNED_OFF] == [rule.code for rule in push.trail]
    assert [False, False, True] == [rule.applies for rule in push.trail]
    assert REASONS[Code.TURNED_OFF].sentence == push.sentence


def test_security_is_explained_by_its_own_rules() -> None:
    """What the person has set is not asked."""
    plan = of_type((Step("email"),), EventDetails(purpose="security"))
    (step,) = explain_steps(plan, ada("email", settings=(_off("email"),), quiet_hours=NOON), None, now=NOW)

    assert (Code.OK, NOW) == (step.code, step.at)
    assert Code.TURNED_OFF not in [rule.code for rule in step.trail]


def test_every_code_has_a_sentence() -> None:
    """Those of the decision, and those of steps; a provider's code has none."""
    assert all(sentence_for(code) for code in [*Code, *SENTENCES])
    assert "" == sentence_for("smtp_550")


# ── frequency caps ─────────────────────────────────────────────────────────────────────────────

CAP = Throttle(1, HOUR)


def test_a_security_notification_has_no_cap() -> None:
    """Whether the event or its type says so; without a type there is none either."""
    assert of_type(throttle=CAP).throttle is CAP
    assert of_type(throttle=CAP, purpose="security").throttle is None
    assert of_type(details=EventDetails(purpose="security"), throttle=CAP).throttle is None
    assert notice_plan("comment.created", NO_DETAILS, None, expires_at=None).throttle is None


@pytest.mark.parametrize(
    ("throttle", "channels", "changes", "taking"),
    [
        (CAP, ("in_app", "email", "push"), {}, ["email", "push"]),
        (Throttle(1, HOUR, channels=["push"]), ("in_app", "email", "push"), {}, ["push"]),
        (None, ("email",), {}, []),
        (CAP, ("email", "push"), {"quiet_hours": NOON}, ["email", "push"]),
        (CAP, ("email",), {"settings": (_off("email"),)}, []),
        (CAP, ("email",), {"addresses": ()}, []),
    ],
)
def test_what_is_sent_now_or_after_quiet_hours_takes_a_token(
    throttle: Throttle | None, channels: tuple[str, ...], changes: dict[str, Any], taking: list[str]
) -> None:
    """What is refused, or waits for another reason, takes none."""
    recipient = ada("email", "push", **changes)
    plan = of_type(tuple(map(Step, channels)), throttle=throttle)

    made = plan_person(taken(), plan, ADA, recipient, None, now=NOW)

    assert taking == [new.channel for new in made if takes_token(plan, new)]


@pytest.mark.parametrize("channels", [("email", "sms"), ("sms",)])
def test_later_steps_take_no_token_when_they_are_planned(channels: tuple[str, ...]) -> None:
    """A fallback with a cap is claimed before it is sent, also if no step before it may arrive."""
    plan = of_type((Step("email", after=HOUR), Step("sms", fallback=True)), throttle=CAP)

    made = plan_person(taken(), plan, ADA, ada(*channels), None, now=NOW)

    waits = FALLBACK_LOOK if "email" in channels else NOTHING
    assert ("sms", "held", "fallback", waits) == (made[-1].channel, *brief(made)[-1][2:])
    assert not any(takes_token(plan, new) for new in made)


def test_what_a_digest_collects_takes_no_token() -> None:
    """The digest disturbs once."""
    plan = of_type((Step("email"),), throttle=CAP, digest=Digest("daily", at="08:00"))
    (new,) = plan_person(taken(), plan, ADA, ada("email"), None, now=NOW)

    assert new.digest is not None
    assert not takes_token(plan, new)


@pytest.mark.parametrize(
    ("channel", "changes", "decision", "expected"),
    [
        ("email", {}, None, True),
        ("email", {}, Hold(NOW, "quiet_hours"), True),
        ("email", {}, Cancel("read"), False),
        ("email", {}, Suppress("muted"), False),
        ("email", {"fence": 2}, None, False),
        ("email", {"digest": "daily"}, None, False),
        ("sms", {}, Hold(NOW, "fallback"), True),
        ("push", {}, None, False),
        ("chat", {}, None, False),
        ("in_app", {}, None, False),
    ],
)
def test_the_first_claim_of_a_later_step_takes_a_token(
    channel: str, changes: dict[str, Any], decision: Any, expected: bool
) -> None:
    """Unless it is not sent; other steps took theirs when they were planned."""
    later = Step("in_app", after=HOUR), Step("email", after=HOUR), Step("sms", fallback=True), Step("push")
    claim = Claim(
        make_id("dlv_"),
        1,
        1,
        0,
        0,
        "acme",
        make_id("evt_"),
        "comment.created",
        "",
        ADA,
        channel,
        Priority.NORMAL,
        None,
        NOW,
        None,
        NOW,
        b"{}",
        1,
        MAIL,
    )._replace(**changes)

    assert expected == takes_token_later(of_type(later, throttle=CAP), claim, decision)
    assert not takes_token_later(of_type(later), claim, decision)
