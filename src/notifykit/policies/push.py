"""Rules of pushes: what the tokens of devices look like, and when an answer about a token may be believed.

Pure.  The form of a token says which service issued it.  The platform does not: Firebase issues tokens for iOS and for
browsers as well.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..codec import dumps
from ..errors import InvalidInputError

#: Tokens of APNs are 32 bytes today; Apple asks not to rely on that.
_APNS = re.compile(r"(?:[0-9a-f]{2}){32,100}", re.IGNORECASE)
_FCM = re.compile(r"[A-Za-z0-9_:.%-]{16,4096}")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+={0,2}")
_ENDPOINT = re.compile(r"[A-Za-z0-9._~:/?&=%@+,;!$'()*-]{1,2000}")
#: Lengths in base64url of a point of P-256, and of 16 bytes.
_P256DH, _AUTH = 87, 22


class Service(StrEnum):
    """Which service issued a token: Firebase Cloud Messaging, Apple, or the push service of a browser."""

    FCM = "fcm"
    APNS = "apns"
    WEBPUSH = "webpush"


class Subscription(NamedTuple):
    """What a browser gives a web page: where to send, and what messages are encrypted with (base64url)."""

    endpoint: str
    p256dh: str
    auth: str

    @property
    def host(self) -> str:
        return urlsplit(self.endpoint).hostname or ""


def service_of(token: str) -> Service:
    """Return which service issued a token."""
    if token.startswith("{"):
        return Service.WEBPUSH
    return Service.APNS if _APNS.fullmatch(token) else Service.FCM


def canonical_token(token: str | Mapping[str, Any]) -> str:
    """Return the one form in which a token is stored and compared.

    Args:
        token: As the device got it; of a browser the subscription as JSON, or as it is parsed.

    Raises:
        InvalidInputError: It is no token of any service.
    """
    text = token.strip() if isinstance(token, str) else _as_text(token)
    match service_of(text):
        case Service.WEBPUSH:
            found = subscription_of(text)
            keys = {"auth": found.auth, "p256dh": found.p256dh}
            return dumps({"endpoint": found.endpoint, "keys": keys}).decode()
        case Service.APNS:
            return text.lower()
        case _ if _FCM.fullmatch(text):
            return text
        case _:
            raise InvalidInputError(
                ["token: is neither one of Firebase, nor one of Apple, nor a browser's subscription"]
            )


def _as_text(parsed: Mapping[str, Any]) -> str:
    """Return the JSON of a parsed subscription, of the texts that belong to one: other values may unfold endlessly."""
    keys = parsed.get("keys")
    texts = {name: value for name, value in keys.items() if isinstance(value, str)} if isinstance(keys, Mapping) else {}
    own = {name: parsed[name] for name in ("endpoint",) if isinstance(parsed.get(name), str)}
    return json.dumps({**own, "keys": texts})


def subscription_of(token: str) -> Subscription:
    """Read the subscription of a browser.

    Raises:
        InvalidInputError: It is none.
    """
    try:
        found = json.loads(token)
        endpoint, keys = found["endpoint"], found["keys"]
        p256dh, auth = keys["p256dh"].rstrip("="), keys["auth"].rstrip("=")
        parts = urlsplit(endpoint)
        is_plain = parts.scheme == "https" and parts.hostname and parts.port in (None, 443) and parts.path
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InvalidInputError(
            ['token: a browser\'s subscription is {"endpoint": …, "keys": {"p256dh": …, "auth": …}}']
        ) from None
    if not is_plain or "@" in parts.netloc or not _ENDPOINT.fullmatch(endpoint):
        raise InvalidInputError(["token: the endpoint of a browser's subscription must be an https:// URL"])
    for name, key, size in (("p256dh", p256dh, _P256DH), ("auth", auth, _AUTH)):
        if len(key) != size or not _BASE64URL.fullmatch(key):
            raise InvalidInputError(
                [f"token: {name} of a browser's subscription must be {size} characters of base64url"]
            )
    return Subscription(endpoint, p256dh, auth)


class Belief(StrEnum):
    """What to make of an answer that a token is wrong, if it may be the sender's settings that are.

    Attributes:
        TOKEN: The token is wrong: others are accepted.
        UNKNOWN: Neither is known; the message fails, and the token stays.
        SETTINGS: The settings are wrong: so many tokens do not become invalid at a time.
    """

    TOKEN = "token"  # noqa: S105 - not a secret
    UNKNOWN = "unknown"
    SETTINGS = "settings"


class Evidence:
    """The last answers about tokens, which tell wrong tokens from wrong settings.

    A key for another environment, another app or another project makes a service refuse every token; to believe it
    would be to lose them all.
    """

    def __init__(self, *, most: int = 100, few: int = 20) -> None:
        self._answers: deque[bool] = deque(maxlen=most)
        self._few = few

    def accepted(self) -> None:
        """A token was recognized."""
        self._answers.append(True)

    def refused(self) -> Belief:
        """A token was called wrong: return what to believe."""
        self._answers.append(False)
        wrong = self._answers.count(False)
        if wrong >= self._few and wrong * 2 > len(self._answers):
            return Belief.SETTINGS
        return Belief.TOKEN if True in self._answers else Belief.UNKNOWN
