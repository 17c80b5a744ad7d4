"""Apple's push service as its documentation describes it, for a server that is not ours: ``granian … apns_app:app``.

The public key is in the variable ``APNS_PUBLIC_KEY``; a device's token says what becomes of a push to it.
"""

from __future__ import annotations

import json
import os
import re
import time
from typing import Any
from uuid import uuid4

import jwt

_NO_DEVICE = "0" * 64


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer one request."""
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    status, reason = _judged(scope, headers, body)
    answer = json.dumps({"reason": reason}).encode() if reason else b""
    head = [(b"apns-id", str(uuid4()).encode()), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": answer})


def _judged(scope: Any, headers: dict[str, str], body: bytes) -> tuple[int, str | None]:
    """Return the status, and the reason of an error."""
    assert "2" == scope["http_version"]
    kind, _, token = headers.get("authorization", "").partition(" ")
    try:
        claims = jwt.decode(token, os.environ["APNS_PUBLIC_KEY"], algorithms=["ES256"], options={"verify_iat": False})
    except jwt.InvalidTokenError:
        return 403, "InvalidProviderToken"
    if kind != "bearer" or claims["iss"] != "DEF123GHIJ" or jwt.get_unverified_header(token)["kid"] != "ABC123DEFG":
        return 403, "InvalidProviderToken"
    if not 0 <= time.time() - claims["iat"] < 3600:
        return 403, "ExpiredProviderToken"
    if headers.get("apns-topic") != "org.example.shop":
        return 400, "TopicDisallowed"
    device = re.fullmatch(r"/3/device/([0-9a-f]{64})", scope["path"])
    if device is None or device[1] == _NO_DEVICE or headers.get("apns-push-type") != "alert":
        return 400, "BadDeviceToken"
    if not json.loads(body)["aps"]["alert"]["title"]:
        return 400, "PayloadEmpty"
    return (410, "Unregistered") if device[1].startswith("410") else (200, None)
