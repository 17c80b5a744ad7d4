"""Why a person or an endpoint was told of an event, or was not, and what would become of it now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from ....errors import InvalidInputError
from ....models.access import AccessScope
from ..page import PageRoutes, Visit
from ..sessions import OPERATIONS

PAGES = PageRoutes(OPERATIONS)
_NAMES = ("recipient", "what", "topic", "at")


@PAGES.add("GET", "/explain", AccessScope.RECIPIENTS_READ)
async def explain(visit: Visit) -> Response:
    """Explain an event or a type for a person, or an event for all subscribers."""
    given = {name: visit.query.get(name, "").strip() for name in _NAMES}
    values: dict[str, Any] = {"person": None, "event": None, "problems": ()}
    try:
        if visit.tenant and given["what"]:
            values |= await _explained(visit, given)
    except InvalidInputError as error:
        values["problems"] = error.problems
    status = 422 if values["problems"] else 200
    return visit.show("operations/explain.html", status, given=given, **values)


async def _explained(visit: Visit, given: dict[str, str]) -> dict[str, Any]:
    kit, tenant, at = visit.kit, visit.tenant, _instant(given["at"])
    if given["recipient"]:
        found = await kit.explain(given["recipient"], given["what"], tenant=tenant, topic=given["topic"] or None, at=at)
        steps = [(step, [rule._asdict() for rule in step.trail]) for step in found.steps]
        return {"person": found, "steps": steps, "verdicts": [_verdict(*each) for each in found.verdicts]}
    its = await kit.events.explain(given["what"], tenant=tenant)
    event = {"type": its.event.type, "planned": its.planned, "deliveries": its.deliveries}
    return {"event": event, "verdicts": [_verdict(*each) for each in its.verdicts]}


def _verdict(subscription: Any, code: Any) -> dict[str, Any]:
    return {"subscription": subscription, "code": str(code)}


def _instant(text: str) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInputError(["at: must be a time such as 2026-03-29T00:30"]) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
