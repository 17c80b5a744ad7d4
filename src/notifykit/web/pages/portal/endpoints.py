"""The endpoints of a tenant: create, change, pause, secrets, test events."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from starlette.responses import Response

from ....errors import InvalidInputError
from ....models.access import AccessScope
from ....models.endpoint import Endpoint, RateLimit
from ....ports import DeliveryFilter
from ..forms import Fields
from ..page import PageRoutes, Visit
from ..sessions import PORTAL
from .health import RECENT, Tally, circuits_of

PAGES = PageRoutes(PORTAL)
_SHOWN = 50
_TIMEOUT = timedelta(seconds=15)
#: How far back what did not arrive can be sent again.
SINCE = {"1": "1 hour", "6": "6 hours", "24": "1 day", "72": "3 days", "168": "7 days"}
#: How long the former secrets keep signing beside a new one, in hours.
OVERLAPS = {"24": "1 day", "168": "7 days", "1": "1 hour", "0": "not at all: it has leaked"}
_READ, _WRITE = AccessScope.ENDPOINTS_READ, AccessScope.ENDPOINTS_WRITE


@PAGES.add("GET", "/endpoints", _READ)
async def endpoints(visit: Visit) -> Response:
    """List endpoints."""
    found = await visit.kit.endpoints.list(tenant=visit.tenant, limit=_SHOWN + 1, after=visit.query.get("cursor"))
    shown = found[:_SHOWN]
    return visit.show(
        "portal/endpoints.html",
        endpoints=shown,
        circuits=await circuits_of(visit.kit, visit.tenant),
        next=shown[-1].id if len(found) > _SHOWN else None,
    )


@PAGES.add("GET", "/endpoints/new", _WRITE)
async def new_endpoint(visit: Visit) -> Response:
    """Show the form for a new endpoint."""
    return _form(visit, None)


@PAGES.add("POST", "/endpoints/new", _WRITE)
async def create_endpoint(visit: Visit) -> Response:
    """Create an endpoint, and show its secret."""
    fields = Fields(visit)
    try:
        settings = _settings(fields)
        headers = fields.headers("headers")
        fields.require_sound()
        created = await visit.kit.endpoints.create(
            fields.text("url"), tenant=visit.tenant, headers=headers, rate_limit=_rate(fields), **settings
        )
    except InvalidInputError as error:
        return _form(visit, None, error.problems)
    return await _endpoint_page(visit, created, notice="The endpoint is there.", secret=True)


@PAGES.add("GET", "/endpoints/{endpoint_id}", _READ)
async def endpoint(visit: Visit) -> Response:
    """Show an endpoint."""
    return await _endpoint_page(visit, await _found(visit), notice=_DONE.get(visit.query.get("done", "")))


@PAGES.add("GET", "/endpoints/{endpoint_id}/edit", _WRITE)
async def edit_endpoint(visit: Visit) -> Response:
    """Show the form with an endpoint's settings."""
    return _form(visit, await _found(visit))


@PAGES.add("POST", "/endpoints/{endpoint_id}/edit", _WRITE)
async def update_endpoint(visit: Visit) -> Response:
    """Change an endpoint."""
    found, fields = await _found(visit), Fields(visit)
    try:
        settings = _settings(fields)
        headers = fields.headers("headers")
        fields.require_sound()
        limit: RateLimit | Literal["none"] = _rate(fields) or "none"
        await visit.kit.endpoints.update(
            found.id,
            tenant=visit.tenant,
            url=fields.text("url"),
            headers=headers if headers or fields.flag("no_headers") else None,
            rate_limit=limit,
            **settings,
        )
    except InvalidInputError as error:
        return _form(visit, found, error.problems)
    return _done(visit, found.id, "saved")


@PAGES.add("POST", "/endpoints/{endpoint_id}/pause", _WRITE)
async def pause_endpoint(visit: Visit) -> Response:
    """Keep deliveries waiting."""
    found = await visit.kit.endpoints.pause(_id(visit), tenant=visit.tenant, reason="paused in the portal")
    return _done(visit, found.id, "paused")


@PAGES.add("POST", "/endpoints/{endpoint_id}/resume", _WRITE)
async def resume_endpoint(visit: Visit) -> Response:
    """Deliver again."""
    found = await visit.kit.endpoints.resume(_id(visit), tenant=visit.tenant)
    return _done(visit, found.id, "resumed")


@PAGES.add("POST", "/endpoints/{endpoint_id}/remove", _WRITE)
async def remove_endpoint(visit: Visit) -> Response:
    """Remove an endpoint with its subscriptions."""
    await visit.kit.endpoints.delete(_id(visit), tenant=visit.tenant)
    return visit.go("/portal/endpoints")


@PAGES.add("POST", "/endpoints/{endpoint_id}/secret", _WRITE)
async def reveal_secret(visit: Visit) -> Response:
    """Show the signing secret; that this was done is in the audit log."""
    return await _endpoint_page(visit, await _found(visit), secret=True)


@PAGES.add("POST", "/endpoints/{endpoint_id}/rotate", _WRITE)
async def rotate_secret(visit: Visit) -> Response:
    """Add a new signing secret, and show it."""
    hours = visit.field("overlap")
    overlap = timedelta(hours=int(hours) if hours in OVERLAPS else 24)
    rotated = await visit.kit.endpoints.rotate_secret(_id(visit), tenant=visit.tenant, overlap=overlap)
    return await _endpoint_page(visit, rotated, notice="There is a new secret.", secret=True)


@PAGES.add("POST", "/endpoints/{endpoint_id}/test", _WRITE)
async def test_endpoint(visit: Visit) -> Response:
    """Send a test event, and show what becomes of it."""
    receipt = await visit.kit.endpoints.test(_id(visit), tenant=visit.tenant)
    return visit.go("/portal/activity", event=receipt.event_id, done="test")


@PAGES.add("POST", "/endpoints/{endpoint_id}/recover", AccessScope.DELIVERIES_WRITE)
async def recover_endpoint(visit: Visit) -> Response:
    """Send everything again that did not arrive since a time."""
    found, hours = await _found(visit), visit.field("since")
    since = visit.kit.clock.now() - timedelta(hours=int(hours) if hours in SINCE else 1)
    count = await visit.kit.deliveries.recover(found.id, tenant=visit.tenant, since=since)
    return await _endpoint_page(visit, found, notice=f"Sent again: {count:,}.")


_DONE = {"saved": "Saved.", "paused": "Deliveries wait until you resume.", "resumed": "What waited is sent now."} | {
    "subscribed": "Subscribed.",
    "unsubscribed": "The subscription is gone.",
}


def _id(visit: Visit) -> str:
    return visit.path["endpoint_id"]


async def _found(visit: Visit) -> Endpoint:
    return await visit.kit.endpoints.get(_id(visit), tenant=visit.tenant)


def _done(visit: Visit, endpoint_id: str, done: str) -> Response:
    return visit.go(f"/portal/endpoints/{endpoint_id}", done=done)


async def _endpoint_page(visit: Visit, found: Endpoint, *, notice: str | None = None, secret: bool = False) -> Response:
    kit, tenant = visit.kit, visit.tenant
    newest = await kit.deliveries.list(DeliveryFilter(subscriber_id=found.id), tenant=tenant, limit=RECENT)
    return visit.show(
        "portal/endpoint.html",
        endpoint=found,
        notice=notice,
        secrets=found.signing_keys(kit.clock.now()) if secret else (),
        circuit=(await circuits_of(kit, tenant)).get(found.id),
        tally=Tally.of(newest),
        newest=newest[:10],
        subscriptions=await kit.subscriptions.list(tenant=tenant, endpoint_id=found.id, limit=200),
        since=list(SINCE.items()),
        overlaps=list(OVERLAPS.items()),
    )


def _form(visit: Visit, found: Endpoint | None, problems: Any = ()) -> Response:
    limit = None if found is None else found.rate_limit
    stored = {
        "url": "" if found is None else found.url,
        "description": "" if found is None else found.description,
        "headers": "",
        "timeout": f"{(_TIMEOUT if found is None else found.timeout).total_seconds():g}",
        "per_second": "" if limit is None else f"{limit.per_second:g}",
    }
    given = {name: visit.field(name) for name in stored} if problems else stored
    return visit.show(
        "portal/endpoint_form.html", 422 if problems else 200, endpoint=found, given=given, problems=problems
    )


def _settings(fields: Fields) -> dict[str, Any]:
    return {"description": fields.text("description"), "timeout": fields.seconds("timeout", _TIMEOUT)}


def _rate(fields: Fields) -> RateLimit | None:
    per_second = fields.number("per_second")
    fields.require_sound()
    return None if per_second is None else RateLimit(per_second=per_second, burst=max(1, min(1000, int(per_second))))
