"""The people of the demo: what they want, what they should get, and what they got.

As with the receivers, what is expected is written down here, and compared with what the mail server counted and what
the inboxes hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import attrs

from ...catalog import event
from ...kit import Notifykit
from ...models.delivery import DeliveryState
from ...models.digest import Digest
from ...models.inbox import InboxMark
from ...models.quiet_hours import Weekday, Window
from ...models.steps import IN_APP, Step
from ...ports import DeliveryFilter
from ..text import Cell, Column, table

TENANT = "shop"
#: Comments are written in two threads.
THREADS = ("parcels", "returns")
COMMENTS, BUILDS = 4, 5
#: How long an e-mail about a comment waits for the person to read the inbox, and how long a digest collects.
MAIL_AFTER, COLLECTED = timedelta(seconds=4), timedelta(seconds=3)
_POLL = 0.05


@event("comment.created", category="comments", steps=[Step(IN_APP), Step("email", after=MAIL_AFTER, unless={"read"})])
@attrs.frozen
class CommentCreated:
    """A comment was written."""

    thread: str
    text: str


@event("build.finished", category="builds", steps=[Step("email")], digest=Digest("builds", window=COLLECTED))
@attrs.frozen
class BuildFinished:
    """A build has ended."""

    number: int


EVENT_TYPES = (CommentCreated, BuildFinished)


class DemoPerson(NamedTuple):
    """A person, and what they get.

    Attributes:
        mails: Subjects, in order.
        reasons: Why deliveries are held, suppressed or cancelled, and how many.
    """

    name: str
    wish: str
    mails: Sequence[str] = ()
    items: int = 0
    reasons: Mapping[str, int] = {}

    @property
    def id(self) -> str:
        """The recipient's id."""
        return f"user:{self.name}"

    @property
    def address(self) -> str:
        """Where mails go."""
        return f"{self.name}@people.example"


_COMMENT, _BUILDS = "Comment created", "Build finished"
ADA, BEN, CLEO, DAN, EVE, FINN = PEOPLE = (
    DemoPerson("ada", "wants everything", [_COMMENT] * COMMENTS, COMMENTS),
    DemoPerson("ben", "has quiet hours now", reasons={"quiet_hours": 2 * COMMENTS}),
    DemoPerson("cleo", f"muted thread {THREADS[0]}", [_COMMENT] * (COMMENTS // 2), COMMENTS // 2, {"muted": COMMENTS}),
    DemoPerson("dan", "turned e-mail off", items=COMMENTS, reasons={"turned_off": COMMENTS}),
    DemoPerson("eve", "reads the inbox at once", items=COMMENTS, reasons={"read": COMMENTS}),
    DemoPerson("finn", "gets builds in a digest", [f"{_BUILDS} ({BUILDS})"]),
)
#: What stays open when everything else is done.
HELD = sum(person.reasons.get("quiet_hours", 0) for person in PEOPLE)
#: Whose answers to "why" are shown.
ASKED = (BEN, CLEO, FINN)


async def prepare(kit: Notifykit, tenant: str) -> None:
    """Save the people, and what they want."""
    for person in PEOPLE:
        await kit.recipients.save(person.id, tenant=tenant, name=person.name.title(), email=person.address)
    now = datetime.now(UTC)
    begin, end = (f"{now + timedelta(hours=hours):%H:%M}" for hours in (-1, 3))
    window = Window(days=tuple(Weekday), from_=begin, to=end)
    await kit.preferences(BEN.id, tenant=tenant).quiet_hours([window])
    await kit.preferences(CLEO.id, tenant=tenant).mute(topic=f"thread/{THREADS[0]}")
    await kit.preferences(DAN.id, tenant=tenant).set(channel="email", value="off")
    await kit.sync_event_types()


async def publish(kit: Notifykit, tenant: str) -> dict[str, str]:
    """Publish what the people are told, and let Eve read her inbox; return an event's id for each person."""
    events: dict[str, str] = {}
    commented = [person.id for person in PEOPLE if person is not FINN]
    for number in range(COMMENTS):
        thread = THREADS[number % len(THREADS)]
        comment = CommentCreated(thread, f"Comment {number + 1}")
        receipt = await kit.apublish(comment, tenant=tenant, topic=f"thread/{thread}", to=commented, actor="user:gil")
        events = dict.fromkeys(commented, receipt.event_id) | events
    for number in range(BUILDS):
        receipt = await kit.apublish(BuildFinished(number + 1), tenant=tenant, to=[FINN.id])
        events[FINN.id] = receipt.event_id
    inbox = kit.inbox(EVE.id, tenant=tenant)
    while len((await inbox.page()).items) < COMMENTS:
        await asyncio.sleep(_POLL)
    await inbox.mark_all(InboxMark.READ)
    return events


class Told(NamedTuple):
    """What a person was told."""

    person: DemoPerson
    mails: Sequence[str]
    items: int
    reasons: Mapping[str, int]

    @property
    def is_right(self) -> bool:
        """Whether it is exactly what was expected."""
        person = self.person
        return (list(person.mails), person.items, person.reasons) == (list(self.mails), self.items, self.reasons)

    def record(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "name": self.person.name,
            "wish": self.person.wish,
            "mails": list(self.mails),
            "inbox": self.items,
            "reasons": dict(self.reasons),
            "ok": self.is_right,
        }


async def told(kit: Notifykit, tenant: str, subjects: Callable[[str], Sequence[str]]) -> list[Told]:
    """Return what each person was told.

    Args:
        subjects: Returns the subjects of the mails that came for an address.
    """
    found = []
    for person in PEOPLE:
        items = (await kit.inbox(person.id, tenant=tenant).page()).items
        wanted = DeliveryFilter(subscriber_id=person.id, states=set(DeliveryState) - {DeliveryState.DELIVERED})
        waiting = await kit.deliveries.list(wanted, tenant=tenant, limit=100)
        reasons = [delivery.reason or str(delivery.state) for delivery in waiting]
        counts = {reason: reasons.count(reason) for reason in sorted(set(reasons))}
        found.append(Told(person, subjects(person.address), len(items), counts))
    return found


def problems(found: Sequence[Told]) -> list[str]:
    """Say what is not as expected."""
    return [
        f"{each.person.name}: {len(each.mails)} mails and {each.items} inbox items ({_reasons(each.reasons)}), "
        f"expected {len(each.person.mails)} and {each.person.items} ({_reasons(each.person.reasons)})"
        for each in found
        if not each.is_right
    ]


def lines(found: Sequence[Told]) -> list[str]:
    """Return what people were told as a table."""
    columns = [
        *(Column("PERSON"), Column("WISH", wraps=True), Column("MAILS", right=True), Column("INBOX", right=True)),
        Column("NOT SENT, OR LATER", wraps=True),
    ]
    rows = [
        (
            each.person.name,
            each.person.wish,
            Cell(str(len(each.mails)), "green" if each.is_right else "red"),
            each.items,
            _reasons(each.reasons),
        )
        for each in found
    ]
    return table(columns, rows)


def _reasons(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "-"
