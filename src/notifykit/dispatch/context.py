"""What every part of the engine works with."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from ..policies.retry import Rng
from ..ports import Clock, Store
from ..telemetry import TelemetryEvent
from .settings import DispatchSettings


@attrs.frozen(kw_only=True)
class Context:
    """What the parts of one dispatcher share.

    Attributes:
        emit: Gets telemetry.
        worker: The name of this process's leases.
        dispatchers: How many share this process, each with a shard of its own.
    """

    store: Store
    clock: Clock
    rng: Rng
    emit: Callable[[TelemetryEvent], None]
    worker: str
    settings: DispatchSettings
    dispatchers: int = 1
