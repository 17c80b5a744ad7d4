"""What is scheduled, what is cancelled before it is sent, and what expires while it waits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from notifykit import Event, EventType, InvalidInputError, NotFoundError, StateError
from notifykit.admin import deliveries
from notifykit.models.delivery import Claim
from notifykit.models.digest import Digest
from notifykit.models.outcome import Accepted, Uncertain
from notifykit.models.quiet_hours import QuietHours, Weekday, Window
from notifykit.models.recipient import TenantPreferences
from notifykit.models.steps import Step
from notifykit.models.unreadable import UnreadableTenantPreferences

from .support import TENANT
from .test_people import ADA, BOB, NOON, QUARTER, Messages, Open, OrderShipped, Town, opened, town, url

__all__ = ["opened", "town", "url"]

HOUR = timedelta(hours=1)
MAIL = (ADA, "email", "ada@example.org")
#: Quiet from 11:00 to 14:00, two hours from now.
NOONS = QuietHours(windows=(Window(days=(Weekday.MON,), from_="11:00", to="14:00"),))


@pytest.mark.parametrize("options", [{"deliver_at": NOON + HOUR}, {"delay": HOUR}])
async def test_a_scheduled_event_is_told_at_its_time(opened: Open, url: str, options: dict[str, Any]) -> None:
    """From what is true then: who was saved meanwhile is told, and steps count from that time on."""
    town: Town = await opened(url)
    await town.publish(to=[ADA], **options)
    await town.work(HOUR - timedelta(seconds=1))
    before = await town.found()
    await town.save()

    await town.work(timedelta(seconds=1))
    at_its_time = await town.found()
    await town.work(QUARTER)

    assert {} == before
    assert ("delivered", None) == at_its_time[ADA, "in_app", ADA]
    assert ("held", "later_step") == at_its_time[MAIL]
    assert ("delivered", None) == (await town.found())[MAIL]


@pytest.mark.parametrize("by", ["event_id", "key"])
async def test_an_event_is_cancelled(opened: Open, url: str, by: str) -> None:
    """Before it is planned nobody is told; afterwards what waits is cancelled, and what was sent stays."""
    town: Town = await opened(url)
    await town.save()
    events = [
        await town.publish(to=[ADA], idempotency_key=f"k{number}", deliver_at=due)
        for number, due in enumerate((NOON, NOON + HOUR))
    ]
    named = events if by == "event_id" else ["k0", "k1"]

    counts = [await town.kit.deliveries.cancel_all(tenant=TENANT, **{by: each}) for each in named]
    again = [await town.kit.deliveries.cancel_all(tenant=TENANT, **{by: each}) for each in named]
    await town.work(2 * HOUR)

    assert ([1, 1], [0, 0]) == (counts, again)
    found = await town.found()
    assert ("cancelled", "cancelled") == found[MAIL]
    assert ("delivered", None) == found[ADA, "in_app", ADA]
    assert [ADA] == town.sent("in_app")
    assert [] == town.sent("email")


async def test_what_waits_for_a_recipient_is_cancelled(opened: Open, url: str) -> None:
    """All of it, or by type or category; other people keep theirs."""
    town: Town = await opened(url)
    late = [Step("email", after=HOUR)]
    names = ("late.order", "late.invoice", "late.comment")
    types = [
        EventType(name=name, category="comments" if "comment" in name else "billing", steps=late) for name in names
    ]
    town.kit.catalog.include(types)
    await town.kit.sync_event_types()
    for id_ in (ADA, BOB):
        await town.save(id_)
    for name in names:
        await town.kit.apublish(_event(name), tenant=TENANT, to=[ADA, BOB])
    await town.work()

    async def cancel(**options: Any) -> int:
        return await town.kit.deliveries.cancel_all(tenant=TENANT, recipient=ADA, **options)

    counts = [
        await cancel(type="late.order"),
        await cancel(type="late.order", category="comments"),
        await cancel(category="billing"),
        await cancel(category="unknown"),
        await cancel(),
    ]
    await town.work(HOUR)

    assert [1, 0, 1, 0, 1] == counts
    assert {("cancelled", "cancelled")} == set((await town.found(subscriber_id=ADA)).values())
    assert {("delivered", None)} == set((await town.found(subscriber_id=BOB)).values())


def _event(name: str) -> Any:
    return Event(type=name, data={})


async def test_an_event_is_taken_out_of_an_open_digest(town: Town) -> None:
    """The digest is sent with what is left."""
    town.kit.catalog.include([EventType(name="d.one", steps=[Step("email")], digest=Digest("d", window=HOUR))])
    await town.save()
    ids = [await town.publish(_event("d.one"), to=[ADA]) for _ in range(2)]

    told: list[str] = []

    def answer(claim: Claim) -> Accepted:
        told.append(claim.event_id)
        return Accepted()

    town.channels["email"].answer = answer

    count = await town.kit.deliveries.cancel_all(tenant=TENANT, event_id=ids[0])
    await town.work(HOUR)

    assert (1, [ids[1]]) == (count, told)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"event_id": "evt_1", "key": "k"},
        {"key": "k", "recipient": ADA},
        {"type": "order.shipped"},
        {"event_id": "evt_1", "category": "orders"},
    ],
)
async def test_what_to_cancel_must_be_clear(town: Town, options: dict[str, str]) -> None:
    """One event, or one recipient: nothing that would cancel everything by mistake."""
    with pytest.raises(InvalidInputError, match="recipient"):
        await town.kit.deliveries.cancel_all(tenant=TENANT, **options)


async def test_an_event_that_is_unknown_or_being_planned(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The errors say so; a planner that has the event is waited for."""
    monkeypatch.setattr(deliveries, "_TRIES", 2)
    id_ = (await town.kit.apublish(OrderShipped(), tenant=TENANT, to=[ADA])).event_id
    await town.kit.store.take(9, now=town.clock.now(), lease=HOUR)

    with pytest.raises(StateError, match="try again"):
        await town.kit.deliveries.cancel_all(tenant=TENANT, event_id=id_)
    with pytest.raises(NotFoundError, match="evt_1"):
        await town.kit.deliveries.cancel_all(tenant=TENANT, event_id="evt_1")
    with pytest.raises(NotFoundError, match="nokey"):
        await town.kit.deliveries.cancel_all(tenant=TENANT, key="nokey")


# ── expiry ─────────────────────────────────────────────────────────────────────────────────────


async def test_what_expires_before_the_quiet_hours_end_is_not_held(opened: Open, url: str) -> None:
    """The code says that the quiet hours were the cause; what will still be of use waits."""
    town: Town = await opened(url)
    await town.save(quiet_hours=NOONS, zone="UTC")

    soon = await town.publish(OrderShipped(), to=[ADA], expires_at=NOON + HOUR)
    late = await town.publish(OrderShipped(), to=[ADA], expires_at=NOON + 3 * HOUR)
    await town.work(2 * HOUR)

    assert ("expired", "expired_in_quiet_hours") == (await town.found(event_id=soon))[MAIL]
    assert ("delivered", None) == (await town.found(event_id=late))[MAIL]


@pytest.mark.parametrize("has_type", [True, False])
async def test_what_was_held_over_quiet_hours_expires_on_its_claim(opened: Open, url: str, has_type: bool) -> None:
    """No dispatcher ran when the quiet hours ended: whoever claims it afterwards sends nothing."""
    town: Town = await opened(url)
    await town.save(quiet_hours=NOONS, zone="UTC")
    options = {} if has_type else {"expires_at": NOON + 3 * HOUR}
    town.kit.catalog.include([EventType(name="short.lived", steps=[Step("email")], expires_after=3 * HOUR)])

    await town.publish(_event("short.lived") if has_type else OrderShipped(), to=[ADA], **options)
    held = (await town.found())[MAIL]
    await town.work(3 * HOUR)

    assert ("held", "quiet_hours") == held
    assert ("expired", "expired") == (await town.found())[MAIL]
    assert [] == town.sent("email")


# ── what cannot be known ───────────────────────────────────────────────────────────────────────


async def test_nothing_is_sent_while_the_tenants_preferences_cannot_be_read(town: Town) -> None:
    """A tenant may have turned it off for everyone: it waits until the record is repaired."""
    await town.save()
    tables = town.kit.store._tables.records[TenantPreferences]  # type: ignore[attr-defined]
    tables[TENANT, "preferences"] = UnreadableTenantPreferences(tenant=TENANT)

    await town.publish(OrderShipped(), to=[ADA])
    await town.work(QUARTER)
    waiting = await town.found()
    del tables[TENANT, "preferences"]
    await town.work(QUARTER)

    assert {("held", "preferences_unreadable")} == set(waiting.values())
    assert {("delivered", None)} == set((await town.found()).values())


@pytest.mark.parametrize(
    ("purpose", "ended"), [("marketing", ("dead", "uncertain")), ("transactional", ("delivered", None))]
)
async def test_advertising_that_may_have_arrived_is_not_sent_again(
    town: Town, purpose: str, ended: tuple[str, str | None]
) -> None:
    """A bill is: twice is better than never."""
    known = EventType(name="news.posted", purpose=purpose, steps=[Step("email")])
    town.kit.catalog.include([known])
    await town.save()
    await town.kit.preferences(ADA, tenant=TENANT).consent(purpose="marketing")
    town.channels["email"].answer = lambda _: Uncertain(reason="timeout")

    await town.publish(_event("news.posted"), to=[ADA])
    town.channels["email"] = Messages("email")
    town.dispatcher = town.kit.dispatcher(list(town.channels.values()))
    await town.work(timedelta(minutes=1))

    assert ended == (await town.found())[MAIL]
