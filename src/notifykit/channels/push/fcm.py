"""Firebase Cloud Messaging, HTTP v1: ``fcm://?key=file:service-account.json``.

One POST to ``/v1/projects/PROJECT/messages:send`` a push.  It needs an access token, which Google gives for a token
signed with the key of a service account (:mod:`.access_token`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs

from ...errors import ConfigurationError
from ...models.delivery import Claim, Priority
from ...models.destination import Destination
from ...models.messages import Message, PushMessage
from ...models.outcome import Outcome, Transient
from ...policies.push import Evidence, Service
from ..http_answers import Code, HttpAnswer, Meaning
from ..http_provider import HttpProvider, HttpRequest
from ..provider_url import parse_provider_url
from .access_token import AccessToken, AccessTokens, ServiceAccount
from .service import OPTIONS, PushService, PushVendor, believed, collapse_id, longest_wait, push_of, time_to_live

_EXAMPLE = "fcm://?key=file:service-account.json"
#: The vendor's advice if it names no pause.
_PAUSE = timedelta(minutes=1)
#: How long a check may take, in seconds, and how much of an answer it shows.
_CHECK, _SHOWN = 10.0, 200
_TOKEN_IS_WRONG = re.compile(r"registration token is not (a )?valid", re.IGNORECASE)

#: The ``errorCode`` of a ``FcmError`` in ``error.details``; without one the HTTP status decides, so that a project
#: that does not exist (404) is no device that is gone.
CODES: Mapping[str, Code] = {
    "INTERNAL": Code(Meaning.TRANSIENT, "an error of Google"),
    "INVALID_ARGUMENT": Code(Meaning.PERMANENT, "the request is invalid"),
    "INVALID_TOKEN": Code(
        Meaning.BAD_RECIPIENT, "`INVALID_ARGUMENT`, and the message says that the token is not valid"
    ),
    "QUOTA_EXCEEDED": Code(Meaning.THROTTLED, "too many messages, of the project or to one device"),
    "SENDER_ID_MISMATCH": Code(Meaning.BAD_RECIPIENT, "the token is of an app in another project"),
    "THIRD_PARTY_AUTH_ERROR": Code(Meaning.CONFIGURATION, "Firebase lacks your key for APNs or for Web Push"),
    "UNAVAILABLE": Code(Meaning.TRANSIENT, "the service is overloaded"),
    "UNREGISTERED": Code(Meaning.BAD_RECIPIENT, "the app was removed, or its token has expired"),
}
#: They may as well mean that our settings are wrong.
_DOUBTFUL = frozenset({"INVALID_TOKEN", "SENDER_ID_MISMATCH"})


@attrs.define
class Fcm:
    """Requests and answers of HTTP v1; a request lacks its access token."""

    name = "fcm"
    service = Service.FCM

    account: str
    project: str
    endpoint: str
    app: str | None
    ttl: timedelta
    #: The access token in use.
    secrets: tuple[str, ...] = attrs.field(init=False, default=(), repr=False)
    _evidence: Evidence = attrs.field(init=False, factory=Evidence, repr=False)

    def circuit(self, token: str) -> str:  # noqa: ARG002 - all tokens go to one server
        return self.account

    def request(self, message: Message, claim: Claim, destination: Destination, *, now: datetime) -> HttpRequest:
        push = push_of(message, self.name)
        ttl = time_to_live(claim, self.ttl, now)
        return self._request({"message": {"token": destination.address, **_content(push, claim.priority, ttl, now)}})

    def check_request(self) -> HttpRequest:
        """Return a request that is judged like any other, and sends nothing."""
        return self._request({"validate_only": True, "message": {"topic": "check", "notification": {"title": "Check"}}})

    def _request(self, body: Mapping[str, Any]) -> HttpRequest:
        return HttpRequest.of_json(f"{self.endpoint}/v1/projects/{self.project}/messages:send", body, {})

    def outcome(self, answer: HttpAnswer, *, now: datetime) -> Outcome:
        found = answer.json()
        if 200 <= answer.status < 300:
            self._evidence.accepted()
            return answer.accepted(found.get("name"), now=now)
        name = _code(found.get("error"))
        code = CODES.get(name)
        if code is None:
            return answer.outcome(now=now)
        if name in _DOUBTFUL:
            return believed(self._evidence, answer, f"fcm_{name}", now=now)
        return answer.outcome(code.meaning, f"fcm_{name}", now=now, wait=_PAUSE)


class FcmProvider(HttpProvider):
    """Sends with an access token, which is got when it is needed.

    A request that is refused for a token that may have expired is made once more with a new one.
    """

    def __init__(self, vendor: Fcm, account: ServiceAccount, *, connections: int) -> None:
        super().__init__(vendor, connections=connections, http2=vendor.endpoint)
        self._fcm = vendor
        self._tokens = AccessTokens(account, self._post)

    async def send(self, message: Message, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        request = self._fcm.request(message, claim, destination, now=now)
        ends = asyncio.get_running_loop().time() + destination.timeout.total_seconds()
        token = self._tokens.current(now) or await self._new_token(now, ends)
        if not isinstance(token, AccessToken):
            return token
        answer = await self._send_with(token, request, ends)
        if isinstance(answer, HttpAnswer) and answer.status == 401 and self._tokens.may_have_expired(token, now):
            self._tokens.forget(token)
            newer = self._tokens.current(now) or await self._new_token(now, ends)
            if not isinstance(newer, AccessToken):
                return newer
            answer = await self._send_with(newer, request, ends)
        return self._fcm.outcome(answer, now=now) if isinstance(answer, HttpAnswer) else answer

    async def check(self) -> str:
        """See :class:`notifykit.ports.ChecksConnection`: Firebase judges a message, and does not send it."""
        ends = asyncio.get_running_loop().time() + _CHECK
        token = await self._new_token(datetime.now(UTC), ends)
        if not isinstance(token, AccessToken):
            raise self._unusable("no access token", token)
        answer = await self._send_with(token, self._fcm.check_request(), ends)
        if not isinstance(answer, HttpAnswer):
            raise self._unusable("the vendor cannot be reached", answer)
        if answer.status != 200:
            said = answer.body[:_SHOWN].decode("utf-8", "replace")
            raise ConfigurationError(f"{self.account}: the vendor refused: {answer.status} {said}".rstrip())
        return f"{self.account}, the service account may send"

    def _unusable(self, what: str, outcome: Outcome) -> ConfigurationError:
        said = outcome.answer.body.decode("utf-8", "replace")
        return ConfigurationError(f"{self.account}: {what}: {getattr(outcome, 'reason', '')} {said}".rstrip())

    async def aclose(self) -> None:
        await self._tokens.aclose()
        await super().aclose()

    async def _new_token(self, now: datetime, ends: float) -> AccessToken | Outcome:
        try:
            async with asyncio.timeout_at(ends):
                token = await self._tokens.get(now)
        except TimeoutError:
            return Transient(reason="token_timeout")
        if isinstance(token, AccessToken):
            self._fcm.secrets = (token.text,)
        return token

    async def _send_with(self, token: AccessToken, request: HttpRequest, ends: float) -> HttpAnswer | Outcome:
        headers = {**request.headers, "authorization": f"Bearer {token.text}"}
        left = max(0.0, ends - asyncio.get_running_loop().time())
        return await self._post(attrs.evolve(request, headers=headers), left)


def _content(push: PushMessage, priority: Priority, ttl: timedelta, now: datetime) -> dict[str, Any]:
    """Return a message without its token: for Android, iOS and browsers, whichever the device is."""
    seconds = int(ttl.total_seconds())
    is_low = priority is Priority.LOW
    android: dict[str, Any] = {"priority": "NORMAL" if is_low else "HIGH", "ttl": f"{seconds}s"}
    apple = {"apns-priority": "5" if is_low else "10", "apns-expiration": str(int((now + ttl).timestamp()))}
    web: dict[str, Any] = {"headers": {"TTL": str(seconds), "Urgency": "low" if is_low else "high"}}
    if push.collapse_key is not None:
        id_ = collapse_id(push.collapse_key)
        android |= {"collapse_key": id_, "notification": {"tag": id_}}
        apple["apns-collapse-id"] = id_
        web["headers"]["Topic"] = id_
    if push.url is not None and push.url.startswith("https://"):
        web["fcm_options"] = {"link": push.url}
    return {
        "notification": {"title": push.title, "body": push.body},
        "data": {**push.data, **({"url": push.url} if push.url is not None else {})},
        "android": android,
        "apns": {"headers": apple},
        "webpush": web,
    }


def _code(error: object) -> str:
    """Return the code of an error of FCM itself, or nothing."""
    if not isinstance(error, dict) or not isinstance(error.get("details"), list):
        return ""
    for detail in error["details"]:
        if isinstance(detail, dict) and str(detail.get("@type")).endswith("google.firebase.fcm.v1.FcmError"):
            name = str(detail.get("errorCode"))
            if name == "INVALID_ARGUMENT" and _TOKEN_IS_WRONG.search(str(error.get("message"))):
                return "INVALID_TOKEN"
            return name
    return ""


def service_from_url(url: str) -> PushService:
    """Return the service of a ``fcm://`` URL; nothing is connected yet.

    Raises:
        ConfigurationError: The URL is not acceptable.
        MissingExtraError: What HTTP/2 needs is not installed.
    """
    found = parse_provider_url(url, example=_EXAMPLE, credentials=0, options=(*OPTIONS, "project"))
    text = found.document("key", "the JSON of a service account from the Firebase console")
    try:
        account = ServiceAccount.from_json(text)
    except ValueError as error:
        raise found.wrong(f"key is not the JSON of a service account: {error}") from None
    project = found.options.get("project", account.project)
    if not re.fullmatch(r"[a-z0-9.:-]+", project):
        raise found.wrong("project is the id of a project of Firebase, such as example-shop")
    vendor = Fcm(
        account=f"fcm://{project}",
        project=project,
        endpoint=found.endpoint("https://fcm.googleapis.com"),
        app=found.options.get("app"),
        ttl=longest_wait(found),
    )
    provider = FcmProvider(vendor, account, connections=found.connections)
    return PushService(vendor=vendor, provider=provider, timeout=found.timeout)


if TYPE_CHECKING:
    _conforms: type[PushVendor] = Fcm
