"""Receive what e-mail and SMS providers report: one ASGI application, for any server or framework.

::

    receipts = receipts_app(kit, {"sendgrid": "MFkw…", "twilio": token}, public_url="https://shop.example/receipts")
    app.mount("/receipts", receipts)                # FastAPI, Starlette; the vendors call /receipts/sendgrid …

For a program without ASGI use the two halves, in a view of its own::

    verifier = receipt_verifier("sendgrid", "MFkw…")
    kit.blocking.record_receipts(verifier.receipts(headers, body, url, now=datetime.now(UTC)))
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol
from urllib.parse import urlsplit

import anyio.to_thread

from notifykit.channels.receipts import ReceiptVerifier, receipt_verifier
from notifykit.errors import ConfigurationError, StoreError
from notifykit.models.receipt import ProviderReceipt
from notifykit.signing import VerificationError

__all__ = ["MAX_BODY", "receipts_app"]

#: The most bytes of a request that are read.
MAX_BODY = 2 * 1024 * 1024

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
#: An ASGI application.
AsgiApp = Callable[[_Scope, _Receive, _Send], Awaitable[None]]

#: Refusals that mean that a request is not authentic; the others mean that it is malformed.
_UNAUTHENTIC = frozenset(
    {"no_match", "timestamp_too_old", "timestamp_too_new", "header_missing", "topic_unknown", "certificate_refused"}
)
_STATUSES = {"body_too_large": 413, "confirmation_failed": 503, **dict.fromkeys(_UNAUTHENTIC, 401)}

_log = logging.getLogger(__name__)


class RecordsReceipts(Protocol):
    """A kit, as far as it is needed here."""

    async def record_receipts(self, receipts: Iterable[ProviderReceipt]) -> int:
        """Store receipts, and apply what follows from them."""
        ...


def receipts_app(
    kit: RecordsReceipts,
    secrets: Mapping[str, str | Iterable[str] | ReceiptVerifier],
    *,
    public_url: str | None = None,
) -> AsgiApp:
    """Return an ASGI application that receives receipts at ``/NAME`` for each vendor.

    It answers 200 once the receipts are stored; 401 if a request is not authentic, 400 or 413 if it is malformed, each
    with a reason; 503 if the store is not available, after which vendors send them again.

    Args:
        kit: An open kit.
        secrets: For each vendor what verifies its requests: a secret, several while they are rotated, or a verifier
            with options of its own.
        public_url: The URL at which vendors reach this application, without the vendor's name.  Twilio signs it, so it
            is needed behind a proxy; by default it is what the request says.

    Raises:
        ConfigurationError: A vendor is not known, a secret cannot be one, or ``public_url`` is no URL.
    """
    if not secrets:
        raise ConfigurationError("secrets: name at least one vendor, such as {'sendgrid': 'MFkw…'}")
    if public_url is not None and urlsplit(public_url).scheme not in ("http", "https"):
        raise ConfigurationError("public_url: must be a URL that begins with https://")
    verifiers = {name: _verifier(name, given) for name, given in secrets.items()}
    return _ReceiptsApp(kit, verifiers, None if public_url is None else public_url.rstrip("/"))


def _verifier(name: str, given: str | Iterable[str] | ReceiptVerifier) -> ReceiptVerifier:
    if isinstance(given, str) or not callable(getattr(given, "receipts", None)):
        return receipt_verifier(name, given)  # type: ignore[arg-type]
    return given  # type: ignore[return-value]


class _ReceiptsApp:
    """The application; each request is verified in a thread, because that may take a while."""

    def __init__(self, kit: RecordsReceipts, verifiers: Mapping[str, ReceiptVerifier], public_url: str | None) -> None:
        self._kit = kit
        self._verifiers = verifiers
        self._public_url = public_url

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise ConfigurationError(f"the receipts of providers come over HTTP, not {scope['type']}")
        status, reason = await self._answer(scope, receive)
        body = b'{"reason":"%s"}' % reason.encode() if reason else b""
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if status == 405:
            headers.append((b"allow", b"GET, POST"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: _Scope, receive: _Receive) -> tuple[int, str]:
        name = scope["path"].rstrip("/").rpartition("/")[2]
        verifier = self._verifiers.get(name)
        if verifier is None:
            return 404, "vendor_unknown"
        if scope["method"] not in ("POST", "GET"):
            return 405, "method_not_allowed"
        try:
            body = await _body(receive)
            verify = partial(verifier.receipts, scope["headers"], body, self._url(scope, name), now=datetime.now(UTC))
            await self._kit.record_receipts(await anyio.to_thread.run_sync(verify))
        except VerificationError as error:
            _log.warning("receipts.refused provider=%s reason=%s detail=%r", name, error.reason, error.detail)
            return _STATUSES.get(error.reason, 400), error.reason
        except StoreError as error:
            _log.error("receipts.not_stored provider=%s error=%r", name, str(error))
            return 503, "store_unavailable"
        return 200, ""

    def _url(self, scope: _Scope, name: str) -> str:
        query = scope["query_string"].decode("latin-1")
        suffix = f"?{query}" if query else ""
        if self._public_url is not None:
            return f"{self._public_url}/{name}{suffix}"
        host = next((value.decode("latin-1") for key, value in scope["headers"] if key == b"host"), "")
        root, path = scope.get("root_path", ""), scope["path"]
        full = path if path.startswith(root) else root + path  # servers and frameworks differ in this
        return f"{scope.get('scheme', 'http')}://{host}{full}{suffix}"


async def _body(receive: _Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise VerificationError("payload_malformed", "the connection was closed")
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise VerificationError("body_too_large", f"at most {MAX_BODY} bytes")
        if not message.get("more_body"):
            return bytes(body)


async def _lifespan(receive: _Receive, send: _Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
