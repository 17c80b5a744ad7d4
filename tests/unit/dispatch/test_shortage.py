"""What this process lacks itself uses up no attempts, hurts no endpoint, and pauses sending for a moment."""

from __future__ import annotations

from datetime import timedelta

from notifykit.models.delivery import Claim, DeliveryState
from notifykit.models.outcome import Accepted, Outcome, Unsent
from notifykit.telemetry import CircuitOpened, DeliveryAttempted, DeliveryNotSent, SendingPaused
from notifykit.testing import FakeClock

from .support import TENANT, bench, failing

SOON = timedelta(seconds=3)
NO_PORTS = Unsent(reason="no_ports")
NO_FILES = Unsent(reason="no_files", pauses=True)


async def test_what_was_not_sent_is_not_counted() -> None:
    """Twenty times without a port are no attempt, no failure of the endpoint, and no reason to give up."""
    clock = FakeClock()
    async with bench(failing(20, NO_PORTS), clock=clock) as b:
        await b.endpoint()
        await b.publish()
        for _ in range(20):
            await b.dispatcher.step()
            (waiting,) = await b.deliveries()
            assert (DeliveryState.PENDING, "no_ports", 0) == (waiting.state, waiting.reason, waiting.attempts)
            clock.advance(SOON)
        await b.dispatcher.step()

        (delivery,) = await b.deliveries()
        (attempt,) = await b.kit.deliveries.attempts(delivery.id, tenant=TENANT)
        assert (DeliveryState.DELIVERED, None, 1) == (delivery.state, delivery.reason, delivery.attempts)
        assert (1, "accepted") == (attempt.number, attempt.outcome)
        assert [] == list(await b.kit.store.circuits())
        not_sent = [told for told in b.told if isinstance(told, DeliveryNotSent)]
        assert [("pending", "no_ports")] * 20 == [(told.decision, told.reason) for told in not_sent]
        assert 1 == sum(isinstance(told, DeliveryAttempted) for told in b.told)
        assert not any(isinstance(told, CircuitOpened | SendingPaused) for told in b.told)


async def test_a_shortage_that_concerns_every_attempt_pauses_all_of_them() -> None:
    """The first attempt that finds no file stops the others before they start, and one event says so."""
    clock = FakeClock()
    outcomes: list[Outcome] = [NO_FILES]
    async with bench(lambda claim: outcomes[-1], clock=clock) as b:
        for number in range(5):
            await b.endpoint(f"order.n{number}", endpoint=f"https://203.0.114.7/{number}")
            await b.publish(f"order.n{number}")
        await b.dispatcher.step()

        assert 1 == len(b.channel.sent)
        assert {(DeliveryState.PENDING, 0)} == {(found.state, found.attempts) for found in await b.deliveries()}
        assert [SendingPaused(reason="no_files", pause=timedelta(seconds=1))] == [
            told for told in b.told if isinstance(told, SendingPaused)
        ]

        outcomes.append(Accepted())
        clock.advance(SOON)
        await b.dispatcher.step()

        assert {(DeliveryState.DELIVERED, 1)} == {(found.state, found.attempts) for found in await b.deliveries()}


async def test_a_running_dispatcher_goes_on_after_the_pause() -> None:
    """The dispatcher resumes sending by itself."""
    outcomes: list[Outcome] = [NO_FILES]

    def script(claim: Claim) -> Outcome:
        return outcomes.pop() if outcomes else Accepted()

    async with bench(script) as b:
        for _ in range(3):
            await b.endpoint()
        await b.publish()

        async with b.dispatcher:
            delivered = await b.until_states(DeliveryState.DELIVERED, count=3)

        assert [1, 1, 1] == [delivery.attempts for delivery in delivered]
        assert 1 == sum(isinstance(told, SendingPaused) for told in b.told)


async def test_what_is_next_in_line_does_not_pass_what_was_put_back() -> None:
    """With an ordering key, a delivery that could not be sent holds up those behind it like one that is retried."""
    clock = FakeClock()
    lacking = failing(2, NO_PORTS)
    async with bench(lacking, clock=clock) as b:
        await b.endpoint()
        first = await b.publish(ordering_key="order:1")
        second = await b.publish(ordering_key="order:1")
        for _ in range(12):
            await b.dispatcher.step()
            clock.advance(SOON)

        assert [first] * 3 + [second] * 3 == [claim.event_id for claim in b.channel.sent]
        assert {DeliveryState.DELIVERED} == {delivery.state for delivery in await b.deliveries()}
