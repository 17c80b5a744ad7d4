"""The webhook channel: POSTs signed events to tenants' URLs."""

from __future__ import annotations

import re
import ssl
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import attrs

from ...distribution import version
from ...errors import ConfigurationError, DestinationRefusedError
from ...failpoints import failpoint
from ...models.delivery import WEBHOOK, Claim
from ...models.destination import Destination
from ...models.endpoint import Endpoint
from ...models.outcome import Outcome, Permanent
from ...native import mypyc_attr
from ...signing import Signer
from .answers import outcome_of, outcome_of_failure
from .guard import Guard
from .headers import full_head, static_head, trace_line
from .transport import BODY_CAP, Response, Transport, WireError
from .url import Target
from .wire import Wire

if TYPE_CHECKING:
    from ...ports import Channel

#: For how many endpoints the parsed URL, the head and the keys are kept.  Not fewer than the destinations that are
#: kept of large tenants (``dispatch/large_tenants.py``): sending to more of them in turn would prepare each anew.
MAX_PREPARED = 12_000

_EVENT_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_TRACE = re.compile(r"[!-~]{55,128}")
_USER_AGENT = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


@dataclass(eq=False)
class _Prepared:
    """What is the same for all deliveries to an endpoint until it changes."""

    destination: Destination
    target: Target
    static_head: bytes
    signer: Signer
    signs_until: datetime | None
    timeout: float
    #: Whether the endpoint has no header of its own that says the same.
    takes_trace: bool
    #: Values of headers that are not stored if the receiver repeats them in its answer.
    secret_values: tuple[bytes, ...]


#: A header value that is shorter than this is a word and not a secret.
_SECRET_LENGTH = 8


@mypyc_attr(allow_interpreted_subclasses=True)
class WebhookChannel:
    """POSTs the stored bytes of an event, signed as Standard Webhooks defines.

    Redirects are never followed, cookies never kept, bodies never decompressed,
    and every connection goes to an address that the guard vetted for this connection.

    Args:
        guard: What decides where deliveries may go; by default public addresses over https.
        transport: ``"wire"`` (the fast one), ``"httpx"`` (see :class:`~.httpx_transport.HttpxTransport`
            for a proxy or HTTP/2), or a transport of your own.
        user_agent: The ``User-Agent`` header.
        body_cap: How many bytes of an answer are kept.
        tls: TLS settings; by default certificates are verified against the system's authorities.
    """

    name = WEBHOOK

    def __init__(
        self,
        *,
        guard: Guard | None = None,
        transport: Literal["wire", "httpx"] | Transport = "wire",
        user_agent: str | None = None,
        body_cap: int = BODY_CAP,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._guard = guard or Guard()
        self._transport = _transport(transport, self._guard, body_cap, tls)
        self._user_agent = user_agent or f"notifykit/{version() or 0}"
        if not _USER_AGENT.fullmatch(self._user_agent):
            raise ConfigurationError("user_agent is visible ASCII, with blanks only inside")
        self._prepared: OrderedDict[str, _Prepared] = OrderedDict()

    async def send(self, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        """Make one attempt; see :class:`notifykit.ports.Channel`."""
        prepared = self._prepared.get(destination.subscriber_id)
        if prepared is None or not _is_current(prepared, destination, now):
            found = self._prepare(destination, now)
            if not isinstance(found, _Prepared):
                return found
            prepared = found
        if not _EVENT_ID.fullmatch(claim.event_id):  # it becomes a header and a part of what is signed
            return Permanent(reason="bad_event_id")
        event_id = claim.event_id.encode("ascii")
        timestamp = b"%d" % int(now.timestamp())
        body = claim.body
        signature = prepared.signer.signature(event_id, timestamp, body)
        static = prepared.static_head
        trace = claim.details.trace
        if trace is not None and prepared.takes_trace and _TRACE.fullmatch(trace):
            static += trace_line(trace)
        head = full_head(static, event_id, timestamp, signature, len(body))
        failpoint("att.signed")
        try:
            response = await self._transport.post(prepared.target, head, body, timeout=prepared.timeout)
        except WireError as error:
            return outcome_of_failure(error)
        except DestinationRefusedError as error:
            return _blocked(error)
        if response.body and prepared.secret_values:
            response = _without(response, prepared.secret_values)
        return outcome_of(response, now)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    def _prepare(self, destination: Destination, now: datetime) -> _Prepared | Outcome:
        """Compute what stays the same for ``destination``, or the outcome if nothing can be sent to it."""
        endpoint = destination.config
        if not isinstance(endpoint, Endpoint):
            raise TypeError(f"a webhook goes to an endpoint, not to {destination.subscriber_id}")
        keys = endpoint.signing_keys(now)
        try:
            target = attrs.evolve(self._guard.parse(destination.address), tenant=destination.tenant)
            prepared = _Prepared(
                destination=destination,
                target=target,
                static_head=static_head(target, endpoint.headers, self._user_agent),
                signer=Signer(keys),
                signs_until=min(
                    (s.expires_at for s in endpoint.secrets if s.expires_at and s.expires_at > now), default=None
                ),
                timeout=destination.timeout.total_seconds(),
                takes_trace="traceparent" not in map(str.lower, endpoint.headers),
                secret_values=tuple(
                    value.encode() for value in endpoint.headers.values() if len(value) >= _SECRET_LENGTH
                ),
            )
        except DestinationRefusedError as error:
            return _blocked(error)
        except ConfigurationError:
            return Permanent(reason="bad_signing_key")
        except ValueError:
            return Permanent(reason="bad_headers")
        self._prepared[destination.subscriber_id] = prepared
        self._prepared.move_to_end(destination.subscriber_id)
        if len(self._prepared) > MAX_PREPARED:
            self._prepared.popitem(last=False)
        return prepared


def _is_current(prepared: _Prepared, destination: Destination, now: datetime) -> bool:
    if prepared.destination is not destination:
        if prepared.destination != destination:
            return False
        prepared.destination = destination  # the same content read again: next time identity is enough
    return prepared.signs_until is None or now < prepared.signs_until


def _without(response: Response, values: tuple[bytes, ...]) -> Response:
    """Return an answer without the header values that the receiver repeats in its body.

    The store encrypts these values; an error page that shows the request must not undo that.
    """
    body = response.body
    for value in values:
        body = body.replace(value, b"[redacted]")
    return response if body is response.body else Response(response.status, response.headers, body)


def channel_from_url(url: str, *, guard: Guard, transport: Literal["wire", "httpx"]) -> WebhookChannel:
    """Return the channel for ``webhook://``: where it delivers is up to the egress rules.

    Raises:
        ConfigurationError: The URL says more than that.
    """
    if url.lower() != "webhook://":
        raise ConfigurationError("webhook:// takes no options: where webhooks go is up to the egress rules")
    return WebhookChannel(guard=guard, transport=transport)


def _blocked(error: DestinationRefusedError) -> Permanent:
    return Permanent(reason=f"blocked_{error.reason}")


def _transport(choice: str | Transport, guard: Guard, body_cap: int, tls: ssl.SSLContext | None) -> Transport:
    if choice == "wire":
        return Wire(guard, body_cap=body_cap, tls=tls)
    if choice == "httpx":
        from .httpx_transport import HttpxTransport

        return HttpxTransport(guard, body_cap=body_cap, tls=tls)
    if isinstance(choice, str):
        raise ConfigurationError(f"transport is 'wire', 'httpx' or an object, not {choice!r}")
    return choice


if TYPE_CHECKING:
    _conforms: type[Channel] = WebhookChannel
