"""Web Push to browsers (RFC 8030, 8291, 8292): ``webpush://?key=file:vapid.pem&subject=mailto:ops@example.org``.

An address is the subscription that the browser gives a page, as JSON.  The browser's vendor runs the service that it
names.  Anyone could send in a subscription, so only those of vendors are asked, and what the option ``hosts`` adds.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ...codec import dumps
from ...errors import InvalidInputError
from ...models.delivery import Claim, Priority
from ...models.destination import Destination
from ...models.messages import Message, PushMessage
from ...models.outcome import Answer, BadRecipient, Outcome, Permanent
from ...policies.push import Belief, Evidence, Service, Subscription, subscription_of
from ..http_answers import Code, HttpAnswer, Meaning
from ..http_provider import HttpProvider, HttpRequest
from ..provider_url import ProviderUrl, parse_provider_url
from .encryption import MAX_TEXT, encrypt, public_point
from .jwt import base64url, p256_key, signed
from .service import OPTIONS, PushService, PushVendor, collapse_id, longest_wait, push_of, time_to_live

_EXAMPLE = "webpush://?key=file:vapid.pem&subject=mailto:ops@example.org"
#: The push services of Chrome, Firefox, Edge and Safari.
_HOSTS = re.compile(
    r"fcm\.googleapis\.com|(?:[a-z0-9-]+\.)+(?:push\.services\.mozilla|notify\.windows|push\.apple)\.com"
)
_HOST = re.compile(r"(?:[a-z0-9-]+\.)+[a-z0-9-]+")
_SUBJECT = re.compile(r"mailto:[^\s@:]+@[^\s@]+|https://[^\s]+")
#: How long a token for one service is used, and is valid: RFC 8292 allows a day.
_RENEWED, _VALID = timedelta(hours=6), timedelta(hours=12)
_MOST_TOKENS = 100

#: What a status says, as services differ in their texts; one that is not here means what it does in HTTP.
CODES: Mapping[int, Code] = {
    400: Code(Meaning.CONFIGURATION, "the request or its signature is wrong"),
    401: Code(Meaning.CONFIGURATION, "the signature is wrong"),
    403: Code(Meaning.CONFIGURATION, "the subscription was made with another key"),
    404: Code(Meaning.BAD_RECIPIENT, "the subscription has expired or is unknown"),
    410: Code(Meaning.BAD_RECIPIENT, "the subscription was cancelled"),
    413: Code(Meaning.PERMANENT, "the message is too large"),
    429: Code(Meaning.THROTTLED, "too many messages"),
}


@attrs.define
class WebPush:
    """Requests and answers of the push services of browsers.

    Attributes:
        key: The private key of VAPID.
        subject: Whom a service may write to: ``mailto:…`` or ``https://…``.
        endpoint: What replaces the scheme and the host of each subscription; empty for nothing.
        hosts: Allowed beside those of the browsers' vendors.
    """

    name = "webpush"
    service = Service.WEBPUSH

    account: str
    key: EllipticCurvePrivateKey = attrs.field(repr=False)
    subject: str
    endpoint: str
    hosts: frozenset[str]
    app: str | None
    ttl: timedelta
    _public: str = attrs.field(init=False)
    _evidence: Evidence = attrs.field(init=False, factory=Evidence, repr=False)
    _tokens: OrderedDict[str, tuple[datetime, str]] = attrs.field(init=False, factory=OrderedDict, repr=False)

    def __attrs_post_init__(self) -> None:
        self._public = base64url(public_point(self.key))

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(token for _, token in self._tokens.values())

    def circuit(self, token: str) -> str:
        """Each browser's service has its own."""
        try:
            host = subscription_of(token).host
        except InvalidInputError:
            return self.account
        return f"{self.account}/{'.'.join(host.split('.')[-3:])}"

    def request(
        self, message: Message, claim: Claim, destination: Destination, *, now: datetime
    ) -> HttpRequest | Outcome:
        push = push_of(message, self.name)
        try:
            to = subscription_of(destination.address)  # another program may have stored it
            if not _HOSTS.fullmatch(to.host) and to.host not in self.hosts:
                return Permanent(reason="host_not_allowed", answer=_said(f"{to.host}: see hosts="))
            text = dumps(_content(push))
            if len(text) > MAX_TEXT:
                return Permanent(reason="payload_too_large")
            body = encrypt(text, to.p256dh, to.auth)
        except ValueError as error:  # InvalidInputError is one
            return BadRecipient(reason="invalid_address", answer=_said(str(error)))
        return HttpRequest(url=self._url(to), headers=self._headers(push, claim, to, now), body=body)

    def outcome(self, answer: HttpAnswer, *, now: datetime) -> Outcome:
        if 200 <= answer.status < 300:
            self._evidence.accepted()
            return answer.outcome(now=now, reference=answer.headers.get("location"))
        code = CODES.get(answer.status)
        if code is None:
            return answer.outcome(now=now)
        meaning = code.meaning
        # What others accept, one subscription may refuse: it was made with a key that was replaced.
        if meaning is Meaning.CONFIGURATION and self._evidence.refused() is Belief.TOKEN:
            meaning = Meaning.PERMANENT
        return answer.outcome(meaning, f"webpush_{answer.status}", now=now)

    def _url(self, to: Subscription) -> str:
        return to.endpoint if not self.endpoint else f"{self.endpoint}/{to.endpoint.split('/', 3)[3]}"

    def _headers(self, push: PushMessage, claim: Claim, to: Subscription, now: datetime) -> dict[str, str]:
        headers = {
            "authorization": f"vapid t={self._token(to.host, now)}, k={self._public}",
            "content-encoding": "aes128gcm",
            "content-type": "application/octet-stream",
            "ttl": str(int(time_to_live(claim, self.ttl, now).total_seconds())),
            "urgency": {Priority.LOW: "low", Priority.NORMAL: "normal", Priority.HIGH: "high"}[claim.priority],
        }
        if push.collapse_key is not None:
            headers["topic"] = collapse_id(push.collapse_key)
        return headers

    def _token(self, host: str, now: datetime) -> str:
        """Return the token for one service."""
        made, token = self._tokens.get(host, (None, ""))
        if made is None or not timedelta(0) <= now - made < _RENEWED:
            expires = int((now + _VALID).timestamp())
            token = signed({"aud": f"https://{host}", "exp": expires, "sub": self.subject}, self.key)
            self._tokens[host] = now, token
            if len(self._tokens) > _MOST_TOKENS:
                self._tokens.popitem(last=False)
        return token


def _content(push: PushMessage) -> dict[str, Any]:
    """Return what the page's service worker gets."""
    return {
        "title": push.title,
        "body": push.body,
        "url": push.url,
        "tag": None if push.collapse_key is None else collapse_id(push.collapse_key),
        "data": dict(push.data),
    }


def _said(text: str) -> Answer:
    return Answer(body=text.encode())


def generate_key() -> str:
    """Return a new private key of VAPID, in PEM: make one, and keep it, as subscriptions are bound to it."""
    key = generate_private_key(SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def application_server_key(pem: str) -> str:
    """Return what a web page passes to ``pushManager.subscribe`` as ``applicationServerKey``.

    Raises:
        ValueError: It is not a private key of the curve P-256 in PEM.
    """
    return base64url(public_point(p256_key(pem)))


def service_from_url(url: str) -> PushService:
    """Return the service of a ``webpush://`` URL; nothing is connected yet.

    Raises:
        ConfigurationError: The URL is not acceptable.
    """
    found = parse_provider_url(url, example=_EXAMPLE, credentials=0, options=(*OPTIONS, "hosts", "subject"))
    try:
        key = p256_key(found.document("key", "a private key of the curve P-256 in PEM"))
    except ValueError as error:
        raise found.wrong(f"key is not a private key of VAPID: {error}") from None
    subject = found.options.get("subject", "")
    if not _SUBJECT.fullmatch(subject):
        raise found.wrong("subject is whom a push service may write to: mailto:ops@example.org, or an https:// URL")
    vendor = WebPush(
        account=f"webpush://{base64url(public_point(key))[1:9]}",
        key=key,
        subject=subject,
        endpoint=found.endpoint(""),
        hosts=_hosts(found),
        app=found.options.get("app"),
        ttl=longest_wait(found),
    )
    provider = HttpProvider(vendor, connections=found.connections)
    return PushService(vendor=vendor, provider=provider, timeout=found.timeout)


def _hosts(url: ProviderUrl) -> frozenset[str]:
    hosts = frozenset(host.strip().lower() for host in url.options.get("hosts", "").split(",")) - {""}
    if wrong := sorted(host for host in hosts if not _HOST.fullmatch(host)):
        raise url.wrong(f"hosts lists names of hosts such as push.example.org, not {', '.join(wrong)}")
    return hosts


if TYPE_CHECKING:
    _conforms: type[PushVendor] = WebPush
