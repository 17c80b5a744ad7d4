"""Why a person was told of an event, or was not; and whether they would be."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import attrs

from ..errors import InvalidInputError
from ..models.audience import Audience
from ..models.delivery import Attempt, Delivery, EventDetails
from ..models.event import EventType, StoredEvent
from ..models.event_type import ALL_TENANTS, StoredEventType
from ..models.ids import delivery_id, recipient_key
from ..models.recipient import PREFERENCES, Recipient, TenantPreferences
from ..models.subscription import Subscription
from ..models.suppression import SuppressedAddress, suppression_id
from ..policies.audience import UNKNOWN_RECIPIENT, notice_plan
from ..policies.explain import StepExplanation, explain_steps, sentence_for
from ..ports import Store
from .events import Events


@attrs.frozen(kw_only=True)
class PersonExplanation:
    """Why a person was told of an event or was not, and what would become of it now.

    Attributes:
        event: The event that was asked about; ``None`` if it was a type.
        reached_by: Why the event concerns the person: ``named``, ``subscribed``, ``actor`` (who caused it, and is not
            told) or ``nothing``; ``None`` if a type was asked about.
        deliveries: What is recorded of the event for this person, with state and reason, in the order of the steps.
        attempts: The last attempt of each of these deliveries that was attempted, by the delivery's id.
        steps: What would become of each step now; empty for a recipient who is unknown.
        verdicts: The person's subscriptions, with what each says to the event.
        channels: The only channels that the event is for; none if it does not say so.
        stepless: Those of them over which the event's type has no step, so that the person is not told over them.
        suppressed: What the tenant's suppression list says of the person's addresses, with reasons and evidence.
    """

    recipient_id: str
    event_type: str
    is_known: bool
    event: StoredEvent | None = None
    reached_by: str | None = None
    deliveries: tuple[Delivery, ...] = ()
    attempts: Mapping[str, Attempt] = attrs.field(factory=dict)
    steps: tuple[StepExplanation, ...] = ()
    verdicts: tuple[tuple[Subscription, str], ...] = ()
    channels: tuple[str, ...] = ()
    stepless: tuple[str, ...] = ()
    suppressed: tuple[SuppressedAddress, ...] = ()

    def __str__(self) -> str:
        """Return the explanation as text of a few lines."""
        lines = [f"{self.event_type} for {self.recipient_id}"]
        if self.event is not None:
            lines.append(f"  event {self.event.id}: {self._reached()}")
            lines += [f"  only over {', '.join(self.channels)}, as the event says"] if self.channels else []
            lines += [f"  {each}: not sent, {self.event_type} has no step over this channel" for each in self.stepless]
            lines += [f"  {_told(delivery)}{_over(self.attempts.get(delivery.id))}" for delivery in self.deliveries]
        if not self.is_known:
            return "\n".join([*lines, f"  now: {UNKNOWN_RECIPIENT}, there is no such recipient"])
        lines += [f"  now, {step.channel}: {_would(step)}" for step in self.steps]
        lines += [f"  on the suppression list, {each.channel}: {each}" for each in self.suppressed]
        return "\n".join(lines)

    def _reached(self) -> str:
        return {
            "named": "it names the recipient",
            "subscribed": "the recipient is subscribed",
            "actor": "the recipient caused it and is not told",
        }.get(self.reached_by or "", "it does not concern the recipient")


def _told(delivery: Delivery) -> str:
    sentence = sentence_for(delivery.reason or "")
    reason = (f", {delivery.reason}" if delivery.reason else "") + (f": {sentence}" if sentence else "")
    receipt = "" if delivery.receipt is None else f", then reported as {delivery.receipt}"
    return f"{delivery.channel}: {delivery.state}{reason}{receipt}"


def _over(attempt: Attempt | None) -> str:
    if attempt is None or attempt.account is None:
        return ""
    parts = [f" over {attempt.account}"]
    if attempt.reference is not None:
        parts.append(f"reference {attempt.reference}")
    if attempt.cost is not None:
        parts.append(f"cost {attempt.cost.normalize():f}")
    return ", ".join(parts)


def _would(step: StepExplanation) -> str:
    if step.at is None:
        return f"not sent, {step.code}: {step.sentence}"
    only = ", if no step before it arrives" if step.fallback else ""
    if step.throttle is not None:
        only += f", unless the cap of {step.throttle.limit} in {step.throttle.per} is used up"
    return f"sent to {', '.join(step.addresses)} at {step.at:%Y-%m-%d %H:%M:%S %Z}{only} ({step.code})"


def _is_of(event: StoredEvent, delivery: Delivery) -> bool:
    """Tell whether a delivery is the event's own, and not that of a digest, which has the id of its first event."""
    key = recipient_key(delivery.subscriber_id, delivery.channel, delivery.address or "")
    return delivery.id == delivery_id(event.id, key)


async def _listed(store: Store, recipient: Recipient) -> list[tuple[SuppressedAddress, list[str]]]:
    """Return what the list has of a recipient's addresses, each with the recipient's spellings of the address."""
    own: dict[str, list[str]] = {}
    for each in recipient.addresses:
        own.setdefault(suppression_id(recipient.tenant, each.channel, each.address), []).append(each.address)
    found = await store.get(SuppressedAddress, recipient.tenant, own)
    return [(each, own[each.id]) for each in sorted(found, key=lambda each: each.id) if each.entries]


async def explain_person(
    store: Store,
    recipient_id: str,
    what: StoredEvent | EventType | str,
    *,
    declared: EventType | None = None,
    tenant: str,
    topic: str | None,
    now: datetime,
) -> PersonExplanation:
    """Return why a person was told of an event or was not.

    Args:
        what: The event, or a type, as the program declares it or by its name.
        declared: Of an event, the type as the program declares it, in case it is not stored (yet).
        topic: For a type, the topic of the event.
    """
    known = await store.get(Recipient, tenant, [recipient_id])
    preferences = next(iter(await store.get(TenantPreferences, tenant, [PREFERENCES])), None)
    name = what if isinstance(what, str) else what.type if isinstance(what, StoredEvent) else what.name
    if isinstance(what, EventType):
        event_type: StoredEventType | None = StoredEventType.of(what)
    else:
        event_type = next(iter(await store.get(StoredEventType, ALL_TENANTS, [name])), None)
    if event_type is None and declared is not None:  # as when the event is planned
        event_type = StoredEventType.of(declared)
    event = what if isinstance(what, StoredEvent) else None
    if event is None and event_type is None:
        unknown = f"what: {name[:80]!r} is neither the id of an event nor a type that is known"
        raise InvalidInputError([f"{unknown}; types are stored when a dispatcher of your program starts"])
    audience = Audience.from_json(None if event is None else event.audience)
    plan = notice_plan(
        name,
        EventDetails(topic=topic) if event is None else event.details,
        event_type,
        expires_at=None if event is None else event.expires_at,
        channels=audience.channels,
    )
    on_list = await _listed(store, known[0]) if known else []
    listed = [each for suppressed, addresses in on_list for its in addresses for each in suppressed.forbids(its)]
    steps = explain_steps(plan, known[0], preferences, listed, now=now) if known else ()
    found = PersonExplanation(
        recipient_id=recipient_id,
        event_type=name,
        is_known=bool(known),
        steps=steps,
        suppressed=tuple(suppressed for suppressed, _ in on_list),
    )
    if event is None:
        return found
    explained = await Events(store).explain(event.id, tenant=tenant, subscriber_id=recipient_id)
    deliveries = [each for each in explained.deliveries if _is_of(event, each)]
    tried = {each.id: await store.attempts(tenant, each.id) for each in deliveries if each.attempts}
    order = {step.channel: at for at, step in enumerate(plan.steps)}
    is_named, is_matched = recipient_id in audience.to, any(code == "matched" for _, code in explained.verdicts)
    reached = "named" if is_named else "subscribed" if is_matched else "nothing"
    return attrs.evolve(
        found,
        event=event,
        channels=audience.channels,
        stepless=tuple(each for each in audience.channels if plan.step(each) is None),
        reached_by="actor" if recipient_id == plan.actor and reached != "nothing" else reached,
        deliveries=tuple(sorted(deliveries, key=lambda delivery: order.get(delivery.channel, len(order)))),
        attempts={id_: attempts[-1] for id_, attempts in tried.items() if attempts},
        verdicts=explained.verdicts,
    )
