"""Frequency caps: takes the tokens of people's buckets, which all processes share, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from ..models.delivery import Claim, DeliveryState, NewDelivery
from ..models.ids import is_for_person
from ..models.throttle import Throttle
from ..policies.audience import NoticePlan, takes_token, takes_token_later
from ..policies.contact import Code
from ..policies.decide import Decision, Suppress
from ..ports import Limits, TokenRequest

#: A tenant, and the key of a bucket.
_Bucket = tuple[str, str]


async def cap_planned(store: Limits, planned: Iterable[tuple[list[NewDelivery], NoticePlan]], now: datetime) -> None:
    """Suppress those of planned deliveries, in place, for whose notification no token is left.

    The deliveries of an event to a person's addresses on one channel are one notification.
    """
    places: dict[tuple[_Bucket, str], list[tuple[list[NewDelivery], int]]] = {}
    wanted: list[tuple[_Bucket, Throttle]] = []
    for deliveries, plan in planned:
        if plan.throttle is None:
            continue
        for at, new in enumerate(deliveries):
            if is_for_person(new.subscription_id, new.address) and takes_token(plan, new):
                bucket = _bucket(plan, plan.throttle, new)
                theirs = places.setdefault((bucket, new.event_id), [])
                if not theirs:
                    wanted.append((bucket, plan.throttle))
                theirs.append((deliveries, at))
    taken = await _take(store, wanted, now)
    for theirs, is_left in zip(places.values(), taken, strict=True):
        for deliveries, at in () if is_left else theirs:
            capped = deliveries[at]._replace(state=DeliveryState.SUPPRESSED, reason=Code.CAPPED.value, due_at=now)
            deliveries[at] = capped


async def cap_claimed(
    store: Limits,
    claims: Sequence[Claim],
    plans: Mapping[str, NoticePlan],
    decisions: Mapping[str, Decision],
    now: datetime,
) -> dict[str, Decision]:
    """Return what is suppressed of claims of later steps, which take their token when they wake.

    Args:
        plans: By the ids of the deliveries.
        decisions: What else is decided of them, but those that are sent.
    """
    wanted: list[tuple[_Bucket, Throttle]] = []
    asking: dict[tuple[_Bucket, str], list[str]] = {}
    for claim in claims:
        plan = plans[claim.delivery_id]
        if plan.throttle is not None and takes_token_later(plan, claim, decisions.get(claim.delivery_id)):
            bucket = _bucket(plan, plan.throttle, claim)
            theirs = asking.setdefault((bucket, claim.event_id), [])
            if not theirs:
                wanted.append((bucket, plan.throttle))
            theirs.append(claim.delivery_id)
    taken = await _take(store, wanted, now)
    refused = [theirs for theirs, is_left in zip(asking.values(), taken, strict=True) if not is_left]
    return {id_: Suppress(Code.CAPPED.value) for theirs in refused for id_ in theirs}


def _bucket(plan: NoticePlan, throttle: Throttle, its: NewDelivery | Claim) -> _Bucket:
    return its.tenant, throttle.bucket(its.subscriber_id, plan.notice.category, its.channel)


async def _take(store: Limits, wanted: Sequence[tuple[_Bucket, Throttle]], now: datetime) -> list[bool]:
    """Take one token for each, in this order; return which have got one."""
    if not wanted:
        return []
    requests = [TokenRequest(*bucket, 1, throttle.rate) for bucket, throttle in wanted]
    return [acquired > 0 for acquired in await store.acquire(requests, now=now)]
