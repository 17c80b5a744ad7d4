"""``notifykit endpoints test``: send a test event, and report its result."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from . import inputs
from .failures import FAILED, OK, CommandError
from .parser import Commands

if TYPE_CHECKING:
    from ..kit import Notifykit
    from ..models.delivery import Attempt, Delivery
    from .context import Context

#: Seconds between two reads of the delivery.
_LOOK = 0.05


def add(group: Commands) -> None:
    """Add the command."""
    parser = group.command(
        "test",
        send,
        help="send a test event to one endpoint",
        description="Send a notifykit.test event to this endpoint only, whatever its subscriptions are. A dispatcher "
        "must run to deliver it (notifykit run). With --wait, report whether it arrived.",
        example="notifykit endpoints test end_01J… --wait 10s",
    )
    parser.add_argument("endpoint", metavar="ENDPOINT", help="its id, end_…")
    parser.add_argument("--wait", type=inputs.duration, metavar="TIME", help="wait for the first attempt's outcome")


async def send(context: Context) -> int:
    """Send a test event; with ``--wait``, wait for its first attempt."""
    from ..errors import StateError
    from . import views

    args = context.args
    async with context.open() as kit:
        try:
            receipt = await kit.endpoints.test(args.endpoint, tenant=context.tenant)
        except StateError as error:
            raise CommandError(f"{error}: notifykit endpoints resume {args.endpoint}") from error
        if args.wait is None:
            context.out.answer(
                {"event_id": receipt.event_id}, f"{receipt.event_id} published; notifykit explain {receipt.event_id}"
            )
            return OK
        seen = await _watch(kit, context.tenant, receipt.event_id, args.wait)
    attempt = seen.attempt
    if attempt is None:
        raise CommandError(_nothing_tried(seen.delivery, receipt.event_id, args.wait))
    answer = attempt.reason or f"http_{attempt.status}"
    context.out.answer(
        {"event_id": receipt.event_id, **views.attempt(attempt)},
        f"{receipt.event_id} {attempt.outcome} ({answer}) in {views.span(attempt.took)}",
    )
    return OK if attempt.outcome == "accepted" else FAILED


class _Seen(NamedTuple):
    delivery: Delivery | None = None
    attempt: Attempt | None = None


async def _watch(kit: Notifykit, tenant: str, event_id: str, wait: timedelta) -> _Seen:
    """Return the first attempt, or the state of the delivery if no attempt will follow."""
    import anyio

    from ..ports import DeliveryFilter

    seen = _Seen()
    with anyio.move_on_after(wait.total_seconds()):
        while True:
            for delivery in await kit.deliveries.list(DeliveryFilter(event_id=event_id), tenant=tenant, limit=1):
                attempts = await kit.deliveries.attempts(delivery.id, tenant=tenant)
                seen = _Seen(delivery, attempts[0] if attempts else None)
                if attempts or delivery.state.is_final:
                    return seen
            await anyio.sleep(_LOOK)
    return seen


def _nothing_tried(delivery: Delivery | None, event_id: str, wait: timedelta) -> str:
    """Return why no attempt was made; a missing dispatcher is only one of the possible reasons."""
    from ..models.delivery import DeliveryState
    from . import views

    within = f"no attempt was recorded within {views.span(wait)}"
    look = f"see: notifykit explain {event_id}"
    if delivery is None:
        return (
            f"{within}: no dispatcher runs, or the receiver has not answered yet; start a dispatcher (notifykit run), "
            "or give a longer --wait"
        )
    reason = f" ({delivery.reason})" if delivery.reason else ""
    if delivery.state.is_final:
        return f"no attempt was made: the delivery is {delivery.state.value}{reason}; {look}"
    if delivery.state is DeliveryState.HELD:
        until = f" until {views.clock(delivery.due_at)}" if delivery.due_at else ""
        return f"{within}: the delivery is held{until}{reason}; {look}"
    if delivery.state is DeliveryState.SENDING:
        return f"{within}: the receiver has not answered yet; give a longer --wait, or {look}"
    return f"{within}: the delivery waits{reason}; if no dispatcher runs, start one: notifykit run"
