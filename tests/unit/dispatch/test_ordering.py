"""What waits in line starts when the delivery in front has ended, not when the store is asked the next time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import attrs

from notifykit import EndpointState
from notifykit.models.delivery import Claim, DeliveryState
from notifykit.models.destination import Destination
from notifykit.models.outcome import Outcome, Permanent

from .support import TENANT, ScriptedChannel, bench

SELDOM = timedelta(hours=1)
#: Longer than the engine goes on asking after it has found work.
A_WHILE = 0.15


class SlowChannel(ScriptedChannel):
    """Takes its time to answer."""

    async def send(self, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        await asyncio.sleep(A_WHILE)
        return await super().send(claim, destination, now=now)


async def test_the_next_in_line_starts_when_the_one_before_it_is_delivered() -> None:
    """A dispatcher that asks the store once an hour still sends a whole line without a pause."""
    async with bench(poll=SELDOM) as b:
        channel = SlowChannel()
        dispatcher = b.kit.dispatcher([channel], b.dispatcher.settings)
        await b.endpoint()
        published = [await b.publish(ordering_key="A-1") for _ in range(4)]

        async with dispatcher:
            await b.until_states(DeliveryState.DELIVERED, count=4, seconds=5)

        assert published == [claim.event_id for claim in channel.sent]


async def test_the_next_in_line_starts_when_the_one_before_it_is_dead() -> None:
    """A delivery that is given up passes its turn on at once."""
    async with bench(poll=SELDOM) as b:
        channel = SlowChannel(lambda claim: Permanent(reason="http_413"))
        dispatcher = b.kit.dispatcher([channel], b.dispatcher.settings)
        await b.endpoint()
        published = [await b.publish(ordering_key="A-1") for _ in range(3)]

        async with dispatcher:
            await b.until_states(DeliveryState.DEAD, count=3, seconds=5)

        assert published == [claim.event_id for claim in channel.sent]


async def test_the_next_in_line_starts_when_the_one_before_it_is_not_sent() -> None:
    """Deliveries that expired in line, or are cancelled, are passed over at once."""
    async with bench(poll=SELDOM) as b:
        channel = SlowChannel()
        dispatcher = b.kit.dispatcher([channel], b.dispatcher.settings)
        await b.endpoint()
        soon = datetime.now(UTC) + timedelta(seconds=A_WHILE / 2)
        first = await b.publish(ordering_key="A-1")
        for _ in range(20):
            await b.publish(ordering_key="A-1", expires_at=soon)
        last = await b.publish(ordering_key="A-1")

        async with dispatcher:
            await b.until_states(DeliveryState.DELIVERED, count=2, seconds=5)

        states = [delivery.state for delivery in await b.deliveries()]
        assert [first, last] == [claim.event_id for claim in channel.sent]
        assert 20 == states.count(DeliveryState.EXPIRED)


async def test_a_line_to_a_disabled_endpoint_is_cancelled_to_its_end() -> None:
    """When an endpoint is disabled, all that waits for it in line is cancelled, one after the other."""
    async with bench(poll=SELDOM) as b:
        channel = SlowChannel()
        dispatcher = b.kit.dispatcher([channel], b.dispatcher.settings)
        endpoint = await b.endpoint()
        for _ in range(20):
            await b.publish(ordering_key="A-1")

        async with dispatcher:
            await b.until_states(count=20)
            await b.until_states(DeliveryState.SENDING)
            await b.kit.store.save(attrs.evolve(endpoint, state=EndpointState.DISABLED))
            await b.until_states(DeliveryState.CANCELLED, count=19, seconds=30)

        assert 1 == len(channel.sent)
        assert {TENANT} == {claim.tenant for claim in channel.sent}
