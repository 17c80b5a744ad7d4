"""What all push services share: what they are asked for, and the rules of their requests."""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Protocol, assert_never

import attrs

from ...models.delivery import Claim
from ...models.messages import Message, PushMessage
from ...models.outcome import Outcome
from ...policies.push import Belief, Evidence, Service
from ..http_answers import HttpAnswer, Meaning
from ..http_provider import HttpProvider, Vendor
from ..provider_url import ProviderUrl

#: Options of every push service's URL.
OPTIONS = ("app", "key", "ttl")
#: How long a service keeps a message for a device that is off, at the most: what FCM and APNs allow.
_LONGEST = timedelta(days=28)


class PushVendor(Vendor, Protocol):
    """A push service.

    Attributes:
        service: Whose tokens it takes.
        app: Of which app of the host they must be; ``None`` for all.
    """

    @property
    def service(self) -> Service: ...
    @property
    def app(self) -> str | None: ...

    def circuit(self, token: str) -> str:
        """Return whose circuit opens if attempts for a token fail."""
        ...


@attrs.frozen(kw_only=True)
class PushService:
    """An account with a push service, ready to send."""

    vendor: PushVendor
    provider: HttpProvider
    timeout: timedelta


def push_of(message: Message, name: str) -> PushMessage:
    """Return the message, which must be a push.

    Raises:
        TypeError: It is of another channel.
    """
    if not isinstance(message, PushMessage):
        raise TypeError(f"{name} carries a PushMessage, not a {type(message).__name__}")
    return message


def longest_wait(url: ProviderUrl) -> timedelta:
    """Return for how long a service shall try to reach a device: the option ``ttl`` in seconds.

    Raises:
        ConfigurationError: It is not acceptable.
    """
    most = int(_LONGEST.total_seconds())
    return timedelta(seconds=url.whole("ttl", most, most=most))


def time_to_live(claim: Claim, longest: timedelta, now: datetime) -> timedelta:
    """Return for how long a message is worth keeping: until its event expires."""
    left = longest if claim.expires_at is None else claim.expires_at - now
    return max(timedelta(0), min(left, longest))


def collapse_id(key: str) -> str:
    """Return a key in the alphabet and the length that all services take: 32 characters of hexadecimal digits."""
    return blake2b(key.encode(), digest_size=16, person=b"notifykit").hexdigest()


def believed(evidence: Evidence, answer: HttpAnswer, reason: str, *, now: datetime) -> Outcome:
    """Return the outcome of an answer that a token is wrong, unless it is rather the settings."""
    match evidence.refused():
        case Belief.TOKEN:
            return answer.outcome(Meaning.BAD_RECIPIENT, reason, now=now)
        case Belief.UNKNOWN:
            return answer.outcome(Meaning.PERMANENT, reason, now=now)
        case Belief.SETTINGS:
            return answer.outcome(Meaning.CONFIGURATION, reason, now=now)
        case belief:
            assert_never(belief)
