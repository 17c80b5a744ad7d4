"""The webhook that every peer delivers: its body, its Standard Webhooks signature, and the POST.

Does not use notifykit, which is not installed beside the peers.  A client
raises what the HTTP library raises when the receiver does not answer with 2xx, so
that the peer's own retries take over.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import aiohttp

TARGET = os.environ.get("BENCH_TARGET", "http://127.0.0.1:8080/hook")
_KEY = b"k" * 32
_SECONDS = 30


def order(size: int, at: int) -> dict[str, Any]:
    """Return the same data as ``benchmarks.payloads.order``, which makes a body of about ``size`` bytes."""
    items = [{"sku": f"SKU-{i:05d}", "quantity": i % 7 + 1, "price": "19.90"} for i in range(max(size - 200, 0) // 52)]
    return {
        "order_id": f"A-{at}",
        "customer": {"id": at % 1000, "name": "Zoë Müller"},
        "items": items,
        "sent": time.time(),
    }


def message(size: int, at: int) -> tuple[str, str]:
    """Return the id and the body of a webhook: what a producer enqueues."""
    message_id = f"evt_{at:026d}"
    event = {"id": message_id, "type": "order.t0", "timestamp": time.time(), "data": order(size, at)}
    return message_id, json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def headers(message_id: str, body: bytes) -> dict[str, str]:
    """Sign the body now, and return the headers of the POST."""
    timestamp = str(int(time.time()))
    digest = hmac.digest(_KEY, b"%b.%b.%b" % (message_id.encode(), timestamp.encode(), body), "sha256")
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


class Requests:
    """POSTs with one ``requests`` session for each thread: a session is not safe to share."""

    def __init__(self) -> None:
        self._own = threading.local()

    def post(self, message_id: str, body: str) -> int:
        """Deliver and return the status."""
        if not hasattr(self._own, "session"):
            import requests

            self._own.session = requests.Session()
            self._own.session.trust_env = False  # reading proxies and ~/.netrc for every POST takes its time
        content = body.encode()
        answer = self._own.session.post(
            TARGET, data=content, headers=headers(message_id, content), timeout=_SECONDS, allow_redirects=False
        )
        answer.raise_for_status()
        return int(answer.status_code)


class Httpx:
    """POSTs with one ``httpx`` client for each thread: threads that share one wait for its pool."""

    def __init__(self) -> None:
        self._own = threading.local()

    def post(self, message_id: str, body: str) -> int:
        """Deliver and return the status."""
        if not hasattr(self._own, "client"):
            import httpx

            self._own.client = httpx.Client(timeout=_SECONDS, trust_env=False)
        content = body.encode()
        answer = self._own.client.post(TARGET, content=content, headers=headers(message_id, content))
        answer.raise_for_status()
        return int(answer.status_code)


class Aiohttp:
    """POSTs with one ``aiohttp`` session, without its limit of 100 connections and without cookies."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def post(self, message_id: str, body: str) -> int:
        """Deliver and return the status."""
        if self._session is None:  # opened late: a session belongs to the loop that runs
            import aiohttp

            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=_SECONDS),
                raise_for_status=True,
            )
        content = body.encode()
        async with self._session.post(
            TARGET, data=content, headers=headers(message_id, content), allow_redirects=False
        ) as answer:
            await answer.read()
            return int(answer.status)
