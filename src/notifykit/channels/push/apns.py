"""Apple's push service: ``apns://?key=file:AuthKey.p8&key_id=…&team=…&topic=org.example.shop``.

One POST to ``/3/device/TOKEN`` a push, over HTTP/2.  A token signed with ES256 names the sender; it is made anew after
40 minutes, because Apple accepts it for an hour, and more than one in 20 minutes is refused.  Known from Apple's
documentation rather than from tests against Apple: those times, the limits of sizes, and that Apple looks at the key
and the topic before the device's token, which is what a check depends on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from ...models.delivery import Claim, Priority
from ...models.destination import Destination
from ...models.messages import Message, PushMessage
from ...models.outcome import CircuitEffect, Outcome, Permanent, Throttled
from ...policies.push import Evidence, Service
from ..http_answers import Code, HttpAnswer, Meaning
from ..http_provider import CheckedHttpProvider, HttpRequest
from ..provider_url import ProviderUrl, parse_provider_url
from .jwt import p256_key, signed
from .service import OPTIONS, PushService, PushVendor, believed, collapse_id, longest_wait, push_of, time_to_live

_EXAMPLE = "apns://?key=file:AuthKey.p8&key_id=ABC123DEFG&team=DEF123GHIJ&topic=org.example.shop"
_HOSTS = {"production": "https://api.push.apple.com", "sandbox": "https://api.sandbox.push.apple.com"}
_RENEWED = timedelta(minutes=40)
#: Apple refuses tokens that are renewed more often.
_OFTENEST = timedelta(minutes=20)
#: Bytes of a payload.
MAX_PAYLOAD = 4096

#: The ``reason`` of an error; of another one the HTTP status decides.
CODES: Mapping[str, Code] = {
    "BadCertificate": Code(Meaning.CONFIGURATION, "the certificate is wrong"),
    "BadCertificateEnvironment": Code(Meaning.CONFIGURATION, "the certificate is for the other environment"),
    "BadCollapseId": Code(Meaning.PERMANENT, "the collapse id is too long"),
    "BadDeviceToken": Code(Meaning.BAD_RECIPIENT, "the token is invalid, or of the other environment"),
    "BadEnvironmentKeyIdInToken": Code(Meaning.CONFIGURATION, "the key is for the other environment"),
    "BadExpirationDate": Code(Meaning.PERMANENT, "the request is invalid"),
    "BadMessageId": Code(Meaning.PERMANENT, "the request is invalid"),
    "BadPath": Code(Meaning.CONFIGURATION, "the URL is wrong"),
    "BadPriority": Code(Meaning.PERMANENT, "the request is invalid"),
    "BadTopic": Code(Meaning.CONFIGURATION, "the topic is wrong"),
    "DeviceTokenNotForTopic": Code(Meaning.BAD_RECIPIENT, "the token is of another app"),
    "DuplicateHeaders": Code(Meaning.PERMANENT, "the request is invalid"),
    "ExpiredProviderToken": Code(Meaning.TRANSIENT, "our token is too old; the next attempt has another one"),
    "ExpiredToken": Code(Meaning.BAD_RECIPIENT, "the device's token has expired"),
    "Forbidden": Code(Meaning.CONFIGURATION, "the key may not send"),
    "IdleTimeout": Code(Meaning.TRANSIENT, "the connection was idle"),
    "InternalServerError": Code(Meaning.TRANSIENT, "an error of Apple"),
    "InvalidProviderToken": Code(Meaning.CONFIGURATION, "the key, its id or the team is wrong"),
    "InvalidPushType": Code(Meaning.PERMANENT, "the request is invalid"),
    "MethodNotAllowed": Code(Meaning.CONFIGURATION, "the URL is wrong"),
    "MissingDeviceToken": Code(Meaning.PERMANENT, "the request is invalid"),
    "MissingProviderToken": Code(Meaning.CONFIGURATION, "the token was missing"),
    "MissingTopic": Code(Meaning.CONFIGURATION, "the topic is missing"),
    "PayloadEmpty": Code(Meaning.PERMANENT, "the message is empty"),
    "PayloadTooLarge": Code(Meaning.PERMANENT, "the message is too large"),
    "ServiceUnavailable": Code(Meaning.TRANSIENT, "the service is unavailable"),
    "Shutdown": Code(Meaning.TRANSIENT, "the server is shutting down"),
    "TooManyProviderTokenUpdates": Code(Meaning.THROTTLED, "our token was renewed too often"),
    "TooManyRequests": Code(Meaning.THROTTLED, "too many messages to one device"),
    "TopicDisallowed": Code(Meaning.CONFIGURATION, "the topic is not allowed"),
    "Unregistered": Code(Meaning.BAD_RECIPIENT, "the app was removed"),
    "UnrelatedKeyIdInToken": Code(Meaning.CONFIGURATION, "the key is of another team"),
}
#: They may as well mean that our settings are wrong.
_DOUBTFUL = frozenset({"BadDeviceToken", "DeviceTokenNotForTopic"})
#: The token of no device.
_NO_DEVICE = "0" * 64
#: What Apple says of it if everything else is right.
_NO_SUCH_DEVICE = frozenset({"BadDeviceToken", "Unregistered"})


@attrs.define
class Apns:
    """Requests and answers of Apple's push service.

    Attributes:
        key: The private key of the ``.p8`` file.
        ttl: For how long Apple keeps a message for a device that is off.
    """

    name = "apns"
    service = Service.APNS

    account: str
    key: EllipticCurvePrivateKey = attrs.field(repr=False)
    key_id: str
    team: str
    topic: str
    endpoint: str
    app: str | None
    ttl: timedelta
    _evidence: Evidence = attrs.field(init=False, factory=Evidence, repr=False)
    _token: str = attrs.field(init=False, default="", repr=False)
    _token_made: datetime | None = attrs.field(init=False, default=None)

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self._token,) if self._token else ()

    def circuit(self, token: str) -> str:  # noqa: ARG002 - all tokens go to one server
        return self.account

    def request(
        self, message: Message, claim: Claim, destination: Destination, *, now: datetime
    ) -> HttpRequest | Outcome:
        push = push_of(message, self.name)
        headers = {
            **self._headers(now),
            "apns-priority": "5" if claim.priority is Priority.LOW else "10",
            "apns-expiration": str(int((now + time_to_live(claim, self.ttl, now)).timestamp())),
        }
        if push.collapse_key is not None:
            headers["apns-collapse-id"] = collapse_id(push.collapse_key)
        made = HttpRequest.of_json(f"{self.endpoint}/3/device/{destination.address}", payload_of(push), headers)
        return made if len(made.body) <= MAX_PAYLOAD else Permanent(reason="payload_too_large")

    def _headers(self, now: datetime) -> dict[str, str]:
        token = self._current_token(now)
        return {"authorization": f"bearer {token}", "apns-topic": self.topic, "apns-push-type": "alert"}

    def check_request(self, *, now: datetime) -> HttpRequest:
        push = PushMessage(title="Check", body="Check")
        return HttpRequest.of_json(f"{self.endpoint}/3/device/{_NO_DEVICE}", payload_of(push), self._headers(now))

    def check_answer(self, answer: HttpAnswer) -> str | None:
        return "the key may send to the topic" if answer.json().get("reason") in _NO_SUCH_DEVICE else None

    def outcome(self, answer: HttpAnswer, *, now: datetime) -> Outcome:
        if answer.status == 200:
            self._evidence.accepted()
            return answer.accepted(answer.headers.get("apns-id"), now=now)
        name = answer.json().get("reason")
        code = CODES.get(name) if isinstance(name, str) else None
        if code is None:
            return answer.outcome(now=now)
        reason = f"apns_{name}"
        if name in _DOUBTFUL:
            return believed(self._evidence, answer, reason, now=now)
        if name == "ExpiredProviderToken" and self._token_made is not None and now - self._token_made >= _OFTENEST:
            self._token_made = None
        outcome = answer.outcome(code.meaning, reason, now=now)
        if isinstance(outcome, Throttled) and name == "TooManyRequests":
            return attrs.evolve(outcome, circuit=CircuitEffect.NONE)  # it concerns one device
        return outcome

    def _current_token(self, now: datetime) -> str:
        made = self._token_made
        if made is None or not timedelta(0) <= now - made < _RENEWED:
            self._token = signed({"iss": self.team, "iat": int(now.timestamp())}, self.key, kid=self.key_id)
            self._token_made = now
        return self._token


def payload_of(push: PushMessage) -> dict[str, Any]:
    """Return what the device gets; the app's own data stands beside ``aps``."""
    own = {**push.data, **({"url": push.url} if push.url is not None else {})}
    return {**own, "aps": {"alert": {"title": push.title, "body": push.body}}}


def service_from_url(url: str) -> PushService:
    """Return the service of an ``apns://`` URL; nothing is connected yet.

    Raises:
        ConfigurationError: The URL is not acceptable.
        MissingExtraError: What HTTP/2 needs is not installed.
    """
    options = (*OPTIONS, "environment", "key_id", "team", "topic")
    found = parse_provider_url(url, example=_EXAMPLE, credentials=0, options=options)
    host = found.choice("environment", _HOSTS)
    try:
        key = p256_key(found.document("key", "the .p8 file of a key from Apple's developer account"))
    except ValueError as error:
        raise found.wrong(f"key is not the content of a .p8 file of Apple: {error}") from None
    topic = _named(found, "topic", "the app's bundle id, such as org.example.shop")
    vendor = Apns(
        account=f"apns://{topic}{'/sandbox' if host == _HOSTS['sandbox'] else ''}",
        key=key,
        key_id=_named(found, "key_id", "the key's id, which is in the name of its file"),
        team=_named(found, "team", "the id of your team with Apple"),
        topic=topic,
        endpoint=found.endpoint(host),
        app=found.options.get("app"),
        ttl=longest_wait(found),
    )
    provider = CheckedHttpProvider(vendor, connections=found.connections, http2=vendor.endpoint)
    return PushService(vendor=vendor, provider=provider, timeout=found.timeout)


def _named(url: ProviderUrl, name: str, what: str) -> str:
    given = url.options.get(name, "")
    if not given.isascii() or not given.replace(".", "").replace("-", "").isalnum():
        raise url.wrong(f"{name} is {what}")
    return given


if TYPE_CHECKING:
    _conforms: type[PushVendor] = Apns
