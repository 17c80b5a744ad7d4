"""A channel from another package, with its own kind of address, works without a change of this one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from notifykit import Event, InvalidSubscriptionError, Notifykit, Resource, event
from notifykit.models.delivery import DeliveryState
from notifykit.models.subscription import Subscription
from tests.unit.cli.driving import start

TENANT = "acme"

#: The whole package: one module, and what an installer writes beside it.
MODULE = '''
"""A channel that writes down what it sends to rooms."""

import json
from datetime import timedelta
from urllib.parse import urlsplit

from notifykit import InvalidInputError, RetryPolicy
from notifykit.models.destination import Destination
from notifykit.models.outcome import Accepted, Answer, BadRecipient


class ToyChannel:
    name = "toy"

    def __init__(self, path):
        self.path = path

    def check_address(self, address):
        if not address.lower().startswith("toy:"):
            raise InvalidInputError(["an address begins with toy:"])
        return address.lower()

    def destination(self, *, tenant, subscriber_id, address):
        return Destination(
            subscriber_id=subscriber_id, tenant=tenant, channel=self.name, address=address,
            retry=RetryPolicy(delays=()), timeout=timedelta(seconds=1), is_fast=address == "toy:room-5",
        )

    async def send(self, claim, destination, *, now):
        if destination.address == "toy:gone":
            return BadRecipient(reason="room_gone")
        said = {"address": destination.address, "data": json.loads(claim.body)["data"], **claim.details._asdict()}
        with open(self.path, "a") as file:
            print(json.dumps(said), file=file)
        return Accepted(answer=Answer(reference=f"toy-{claim.subscriber_id}"))

    async def aclose(self):
        pass


def from_url(url):
    return ToyChannel(urlsplit(url).path)
'''


@event("message.posted", category="chat", purpose="transactional")
@attrs.frozen
class MessagePosted:
    text: str


@pytest.fixture
def toy_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Install the package for this process and its children; return the URL of its channel."""
    site = tmp_path / "site"
    (site / "toy_channel-1.0.dist-info").mkdir(parents=True)
    (site / "toy_channel.py").write_text(MODULE)
    (site / "toy_channel-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: toy-channel\nVersion: 1.0\n")
    (site / "toy_channel-1.0.dist-info/entry_points.txt").write_text(
        "[notifykit.channels]\ntoy = toy_channel:from_url\n"
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    return f"toy://{tmp_path}/said.jsonl"


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 60) -> Any:
    """Return what the condition returns once that is true."""
    end = time.monotonic() + seconds
    while not (found := await condition()):
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(0.02)
    return found


async def test_a_channel_of_another_package_delivers_through_notifykit_run(toy_url: str, tmp_path: Path) -> None:
    """What is subscribed to its addresses arrives there, and an address that is gone is not used again."""
    url = f"sqlite:///{tmp_path}/store.db"
    process = start("run", "--url", url, "--channel", toy_url, "--json", "--poll", "100ms")
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["ready"]
        async with Notifykit(url, channels=[toy_url], event_types=[MessagePosted]) as kit:
            rooms = [await _subscribe(kit, name) for name in ("room-5", "Room-6", "gone")]
            receipt = await kit.apublish(
                MessagePosted(text="hi"),
                tenant=TENANT,
                actor="user:7",
                resource=Resource("room", "5"),
                metadata={"lang": "en"},
            )

            ended = await until(lambda: _ended(kit, 3))
            gone = await until(lambda: _disabled(kit, rooms[2].id))
            later = await kit.apublish(Event(type="message.posted", data={"text": "again"}), tenant=TENANT)
            await until(lambda: _ended(kit, 5))
            attempts = {each.subscriber_id: await kit.deliveries.attempts(each.id, tenant=TENANT) for each in ended}
            told = await kit.events.explain(later.event_id, tenant=TENANT)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)

    said = _written(toy_url)
    assert 0 == process.returncode
    assert ["toy:gone", "toy:room-5", "toy:room-6"] == sorted(each.address or "" for each in ended)
    assert {"toy:room-5": 2, "toy:room-6": 2} == {
        address: sum(one["address"] == address for one in said) for address in ("toy:room-5", "toy:room-6")
    }
    first = next(one for one in said if one["data"] == {"text": "hi"})
    assert ("user:7", "room", "5", '{"lang":"en"}', "chat", "transactional") == tuple(
        first[name] for name in ("actor", "resource_kind", "resource_id", "metadata", "category", "purpose")
    )
    assert [("accepted", "toy-room:5")] == [(one.outcome, one.reference) for one in attempts["room:5"]]
    assert (False, "room_gone") == (gone.enabled, gone.disabled_reason)
    assert 2 == len(told.deliveries)
    assert {"room:gone": DeliveryState.DEAD} == {
        each.subscriber_id: each.state for each in ended if each.state is not DeliveryState.DELIVERED
    }
    assert receipt.event_id != later.event_id


async def test_what_cannot_be_subscribed_is_refused(toy_url: str) -> None:
    """The address is checked by its channel, and a channel that the kit does not have is named with those it has."""
    async with Notifykit("memory://", channels=[toy_url]) as kit:
        with pytest.raises(InvalidSubscriptionError, match="address: an address begins with toy:"):
            await kit.subscriptions.create("**", tenant=TENANT, subscriber="room:5", channel="toy", address="room-5")
        with pytest.raises(InvalidSubscriptionError, match="subscriber: missing"):
            await kit.subscriptions.create("**", tenant=TENANT, channel="toy", address="toy:room-5")
        with pytest.raises(
            InvalidSubscriptionError, match=r"'sms' is none of this kit's channels \(in_app, toy, webhook\)"
        ):
            await kit.subscriptions.create("**", tenant=TENANT, subscriber="room:5", channel="sms", address="+15550100")
        with pytest.raises(InvalidSubscriptionError, match="address: webhooks go to endpoints"):
            await kit.subscriptions.create("**", tenant=TENANT, address="https://acme.example/")


def _written(toy_url: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(toy_url.removeprefix("toy://")).read_text().splitlines()]


async def _subscribe(kit: Notifykit, room: str) -> Subscription:
    subscriber = room.lower().replace("room-", "")
    return await kit.subscriptions.create(
        "message.*", tenant=TENANT, subscriber=f"room:{subscriber}", channel="toy", address=f"toy:{room}"
    )


async def _ended(kit: Notifykit, count: int) -> Any:
    found = await kit.deliveries.list(tenant=TENANT)
    return found if len(found) == count and all(each.state.is_final for each in found) else None


async def _disabled(kit: Notifykit, subscription_id: str) -> Any:
    found = await kit.subscriptions.get(subscription_id, tenant=TENANT)
    return None if found.enabled else found
