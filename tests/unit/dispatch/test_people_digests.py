"""Digests of people: what is collected, when it is sent, and what is decided anew when it is."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import attrs
import pytest

from notifykit import StateError, event
from notifykit.models.delivery import Claim, Collected
from notifykit.models.digest import Digest
from notifykit.models.ids import delivery_id, recipient_key
from notifykit.models.outcome import Accepted, Outcome, Permanent
from notifykit.models.preferences import Mute, MuteSelector, Purpose, Scope, Selector, Setting
from notifykit.models.quiet_hours import QuietHours, Weekday, Window
from notifykit.models.recipient import Consent
from notifykit.models.steps import Step
from notifykit.ports import DeliveryFilter, Move
from notifykit.stores.memory import MemoryStore

from .support import TENANT
from .test_people import ADA, OrderShipped, Town, opened, town, url

__all__ = ["opened", "town", "url"]  # fixtures

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
MAIL = (ADA, "email", "ada@example.org")
KEY = recipient_key(*MAIL)


@event("comment.added", steps=[Step("email")], digest=Digest("comments", group="data.thread", window=10 * MINUTE))
@attrs.frozen
class CommentAdded:
    thread: str | None = "a"
    text: str = "hi"


@event("comment.liked", steps=[Step("email")], digest=Digest("likes", window=10 * MINUTE, first="now"))
@attrs.frozen
class CommentLiked:
    text: str = "hi"


@event(
    "task.done",
    steps=[Step("in_app"), Step("email", after=15 * MINUTE, unless={"read"})],
    digest=Digest("tasks", window=10 * MINUTE),
)
@attrs.frozen
class TaskDone:
    text: str = "hi"


@event("password.reset", steps=[Step("email")], purpose="security", digest=Digest("resets", window=HOUR))
@attrs.frozen
class PasswordReset:
    text: str = "hi"


def by_mail(value: str) -> Setting:
    """Return a person's setting for e-mail."""
    return Setting(scope=Scope.RECIPIENT, select=Selector(channel="email"), value=value)


def mails(town: Town) -> list[Claim]:
    """Return what will be sent by e-mail from now on."""
    sent: list[Claim] = []

    def answer(claim: Claim) -> Outcome:
        sent.append(claim)
        return Accepted()

    town.channels["email"].answer = answer
    return sent


def texts(claim: Claim) -> list[str]:
    """Return the texts of the events that a message is about."""
    bodies = [claim.body] if claim.collected is None else [item.body for item in claim.collected.items]
    return [json.loads(body)["data"]["text"] for body in bodies]


async def test_a_person_gets_a_daily_digest(opened: Any, url: str) -> None:
    """In every store: inbox items come at once, and the e-mails together at eight on the person's wall clock."""
    town: Town = await opened(url)
    sent = mails(town)
    await town.save(zone="Europe/Berlin", settings=(by_mail("digest:daily"),))
    events = [await town.publish(OrderShipped(f"A-{n}"), to=[ADA]) for n in range(3)]
    waiting = [(await town.found(event_id=id))[MAIL] for id in events]
    inbox = len(town.sent("in_app"))

    await town.work(19 * HOUR - MINUTE)
    early = len(sent)
    await town.work(MINUTE)

    assert [("held", "digest")] * 3 == waiting
    assert (3, 0, 1) == (inbox, early, len(sent))
    assert isinstance(sent[0].collected, Collected)
    assert (3, events) == (sent[0].collected.total, [item.event_id for item in sent[0].collected.items])
    assert [("delivered", None)] * 3 == [(await town.found(event_id=id))[MAIL] for id in events]


async def test_a_digest_of_one_event_is_sent_as_that_event(town: Town) -> None:
    """As if it had not been collected."""
    sent = mails(town)
    await town.save()
    await town.publish(CommentAdded(text="cancelled"), to=[ADA])
    last = await town.publish(CommentAdded(text="stays"), to=[ADA])
    first = next(d for d in await town.deliveries(event_type="comment.added") if d.event_id != last)
    await town.kit.store.move(TENANT, DeliveryFilter(event_id=first.event_id), Move.CANCEL, now=town.clock.now())

    await town.work(10 * MINUTE)

    assert [(last, "comment.added", None, ["stays"])] == [
        (claim.event_id, claim.event_type, claim.collected, texts(claim)) for claim in sent
    ]


async def test_what_a_digest_has_collected_is_redriven_with_it(opened: Any, url: str) -> None:
    """The refusal names the digest."""
    town: Town = await opened(url)
    await town.save()
    town.channels["email"].answer = lambda _: Permanent(reason="spam")
    events = [await town.publish(CommentAdded(text=text), to=[ADA]) for text in "ab"]
    await town.work(10 * MINUTE)
    dead = await town.deliveries()
    (digest,) = [each for each in dead if each.id not in {delivery_id(id, KEY) for id in events}]

    for id in events:
        with pytest.raises(StateError, match=f"is part of the digest {digest.id}: redrive that one"):
            await town.kit.deliveries.redrive(delivery_id(id, KEY), tenant=TENANT)
    sent = mails(town)
    await town.kit.deliveries.redrive(digest.id, tenant=TENANT)
    await town.work()

    assert [["a", "b"]] == [texts(claim) for claim in sent]


async def test_nothing_is_sent_of_nothing(town: Town) -> None:
    """If all that was collected has been cancelled, so is the digest."""
    sent = mails(town)
    await town.save()
    only = await town.publish(CommentAdded(), to=[ADA])
    await town.kit.store.move(TENANT, DeliveryFilter(event_id=only), Move.CANCEL, now=town.clock.now())

    await town.work(10 * MINUTE)

    assert [] == sent
    assert {("cancelled", "cancelled"), ("cancelled", "digest_empty")} == {
        (each.state.value, each.reason) for each in await town.deliveries()
    }


async def test_each_group_has_its_digest(town: Town) -> None:
    """And an event without the value is sent by itself at once."""
    sent = mails(town)
    await town.save()
    for thread in ("a", "b", "a", None, "b"):
        await town.publish(CommentAdded(thread, text=f"in {thread}"), to=[ADA])
    alone = [texts(claim) for claim in sent]

    await town.work(10 * MINUTE)

    assert [["in None"]] == alone
    assert [["in a", "in a"], ["in b", "in b"]] == sorted(texts(claim) for claim in sent[1:])


async def test_the_first_is_sent_ahead_of_the_others(opened: Any, url: str) -> None:
    """In every store: at once, and not collected when it is claimed."""
    town: Town = await opened(url)
    sent = mails(town)
    await town.save()
    for n in range(3):
        await town.publish(CommentLiked(str(n)), to=[ADA])
    at_once = [texts(claim) for claim in sent]

    await town.work(10 * MINUTE)

    assert [["0"]] == at_once
    assert [["0"], ["1", "2"]] == [texts(claim) for claim in sent]


async def test_a_later_step_is_collected_when_its_time_has_come(opened: Any, url: str) -> None:
    """In every store: the digest begins then, and the decision about each step is taken before."""
    town: Town = await opened(url)
    sent = mails(town)
    await town.save()
    await town.publish(TaskDone("1"), to=[ADA])
    await town.work(5 * MINUTE)
    await town.publish(TaskDone("2"), to=[ADA])
    at_first = {each.reason for each in await town.deliveries() if each.channel == "email"}
    await town.work(10 * MINUTE)  # the first step wakes
    await town.work(5 * MINUTE)  # the second one
    joined = {each.reason for each in await town.deliveries() if each.channel == "email"}

    await town.work(5 * MINUTE)

    assert ({"later_step"}, {"digest"}) == (at_first, joined)
    assert [["1", "2"]] == [texts(claim) for claim in sent]


async def test_a_later_step_without_group_data_is_sent_when_it_wakes(town: Town) -> None:
    """There is no digest for it then either."""
    sent = mails(town)
    noon = Window(days=[Weekday.MON], from_="12:00", to="12:05")
    await town.save(quiet_hours=QuietHours(windows=[noon]))
    await town.publish(CommentAdded(None), to=[ADA])
    waiting = await town.found()

    await town.work(5 * MINUTE)

    assert {MAIL: ("held", "quiet_hours")} == waiting
    assert 1 == len(sent)


async def test_a_digest_does_not_disturb(town: Town) -> None:
    """It closes when the quiet hours end; where they begin later, what is closed waits for their end."""
    sent = mails(town)
    noon, later = (Window(days=[Weekday.MON], from_=at, to=end) for at, end in (("12:05", "13:00"), ("13:00", "14:00")))
    await town.save(quiet_hours=QuietHours(windows=[noon]))
    await town.publish(CommentAdded(text="1"), to=[ADA])
    await town.work(55 * MINUTE)
    await town.publish(CommentAdded(text="2"), to=[ADA])
    await town.change(quiet_hours=QuietHours(windows=[later]))
    await town.work(5 * MINUTE)
    waiting = {each.reason for each in await town.deliveries()}

    await town.work(HOUR)

    assert {"quiet_hours"} == waiting
    assert [["1", "2"]] == [texts(claim) for claim in sent]


async def test_what_was_collected_is_not_sent_against_the_persons_will(town: Town) -> None:
    """The decision about a digest is taken when it closes; that it is collected is no reason to collect it again."""
    sent = mails(town)
    await town.save(settings=(by_mail("digest:hourly"),))
    await town.publish(CommentAdded(), to=[ADA])
    await town.change(settings=(by_mail("off"),))

    await town.work(HOUR)

    assert [] == sent
    assert {("suppressed", "turned_off")} == set((await town.found()).values())


@event("offer.made", category="offers", purpose="marketing", steps=[Step("email")])
@attrs.frozen
class OfferMade:
    text: str = "buy"


@pytest.mark.parametrize("is_first", [True, False], ids=["first", "last"])
async def test_what_is_not_wanted_any_more_leaves_its_digest(opened: Any, url: str, is_first: bool) -> None:
    """In every store: each event is decided about by itself, whichever opened the digest, and says why it left."""
    town: Town = await opened(url)
    sent = mails(town)
    granted = Consent(purpose=Purpose.MARKETING, at=town.clock.now())
    await town.save(settings=(by_mail("digest:hourly"),), consents=(granted,))
    made: list[Any] = [OfferMade(), CommentAdded(text="1"), CommentAdded(text="2")]
    events = {each.text: await town.publish(each, to=[ADA]) for each in (made if is_first else made[1:] + made[:1])}
    await town.change(consents=(granted, attrs.evolve(granted, granted=False)))

    await town.work(HOUR)

    (claim,) = sent
    assert (["1", "2"], 2) == (texts(claim), claim.collected.total if claim.collected else 0)
    assert ("comment.added", "transactional") == (claim.event_type, claim.details.purpose)
    states = {(each.event_id, each.state.value, each.reason) for each in await town.deliveries()}
    assert (events["buy"], "suppressed", "no_consent") in states
    assert {(events[text], "delivered", None) for text in "12"} < states


async def test_others_come_in_the_place_of_what_has_left(town: Town) -> None:
    """A message shows so many events as the digest says, of those that are wanted."""
    sent = mails(town)
    await town.save()
    for n in range(60):
        await town.publish(CommentAdded(text=str(n)), to=[ADA], topic="project/7" if n < 20 else "project/8")
    await town.change(mutes=(Mute(select=MuteSelector(topic="project/7")),))

    await town.work(10 * MINUTE)

    (claim,) = sent
    assert [str(n) for n in range(20, 60)] == texts(claim)


async def test_what_is_urgent_is_not_collected(town: Town) -> None:
    """Whatever the type or the person says."""
    sent = mails(town)
    await town.save(settings=(by_mail("digest:daily"),))

    await town.publish(PasswordReset(), to=[ADA])

    assert 1 == len(sent)


@pytest.mark.parametrize("value", ["digest:daily", "on"])
async def test_without_digests_in_the_store_events_are_sent_one_by_one(opened: Any, value: str) -> None:
    """A store of one's own need not have them."""

    class Plain(MemoryStore):
        collected = None  # type: ignore[assignment]

    town: Town = await opened(store=Plain())
    sent = mails(town)
    await town.save(settings=(by_mail(value),))

    await town.publish(CommentAdded(), to=[ADA])

    assert 1 == len(sent)
