"""Frequency caps: takes the tokens of people's buckets, which all processes share, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from ..models.delivery import Claim, DeliveryState, NewDelivery
from ..models.ids import is_for_person
from ..models.throttle import Throttle
from ..policies.audience import NoticePlan, takes_token, takes_token_later
from ..policies.contact import Code
from ..policies.decide import Decision, Suppress
from ..policies.sms import COUNTRY_CAPPED
from ..policies.sms_caps import cap_of, is_counted, is_counted_later
from ..ports import Limits, TokenRequest

T = TypeVar("T")
#: A tenant, the key of a bucket, and what takes a token: the event that a person is told, as the deliveries to all
#: of a person's addresses on a channel are one notification, or a single delivery.
_Notification = tuple[str, str, str]


async def cap_planned(store: Limits, planned: Iterable[tuple[list[NewDelivery], NoticePlan]], now: datetime) -> None:
    """Suppress those of planned deliveries, in place, for whose notification no token is left."""
    asked = [
        (_notification(plan, plan.throttle, new), plan.throttle, (deliveries, at))
        for deliveries, plan in planned
        if plan.throttle is not None
        for at, new in enumerate(deliveries)
        if is_for_person(new.subscription_id, new.address) and takes_token(plan, new)
    ]
    for deliveries, at in await _refused(store, asked, now):
        capped = deliveries[at]._replace(state=DeliveryState.SUPPRESSED, reason=Code.CAPPED.value, due_at=now)
        deliveries[at] = capped


async def cap_countries_planned(
    store: Limits, planned: Iterable[tuple[list[NewDelivery], NoticePlan]], caps: Mapping[str, Throttle], now: datetime
) -> None:
    """Suppress those of planned text messages, in place, that exceed the cap of their country."""
    asked = [
        ((new.tenant, cap[0], new.id), cap[1], (deliveries, at))
        for deliveries, _ in planned
        for at, new in enumerate(deliveries)
        if is_counted(new) and (cap := cap_of(caps, new.address or ""))
    ]
    for deliveries, at in await _refused(store, asked, now):
        capped = deliveries[at]._replace(state=DeliveryState.SUPPRESSED, reason=COUNTRY_CAPPED, due_at=now)
        deliveries[at] = capped


async def cap_countries_claimed(
    store: Limits,
    claims: Iterable[Claim],
    plans: Mapping[str, NoticePlan],
    decisions: Mapping[str, Decision],
    caps: Mapping[str, Throttle],
    now: datetime,
) -> dict[str, Decision]:
    """Return what is suppressed of claims of text messages that were not counted when they were planned."""
    asked = [
        ((claim.tenant, cap[0], claim.delivery_id), cap[1], claim.delivery_id)
        for claim in claims
        if is_counted_later(plans[claim.delivery_id], claim, decisions.get(claim.delivery_id))
        and (cap := cap_of(caps, claim.address or ""))
    ]
    return {id_: Suppress(COUNTRY_CAPPED) for id_ in await _refused(store, asked, now)}


async def cap_claimed(
    store: Limits,
    claims: Iterable[Claim],
    plans: Mapping[str, NoticePlan],
    decisions: Mapping[str, Decision],
    now: datetime,
) -> dict[str, Decision]:
    """Return what is suppressed of claims of later steps, which take their token when they wake.

    Args:
        plans: By the ids of the deliveries.
        decisions: What else is decided of them, but those that are sent.
    """
    asked = [
        (_notification(plan, plan.throttle, claim), plan.throttle, claim.delivery_id)
        for claim, plan in ((claim, plans[claim.delivery_id]) for claim in claims)
        if plan.throttle is not None and takes_token_later(plan, claim, decisions.get(claim.delivery_id))
    ]
    return {id_: Suppress(Code.CAPPED.value) for id_ in await _refused(store, asked, now)}


def _notification(plan: NoticePlan, throttle: Throttle, its: NewDelivery | Claim) -> _Notification:
    return its.tenant, throttle.bucket(its.subscriber_id, plan.notice.category, its.channel), its.event_id


async def _refused(store: Limits, asked: Sequence[tuple[_Notification, Throttle, T]], now: datetime) -> list[T]:
    """Take one token for each notification, in their order; return what belongs to those that have got none."""
    throttles = {notification: throttle for notification, throttle, _ in asked}
    if not throttles:
        return []
    requests = [TokenRequest(tenant, key, 1, its.rate) for (tenant, key, _), its in throttles.items()]
    acquired = dict(zip(throttles, await store.acquire(requests, now=now), strict=True))
    return [its for notification, _, its in asked if not acquired[notification]]
