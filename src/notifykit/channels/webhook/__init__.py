"""Signed webhooks: the egress guard, the wire, and the channel that uses them."""

from __future__ import annotations

from .channel import WebhookChannel, channel_from_url
from .guard import Guard, Resolver, Verdict
from .headers import check_headers
from .limits import Limits
from .lookups import SystemResolver
from .reasons import Refusal
from .transport import Response, Transport, WireError
from .url import Target, parse
from .wire import Wire

__all__ = [
    "Guard",
    "Limits",
    "Refusal",
    "Resolver",
    "Response",
    "SystemResolver",
    "Target",
    "Transport",
    "Verdict",
    "WebhookChannel",
    "Wire",
    "WireError",
    "channel_from_url",
    "check_headers",
    "parse",
]
