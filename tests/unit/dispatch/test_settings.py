"""A lease always outlasts the attempt that it covers, however short both are made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from notifykit import ConfigurationError, DispatchSettings, Endpoint
from notifykit.dispatch.directory import Directory
from notifykit.stores.memory import MemoryStore


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


@pytest.mark.parametrize(
    ("lease", "max_timeout", "margin"), [(3.4, 2.5, 1), (3, 0, 1), (3, 1, 0), (3, -1, 1), (39.9, 30, 10)]
)
def test_a_lease_that_an_attempt_can_outlast_is_refused(lease: float, max_timeout: float, margin: float) -> None:
    """Lease, longest attempt and margin have to fit, and none of them may be nothing."""
    with pytest.raises(ConfigurationError, match="longer than"):
        DispatchSettings(lease=seconds(lease), max_timeout=seconds(max_timeout), lease_margin=seconds(margin))


def test_short_leases_need_short_attempts() -> None:
    """Whoever wants to be rescued soon says how long an attempt may take."""
    settings = DispatchSettings(lease=seconds(3.5), max_timeout=seconds(2.5), lease_margin=seconds(1))

    assert seconds(3.5) == settings.lease


async def test_an_endpoint_cannot_have_more_time_than_the_dispatcher_grants() -> None:
    """An endpoint's own deadline counts if it is shorter, and is cut if it is longer."""
    now = datetime(2030, 1, 1, tzinfo=UTC)
    store = MemoryStore()
    for id_, timeout in (("end_short", 0.5), ("end_long", 15)):
        url = "https://acme.example/"
        await store.save(
            Endpoint(id=id_, tenant="acme", url=url, timeout=seconds(timeout), created_at=now, updated_at=now)
        )

    directory = Directory(store, seconds(1), {})
    view = await directory.view("acme", 1)
    shown = [view.endpoint(id_) for id_ in ("end_short", "end_long")]
    assert [seconds(0.5), seconds(1)] == [destination.timeout for destination in shown if destination is not None]
