"""One signed message that the tests of the signing package share."""

from __future__ import annotations

from datetime import UTC, datetime

from notifykit.signing import Signer, Verifier

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
PRIVATE_KEY = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
PUBLIC_KEY = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="

NOW = 1_614_265_330
NOON = datetime.fromtimestamp(NOW, UTC)
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
BODY = b'{"type": "order.shipped", "timestamp": "2021-02-25T15:02:09Z", "data": {"order_id": "A-1"}}'


def headers(secrets: str | list[str] = SECRET, *, body: bytes = BODY, id: str = ID, at: int = NOW) -> dict[str, str]:
    """Return the headers of a valid message."""
    return Signer(secrets).headers(id, at, body)


def verifier(secrets: str | list[str] = SECRET, *, now: float = NOW) -> Verifier:
    """Return a verifier whose clock stands at ``now``."""
    return Verifier(secrets, clock=lambda: now)
