"""The steps of an event type: over which channels people are told, when, and under which conditions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

import attrs

from .checks import duration, field_check, flag, listed, many, one_of, text
from .delivery import WEBHOOK

IN_APP: Final = "in_app"
#: Each channel has one step at the most, and there are no more channels.
MAX_STEPS = 20
#: The latest that a step may run after its event.
MAX_AFTER = timedelta(days=365)
_LABEL = text(most=128)


class Unless(StrEnum):
    """What a person has done with the inbox item of an event."""

    SEEN = "seen"
    READ = "read"


def people_channel(value: object) -> str | None:
    """Check the name of a channel over which people are told."""
    if value == WEBHOOK:
        return "must be a channel of people; webhooks go to endpoints, which are subscribed"
    return _LABEL(value)


def _marks(values: Iterable[str] | str) -> Any:
    given = (values,) if isinstance(values, str) else listed(values, len(Unless))
    return given if _is_mark(given) is not None else frozenset(map(Unless, given))


_is_mark = many(one_of(Unless), most=len(Unless), what="marks")


@attrs.frozen
class Step:
    """One channel over which people are told of an event.

    Attributes:
        channel: Such as ``in_app``, ``email``, ``sms``.
        after: How long after the event is planned; until then the delivery is held.
        unless: It is cancelled if the person has ``seen`` or ``read`` the event's inbox item by then.
        fallback: It is only made if none of the steps before it was delivered; an inbox item counts as delivered.

    Raises:
        InvalidInputError: A field is not what it should be.
    """

    channel: str = attrs.field(validator=field_check(people_channel))
    after: timedelta = attrs.field(
        default=timedelta(0), kw_only=True, validator=field_check(duration(timedelta(0), MAX_AFTER))
    )
    unless: frozenset[str] = attrs.field(
        default=frozenset(), kw_only=True, converter=_marks, validator=field_check(_is_mark)
    )
    fallback: bool = attrs.field(default=False, kw_only=True, validator=field_check(flag))

    def is_answered_by(self, marks: Iterable[str]) -> bool:
        """Tell whether what the person did with the inbox item makes this step needless; a read item is seen, too."""
        given = set(marks)
        return not self.unless.isdisjoint(given | {Unless.SEEN} if Unless.READ in given else given)


def steps_problems(steps: object, expires_after: timedelta | None = None, *, collects: bool = False) -> list[str]:
    """Return what is wrong with the steps of a type: a step that can never run, or a condition that is never met.

    Args:
        steps: What was given.
        expires_after: When events of the type expire.
        collects: Whether the type has a digest, so that a step without ``after`` may be read before it is sent.
    """
    if not isinstance(steps, tuple) or not all(isinstance(step, Step) for step in steps):
        return ["steps: must be a list of Step"]
    if len(steps) > MAX_STEPS:
        return [f"steps: at most {MAX_STEPS}, got {len(steps)}"]
    has_inbox = any(step.channel == IN_APP for step in steps)
    return [
        f"steps[{at}]: {wrong}"
        for at, step in enumerate(steps)
        for wrong in _problems(step, steps[:at], has_inbox, expires_after, collects)
    ]


def _problems(
    step: Step, before: Sequence[Step], has_inbox: bool, expires_after: timedelta | None, collects: bool
) -> list[str]:
    found = []
    if any(earlier.channel == step.channel for earlier in before):
        found.append(f"can never run: a step before it has the channel {step.channel}")
    if step.fallback and not before:
        found.append("is a fallback, and there is no step before it")
    if step.unless and (not has_inbox or step.channel == IN_APP):
        found.append(f"has unless=, and there is no other step {IN_APP} whose item could be seen or read")
    elif step.unless and not step.after and not collects:
        found.append("has unless=, and without after= or a digest there is no time to see or read anything")
    if expires_after is not None and step.after >= expires_after:
        found.append(f"can never run: events of this type expire after {expires_after}")
    return found


def steps_to_json(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """Return steps as stores keep them."""
    return [
        {
            "channel": step.channel,
            "after": step.after // timedelta(microseconds=1),
            "unless": sorted(step.unless),
            "fallback": step.fallback,
        }
        for step in steps
    ]


def steps_from_json(stored: Iterable[Mapping[str, Any]]) -> tuple[Step, ...]:
    """Return steps as they were stored."""
    return tuple(
        Step(
            each["channel"],
            after=timedelta(microseconds=each["after"]),
            unless=each["unless"],
            fallback=each["fallback"],
        )
        for each in stored
    )
