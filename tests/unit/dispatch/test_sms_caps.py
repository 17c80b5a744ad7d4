"""Caps of text messages by country, over all persons of a tenant and all processes."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from notifykit import ConfigurationError, DispatchSettings, Event, EventType, Throttle
from notifykit.models.digest import Digest
from notifykit.models.outcome import Permanent
from notifykit.models.recipient import RecipientAddress
from notifykit.models.steps import Step
from notifykit.testing.builders import make_recipient

from .test_people import ADA, Open, Town, opened, town, url

__all__ = ["opened", "town", "url"]

HOUR = timedelta(hours=1)
GERMAN, AUSTRIAN, CANADIAN = "+4915112345678", "+436641234567", "+14165550123"
CAPPED = "country_capped"
_numbers = count(1)


async def tell(town: Town, number: str, *steps: Step) -> str | None:
    """Tell a new person with a number of an event; return the reason of what becomes of the text message."""
    who = f"user:{next(_numbers)}"
    addresses = (*make_recipient().addresses, RecipientAddress(channel="sms", address=number))
    await town.save(who, addresses=addresses)
    known = EventType(name=f"login.asked{next(_numbers)}", steps=steps or (Step("sms"),), purpose="security")
    town.kit.catalog.include([known])
    id_ = await town.publish(Event(type=known.name, data={}), to=[who])
    return (await town.found(event_id=id_))[(who, "sms", number)][1]


def cap(town: Town, **caps: Throttle) -> None:
    """Give the town's dispatcher caps."""
    named = {name.replace("others", "*"): throttle for name, throttle in caps.items()}
    town.dispatcher = town.kit.dispatcher([*town.channels.values()], DispatchSettings(sms_caps=named))


async def test_what_exceeds_the_cap_of_a_country_is_left_out(opened: Open, url: str) -> None:
    """Whoever gets it, and whatever its purpose is; other countries have their own."""
    town: Town = await opened(url)
    cap(town, DE=Throttle(2, HOUR), others=Throttle(1, HOUR))

    at_once = [await tell(town, number) for number in (GERMAN, AUSTRIAN, GERMAN, CANADIAN)]
    others = [await tell(town, number) for number in (GERMAN, AUSTRIAN, CANADIAN)]
    town.clock.advance(HOUR / 2)

    assert [None] * 4 == at_once
    assert [CAPPED] * 3 == others
    assert None is await tell(town, GERMAN)
    assert 5 == len(town.sent("sms"))


async def test_countries_that_are_not_named_have_no_cap(town: Town) -> None:
    """Unless ``*`` gives them one."""
    cap(town, US=Throttle(1, HOUR))

    assert [None, None] == [await tell(town, GERMAN) for _ in range(2)]
    assert [None, CAPPED] == [await tell(town, CANADIAN) for _ in range(2)]


async def test_a_fallback_counts_when_it_is_sent(town: Town) -> None:
    """The text message that follows an e-mail takes its token when it wakes."""
    cap(town, DE=Throttle(1, HOUR))
    town.channels["email"].answer = lambda _: Permanent(reason="refused")
    steps = Step("email"), Step("sms", fallback=True)

    await tell(town, GERMAN, *steps)
    await tell(town, GERMAN, *steps)
    await town.work(timedelta(minutes=5))

    reasons = {each.reason for each in await town.deliveries() if each.channel == "sms"}
    assert {None, CAPPED} == reasons
    assert 1 == len(town.sent("sms"))


async def test_a_digest_counts_when_it_is_sent(town: Town) -> None:
    """However many events it has collected."""
    cap(town, DE=Throttle(1, HOUR))
    at = RecipientAddress(channel="sms", address=GERMAN)
    await town.save(addresses=(at,))
    for name in ("news.posted", "news.moved"):
        digest = Digest(name.replace(".", "_"), window=timedelta(minutes=10))
        town.kit.catalog.include([EventType(name=name, steps=(Step("sms"),), digest=digest)])
        for _ in range(3):
            await town.publish(Event(type=name, data={}), to=[ADA])
    await town.work(timedelta(minutes=11))

    assert 1 == len(town.sent("sms"))
    assert CAPPED in {each.reason for each in await town.deliveries() if each.channel == "sms"}


@pytest.mark.parametrize("caps", [{"XX": Throttle(1, HOUR)}, {"de": Throttle(1, HOUR)}, {"DE": 5}, 5])
def test_a_cap_that_is_none_is_refused(caps: Any) -> None:
    """The error names the argument."""
    with pytest.raises(ConfigurationError, match="sms_caps"):
        DispatchSettings(sms_caps=caps)
