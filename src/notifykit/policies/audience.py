"""Who is told of an event, over which channels and when: from recipients and the steps of a type to deliveries.

Pure: the clock is an argument.  Each step and address becomes one delivery, with an id of its own, when the event is
planned.  What the person refuses is a delivery too (``SUPPRESSED``), so that "why did I get nothing?" has an answer.
What waits (a later step, the end of quiet hours) is held, and the decision is taken anew when it wakes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache, partial
from typing import Final, NamedTuple

import attrs

from ..codec import loads
from ..models.addresses import Suppression
from ..models.audience import Audience
from ..models.delivery import Claim, DeliveryState, DigestEntry, EventDetails, NewDelivery
from ..models.digest import Digest
from ..models.event import DEFAULT_CATEGORY, TakenEvent
from ..models.event_type import StoredEventType
from ..models.ids import delivery_id, recipient_key
from ..models.preferences import Purpose
from ..models.quiet_hours import QuietHours, zone_named
from ..models.receipt import UNCERTAIN
from ..models.recipient import Recipient, TenantPreferences
from ..models.steps import IN_APP, Step, Unless
from ..models.throttle import Throttle
from ..models.unreadable import UnreadableRecipient, UnreadableTenantPreferences
from .contact import Code, Collect, Decision, Defer, Person, Skip, decide_contact, person_of, usable_addresses
from .decide import HOLD, SEND, Cancel, Expire, Hold, Join, Suppress
from .decide import Decision as Claimed
from .digest import DIGEST, EMPTY, NO_GROUP, TOO_LATE, Collectable, collected, digest_named, enter, group_of
from .preferences import Notice
from .sms import COUNTRY_CAPPED

#: What a type without steps does, over the channels that a recipient has an address of.
DEFAULT_STEPS: Final = (Step(IN_APP), Step("email"))
#: How long a fallback waits before it looks again at the steps before it.
FALLBACK_LOOK = timedelta(minutes=1)

UNKNOWN_RECIPIENT, RECIPIENT_DELETED, RECIPIENT_UNREADABLE = (
    "unknown_recipient",
    "recipient_deleted",
    "recipient_unreadable",
)
PREFERENCES_UNREADABLE = "preferences_unreadable"
LATER_STEP, FALLBACK, EARLIER_DELIVERED = "later_step", "fallback", "earlier_step_delivered"
NO_CHANNEL, ADDRESS_REFUSED, ADDRESS_REMOVED = "no_channel", "address_refused", "address_removed"

#: What the codes mean that deliveries to people have beside those of the decision (``REASONS``).
SENTENCES: Final = {
    UNKNOWN_RECIPIENT: "There was no such recipient when the event was planned.",
    RECIPIENT_DELETED: "The recipient was removed before it could be sent.",
    RECIPIENT_UNREADABLE: "The record of the recipient cannot be read.",
    PREFERENCES_UNREADABLE: "It waits: what the tenant says for all of its people cannot be read.",
    NO_CHANNEL: "It waits for a process whose channel of this name takes addresses.",
    ADDRESS_REMOVED: "The person's address was changed or removed while it waited, so it was not sent.",
    ADDRESS_REFUSED: "The channel cannot use the address.",
    "template_failed": "It waits: its message could not be made. Correct the template, then wake what waits for it.",
    "provider_failing": "It waits: attempts over the provider's account have failed in a row.",
    UNCERTAIN: "The provider's answer was lost, so it may have arrived; it is not sent a second time.",
    LATER_STEP: "It waits: this step of the type comes later.",
    FALLBACK: "It waits: it is only sent if no step before it arrives.",
    DIGEST: "It waits for its digest, which is sent when the digest closes.",
    NO_GROUP: "It was sent by itself: the event has no value by which its digest groups.",
    TOO_LATE: "It was sent by itself: it would have been of no use any more with its digest.",
    COUNTRY_CAPPED: "There have been too many text messages to this country lately, so this one was left out.",
    EMPTY: "Nothing had been collected, so nothing was sent.",
    EARLIER_DELIVERED: "A step before it has arrived, so it was not needed.",
    Unless.READ.value: "The inbox item was read before, so it was not needed.",
    Unless.SEEN.value: "The inbox item was seen before, so it was not needed.",
}

#: How a cursor begins that is the id of a recipient named by the event; those of subscriptions begin otherwise.
_NAMED = "@"
_EXPIRED = frozenset({Code.EXPIRED, Code.EXPIRED_IN_QUIET_HOURS})
_PURPOSES = {purpose.value: purpose for purpose in Purpose}


class NoticePlan(NamedTuple):
    """What is the same for all recipients of an event.

    Attributes:
        steps: Over which channels they are told.
        is_default: Whether the type declares no steps, so that a channel without an address is left out.
        actor: The recipient who caused the event and is not told.
        digest: What collects the event's deliveries, if the type declares that.
        group: The value of the event by which that digest groups.
        collects: Whether there are digests at all.
        throttle: How many notifications of its kind a person gets, if the type limits that.
    """

    notice: Notice
    steps: tuple[Step, ...]
    is_default: bool
    actor: str | None = None
    digest: Digest | None = None
    group: str | None = None
    collects: bool = True
    throttle: Throttle | None = None

    def step(self, channel: str) -> Step | None:
        """Return the step over a channel."""
        return next((step for step in self.steps if step.channel == channel), None)

    def cap_on(self, channel: str) -> Throttle | None:
        """Return the frequency cap that a notification over a channel counts for."""
        return None if self.throttle is None or not self.throttle.counts_on(channel) else self.throttle

    def before(self, step: Step) -> tuple[Step, ...]:
        """Return the steps before another."""
        return self.steps[: self.steps.index(step)]


def notice_plan(
    type_name: str,
    details: EventDetails,
    event_type: StoredEventType | None,
    *,
    expires_at: datetime | None,
    body: bytes | None = None,
    channels: Collection[str] = (),
    available: Collection[str] | None = None,
    collects: bool = True,
) -> NoticePlan:
    """Return what is the same for all recipients of an event.

    Args:
        type_name: The event's type.
        details: What the event says of itself; what its publisher did not know is taken from the type.
        event_type: The type as it is stored.
        expires_at: When the event is of no use any more.
        body: The event as it is stored, for a type whose digest groups by a value of it.
        channels: Only these steps (see :class:`~notifykit.models.audience.Audience`).
        available: The channels that there are, for a type without steps; ``None`` for any.
        collects: Whether the store has digests.
    """
    steps = () if event_type is None else event_type.steps
    is_default = not steps
    if is_default:
        given = _steps_over(tuple(channels)) if channels else DEFAULT_STEPS
        steps = tuple(step for step in given if channels or available is None or step.channel in available)
    elif channels:
        steps = tuple(step for step in steps if step.channel in channels)
    category, purpose = details.category, details.purpose
    if event_type is not None:
        category, purpose = category or event_type.category, purpose or event_type.purpose
    digest = None if event_type is None else event_type.digest
    return NoticePlan(
        collects=collects,
        throttle=None if event_type is None or purpose == Purpose.SECURITY else event_type.throttle,
        digest=digest,
        group=None if digest is None or digest.group is None or body is None else group_of(loads(body), digest.group),
        notice=Notice(
            type=type_name,
            category=category or DEFAULT_CATEGORY,
            purpose=_PURPOSES.get(purpose or "", Purpose.TRANSACTIONAL),
            topic=details.topic,
            expires_at=expires_at,
        ),
        steps=steps,
        is_default=is_default and not channels,
        actor=None if event_type is not None and event_type.tells_actor else details.actor,
    )


@lru_cache(maxsize=256)
def _steps_over(channels: tuple[str, ...]) -> tuple[Step, ...]:
    return tuple(map(Step, channels))


# ── planning ───────────────────────────────────────────────────────────────────────────────────


def named_page(audience: Audience, cursor: str | None, most: int) -> tuple[tuple[str, ...], str | None]:
    """Return the next recipients that an event names itself, and the cursor of the page after if there are more.

    They are planned before the subscribed ones, and the cursor is the last of them that has been: another may be
    erased between two pages.
    """
    if cursor is not None and not is_among_named(cursor):
        return (), None
    last = "" if cursor is None else cursor.removeprefix(_NAMED)
    start = audience.to.index(last) + 1 if last in audience.to else 0
    page = audience.to[start : start + most]
    return page, None if start + most >= len(audience.to) else _NAMED + page[-1]


def is_among_named(cursor: str | None) -> bool:
    """Tell whether an event with this cursor has planned only recipients that it names itself."""
    return cursor is not None and cursor.startswith(_NAMED)


def addressees(audience: Audience, named: Iterable[str], matched: Iterable[NewDelivery]) -> dict[str, str]:
    """Return the recipients of one page of an event, each once, with the subscription that matched.

    Args:
        audience: The recipients that the event names itself; each is told once, whatever it is subscribed to.
        named: Those of them that are planned with this page.
        matched: The deliveries to :data:`~notifykit.models.subscription.PEOPLE` of the page.
    """
    found = dict.fromkeys(named, "")
    told = frozenset(audience.to)
    for new in matched:
        if new.subscriber_id not in told:
            found.setdefault(new.subscriber_id, new.subscription_id)
    return found


def plan_person(
    event: TakenEvent,
    plan: NoticePlan,
    recipient_id: str,
    recipient: Recipient | None,
    tenant: TenantPreferences | None,
    *,
    subscription_id: str = "",
    listed: Sequence[Suppression] = (),
    now: datetime,
) -> list[NewDelivery]:
    """Return the deliveries of an event to one recipient: for each step one to each address, or one that says why not.

    Args:
        recipient: ``None`` if the tenant has no such recipient.
        listed: What the tenant's suppression list says of the recipient's addresses.
    """
    if recipient_id == plan.actor:
        return []
    new = partial(_new_delivery, event, recipient_id, subscription_id)
    if recipient is None or isinstance(recipient, UnreadableRecipient):
        code = UNKNOWN_RECIPIENT if recipient is None else RECIPIENT_UNREADABLE
        return [new(step.channel, recipient_id, DeliveryState.SUPPRESSED, code, now) for step in plan.steps[:1]]
    is_unread = _lacks_preferences(plan, tenant)
    person = _reachable(recipient, listed) if is_unread else person_of(recipient, tenant, listed=listed)
    clock = partial(clock_of, recipient, tenant)
    made: list[NewDelivery] = []
    may_arrive = False
    for step in plan.steps:
        decision = decide_step(plan, person, step.channel, now)
        if isinstance(decision, Skip):
            if not (plan.is_default and decision.code is Code.NO_ADDRESS):
                state = DeliveryState.EXPIRED if decision.code in _EXPIRED else DeliveryState.SUPPRESSED
                made.append(new(step.channel, _first_address(person, step.channel), state, decision.code.value, now))
            continue
        is_capped = plan.cap_on(step.channel) is not None
        start = _start(step, decision, may_arrive, is_capped, now)
        if is_unread and start[1] is None:
            start = DeliveryState.HELD, PREFERENCES_UNREADABLE, now + HOLD
        planned = [
            new(step.channel, address, *start)
            for address in usable_addresses(person, step.channel, plan.notice.purpose, now)
        ]
        if not is_unread and start[1] not in (FALLBACK, LATER_STEP):
            planned = [_collected(each, _entry(each, plan, decision, person, clock, now)) for each in planned]
        made += planned
        may_arrive = True
    return made


def _new_delivery(
    event: TakenEvent,
    recipient_id: str,
    subscription_id: str,
    channel: str,
    address: str,
    state: DeliveryState,
    reason: str | None,
    due_at: datetime,
) -> NewDelivery:
    return NewDelivery(
        delivery_id(event.id, recipient_key(recipient_id, channel, address)),
        event.id,
        event.tenant,
        subscription_id,
        recipient_id,
        channel,
        event.priority,
        state,
        reason,
        due_at,
        event.expires_at,
        None,  # a step that is held would hold later events of its group
        address,
    )


def _lacks_preferences(plan: NoticePlan, tenant: TenantPreferences | None) -> bool:
    """Tell whether it waits because what the tenant says counts and cannot be read."""
    return isinstance(tenant, UnreadableTenantPreferences) and plan.notice.purpose is not Purpose.SECURITY


def _reachable(recipient: Recipient, listed: Sequence[Suppression]) -> Person:
    """Return a person of whom only the addresses count: whether they want something cannot be decided."""
    person = person_of(attrs.evolve(recipient, quiet_hours=QuietHours(), mutes=(), settings=()), listed=listed)
    return person._replace(consents=frozenset(Purpose))


def decide_step(plan: NoticePlan, person: Person, channel: str, now: datetime, *, collects: bool = True) -> Decision:
    """Decide about one channel; an inbox is a list already, so that no digest collects for it."""
    collects = collects and plan.collects and channel != IN_APP
    return decide_contact(plan.notice, person, channel, tokens_left=True, now=now, collects=collects)


def digest_for(plan: NoticePlan, channel: str, decision: Decision) -> Digest | None:
    """Return the digest that collects what is not refused: the one that the person chose, else that of the type."""
    if isinstance(decision, Collect):
        return digest_named(decision.digest, plan.digest)
    is_alone = not plan.collects or channel == IN_APP or plan.notice.purpose is Purpose.SECURITY
    return None if is_alone else plan.digest


def clock_of(recipient: Recipient, tenant: TenantPreferences | None) -> tzinfo:
    """Return the clock on a recipient's wall: the recipient's zone, else the tenant's, else UTC."""
    zone = recipient.zone or (None if tenant is None else tenant.zone)
    return (None if zone is None else zone_named(zone)) or UTC


def quiet_for(person: Person, notice: Notice) -> QuietHours | None:
    """Return the quiet hours that count for a notification."""
    return None if notice.category in person.quiet_hours.exceptions else person.quiet_hours


def _entry(
    its: Collectable,
    plan: NoticePlan,
    decision: Decision,
    person: Person,
    clock: Callable[[], tzinfo],
    now: datetime,
) -> DigestEntry | str | None:
    """Return what a delivery brings to its digest, why it is not collected, or ``None`` if it has no digest.

    Args:
        clock: Returns the clock on the recipient's wall.
    """
    digest = digest_for(plan, its.channel, decision)
    if digest is None:
        return None
    return enter(its, digest, plan.group, clock=clock(), quiet=quiet_for(person, plan.notice), now=now)


def _collected(new: NewDelivery, entry: DigestEntry | str | None) -> NewDelivery:
    """Return a delivery as its digest collects it, or by itself with the reason why it is not collected."""
    if isinstance(entry, DigestEntry):
        return collected(new, entry)
    return new._replace(reason=new.reason or entry)


def _first_address(person: Person, channel: str) -> str:
    """Return the address of a delivery that is not made; empty if there is none."""
    return next((each.address for each in person.addresses if each.channel == channel), "")


def _start(
    step: Step, decision: Decision, may_arrive: bool, is_capped: bool, now: datetime
) -> tuple[DeliveryState, str | None, datetime]:
    """Return the first state of a delivery that is not refused, the reason, and when it is due.

    A fallback with a frequency cap is claimed before it is sent in any case: its token is taken then.
    """
    if step.fallback and (may_arrive or is_capped):
        return DeliveryState.HELD, FALLBACK, now + max(step.after, FALLBACK_LOOK if may_arrive else step.after)
    if step.after:
        return DeliveryState.HELD, LATER_STEP, now + step.after
    if isinstance(decision, Defer):
        return DeliveryState.HELD, decision.code.value, decision.until
    return DeliveryState.PENDING, None, now


# ── frequency caps ─────────────────────────────────────────────────────────────────────────────


def takes_token(plan: NoticePlan, new: NewDelivery) -> bool:
    """Tell whether a planned delivery takes a token of the frequency cap: it is sent now, or after quiet hours.

    What a digest collects takes none, and a later step takes its token when it wakes, because it may not be needed.
    """
    is_sent = new.state is DeliveryState.PENDING or new.reason == Code.QUIET_HOURS
    return new.digest is None and is_sent and plan.cap_on(new.channel) is not None


def takes_token_later(plan: NoticePlan, claim: Claim, decision: Claimed | None) -> bool:
    """Tell whether the claim of a later step takes a token: the first one does, unless the step is not needed.

    Args:
        decision: What is decided of it; ``None`` if it is sent.
    """
    step = plan.step(claim.channel)
    return (
        claim.fence == 1
        and claim.digest is None
        and step is not None
        and (step.fallback or bool(step.after))
        and (decision is None or isinstance(decision, Hold))
        and plan.cap_on(claim.channel) is not None
    )


# ── waking ─────────────────────────────────────────────────────────────────────────────────────


def decide_claimed(
    plan: NoticePlan,
    channel: str,
    address: str,
    recipient: Recipient | None,
    tenant: TenantPreferences | None,
    *,
    claim: Claim | None = None,
    earlier: Collection[DeliveryState] = (),
    marks: Collection[Unless] = (),
    listed: Sequence[Suppression] = (),
    now: datetime,
) -> Claimed:
    """Decide anew whether a person's delivery is sent, from what is true now.

    Args:
        plan: As of planning; its steps may have changed since.
        channel: Of the delivery.
        address: Of the delivery.
        recipient: ``None`` if there is none any more.
        tenant: What the tenant says for its recipients.
        claim: On the delivery, if a digest may collect it.  That of a digest is about more events than one.
        earlier: The states of the event's deliveries to this recipient over the steps before, for a fallback.
        marks: What the person did with the event's inbox item, for a step with ``unless``.
        listed: What the tenant's suppression list says of the address.
    """
    if recipient is None:
        return Cancel(RECIPIENT_DELETED)
    if isinstance(recipient, UnreadableRecipient):
        return Hold(now + HOLD, RECIPIENT_UNREADABLE)
    is_digest = claim is not None and claim.digest is not None
    step = None if is_digest else plan.step(channel)
    if step is not None and (answered := _answered(step, earlier, marks, now)) is not None:
        return answered
    is_unread = _lacks_preferences(plan, tenant)
    person = _reachable(recipient, listed) if is_unread else person_of(recipient, tenant, listed=listed)
    if any(each.channel == channel and each.address != address for each in person.addresses):
        only = [each for each in person.addresses if (each.channel, each.address) == (channel, address)]
        person = person._replace(addresses=only)
    decision = decide_step(plan, person, channel, now, collects=not is_digest)
    join = None if is_unread else _join(claim, plan, decision, person, partial(clock_of, recipient, tenant), now)
    if join is not None:
        return join
    match decision:
        case Skip(code) if code in _EXPIRED:
            return Expire(code.value)
        case Skip(Code.NO_ADDRESS):  # there was one when it was planned
            return Suppress(ADDRESS_REMOVED)
        case Skip(code):
            return Suppress(code.value)
        case Defer(until):
            return Hold(until, decision.code.value)
        case _ if is_unread:
            return Hold(now + HOLD, PREFERENCES_UNREADABLE)
        case _:
            return SEND


def _answered(
    step: Step, earlier: Collection[DeliveryState], marks: Collection[Unless], now: datetime
) -> Cancel | Hold | None:
    """Return what the person's marks and the steps before say of a step; ``None`` if they leave it to be sent."""
    if step.is_answered_by(marks):
        return Cancel((Unless.READ if Unless.READ in marks else Unless.SEEN).value)
    if step.fallback and DeliveryState.DELIVERED in earlier:
        return Cancel(EARLIER_DELIVERED)
    if step.fallback and not all(state.is_final for state in earlier):
        return Hold(now + FALLBACK_LOOK, FALLBACK)
    return None


def _join(
    claim: Claim | None,
    plan: NoticePlan,
    decision: Decision,
    person: Person,
    clock: Callable[[], tzinfo],
    now: datetime,
) -> Join | None:
    """Return how a digest collects what is claimed, if one does; what a digest sends is not collected again."""
    if claim is None or claim.digest is not None or isinstance(decision, Skip):
        return None
    entry = _entry(claim, plan, decision, person, clock, now)
    return Join(entry) if isinstance(entry, DigestEntry) else None
