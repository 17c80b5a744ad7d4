"""Reading an inbox item cancels the later steps of its event at once, also those that a digest has collected."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from notifykit import Event, EventType
from notifykit.channels.inbox import InboxChannel
from notifykit.models.delivery import Claim, Delivery, DeliveryState
from notifykit.models.digest import Digest
from notifykit.models.inbox import InboxMark
from notifykit.models.outcome import Accepted
from notifykit.models.recipient import RecipientAddress
from notifykit.models.steps import Step

from .support import TENANT
from .test_people import ADA, BOB, QUARTER, Open, Town, opened, url

__all__ = ["opened", "url"]

HOUR = timedelta(hours=1)
MAILS = tuple(RecipientAddress(channel="email", address=f"ada{number}@example.org") for number in (1, 2))
TYPES = [
    EventType(name="note.read", steps=[Step("in_app"), Step("email", after=QUARTER, unless={"read"})]),
    EventType(name="note.seen", steps=[Step("in_app"), Step("email", after=QUARTER, unless={"seen"})]),
    EventType(name="note.kept", steps=[Step("in_app"), Step("email", after=QUARTER)]),
    EventType(
        name="note.daily",
        steps=[Step("in_app"), Step("email", unless={"read"})],
        digest=Digest("notes", window=HOUR),
    ),
]


async def at_home(opened: Open, url: str) -> Town:
    """Return a town whose inboxes are real ones."""
    town: Town = await opened(url)
    town.kit.catalog.include(TYPES)
    await town.kit.sync_event_types()
    real: Any = InboxChannel(town.kit.store)  # type: ignore[arg-type]
    town.dispatcher = town.kit.dispatcher([*(town.channels[name] for name in ("email", "sms", "webhook")), real])
    await town.save(addresses=MAILS)
    await town.save(BOB)
    return town


async def mark(town: Town, event_id: str, with_: InboxMark, to: str = ADA) -> None:
    inbox = town.kit.inbox(to, tenant=TENANT)
    (item,) = [each.id for each in (await inbox.page()).items if each.event_id == event_id]
    await inbox.mark(item, with_)


async def mails(town: Town, event_id: str, to: str = ADA) -> list[Delivery]:
    return [d for d in await town.deliveries(event_id=event_id, subscriber_id=to) if d.channel == "email"]


async def test_later_steps_end_when_the_item_is_read(opened: Open, url: str) -> None:
    """At once, to each address, with the mark as the reason, and without the worker; other people's stay."""
    town = await at_home(opened, url)
    id_ = await town.publish(Event(type="note.read", data={}), to=[ADA, BOB])

    await mark(town, id_, InboxMark.SEEN)
    after_seen = await mails(town, id_)
    await mark(town, id_, InboxMark.READ)

    assert [DeliveryState.HELD] * 2 == [each.state for each in after_seen]
    assert [(DeliveryState.CANCELLED, "read")] * 2 == [(d.state, d.reason) for d in await mails(town, id_)]
    assert [DeliveryState.HELD] == [each.state for each in await mails(town, id_, BOB)]
    await town.work(QUARTER)
    assert ["ada@example.org"] == town.sent("email"), "to Bob, who has the builder's address"


async def test_all_items_are_read(opened: Open, url: str) -> None:
    """Marking everything cancels what each type's own condition says; a step without one stays."""
    town = await at_home(opened, url)
    ids = {
        name: await town.publish(Event(type=name, data={}), to=ADA) for name in ("note.read", "note.seen", "note.kept")
    }

    await town.kit.inbox(ADA, tenant=TENANT).mark_all("seen")
    seen = {name: (await mails(town, id_))[0].reason for name, id_ in ids.items()}
    await town.kit.inbox(ADA, tenant=TENANT).mark_all("read")
    read = {name: (await mails(town, id_))[0].reason for name, id_ in ids.items()}

    assert {"note.read": "later_step", "note.seen": "seen", "note.kept": "later_step"} == seen
    assert {"note.read": "read", "note.seen": "seen", "note.kept": "later_step"} == read


async def test_what_was_read_leaves_the_open_digest(opened: Open, url: str) -> None:
    """The digest is sent with what is left, and counts only that; when all was read nothing is sent."""
    town = await at_home(opened, url)
    ids = [await town.publish(Event(type="note.daily", data={}), to=BOB) for _ in range(3)]
    alone = await town.publish(Event(type="note.daily", data={}), to=ADA)
    told: list[str] = []

    def answer(claim: Claim) -> Accepted:
        told.append(claim.event_id)
        return Accepted()

    town.channels["email"].answer = answer

    await mark(town, ids[0], InboxMark.READ, BOB)
    await mark(town, ids[1], InboxMark.READ, BOB)
    await mark(town, alone, InboxMark.READ)
    await town.work(HOUR)

    assert [ids[2]] == told
    assert ("cancelled", "digest_empty") in (await town.found(subscriber_id=ADA)).values()
