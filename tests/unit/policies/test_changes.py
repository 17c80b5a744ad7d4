"""What is reported of a delivery between two polls."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from notifykit.models.delivery import WEBHOOK, Delivery, DeliveryState, Priority
from notifykit.policies.changes import Moved, Seen, moved

S = DeliveryState
AT = datetime(2026, 1, 31, 9, tzinfo=UTC)


def a_delivery(state: DeliveryState, attempts: int, id_: str = "dlv_1") -> Delivery:
    return Delivery(
        id=id_,
        event_id="evt_1",
        event_type="order.shipped",
        tenant="acme",
        subscription_id="sub_1",
        subscriber_id="end_1",
        channel=WEBHOOK,
        priority=Priority.NORMAL,
        state=state,
        attempts=attempts,
        created_at=AT,
    )


@pytest.mark.parametrize(
    ("before", "state", "attempts", "happened"),
    [
        (Seen(S.PENDING, 0), S.PENDING, 0, False),
        (Seen(S.PENDING, 0), S.SENDING, 0, False),  # it has been claimed, no more
        (Seen(S.SENDING, 0), S.PENDING, 1, True),
        (Seen(S.SENDING, 1), S.DELIVERED, 2, True),
        (Seen(S.PENDING, 1), S.HELD, 1, True),
        (Seen(S.HELD, 1), S.PENDING, 1, False),
        (Seen(S.PENDING, 0), S.CANCELLED, 0, True),
        (Seen(S.DEAD, 3), S.PENDING, 3, False),  # redriven: its next attempt is reported
        (Seen(S.DEAD, 3), S.DEAD, 3, False),
    ],
)
def test_attempts_and_ends_are_reported(before: Seen, state: DeliveryState, attempts: int, happened: bool) -> None:
    """An attempt is, and a final state; a claim or becoming due again is not."""
    delivery = a_delivery(state, attempts)

    assert ([Moved(delivery, before.attempts)] if happened else []) == moved(
        {"dlv_1": before}, [delivery], new={"dlv_1"}
    )


def test_a_delivery_that_comes_into_view_is_reported_only_if_it_is_new() -> None:
    """One that comes into view because others have ended is not reported; reports are in the order of ids."""
    old, second, first = (a_delivery(S.PENDING, 0, id_) for id_ in ("dlv_0", "dlv_2", "dlv_1"))

    assert [Moved(first, 0), Moved(second, 0)] == moved({}, [second, old, first], new={"dlv_1", "dlv_2"})
