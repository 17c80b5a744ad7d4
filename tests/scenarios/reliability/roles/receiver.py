"""A receiver: notes in its log what came before it answers.

It does not use notifykit, not even its verifier: the signature is computed
here with the standard library alone.  The first word of the path selects the answer:

``/ok/…``        204 at once
``/slow/…``      204 after ``slow`` seconds
``/once/…``      503 for the first request of each id, then 204
``/fail/…``      500, until there is a file of its tag in the folder ``healed``
``/late/…``      as ``slow`` for the first two requests of each id, then 204 at once
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, cast

import httptools


class Receiver:
    """What all connections share."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._log = Path(options["log"]).open("ab", buffering=0)  # noqa: SIM115  # for as long as the process lives
        self._key = base64.b64decode(options["secret"].removeprefix("whsec_"))
        self._healed = Path(options["healed"])
        self._slow = float(options["slow"])
        self._seen: Counter[tuple[str, str]] = Counter()

    def came(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, float]:
        """Note a request; return the status it will be answered with, and after how long."""
        kind, tag = path.strip("/").split("/")
        id_ = headers.get("webhook-id", "")
        status, delay = self._answer(kind, tag, id_)
        valid = self._is_authentic(id_, headers, body)
        try:
            data = json.loads(body)["data"]
        except (ValueError, KeyError):
            data = {}
        line = {
            "tag": tag,
            "id": id_,
            "sha": hashlib.sha256(body).hexdigest(),
            "valid": valid,
            "status": status,
            "tenant": data.get("tenant"),
            "n": [data.get("prefix"), data.get("n")],
            "at": time.time(),
        }
        self._log.write(json.dumps(line).encode() + b"\n")
        return status, delay

    def _answer(self, kind: str, tag: str, id_: str) -> tuple[int, float]:
        self._seen[tag, id_] += 1
        match kind:
            case "ok":
                return 204, 0.0
            case "slow":
                return 204, self._slow
            case "once":
                return (503 if self._seen[tag, id_] == 1 else 204), 0.0
            case "late":
                return 204, self._slow if self._seen[tag, id_] <= 2 else 0.0
            case _:
                return (204 if (self._healed / tag).exists() else 500), 0.0

    def _is_authentic(self, id_: str, headers: dict[str, str], body: bytes) -> bool:
        stamp = headers.get("webhook-timestamp", "")
        if not stamp.isdecimal() or abs(time.time() - int(stamp)) > 300:
            return False
        mac = hmac.new(self._key, f"{id_}.{stamp}.".encode() + body, hashlib.sha256).digest()
        return f"v1,{base64.b64encode(mac).decode()}" in headers.get("webhook-signature", "").split()


class Exchange(asyncio.Protocol):
    """One connection, requests one after the other."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_message_begin(self) -> None:
        self._headers: dict[str, str] = {}
        self._url = self._body = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status, delay = self._receiver.came(self._url.decode(), self._headers, self._body)
        phrase = {204: "No Content"}.get(status, "Sorry")
        length = "" if status == 204 else "content-length: 0\r\n"
        answer = f"HTTP/1.1 {status} {phrase}\r\n{length}\r\n".encode()
        if delay:
            asyncio.get_running_loop().call_later(delay, self._transport.write, answer)
        else:
            self._transport.write(answer)


async def main(options: dict[str, Any]) -> None:
    """Receive until killed; print the port."""
    receiver = Receiver(options)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Exchange(receiver), "127.0.0.1", options.get("port", 0), backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
