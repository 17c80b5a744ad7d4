"""The contract of :class:`notifykit.ports.Broker`, promise by promise.

Subclass :class:`BrokerSuite` as ``TestSomething`` and give it the fixture ``make_broker``: a function that returns
another broker on the same queues each time, as another process would have it.  The queues are empty, and used by
no other test.  Say in ``features`` what the broker does beyond what every broker must do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import ClassVar

import attrs
import pytest

from ...errors import BrokerUnavailableError
from ...models.delivery import Lane, Priority
from ...ports import Broker, Received, Ticket
from ..builders import make_id

LANE, URGENT = Lane("webhook", Priority.NORMAL), Lane("webhook", Priority.HIGH)
#: How long the slowest broker may take until tickets arrive.
_PATIENCE = 45.0
_MOMENT = timedelta(milliseconds=50)


@attrs.frozen(kw_only=True)
class BrokerFeatures:
    """What a broker does beyond what every broker must do.

    Attributes:
        redelivers: A ticket that a process received and did not acknowledge is handed to another one soon after it
            has disconnected.
        remote: It is a server, which may be away; needs the fixture ``unreachable``, a broker whose server is.
        wipes: The test can delete everything that the broker has; needs the fixture ``wipe``.
        batch: How many tickets it is put at a time; less for a simulator that is slow.
        foreign: Another program may put something else into a queue; needs the fixture ``put_foreign``.
    """

    redelivers: bool = False
    remote: bool = False
    wipes: bool = False
    foreign: bool = False
    batch: int = 1000


def make_tickets(count: int, lane: Lane = LANE) -> list[Ticket]:
    """Return new tickets."""
    return [Ticket(make_id("dlv_"), lane, f"tenant-{at % 7}", f"end_{at % 5}") for at in range(count)]


async def arrived(
    broker: Broker, count: int, wanted: Mapping[Lane, int] | None = None, *, patience: float = _PATIENCE
) -> list[Received]:
    """Receive until so many tickets have arrived, or none has for long."""
    received: list[Received] = []
    end = time.monotonic() + patience
    while len(received) < count and time.monotonic() < end:
        received += await broker.receive(wanted or {LANE: 100, URGENT: 100}, wait=timedelta(seconds=1))
    return received


def tickets_of(received: Sequence[Received]) -> set[Ticket]:
    """Return the tickets without what the broker needs."""
    return {one.ticket for one in received}


class BrokerSuite:
    """Everything that a broker promises."""

    features: ClassVar[BrokerFeatures] = BrokerFeatures()
    pytestmark: ClassVar[object] = pytest.mark.anyio

    @pytest.fixture(scope="session")
    @classmethod
    def anyio_backend(cls) -> str:
        """The event loop of the tests."""
        return "asyncio"

    @pytest.fixture
    def make_broker(self) -> Callable[[], Broker]:
        """Returns a broker on the same queues each time."""
        pytest.fail("the suite needs a fixture 'make_broker'")

    @pytest.fixture
    def unreachable(self) -> Broker:
        """A broker whose server does not answer."""
        pytest.skip("the broker does not declare the feature 'remote'")

    @pytest.fixture
    def wipe(self) -> Callable[[], Awaitable[None]]:
        """Deletes everything that the broker has."""
        pytest.skip("the broker does not declare the feature 'wipes'")

    @pytest.fixture
    def put_foreign(self) -> Callable[[Lane, bytes], Awaitable[None]]:
        """Puts a message that is no ticket into the queue of a lane, which exists."""
        pytest.skip("the broker does not declare the feature 'foreign'")

    @pytest.fixture
    async def brokers(self, make_broker: Callable[[], Broker]) -> AsyncIterator[Callable[[], Broker]]:
        """Returns brokers that are closed when the test is over."""
        made: list[Broker] = []

        def make() -> Broker:
            made.append(make_broker())
            return made[-1]

        yield make
        for broker in made:
            await broker.aclose()

    async def test_a_ticket_arrives_as_it_was_put(self, brokers: Callable[[], Broker]) -> None:
        """Whatever its names contain, a ticket arrives with all that it says."""
        broker = brokers()
        odd = Ticket(make_id("dlv_"), Lane("e-mail ü/:", Priority.LOW), 'ten"ant\n:/ü', "user:42 \U0001f600")
        plain = make_tickets(1)[0]

        await broker.put([odd, plain])
        received = await arrived(broker, 2, {LANE: 10, odd.lane: 10})

        assert {odd, plain} == tickets_of(received)

    async def test_lanes_are_apart(self, brokers: Callable[[], Broker]) -> None:
        """Only tickets of the lanes that are wanted are handed out; the others wait."""
        broker = brokers()
        ours, urgent = make_tickets(3), make_tickets(3, URGENT)
        await broker.put([*ours, *urgent])

        first = await arrived(broker, 3, {URGENT: 10})
        second = await arrived(broker, 3, {LANE: 10})

        assert (set(urgent), set(ours)) == (tickets_of(first), tickets_of(second))

    async def test_no_more_arrive_than_are_wanted(self, brokers: Callable[[], Broker]) -> None:
        """A process that has little room is given little, and the rest later."""
        broker = brokers()
        made = make_tickets(10)
        await broker.put(made)

        counts: list[int] = []
        received: list[Received] = []
        end = time.monotonic() + _PATIENCE
        while len(received) < 10 and time.monotonic() < end:
            found = await broker.receive({LANE: 3}, wait=timedelta(seconds=1))
            counts.append(len(found))
            received += found

        assert max(counts) <= 3
        assert set(made) == tickets_of(received)

    async def test_a_call_that_waits_is_woken(self, brokers: Callable[[], Broker]) -> None:
        """A ticket that is put while a process waits arrives at once."""
        broker, other = brokers(), brokers()
        made = make_tickets(2)
        await other.put(made[:1])
        await arrived(broker, 1)  # it is connected now
        waiting = asyncio.create_task(arrived(broker, 1))
        await asyncio.sleep(0.02)

        await other.put(made[1:])
        async with asyncio.timeout(_PATIENCE):
            received = await waiting

        assert {made[1]} == tickets_of(received)

    async def test_a_call_returns_when_nothing_comes(self, brokers: Callable[[], Broker]) -> None:
        """A wait ends without tickets, and the next one gets those that came meanwhile."""
        broker = brokers()

        nothing = await broker.receive({LANE: 10}, wait=_MOMENT)
        at_once = await broker.receive({LANE: 10}, wait=timedelta(0))
        made = make_tickets(1)
        await broker.put(made)

        assert ([], []) == (nothing, at_once)
        assert set(made) == tickets_of(await arrived(broker, 1))

    async def test_a_large_batch_arrives(self, brokers: Callable[[], Broker]) -> None:
        """As many tickets as a relay hands over at a time are put and received."""
        broker = brokers()
        made = make_tickets(self.features.batch)

        await broker.put(made)
        received: list[Received] = []
        end = time.monotonic() + _PATIENCE
        while len(tickets_of(received)) < len(made) and time.monotonic() < end:
            found = await broker.receive({LANE: 300}, wait=timedelta(seconds=1))
            await broker.ack(found)
            received += found

        assert set(made) == tickets_of(received)

    async def test_an_acknowledged_ticket_is_gone(self, brokers: Callable[[], Broker]) -> None:
        """What is done with does not come again, neither here nor to another process."""
        broker, other = brokers(), brokers()
        first, second = make_tickets(1), make_tickets(1)
        await broker.put(first)
        await broker.ack(await arrived(broker, 1))
        await broker.aclose()

        await other.put(second)
        received = await arrived(other, 1)

        assert set(second) == tickets_of(received)

    async def test_a_ticket_that_was_not_acknowledged_goes_to_another(self, brokers: Callable[[], Broker]) -> None:
        """A worker that dies between receiving and claiming costs a moment."""
        if not self.features.redelivers:
            pytest.skip("the broker does not declare the feature 'redelivers'")
        broker, other = brokers(), brokers()
        made = make_tickets(3)
        await broker.put(made)
        await broker.ack((await arrived(broker, 3))[:1])
        await broker.aclose()

        received = await arrived(other, 2)

        assert len(tickets_of(received) & set(made)) >= 2

    async def test_processes_share_the_tickets(self, brokers: Callable[[], Broker]) -> None:
        """Each ticket is handed to one of the processes that receive."""
        first, second = brokers(), brokers()
        made = make_tickets(200)
        found: list[Received] = []

        async def work(broker: Broker) -> None:
            end = time.monotonic() + _PATIENCE
            while len(tickets_of(found)) < 200 and time.monotonic() < end:
                received = await broker.receive({LANE: 10}, wait=_MOMENT)
                found.extend(received)
                if received:
                    await broker.ack(received)

        await first.put(made)
        await asyncio.gather(work(first), work(second))

        assert set(made) == tickets_of(found)
        assert len(found) <= 210

    async def test_a_closed_broker_connects_again(self, brokers: Callable[[], Broker]) -> None:
        """A dispatcher that starts again uses the same broker."""
        broker = brokers()
        first, second = make_tickets(1), make_tickets(1)
        await broker.put(first)
        await broker.ack(await arrived(broker, 1))
        await broker.aclose()

        await broker.put(second)
        received = await arrived(broker, 1)

        assert set(second) == tickets_of(received)

    async def test_a_server_that_is_away_is_reported(self, unreachable: Broker) -> None:
        """The caller is told what does not answer, and tries again itself."""
        try:
            with pytest.raises(BrokerUnavailableError, match=r"127\.0\.0\.1"):
                await unreachable.put(make_tickets(1))
            with pytest.raises(BrokerUnavailableError, match=r"127\.0\.0\.1"):
                await unreachable.receive({LANE: 1}, wait=_MOMENT)
        finally:
            await unreachable.aclose()

    async def test_a_wiped_broker_goes_on(
        self, brokers: Callable[[], Broker], wipe: Callable[[], Awaitable[None]]
    ) -> None:
        """Queues that are gone are made again; what was in them is lost, as a broker may."""
        broker, other = brokers(), brokers()
        await broker.put(make_tickets(3))
        received = await arrived(broker, 3)
        await wipe()

        made = make_tickets(3)
        again: list[Received] = []
        end = time.monotonic() + _PATIENCE
        while not set(made) <= tickets_of(again) and time.monotonic() < end:
            try:  # the first calls may find out that the queue is gone, or put into one that is going
                await broker.ack(received)
                await other.put(made)
                again += await arrived(broker, 3, patience=8)
            except BrokerUnavailableError:
                continue

        assert set(made) <= tickets_of(again)

    async def test_what_is_no_ticket_is_dropped(
        self, brokers: Callable[[], Broker], put_foreign: Callable[[Lane, bytes], Awaitable[None]]
    ) -> None:
        """A message of another program hides no ticket."""
        broker = brokers()
        made = make_tickets(2)
        await broker.put(made[:1])
        before = await arrived(broker, 1)
        for message in (b"", b"{}", b"\xff", b'["dlv_1"]', b"[1, 2, 3]"):
            await put_foreign(LANE, message)
        await broker.put(made[1:])

        assert set(made) == tickets_of([*before, *await arrived(broker, 1)])
