"""Brokers by URL: a table of schemes, and entry points for third parties (``notifykit.brokers``)."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from ..ports import Broker

_SCHEMES = {
    "amqp": "notifykit.brokers.rabbitmq:RabbitBroker",
    "amqps": "notifykit.brokers.rabbitmq:RabbitBroker",
    "kafka": "notifykit.brokers.kafka:KafkaBroker",
    "memory": "notifykit.brokers.memory:MemoryBroker",
    "nats": "notifykit.brokers.nats:NatsBroker",
    "sqs": "notifykit.brokers.sqs:SqsBroker",
    "tls": "notifykit.brokers.nats:NatsBroker",
    "redis": "notifykit.brokers.redis:RedisBroker",
    "rediss": "notifykit.brokers.redis:RedisBroker",
}


def broker_from_url(url: str) -> Broker:
    """Return a broker for ``url``, such as ``redis://localhost``; nothing is connected yet.

    A package adds a broker with an entry point of the group ``notifykit.brokers``: its name is the scheme, and it
    leads to a function that takes the URL and returns a :class:`~notifykit.ports.Broker`.

    Raises:
        ConfigurationError: No broker is registered for the URL's scheme, or the URL is not one of this broker's.
        MissingExtraError: The broker's client is not installed.
    """
    scheme, found, _ = url.partition("://")
    name = scheme.lower()
    if not found or not name:
        raise ConfigurationError(
            f"{without_password(url)!r} is not a broker's URL; use one like redis://host, kafka://host or memory://"
        )
    if path := _SCHEMES.get(name):
        module, _, attribute = path.partition(":")
        make = getattr(import_module(module), attribute)
    else:
        third_party = {entry.name: entry for entry in entry_points(group="notifykit.brokers")}
        if name not in third_party:
            known = ", ".join(sorted({*_SCHEMES, *third_party}))
            raise ConfigurationError(f"no broker for {name!r} URLs; known: {known}")
        make = third_party[name].load()
    broker: Broker = make(url)
    return broker


def without_password(url: str) -> str:
    """Return a URL that may be shown."""
    return re.sub(r"(?<=:)[^:/@]*(?=@)", "***", url)
