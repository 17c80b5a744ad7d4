"""What a decision for one person and one channel costs: ``python -m benchmarks.decide``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from notifykit.models.addresses import Address, AddressState, Suppression
from notifykit.models.preferences import Mute, MuteSelector, Purpose, Scope, Selector, Setting
from notifykit.models.quiet_hours import QuietHours, Weekday, Window
from notifykit.policies.contact import Person, decide_contact
from notifykit.policies.preferences import Notice

#: The evening before the clocks go forward in Berlin, inside the quiet hours.
NIGHT = datetime(2026, 3, 28, 22, 30, tzinfo=UTC)
DAY = NIGHT - timedelta(hours=10)
SECONDS = 0.2

NOTICE = Notice(
    type="comment.created",
    category="collaboration",
    purpose=Purpose.TRANSACTIONAL,
    topic="project/7/thread/88",
    expires_at=NIGHT + timedelta(days=3),
)


def person(settings: int, mutes: int) -> Person:
    """Return a person with so many settings and mutes, half of which are about the notice."""
    selectors = (
        Selector(),
        Selector(type=NOTICE.type),
        Selector(category="other"),
        Selector(type="a.b", channel="sms"),
    )
    scopes = tuple(Scope)
    return Person(
        settings=tuple(
            Setting(scope=scopes[at % len(scopes)], select=selectors[at % len(selectors)], value="on")
            for at in range(settings)
        ),
        mutes=tuple(Mute(select=MuteSelector(topic=f"project/{100 + at}/**")) for at in range(mutes)),
        addresses=tuple(
            Address(channel=channel, address=f"{channel}@example.org", state=AddressState.ACTIVE)
            for channel in ("email", "sms", "push")
        ),
        suppressions=(Suppression(channel="email", address="old@example.org"),),
        quiet_hours=QuietHours(zone="Europe/Berlin", windows=(Window(days=tuple(Weekday), from_="22:00", to="07:00"),)),
    )


def microseconds(call: Callable[[], object]) -> float:
    """Return the processor time of a call, the best of five rounds."""
    best = float("inf")
    for _ in range(5):
        calls, started = 0, time.process_time()
        while (took := time.process_time() - started) < SECONDS / 5:
            for _ in range(100):
                call()
            calls += 100
        best = min(best, took / calls)
    return best * 1e6


def costs() -> Iterator[tuple[str, float, object]]:
    """Yield each kind of question, the microseconds of a decision, and the decision."""
    for label, asked, now in (
        ("an ordinary person by day", person(6, 3), DAY),
        ("an ordinary person in quiet hours", person(6, 3), NIGHT - timedelta(days=1)),
        ("in quiet hours, and the clocks change", person(6, 3), NIGHT),
        ("20 settings and 20 mutes", person(20, 20), DAY),
    ):

        def call(asked: Person = asked, now: datetime = now) -> object:
            return decide_contact(NOTICE, asked, "email", tokens_left=True, now=now)

        yield label, microseconds(call), call()


def main() -> None:
    """Print a line for each kind of question."""
    for label, cost, decision in costs():
        print(f"{label:<40} {cost:6.1f} µs  {decision}")


if __name__ == "__main__":
    main()
