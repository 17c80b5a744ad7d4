"""Feeds by URL: a table of schemes, and entry points for third parties (``notifykit.feeds``)."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from ...errors import ConfigurationError
from .. import without_password

if TYPE_CHECKING:
    from ...ports import Feed

_SCHEMES = {
    "amqp": "notifykit.brokers.feeds.rabbitmq:RabbitFeed",
    "amqps": "notifykit.brokers.feeds.rabbitmq:RabbitFeed",
    "kafka": "notifykit.brokers.feeds.kafka:KafkaFeed",
    "nats": "notifykit.brokers.feeds.nats:NatsFeed",
    "redis+stream": "notifykit.brokers.feeds.redis:RedisFeed",
    "rediss+stream": "notifykit.brokers.feeds.redis:RedisFeed",
    "sqs": "notifykit.brokers.feeds.sqs:SqsFeed",
    "tls": "notifykit.brokers.feeds.nats:NatsFeed",
}


def feed_from_url(url: str, *, topic: str, group: str) -> Feed:
    """Return the feed of a topic; nothing is connected yet.

    Raises:
        ConfigurationError: No feed is registered for the URL's scheme.
        MissingExtraError: The broker's client is not installed.
    """
    scheme, found, _ = url.partition("://")
    name = scheme.lower()
    if not found or not name:
        raise ConfigurationError(
            f"{without_password(url)!r} is not the URL of a feed; use one like redis+stream://host or kafka://host"
        )
    if path := _SCHEMES.get(name):
        module, _, attribute = path.partition(":")
        make = getattr(import_module(module), attribute)
    else:
        third_party = {entry.name: entry for entry in entry_points(group="notifykit.feeds")}
        if name not in third_party:
            known = ", ".join(sorted({*_SCHEMES, *third_party}))
            raise ConfigurationError(f"no feed for {name!r} URLs; known: {known}")
        make = third_party[name].load()
    feed: Feed = make(url, topic=topic, group=group)
    return feed
