"""Simulated addresses: what is sent to one never reaches a vendor, and has the outcome that the address names.

Pure.  No simulated address can be a real one: ``.invalid`` is not a domain (RFC 6761), the telephone numbers are
set aside for fiction by the British regulator, and no vendor's token begins with ``simulated:``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum

from ..models.outcome import (
    Accepted,
    Answer,
    BadRecipient,
    CircuitEffect,
    Outcome,
    Permanent,
    Throttled,
    Transient,
    Uncertain,
)

#: Of e-mail addresses: what precedes the ``@``, without ``+`` and what follows it, names what happens.
DOMAIN = "simulated.invalid"
#: On every channel: what follows names what happens.
PREFIX = "simulated:"
#: How long a message to a slow address takes.
SLOW = timedelta(seconds=1)

#: The last digit of a number names what happens; those of the second range are simulated by test servers only.
_NUMBER = re.compile(r"\+447700900[0-9]{2}([0-9])")
_TEST_NUMBER = re.compile(r"\+?1[2-9][0-9]{2}55501[0-9]([0-9])")


class Simulated(StrEnum):
    """What happens to a message; the last digit of a telephone number is the position in this list, from 0.

    Attributes:
        DELIVERED: It is taken.
        BOUNCE: It is taken, and a receipt says later that the address does not exist.
        INVALID: The address is refused.
        REJECTED: The message is refused.
        THROTTLED: There are too many requests.
        UNAVAILABLE: The vendor fails.
        UNCERTAIN: It is taken, and the answer is lost.
        SLOW: It is taken after a while.
        DEFERRED: It is taken, and a receipt says later that it has not been delivered yet.
        COMPLAINT: It is taken, and a receipt says later that the person complained.
    """

    DELIVERED = "delivered"
    BOUNCE = "bounce"
    INVALID = "invalid"
    REJECTED = "rejected"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    UNCERTAIN = "uncertain"
    SLOW = "slow"
    DEFERRED = "deferred"
    COMPLAINT = "complaint"


_NAMES: Mapping[str, Simulated] = {each.value: each for each in Simulated}
_DIGITS = tuple(Simulated)


def is_simulated(channel: str, address: str) -> bool:
    """Tell whether an address in its canonical form is simulated, so that nothing is sent to it."""
    if address.startswith(PREFIX):
        return True
    if channel == "email":
        return address.endswith(f"@{DOMAIN}")
    return channel == "sms" and _NUMBER.fullmatch(address) is not None


def simulated_name(address: str) -> Simulated:
    """Return what an address names, whatever its domain; one that names nothing is delivered to.

    In the URL of a chat room it is the last part of the path.
    """
    found = _NUMBER.fullmatch(address) or _TEST_NUMBER.fullmatch(address)
    if found is not None:
        return _DIGITS[int(found[1])]
    name = address.removeprefix(PREFIX).rpartition("/")[2].partition("@")[0].partition("+")[0]
    return _NAMES.get(name.lower(), Simulated.DELIVERED)


def simulated_outcome(address: str, delivery_id: str) -> Outcome:
    """Return the outcome of a message to a simulated address.  It says nothing about the vendor's account."""
    name = simulated_name(address)
    reason, answer = f"simulated_{name}", Answer(reference=f"simulated:{delivery_id}")
    match name:
        case Simulated.BOUNCE | Simulated.INVALID:
            return BadRecipient(reason=reason)
        case Simulated.REJECTED:
            return Permanent(reason=reason)
        case Simulated.THROTTLED:
            return Throttled(reason=reason, circuit=CircuitEffect.NONE)
        case Simulated.UNAVAILABLE:
            return Transient(reason=reason, circuit=CircuitEffect.NONE)
        case Simulated.UNCERTAIN:
            return Uncertain(reason=reason)
        case _:
            return Accepted(answer=answer)
