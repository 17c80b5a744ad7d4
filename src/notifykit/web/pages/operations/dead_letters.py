"""A tenant's dead letters: deliveries that were given up, and sending them again."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from ....models.access import AccessScope
from ....models.delivery import DeliveryState
from ....ports import DeliveryFilter
from ..page import PageRoutes, Visit
from ..sessions import OPERATIONS

PAGES = PageRoutes(OPERATIONS)
_SHOWN = 50


@PAGES.add("GET", "/dead-letters", AccessScope.DELIVERIES_READ)
async def dead_letters(visit: Visit) -> Response:
    """List the dead letters of a tenant, newest first."""
    return await _page(visit, None)


@PAGES.add("POST", "/dead-letters/redrive", AccessScope.DELIVERIES_WRITE)
async def redrive(visit: Visit) -> Response:
    """Send the chosen dead letters again, or all that match."""
    chosen = visit.form.get("delivery", [])
    wanted = (
        DeliveryFilter(ids=chosen, states={DeliveryState.DEAD}) if visit.field("do") == "chosen" else _filter(visit)
    )
    count = 0 if wanted.ids == frozenset() else await visit.kit.deliveries.redrive_all(wanted, tenant=visit.tenant)
    return await _page(visit, f"Sent again: {count:,}.")


async def _page(visit: Visit, notice: str | None) -> Response:
    found: Any = ()
    if visit.tenant:
        found = await visit.kit.deliveries.list(
            _filter(visit), tenant=visit.tenant, limit=_SHOWN + 1, before=visit.query.get("cursor")
        )
    shown = found[:_SHOWN]
    return visit.show(
        "operations/dead_letters.html",
        deliveries=shown,
        given={name: _given(visit, name) for name in ("subscriber", "type")},
        notice=notice,
        next=shown[-1].id if len(found) > _SHOWN else None,
    )


def _filter(visit: Visit) -> DeliveryFilter:
    return DeliveryFilter(
        states={DeliveryState.DEAD},
        subscriber_id=_given(visit, "subscriber") or None,
        event_type=_given(visit, "type") or None,
    )


def _given(visit: Visit, name: str) -> str:
    return visit.query.get(name, "") or visit.field(name)
