"""Circuits of this process, kept in step with those of all other processes.

The rules are :mod:`notifykit.policies.circuits`.  The store keeps one row for each open
circuit; every process reads them all (there are few) and writes its own changes, so that
one process's discovery holds the deliveries of all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import attrs

from ...errors import StaleWriteError, StoreUnavailableError
from ...models.circuit import OpenCircuit
from ...models.destination import Destination
from ...models.outcome import Accepted, Outcome
from ...policies.circuits import FailureWindow, is_abandoned, note
from ...ports import DeliveryFilter, Move
from ...telemetry import CircuitClosed, CircuitOpened, LoopFailed, why
from ..context import Context
from ..operational_events import OperationalEvents

#: How many refreshes are skipped in a row by a process that sends nothing.
_MOST_SKIPPED = 4


@dataclass(eq=False)
class Circuits:
    """The circuits of endpoints and of providers' accounts, by their keys.

    Attributes:
        allow: Called when the number of attempts that may be in flight for a subscriber changes.
        give_up: Called with a destination that has failed for as long as ``patience`` says.
    """

    context: Context
    operational: OperationalEvents
    allow: Callable[[str, int], None]
    give_up: Callable[[Destination, str], None]

    def __post_init__(self) -> None:
        self._open: dict[str, OpenCircuit] = {}
        self._windows: dict[str, FailureWindow] = {}
        #: Versions of what is stored, as this process has last read it; a circuit that it holds itself has none.
        self._versions: dict[str, int] = {}
        self._changed: dict[str, tuple[Destination, OpenCircuit | None]] = {}
        self._answering: dict[str, Destination] = {}
        self._has_sent = True
        self._skipped = 0

    def circuit(self, key: str | None) -> OpenCircuit | None:
        """Return a circuit if it is open."""
        return self._open.get(key) if self._open and key is not None else None

    def places(self, destination: Destination) -> int:
        """Return how many attempts may be in flight for a destination in this process."""
        key = destination.circuit_key
        window = self._windows.get(key) if self._windows and key is not None else None
        if window is None or window.allowed is None:
            return destination.max_in_flight
        return min(window.allowed, destination.max_in_flight)

    def is_probed(self, key: str | None) -> bool:
        """Tell whether a circuit is open and one attempt at a time is made, to see whether it can be closed."""
        window = self._windows.get(key) if self._open and key is not None else None
        return window is not None and window.allowed == 1 and key in self._open

    def note(self, destination: Destination, outcome: Outcome, now: datetime) -> None:
        """Take the outcome of an attempt in."""
        self._has_sent = True
        key = destination.circuit_key
        if key is None:
            return
        window = self._windows.get(key)
        if window is None:
            if isinstance(outcome, Accepted):
                return
            window = self._windows[key] = FailureWindow()
        before = self._open.get(key)
        probed = self.is_probed(key)
        after = note(window, outcome, destination, before, now=now)
        if after is None:
            self._open.pop(key, None)
            if window.row == 0 and False not in window.recent:
                self._windows.pop(key)
        else:
            self._open[key] = after
        if after != before:
            self._changed[key] = (destination, after)
        elif probed and isinstance(outcome, Accepted):
            self._answering[key] = destination
        if destination.route is None and (before is not None or after is not None):
            self.allow(destination.subscriber_id, self.places(destination))

    async def look(self) -> None:
        """Refresh; only now and then if nothing was sent since and no circuit is known to be open."""
        if self._has_sent or self._open or self._changed or self._skipped >= _MOST_SKIPPED:
            self._has_sent, self._skipped = False, 0
            await self.refresh()
        else:
            self._skipped += 1

    async def refresh(self) -> None:
        """Write what changed here and read what changed elsewhere."""
        await self._write_changed()
        await self._wake_answering()
        found = {circuit.key: circuit for circuit in await self.context.store.circuits()}
        for key in self._open.keys() - found.keys() - self._changed.keys():
            del self._open[key]
            self._windows.pop(key, None)
        for key in self._versions.keys() - found.keys() - self._changed.keys():
            del self._versions[key]
        now = self.context.clock.now()
        for key, stored in found.items():
            if key in self._changed:
                continue
            if is_abandoned(stored, now):
                await self.context.store.save_circuit(stored.tenant, key, None, now=now)
            self._versions[key] = stored.version
            circuit = attrs.evolve(stored, version=0)
            if self._open.get(key) != circuit:
                self._open[key] = circuit
                self._windows.setdefault(key, FailureWindow(allowed=1)).allowed = 1
                self.allow(key, 1)  # of an account: its claims are counted one by one when they are sent

    async def _write_changed(self) -> None:
        changed, self._changed = self._changed, {}
        failed: dict[str, tuple[Destination, OpenCircuit | None]] = {}
        try:
            while changed:
                key = next(iter(changed))
                destination, circuit = changed[key]
                try:
                    await self._write(key, destination, circuit)
                except StoreUnavailableError:
                    raise
                except Exception as error:  # a fault of one circuit must not hide the others
                    failed[key] = (destination, circuit)
                    self._report(key, error, timedelta(seconds=1))
                del changed[key]
        finally:
            self._changed = {**failed, **changed, **self._changed}  # what could not be written is tried again

    async def _wake_answering(self) -> None:
        """Make deliveries due that were held behind a probe which has succeeded (see ``Source``)."""
        while self._answering:
            key, destination = self._answering.popitem()
            try:
                its = DeliveryFilter(subscriber_id=destination.subscriber_id)
                await self.context.store.move(destination.tenant, its, Move.WAKE, now=self.context.clock.now())
            except StoreUnavailableError:
                self._answering[key] = destination
                raise
            except Exception as error:  # a fault of one circuit must not hide the others
                self._report(key, error, timedelta(0))

    def _report(self, key: str, error: Exception, pause: timedelta) -> None:
        self.context.emit(LoopFailed(loop="circuits", error=f"{key}: {why(error)}", pause=pause))

    async def _write(self, key: str, destination: Destination, circuit: OpenCircuit | None) -> None:
        now = self.context.clock.now()
        tenant = destination.tenant if destination.owns_circuit else ""
        if circuit is None:
            removed = await self.context.store.save_circuit(tenant, key, None, now=now)
            self._versions.pop(key, None)
            if removed:
                self.context.emit(CircuitClosed(key=key, tenant=tenant))
                await self._publish("endpoint.recovered", destination, now)
            return
        try:
            known = attrs.evolve(circuit, version=self._versions.get(key, 0))
            saved = await self.context.store.save_circuit(tenant, key, known, now=now)
            assert saved is not None
            self._versions[key] = saved.version
        except StaleWriteError:
            self._changed.pop(key, None)  # another process wrote first: that counts, and is read in a moment
            return
        if circuit.probes == 0:
            self.context.emit(CircuitOpened(key=key, tenant=tenant, reason=circuit.reason))
            await self._publish("endpoint.failing", destination, now, reason=circuit.reason)
        elif destination.owns_circuit and now - circuit.since >= self.context.settings.patience:
            self.give_up(destination, "failing")

    async def _publish(self, type_: str, destination: Destination, now: datetime, **data: str) -> None:
        """Publish an operational event about an endpoint; a provider's account is no tenant's business."""
        if not destination.owns_circuit:
            return
        data = {"endpoint_id": destination.subscriber_id, **data}
        event = self.operational.event(type_, destination.tenant, data, now)
        if event is not None:
            await self.context.store.append([event])
