"""What this process knows of the health of endpoints, and what all processes agree on.

The rules are :mod:`notifykit.policies.circuits`.  The store keeps one row for each
failing endpoint; every process reads them all (there are few) and writes its own
changes, so that one process's discovery parks the deliveries of all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import attrs

from ..errors import StaleWriteError, StoreUnavailableError
from ..models.circuit import OpenCircuit
from ..models.endpoint import Endpoint
from ..models.outcome import Accepted, Outcome
from ..policies.circuits import FailureWindow, note
from ..ports import Clock, Store
from ..telemetry import EndpointFailing, EndpointRecovered, LoopFailed, TelemetryEvent, why
from .operational_events import OperationalEvents

#: Looks that a process lets pass which sends nothing.
_LET_PASS = 4


@dataclass(eq=False)
class Circuits:
    """The health of endpoints.

    Attributes:
        allow: Called when the number of attempts that may be open for an endpoint changes.
        give_up: Called with an endpoint that has failed for as long as ``patience`` says.
    """

    store: Store
    clock: Clock
    operational: OperationalEvents
    emit: Callable[[TelemetryEvent], None]
    allow: Callable[[str, int], None]
    give_up: Callable[[Endpoint, str], None]
    patience: timedelta

    def __post_init__(self) -> None:
        self._open: dict[str, OpenCircuit] = {}
        self._windows: dict[str, FailureWindow] = {}
        #: Versions of stored circuits, as this process has last seen them; one that only it knows has none.
        self._versions: dict[str, int] = {}
        self._changed: dict[str, tuple[Endpoint, OpenCircuit | None]] = {}
        self._answering: dict[str, Endpoint] = {}
        self._concerned = True
        self._let_pass = 0

    def circuit(self, endpoint_id: str) -> OpenCircuit | None:
        """Return what an endpoint suffers from."""
        return self._open.get(endpoint_id) if self._open else None

    def places(self, endpoint: Endpoint) -> int:
        """Return how many attempts may be open for an endpoint in this process."""
        pulse = self._windows.get(endpoint.id) if self._windows else None
        if pulse is None or pulse.allowed is None:
            return endpoint.max_in_flight
        return min(pulse.allowed, endpoint.max_in_flight)

    def is_probed(self, endpoint_id: str) -> bool:
        """Tell whether an endpoint is failing and one attempt at a time is made, to see whether it has recovered."""
        pulse = self._windows.get(endpoint_id) if self._open else None
        return pulse is not None and pulse.allowed == 1 and endpoint_id in self._open

    def note(self, endpoint: Endpoint, outcome: Outcome, now: datetime) -> None:
        """Take the outcome of an attempt in."""
        self._concerned = True
        pulse = self._windows.get(endpoint.id)
        if pulse is None:
            if isinstance(outcome, Accepted):
                return
            pulse = self._windows[endpoint.id] = FailureWindow()
        before = self._open.get(endpoint.id)
        probed = self.is_probed(endpoint.id)
        after = note(pulse, outcome, endpoint, before, now=now)
        if after is None:
            self._open.pop(endpoint.id, None)
            if pulse.row == 0 and False not in pulse.recent:
                self._windows.pop(endpoint.id)
        else:
            self._open[endpoint.id] = after
        if after != before:
            self._changed[endpoint.id] = (endpoint, after)
        elif probed and isinstance(outcome, Accepted):
            self._answering[endpoint.id] = endpoint
        if before is not None or after is not None:
            self.allow(endpoint.id, self.places(endpoint))

    async def look(self) -> None:
        """Refresh; only now and then if nothing was sent since and no circuit is known to be open."""
        if self._concerned or self._open or self._changed or self._let_pass >= _LET_PASS:
            self._concerned, self._let_pass = False, 0
            await self.refresh()
        else:
            self._let_pass += 1

    async def refresh(self) -> None:
        """Write what changed here and read what changed elsewhere."""
        changed, self._changed = self._changed, {}
        failed: dict[str, tuple[Endpoint, OpenCircuit | None]] = {}
        try:
            while changed:
                endpoint, circuit = changed[next(iter(changed))]
                try:
                    await self._write(endpoint, circuit)
                except StoreUnavailableError:
                    raise
                except Exception as error:  # one endpoint's fault must not hide the health of the others
                    failed[endpoint.id] = (endpoint, circuit)
                    told = f"{endpoint.id}: {why(error)}"
                    self.emit(LoopFailed(loop="circuits", error=told, pause=timedelta(seconds=1)))
                del changed[endpoint.id]
        finally:
            self._changed = {**failed, **changed, **self._changed}  # what could not be written is tried again
        while self._answering:  # what was parked behind the probe (see Source) may follow it
            endpoint_id, endpoint = self._answering.popitem()
            try:
                await self.store.wake(endpoint.tenant, endpoint_id, now=self.clock.now())
            except StoreUnavailableError:
                self._answering[endpoint_id] = endpoint
                raise
            except Exception as error:  # one endpoint's fault must not hide the health of the others
                self.emit(LoopFailed(loop="circuits", error=f"{endpoint_id}: {why(error)}", pause=timedelta(0)))
        found = {circuit.endpoint_id: circuit for circuit in await self.store.circuits()}
        for endpoint_id in self._open.keys() - found.keys() - self._changed.keys():
            del self._open[endpoint_id]
            self._windows.pop(endpoint_id, None)
        for endpoint_id in self._versions.keys() - found.keys() - self._changed.keys():
            del self._versions[endpoint_id]
        for endpoint_id, stored in found.items():
            if endpoint_id in self._changed:
                continue
            self._versions[endpoint_id] = stored.version
            circuit = attrs.evolve(stored, version=0)
            if self._open.get(endpoint_id) != circuit:
                self._open[endpoint_id] = circuit
                self._windows.setdefault(endpoint_id, FailureWindow(allowed=1)).allowed = 1
                self.allow(endpoint_id, 1)

    async def _write(self, endpoint: Endpoint, circuit: OpenCircuit | None) -> None:
        now = self.clock.now()
        if circuit is None:
            removed = await self.store.close_circuit(endpoint.tenant, endpoint.id, now=now)
            self._versions.pop(endpoint.id, None)
            if removed:
                self.emit(EndpointRecovered(endpoint_id=endpoint.id, tenant=endpoint.tenant))
                await self._tell("endpoint.recovered", endpoint, now)
            return
        try:
            known = attrs.evolve(circuit, version=self._versions.get(endpoint.id, 0))
            self._versions[endpoint.id] = (await self.store.save_circuit(known)).version
        except StaleWriteError:
            self._changed.pop(endpoint.id, None)  # another process wrote first: that counts, and is read in a moment
            return
        if circuit.probes == 0:
            self.emit(EndpointFailing(endpoint_id=endpoint.id, tenant=endpoint.tenant, reason=circuit.reason))
            await self._tell("endpoint.failing", endpoint, now, reason=circuit.reason)
        elif now - circuit.since >= self.patience:
            self.give_up(endpoint, "failing")

    async def _tell(self, type_: str, endpoint: Endpoint, now: datetime, **data: str) -> None:
        event = self.operational.event(type_, endpoint.tenant, {"endpoint_id": endpoint.id, **data}, now)
        if event is not None:
            await self.store.append([event])
