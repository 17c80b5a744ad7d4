"""What people ask of notifications: only some projects, no SMS at night, no SMS at all; and what comes all the same."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifykit import EgressRules, Event, EventType, Notifykit, Step
from notifykit.channels.messages import MessageChannel
from notifykit.channels.plain import PlainRenderer
from notifykit.models.access import Role
from notifykit.models.delivery import DeliveryState
from notifykit.models.outcome import Accepted
from notifykit.models.quiet_hours import Weekday, Window
from notifykit.ports import DeliveryFilter
from notifykit.testing import FakeClock
from notifykit.web import create_app
from tests.unit.cli.driving import start
from tests.unit.web.world import client_of

ACME, ADA = "acme", "user:42"
TYPES = [
    EventType(name="project.updated", category="projects", steps=[Step("email")]),
    EventType(name="order.shipped", category="orders", steps=[Step("sms"), Step("email")]),
    EventType(name="password.reset", category="account", purpose="security", steps=[Step("sms"), Step("email")]),
]
#: 23:30 in Berlin, on a Saturday before the clocks go forward.
NIGHT, MORNING = datetime(2026, 3, 28, 22, 30, tzinfo=UTC), datetime(2026, 3, 29, 5, 0, tzinfo=UTC)


class Sent:
    """A provider that keeps what it is given."""

    name = account = "sent"

    def __init__(self) -> None:
        self.types: list[tuple[str, datetime]] = []

    async def send(self, message: Any, claim: Any, destination: Any, *, now: datetime) -> Accepted:
        self.types.append((claim.event_type, now))
        return Accepted()

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.fixture
def clock():
    return FakeClock(NIGHT)


@pytest.fixture
def sms():
    return Sent()


@pytest.fixture
def mail():
    return Sent()


@pytest.fixture
async def kit(tmp_path, clock, sms, mail):
    """A kit with a person who is in Berlin."""
    channels = [MessageChannel(name, PlainRenderer(), by) for name, by in (("sms", sms), ("email", mail))]
    url = f"sqlite:///{tmp_path / 'people.db'}"
    async with Notifykit(url, event_types=TYPES, channels=channels, clock=clock, egress=EgressRules()) as kit:
        await kit.sync_event_types()
        await kit.recipients.save(ADA, tenant=ACME, email="ada@example.org", sms="+4915123456789", zone="Europe/Berlin")
        yield kit


async def deliver(kit: Notifykit) -> None:
    dispatcher = kit.dispatcher()
    while await dispatcher.step():
        pass


async def test_updates_come_of_the_chosen_projects_only(kit, mail):
    """A subscription names a project by its topic; one that was muted is silent until the mute ends."""
    for project in (7, 8):
        await kit.subscribe("project.*", tenant=ACME, recipient=ADA, topic=f"project/{project}/**")
    await kit.preferences(ADA, tenant=ACME).mute(topic="project/8/**", until=NIGHT + timedelta(days=2))

    for project in (7, 8, 9):
        await kit.apublish(Event(type="project.updated", data={}, topic=f"project/{project}/news"), tenant=ACME)
    await deliver(kit)

    assert ["project.updated"] == [type_ for type_, _ in mail.types]
    (suppressed,) = await kit.deliveries.list(DeliveryFilter(states=[DeliveryState.SUPPRESSED]), tenant=ACME)
    assert "muted" == suppressed.reason


async def test_no_sms_comes_at_night_but_a_password_can_be_reset(kit, clock, sms):
    """What is told at night waits for the morning on the person's clock, which is an hour nearer on this night."""
    nights = Window(days=tuple(Weekday), from_="22:00", to="07:00")
    await kit.preferences(ADA, tenant=ACME).quiet_hours([nights])

    for type_ in ("order.shipped", "password.reset"):
        await kit.apublish(Event(type=type_, data={}), tenant=ACME, to=[ADA])
    await deliver(kit)
    at_night = list(sms.types)
    clock.advance(MORNING - NIGHT - timedelta(seconds=1))
    await deliver(kit)
    just_before = len(sms.types)
    clock.advance(timedelta(seconds=1))
    await deliver(kit)

    assert ([("password.reset", NIGHT)], 1) == (at_night, just_before)
    assert [("password.reset", NIGHT), ("order.shipped", MORNING)] == sms.types


async def test_sms_off_counts_whoever_publishes(kit, clock, sms, mail):
    """Async and sync code, the command line and the REST API; also if an event asks for SMS by name."""
    await kit.preferences(ADA, tenant=ACME).set(value="off", channel="sms")
    key = await kit.api_keys.create(tenant=ACME, role=Role.PRODUCER)
    shipped = Event(type="order.shipped", data={}, to=[ADA])

    await kit.apublish(shipped, tenant=ACME)
    await kit.apublish(shipped, tenant=ACME, channels=["sms", "email"])
    other = Notifykit(kit.url, event_types=TYPES, clock=clock)
    await asyncio.to_thread(other.publish, shipped, tenant=ACME)
    await asyncio.to_thread(other.close)
    async with client_of(create_app(kit), headers={"Authorization": f"Bearer {key.secret}"}) as client:
        body = {"type": "order.shipped", "data": {}, "to": [ADA]}
        posted = await client.post("/v1/events", json=body)
    command = start("publish", "order.shipped", "--to", ADA, "--url", kit.url, "--tenant", ACME)
    said = await asyncio.to_thread(command.communicate, timeout=60)
    clock.advance(timedelta(days=300))  # the command line has the clock of the machine
    await deliver(kit)

    assert (2, 0) == (posted.status_code // 100, command.returncode), (posted.text, said)
    assert ([], 5) == (sms.types, len(mail.types))
    refused = await kit.deliveries.list(DeliveryFilter(states=[DeliveryState.SUPPRESSED]), tenant=ACME)
    assert [("sms", "turned_off")] * 5 == [(each.channel, each.reason) for each in refused]
