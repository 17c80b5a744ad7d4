"""The head of a delivery's request, and which headers a tenant may add to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from .url import Target

MAX_HEADERS: Final = 32
MAX_NAME: Final = 64
MAX_VALUE: Final = 4096

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
_DENIED: Final = frozenset(
    {"host", "transfer-encoding", "te", "trailer", "connection", "keep-alive", "upgrade", "expect", "cookie", "cookie2"}
    | {"set-cookie", "forwarded", "via", "date", "user-agent", "accept-encoding", "http2-settings", "x-real-ip"}
)
_DENIED_PREFIXES: Final = ("content-", "proxy-", "x-forwarded-", "webhook-", "notifykit-", "sec-")


def check_headers(headers: Mapping[str, str]) -> list[str]:
    """Return what is wrong with a tenant's extra headers, as ``headers.<name>: <problem>``."""
    problems = []
    if len(headers) > MAX_HEADERS:
        return [f"headers: at most {MAX_HEADERS}, got {len(headers)}"]
    seen = set()
    for number, (name, value) in enumerate(headers.items(), 1):
        if not all(isinstance(part, str) for part in (name, value)):
            problems.append(f"headers: number {number} must be a name and a value, both text")
            continue
        problem = _problem(name, value)
        if problem is None and name.lower() in seen:
            problem = "given twice"
        if problem is not None:
            problems.append(f"headers.{ascii(name[:MAX_NAME])[1:-1]}: {problem}")
        seen.add(name.lower())
    return problems


def _problem(name: str, value: str) -> str | None:
    if len(name) > MAX_NAME:
        return f"a name has at most {MAX_NAME} characters"
    if not _TOKEN.fullmatch(name):
        return "a name is letters, digits and hyphens"
    # Gateways turn hyphens into underscores and back, so both spellings mean the same header.
    canonical = name.lower().replace("_", "-")
    if canonical in _DENIED or canonical.startswith(_DENIED_PREFIXES):
        return "this header is set by the sender"
    if len(value) > MAX_VALUE:
        return f"a value has at most {MAX_VALUE} characters"
    if not _VALUE.fullmatch(value):
        return "a value is visible ASCII, with blanks only inside"
    return None


def static_head(target: Target, headers: Mapping[str, str], user_agent: str) -> bytes:
    """Return the part of a request's head that is the same for every delivery to an endpoint.

    Raises:
        ValueError: ``headers`` would not have passed :func:`check_headers`.
    """
    problems = check_headers(headers)
    if problems:
        raise ValueError("; ".join(problems))
    lines = [
        f"POST {target.path} HTTP/1.1",
        f"host: {target.authority}",
        f"user-agent: {user_agent}",
        "content-type: application/json",
        "accept-encoding: identity",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


def trace_line(trace: str) -> bytes:
    """Return the header that continues the trace of an event (W3C Trace Context)."""
    return b"traceparent: %b\r\n" % trace.encode("ascii")


def full_head(static: bytes, event_id: bytes, timestamp: bytes, signature: bytes, length: int) -> bytes:
    """Return the whole head of one attempt; the headers that authenticate it come last."""
    return b"%bcontent-length: %d\r\nwebhook-id: %b\r\nwebhook-timestamp: %b\r\nwebhook-signature: %b\r\n\r\n" % (
        static,
        length,
        event_id,
        timestamp,
        signature,
    )
