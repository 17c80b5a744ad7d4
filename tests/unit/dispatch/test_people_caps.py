"""Frequency caps: how many notifications of a kind a person gets, over all processes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import anyio
import pytest

from notifykit import DispatchSettings, Event, EventType, Throttle
from notifykit.models.digest import Digest
from notifykit.models.inbox import InboxMarks
from notifykit.models.outcome import Permanent, Transient
from notifykit.models.preferences import Scope, Selector, Setting
from notifykit.models.quiet_hours import QuietHours, Weekday, Window
from notifykit.models.recipient import RecipientAddress
from notifykit.models.steps import Step
from notifykit.testing.builders import make_recipient

from .support import TENANT
from .test_people import ADA, BOB, NOON, QUARTER, MarkedStore, Messages, Open, Town, opened, town, url

__all__ = ["opened", "town", "url"]

HOUR = timedelta(hours=1)
TWO = Throttle(2, HOUR)
MAIL = (ADA, "email", "ada@example.org")
SENT, CAPPED = ("delivered", None), ("suppressed", "capped")


def declare(town: Town, *steps: Step, throttle: Throttle = TWO, name: str = "news.posted", **options: Any) -> Event:
    """Declare a type with a frequency cap; return an event of it."""
    known = EventType(name=name, steps=steps or (Step("in_app"), Step("email")), throttle=throttle, **options)
    town.kit.catalog.include([known])
    return Event(type=name, data={})


async def ends(town: Town, event: Event, place: tuple[str, str, str] = MAIL, **options: Any) -> tuple[str, str | None]:
    """Publish an event; return what becomes of the delivery to a place."""
    id_ = await town.publish(event, to=[place[0]], **options)
    return (await town.found(event_id=id_))[place]


async def test_what_exceeds_the_cap_is_left_out(opened: Open, url: str) -> None:
    """Two at once, then one each half hour; the inbox has all of them, and other people and tenants their own."""
    town: Town = await opened(url)
    await town.save()
    await town.save(BOB)
    event = declare(town)

    at_once = [await ends(town, event) for _ in range(3)]
    bob = await ends(town, event, (BOB, "email", "ada@example.org"))
    town.clock.advance(HOUR / 2)
    later = [await ends(town, event) for _ in range(2)]

    assert [SENT, SENT, CAPPED] == at_once
    assert SENT == bob
    assert [SENT, CAPPED] == later
    assert 5 == town.sent("in_app").count(ADA)


async def test_events_of_one_batch_share_the_tokens(opened: Open, url: str) -> None:
    """Also if many are planned at a time; all addresses of a channel together take one token."""
    town: Town = await opened(url)
    two = tuple(RecipientAddress(channel="email", address=f"{name}@example.org") for name in ("home", "work"))
    await town.save(addresses=two)
    event = declare(town)

    await town.kit.apublish_many([event] * 5, tenant=TENANT, to=[ADA])
    await town.work()

    states = [(each.channel, each.reason) for each in await town.deliveries(states=["suppressed"])]
    assert [("email", "capped")] * 6 == states
    assert 4 == len(town.sent("email"))


async def test_types_of_a_category_share_an_equal_throttle(town: Town) -> None:
    """Another category, and another throttle, has a bucket of its own; channels have one each."""
    await town.save(addresses=(*make_recipient().addresses, RecipientAddress(channel="sms", address="+4915112345678")))
    both = Step("email"), Step("sms")
    events = [
        declare(town, *both, category="news"),
        declare(town, *both, category="news", name="news.moved"),
        declare(town, *both, category="news", name="news.gone"),
        declare(town, *both, category="other", name="other.posted"),
        declare(town, *both, category="news", name="news.rare", throttle=Throttle(1, HOUR, channels="sms")),
    ]

    mails = [await ends(town, event) for event in events]

    texts = [d.reason for d in await town.deliveries() if d.channel == "sms"]
    assert [SENT, SENT, CAPPED, SENT, SENT] == mails
    assert [None, None, "capped", None, None] == texts[::-1]


async def test_security_is_never_capped(town: Town) -> None:
    """A password reset comes, however many there were."""
    await town.save()
    event = declare(town, Step("email"), purpose="security", throttle=Throttle(1, HOUR))

    assert [SENT] * 3 == [await ends(town, event) for _ in range(3)]


async def test_a_retry_takes_no_second_token(town: Town) -> None:
    """What was planned is sent, however many attempts that takes."""
    await town.save()
    event = declare(town, Step("email"), throttle=Throttle(1, HOUR))
    town.channels["email"].answer = lambda _: Transient(reason="busy")

    await town.publish(event, to=[ADA])
    town.channels["email"] = Messages("email")
    town.dispatcher = town.kit.dispatcher(list(town.channels.values()))
    await town.work(timedelta(minutes=1))

    assert SENT == (await town.found())[MAIL]


async def test_quiet_hours_count_what_they_defer(town: Town) -> None:
    """The token is taken when it is planned: in the morning no more come than the cap lets through."""
    night = Window(days=(Weekday.MON,), from_="11:00", to="14:00")
    await town.save(quiet_hours=QuietHours(windows=(night,)), zone="UTC")
    event = declare(town, Step("email"))

    planned = [await ends(town, event) for _ in range(3)]
    await town.work(2 * HOUR)

    assert [("held", "quiet_hours")] * 2 + [CAPPED] == planned
    assert 2 == len(town.sent("email"))


@pytest.mark.parametrize("is_read", [True, False])
async def test_a_later_step_takes_its_token_when_it_wakes(opened: Open, is_read: bool) -> None:
    """One that is not needed any more takes none."""
    store = MarkedStore()
    town: Town = await opened(store=store)
    await town.save()
    event = declare(town, Step("in_app"), Step("email", after=QUARTER, unless={"read"}), throttle=Throttle(1, HOUR))

    await town.publish(event, to=[ADA])
    store.marks = {ADA: InboxMarks(NOON, NOON if is_read else None)}
    await town.work(QUARTER)
    store.marks = {}
    second = await town.publish(event, to=[ADA])
    await town.work(QUARTER)

    assert (SENT if is_read else CAPPED) == (await town.found(event_id=second))[MAIL]
    assert 1 == len(town.sent("email"))


@pytest.mark.parametrize("has_inbox", [True, False])
async def test_a_fallback_takes_its_token_when_it_wakes(town: Town, has_inbox: bool) -> None:
    """Whether a step before it was refused at once or has failed."""
    number = "+4915112345678"
    off = Setting(scope=Scope.RECIPIENT, select=Selector(channel="in_app"), value="on" if has_inbox else "off")
    await town.save(addresses=(RecipientAddress(channel="sms", address=number),), settings=(off,))
    town.channels["in_app"].answer = lambda _: Permanent(reason="broken")
    event = declare(town, Step("in_app"), Step("sms", fallback=True), throttle=Throttle(1, HOUR))

    for _ in range(2):
        await town.publish(event, to=[ADA])
        await town.work(2 * timedelta(minutes=1))

    reasons = [d.reason for d in await town.deliveries() if d.channel == "sms"]
    assert ["capped", None] == reasons
    assert [number] == town.sent("sms")


async def test_an_event_whose_planner_died_takes_no_second_token(town: Town) -> None:
    """It may have had the last one: it is sent."""
    await town.save()
    event = declare(town, Step("email"), throttle=Throttle(1, HOUR))
    await town.publish(event, to=[ADA])
    lost = await town.kit.apublish(event, tenant=TENANT, to=[ADA])
    await town.kit.store.take(9, now=town.clock.now(), lease=QUARTER)

    await town.work(QUARTER)
    await town.work(QUARTER)

    assert SENT == (await town.found(event_id=lost.event_id))[MAIL]


async def test_what_a_digest_collects_takes_no_token(town: Town) -> None:
    """It disturbs nobody while it is collected, and the digest has its own pace."""
    await town.save()
    event = declare(town, Step("email"), throttle=Throttle(1, HOUR), digest=Digest("news", window=2 * HOUR))

    await town.kit.apublish_many([event] * 3, tenant=TENANT, to=[ADA])
    await town.work()
    await town.work(2 * HOUR)

    assert [("delivered", None)] * 4 == [(d.state.value, d.reason) for d in await town.deliveries()]
    assert 1 == len(town.sent("email"))


async def test_two_processes_share_the_cap(opened: Open, url: str, request: pytest.FixtureRequest) -> None:
    """However many planners there are, a person gets no more than the limit."""
    town: Town = await opened(url)
    await town.save()
    event = declare(town, Step("email"), throttle=Throttle(10, timedelta(days=30)))
    await town.kit.sync_event_types()  # the other process does not declare the type
    others = [town] if url == "memory://" else [town, await opened(url)]
    for other in others:
        other.dispatcher = other.kit.dispatcher([*other.channels.values()], DispatchSettings(batch=3))
    await town.kit.apublish_many([event] * 40, tenant=TENANT, to=[ADA])

    async def work(each: Town) -> None:
        while await each.dispatcher.step():
            pass

    async with anyio.create_task_group() as processes:
        for other in others:
            processes.start_soon(work, other)

    found = [each.reason for each in await town.deliveries()]
    assert (10, 30) == (found.count(None), found.count("capped"))
    assert 10 == sum(len(other.sent("email")) for other in others)
