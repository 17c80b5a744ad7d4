"""What a worker writes of an endpoint while others change it: no change is undone, and no old news counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime, timedelta

import pytest

from notifykit import Endpoint, EndpointState
from notifykit.dispatch.sending.circuits import Circuits
from notifykit.models.destination import destination_of
from notifykit.models.outcome import Accepted, BadRecipient, Transient
from notifykit.policies.circuits import IN_A_ROW
from notifykit.signing import generate_secret
from notifykit.stores.memory import MemoryStore
from notifykit.telemetry import CircuitOpened, EndpointDisabled
from notifykit.testing import FakeClock

from .support import TENANT, Bench, ScriptedChannel, bench

SECRET = generate_secret()
FAILED = Transient(reason="http_503")


async def rotate(b: Bench, endpoint: Endpoint) -> None:
    await b.kit.endpoints.rotate_secret(endpoint.id, tenant=TENANT, secret=SECRET)


async def pause(b: Bench, endpoint: Endpoint) -> None:
    await b.kit.endpoints.pause(endpoint.id, tenant=TENANT)


async def move(b: Bench, endpoint: Endpoint) -> None:
    await b.kit.endpoints.update(endpoint.id, tenant=TENANT, url="https://203.0.114.7/moved")


async def delete(b: Bench, endpoint: Endpoint) -> None:
    await b.kit.endpoints.delete(endpoint.id, tenant=TENANT)


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (rotate, EndpointState.DISABLED),
        (pause, EndpointState.PAUSED),
        (move, EndpointState.ACTIVE),
        (delete, None),
    ],
)
async def test_disabling_an_endpoint_undoes_no_change(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Bench, Endpoint], Awaitable[None]], state: EndpointState | None
) -> None:
    """An endpoint that is gone is disabled with what was changed meanwhile, or not at all if that made it another."""
    read = MemoryStore.get
    async with bench(lambda claim: BadRecipient(reason="http_410")) as b:
        endpoint = await b.endpoint()
        left = [change]

        async def reading(
            store: MemoryStore, kind: type[Endpoint], tenant: str, ids: Collection[str]
        ) -> list[Endpoint]:
            found = await read(store, kind, tenant, ids)
            if left:
                await left.pop()(b, endpoint)
            return found

        monkeypatch.setattr(MemoryStore, "get", reading)
        await b.publish()
        while await b.dispatcher.step():
            pass

        found = await b.kit.endpoints.list(tenant=TENANT)
        assert [] == left
        assert [state] * (state is not None) == [one.state for one in found]
        assert [change is rotate] * len(found) == [SECRET in one.signing_keys(one.created_at) for one in found]
        assert [change is move] * len(found) == [one.url.endswith("/moved") for one in found]
        assert (state is EndpointState.DISABLED) == any(isinstance(told, EndpointDisabled) for told in b.told)
        assert not b.dispatcher._invalidation.is_pending


class TestHealth:
    """Several workers see the same endpoint fail and recover."""

    async def test_of_workers_that_find_out_at_once_one_tells(self) -> None:
        """Two workers that see an endpoint fail in the same second park it once, and one of them says so."""
        async with bench() as b:
            endpoint, circuits, others = await self._given(b)
            for one in (circuits, others):
                self._fail(one, endpoint, times=IN_A_ROW)

            for one in (circuits, others):
                await one.refresh()

            (circuit,) = await b.kit.store.circuits()
            assert 1 == circuit.version
            assert 1 == sum(isinstance(told, CircuitOpened) for told in b.told)
            assert circuits.circuit(endpoint.id) == others.circuit(endpoint.id)

    async def test_an_old_failure_does_not_bring_an_ailment_back(self) -> None:
        """A probe that failed before another worker's succeeded neither parks the endpoint nor disables it."""
        clock = FakeClock(datetime.now(UTC))
        async with bench(clock=clock, patience=timedelta(days=2)) as b:
            endpoint, circuits, others = await self._given(b)
            self._fail(circuits, endpoint, times=IN_A_ROW)
            for one in (circuits, others):
                await one.refresh()
            clock.advance(timedelta(days=3))
            self._fail(others, endpoint)
            for _ in range(10):
                circuits.note(destination_of(endpoint), Accepted(), clock.now())
            await circuits.refresh()

            await others.refresh()
            await b.dispatcher.step()

            assert [] == await b.kit.store.circuits()
            assert (None, None) == (circuits.circuit(endpoint.id), others.circuit(endpoint.id))
            assert endpoint.max_in_flight == others.places(destination_of(endpoint))
            assert EndpointState.ACTIVE is (await b.kit.endpoints.get(endpoint.id, tenant=TENANT)).state

    async def test_probes_of_one_worker_are_counted(self) -> None:
        """What a worker wrote itself is what it goes on from."""
        clock = FakeClock(datetime.now(UTC))
        async with bench(clock=clock) as b:
            endpoint, circuits, others = await self._given(b)
            self._fail(circuits, endpoint, times=IN_A_ROW)
            for _ in range(3):
                await circuits.refresh()
                clock.advance(timedelta(minutes=6))
                self._fail(circuits, endpoint)
            await circuits.refresh()
            await others.refresh()

            (circuit,) = await b.kit.store.circuits()
            assert (3, 4) == (circuit.probes, circuit.version)
            assert 3 == (others.circuit(endpoint.id) or circuit).probes

    async def test_what_recovered_and_fails_again_is_a_new_ailment(self) -> None:
        """Both between two looks at the store: how long it has been failing counts from then."""
        clock = FakeClock(datetime.now(UTC))
        async with bench(clock=clock) as b:
            endpoint, circuits, _ = await self._given(b)
            self._fail(circuits, endpoint, times=IN_A_ROW)
            await circuits.refresh()
            again = clock.advance(timedelta(days=3))
            for _ in range(10):
                circuits.note(destination_of(endpoint), Accepted(), clock.now())
            self._fail(circuits, endpoint, times=IN_A_ROW)
            await circuits.refresh()

            (circuit,) = await b.kit.store.circuits()
            assert (again, 0, 2) == (circuit.since, circuit.probes, circuit.version)

    async def test_what_was_seen_of_a_removed_endpoint_is_forgotten(self) -> None:
        """Neither the store nor the worker keeps an ailment of what is gone."""
        async with bench() as b:
            endpoint, circuits, _ = await self._given(b)
            self._fail(circuits, endpoint, times=IN_A_ROW)
            await b.kit.endpoints.delete(endpoint.id, tenant=TENANT)

            await circuits.refresh()

            assert [] == await b.kit.store.circuits()
            assert circuits.circuit(endpoint.id) is None

    async def _given(self, b: Bench) -> tuple[Endpoint, Circuits, Circuits]:
        """Return an endpoint and what two workers know of its health."""
        endpoint = await b.endpoint()
        other = b.kit.dispatcher([ScriptedChannel()], b.dispatcher.settings)
        return endpoint, b.dispatcher._circuits, other._circuits

    def _fail(self, circuits: Circuits, endpoint: Endpoint, times: int = 1) -> None:
        for _ in range(times):
            circuits.note(destination_of(endpoint), FAILED, circuits.context.clock.now())
