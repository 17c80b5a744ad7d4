"""Which events an endpoint gets, with conditions that can be tried on an example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from starlette.responses import Response

from ....admin.subscriptions import SubscriptionChanges
from ....errors import InvalidInputError
from ....models.access import AccessScope
from ....models.event_type import ALL_TENANTS, StoredEventType
from ....models.subscription import Subscription
from ...routes.subscriptions import Trial, verdict_of
from ..filters import pretty
from ..forms import Fields
from ..page import PageRoutes, Visit
from ..sessions import PORTAL

PAGES = PageRoutes(PORTAL)
_WRITE = AccessScope.SUBSCRIPTIONS_WRITE
_MOST_TYPES = 200
_NAMES = ("event_types", "topic", "filter", "description", "try_type", "try_topic", "try_data")


@PAGES.add("GET", "/endpoints/{endpoint_id}/subscribe", _WRITE)
async def new_subscription(visit: Visit) -> Response:
    """Show the form for a new subscription."""
    endpoint = await visit.kit.endpoints.get(visit.path["endpoint_id"], tenant=visit.tenant)
    return await _form(visit, endpoint.id, None, {"event_types": visit.query.get("type", "")})


@PAGES.add("POST", "/endpoints/{endpoint_id}/subscribe", _WRITE)
async def create_subscription(visit: Visit) -> Response:
    """Subscribe an endpoint, or try the conditions."""
    endpoint = await visit.kit.endpoints.get(visit.path["endpoint_id"], tenant=visit.tenant)
    return await _answer(visit, endpoint.id, None)


@PAGES.add("GET", "/subscriptions/{subscription_id}", _WRITE)
async def edit_subscription(visit: Visit) -> Response:
    """Show the form with a subscription."""
    found = await _found(visit)
    stored = {
        "event_types": "\n".join(found.event_types),
        "topic": found.topic or "",
        "filter": "" if found.filter is None else pretty(found.filter),
        "description": found.description,
        "enabled": "yes" if found.enabled else "",
    }
    return await _form(visit, found.subscriber_id, found, stored)


@PAGES.add("POST", "/subscriptions/{subscription_id}", _WRITE)
async def update_subscription(visit: Visit) -> Response:
    """Change a subscription, or try the conditions."""
    found = await _found(visit)
    return await _answer(visit, found.subscriber_id, found)


@PAGES.add("POST", "/subscriptions/{subscription_id}/remove", _WRITE)
async def remove_subscription(visit: Visit) -> Response:
    """Remove a subscription."""
    found = await _found(visit)
    await visit.kit.subscriptions.delete(found.id, tenant=visit.tenant)
    return visit.go(f"/portal/endpoints/{found.subscriber_id}", done="unsubscribed")


async def _found(visit: Visit) -> Subscription:
    return await visit.kit.subscriptions.get(visit.path["subscription_id"], tenant=visit.tenant)


async def _answer(visit: Visit, endpoint_id: str, found: Subscription | None) -> Response:
    given = {name: Fields(visit).text(name) for name in (*_NAMES, "enabled")}
    try:
        if visit.field("do") == "try":
            return await _form(visit, endpoint_id, found, given, verdict=await _tried(visit))
        await _save(visit, endpoint_id, found)
    except InvalidInputError as error:
        return await _form(visit, endpoint_id, found, given, problems=error.problems)
    return visit.go(f"/portal/endpoints/{endpoint_id}", done="saved" if found else "subscribed")


async def _tried(visit: Visit) -> str:
    fields = Fields(visit)
    patterns, filter_, data = fields.lines("event_types"), fields.object("filter"), fields.object("try_data")
    fields.require_sound()
    trial = Trial(
        event_types=tuple(patterns),
        topic=fields.text("topic") or None,
        filter=filter_,
        type=fields.text("try_type"),
        event_topic=fields.text("try_topic") or None,
        data=data or {},
    )
    return verdict_of(visit.kit, visit.tenant, trial)


async def _save(visit: Visit, endpoint_id: str, found: Subscription | None) -> None:
    fields = Fields(visit)
    wanted: dict[str, Any] = {
        "topic": fields.text("topic") or None,
        "filter": fields.object("filter"),
        "description": fields.text("description"),
    }
    fields.require_sound()
    patterns = fields.lines("event_types")
    if found is None:
        await visit.kit.subscriptions.create(patterns, tenant=visit.tenant, endpoint_id=endpoint_id, **wanted)
        return
    changes = cast("SubscriptionChanges", {**wanted, "event_types": patterns, "enabled": fields.flag("enabled")})
    await visit.kit.subscriptions.update(found.id, tenant=visit.tenant, **changes)


async def _form(
    visit: Visit,
    endpoint_id: str,
    found: Subscription | None,
    given: Mapping[str, str],
    *,
    problems: Any = (),
    verdict: str | None = None,
) -> Response:
    return visit.show(
        "portal/subscription.html",
        422 if problems else 200,
        endpoint_id=endpoint_id,
        subscription=found,
        given={**dict.fromkeys((*_NAMES, "enabled"), ""), **given},
        problems=problems,
        verdict=verdict,
        warnings=() if found is None else await visit.kit.subscriptions.warnings(found.id, tenant=visit.tenant),
        types=await visit.kit.store.page(StoredEventType, ALL_TENANTS, limit=_MOST_TYPES, after=None),
    )
