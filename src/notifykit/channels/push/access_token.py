"""Access tokens of Google (OAuth 2.0, RFC 7523): a token signed by a service account is exchanged for one.

One exchange serves all calls that wait for it, and its token is used until five minutes before it expires.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import attrs
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ...models.outcome import Answer, Outcome, Transient, Uncertain
from ..http_answers import HttpAnswer, Meaning
from ..http_provider import HttpRequest
from ..provider_url import LOOPBACK
from ..single_flight import SingleFlight
from .jwt import rsa_key, signed

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFETIME, _MARGIN = timedelta(hours=1), timedelta(minutes=5)
#: A token that is younger has not expired, whatever the vendor says.
_YOUNG = timedelta(minutes=1)
#: How long an exchange may take, in seconds.
_TIMEOUT = 10.0


@attrs.frozen(kw_only=True)
class ServiceAccount:
    """The sending account, with a key of Google."""

    project: str
    email: str
    key: RSAPrivateKey = attrs.field(repr=False)
    key_id: str
    token_url: str

    @classmethod
    def from_json(cls, text: str) -> ServiceAccount:
        """Read the file that Google's console makes.

        Raises:
            ValueError: It is none; the message shows nothing of it.
        """
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError("not JSON") from None
        if not isinstance(found, dict) or found.get("type") != "service_account":
            raise ValueError('"type" is not "service_account"')
        names = ("project_id", "client_email", "private_key", "private_key_id", "token_uri")
        missing = [name for name in names if not isinstance(found.get(name), str)]
        if missing:
            raise ValueError(f"{', '.join(missing)} is missing")
        url = urlsplit(found["token_uri"])
        if not (url.scheme == "https" or (url.scheme == "http" and url.hostname in LOOPBACK)):
            raise ValueError("token_uri is not an https:// URL")
        return cls(
            project=found["project_id"],
            email=found["client_email"],
            key=rsa_key(found["private_key"]),
            key_id=found["private_key_id"],
            token_url=found["token_uri"],
        )


@attrs.frozen
class AccessToken:
    """A token and the time of its use."""

    text: str = attrs.field(repr=False)
    made: datetime
    expires: datetime


class AccessTokens:
    """The access token of a service account.

    Args:
        post: Sends a request within so many seconds.
    """

    def __init__(
        self, account: ServiceAccount, post: Callable[[HttpRequest, float], Awaitable[HttpAnswer | Outcome]]
    ) -> None:
        self._account = account
        self._post = post
        self._token: AccessToken | None = None
        self._exchange = SingleFlight(self._exchanged)

    def current(self, now: datetime) -> AccessToken | None:
        """Return the token if it may be used."""
        token = self._token
        return token if token is not None and token.made <= now < token.expires else None

    async def get(self, now: datetime) -> AccessToken | Outcome:
        """Get a new token; return the outcome of an attempt that has to do without."""
        self._now = now
        return await self._exchange.get()

    def may_have_expired(self, token: AccessToken, now: datetime) -> bool:
        """Tell whether another token may be accepted where this one was not."""
        return token is not self._token or now - token.made >= _YOUNG

    def forget(self, token: AccessToken) -> None:
        """Use a token no more."""
        if token is self._token:
            self._token = None

    async def aclose(self) -> None:
        """Stop an exchange."""
        await self._exchange.aclose()

    async def _exchanged(self) -> AccessToken | Outcome:
        now, account = self._now, self._account
        issued = int(now.timestamp())
        claims = {
            "iss": account.email,
            "scope": SCOPE,
            "aud": account.token_url,
            "iat": issued,
            "exp": issued + int(_LIFETIME.total_seconds()),
        }
        fields = {"grant_type": _GRANT, "assertion": signed(claims, account.key, kid=account.key_id)}
        answer = await self._post(HttpRequest.of_form(account.token_url, fields, {}), _TIMEOUT)
        if not isinstance(answer, HttpAnswer):  # whatever became of this request, the message was not sent
            return Transient(reason=f"token_{answer.reason}") if isinstance(answer, Uncertain) else answer
        found = answer.json()
        text, seconds = found.get("access_token"), found.get("expires_in")
        if answer.status == 200 and isinstance(text, str) and text.isascii() and text.isprintable():
            lifetime = timedelta(seconds=seconds) if type(seconds) is int and 0 < seconds < 3600 else _LIFETIME
            self._token = AccessToken(text, now, now + lifetime - min(_MARGIN, lifetime / 2))
            return self._token
        meaning = answer.meaning()
        is_passing = meaning in (Meaning.THROTTLED, Meaning.TRANSIENT)
        outcome = answer.outcome(meaning if is_passing else Meaning.CONFIGURATION, "token_refused", now=now)
        # The rest of an answer may repeat our request.
        said = ": ".join(str(found[name]) for name in ("error", "error_description") if name in found)
        return attrs.evolve(outcome, answer=Answer(status=answer.status, body=said[:500].encode()))
