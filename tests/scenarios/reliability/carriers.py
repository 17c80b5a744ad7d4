"""Brokers behind a proxy, with queues of their own that a test can delete."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from urllib.parse import urlsplit
from uuid import uuid4

import httpx

from notifykit.brokers.url import lane_name
from notifykit.models.delivery import Lane, Priority
from notifykit.testing.apache_kafka import ApacheKafkaServer
from notifykit.testing.broker_servers import KafkaServer

from .proxy import FaultProxy

_LANES = [Lane("webhook", priority) for priority in Priority]


class Carrier:
    """A broker behind a proxy.

    Attributes:
        url: What workers are given: the proxy's address.
    """

    #: Of the server in ``tests/services.py``, and what the URL says beside the prefix of names.
    service: ClassVar[str]
    options: ClassVar[str] = ""
    #: How many events a second it is given: less for a simulator that is slow.
    rate: ClassVar[float] = 150

    def __init__(self, direct: str, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self.direct = direct
        self.prefix = f"test-{uuid4().hex[:12]}"
        self.url = f"{self._through(proxy.port)}?prefix={self.prefix}{self.options}"

    def _through(self, port: int) -> str:
        parts = urlsplit(self.direct)
        login = parts.netloc.rpartition("@")[0]
        return parts._replace(netloc=f"{login}@127.0.0.1:{port}" if login else f"127.0.0.1:{port}").geturl()

    @classmethod
    @contextmanager
    def behind_proxy(cls, url_of: Callable[[str], str]) -> Iterator[Carrier]:
        """Put a proxy before a server.

        Args:
            url_of: Returns the URL of a server that all tests share.
        """
        url = url_of(cls.service)
        address = urlsplit(url)
        with FaultProxy(address.hostname or "", address.port or 0) as proxy:
            yield cls(url, proxy)

    def wipe(self) -> None:
        """Delete every queue with all that is in it."""
        raise NotImplementedError


class RedisCarrier(Carrier):
    """Redis Streams."""

    service = "redis"

    def wipe(self) -> None:
        import redis

        with redis.from_url(self.direct) as client:
            if keys := [*client.scan_iter(f"{self.prefix}:*")]:
                client.delete(*keys)


class NatsCarrier(Carrier):
    """NATS JetStream."""

    service = "nats"
    options = "&redeliver=1"

    def wipe(self) -> None:
        import nats
        from nats.js.errors import NotFoundError

        async def delete() -> None:
            connection = await nats.connect(self.direct)
            try:
                await connection.jetstream().delete_stream(self.prefix)
            except NotFoundError:
                pass
            finally:
                await connection.close()

        asyncio.run(delete())


class RabbitCarrier(Carrier):
    """RabbitMQ."""

    service = "rabbitmq"

    def wipe(self) -> None:
        import aio_pika

        async def delete() -> None:
            async with await aio_pika.connect(self.direct) as connection:
                channel = await connection.channel()
                for lane in _LANES:
                    await channel.queue_delete(lane_name(self.prefix, lane, "."))

        asyncio.run(delete())


class SqsCarrier(Carrier):
    """What simulates Amazon SQS."""

    service = "aws"
    options = "&redeliver=5&poll=1"
    rate = 10

    def _through(self, port: int) -> str:
        return f"sqs://key:secret@?region=eu-west-1&endpoint=http://127.0.0.1:{port}"

    def __init__(self, direct: str, proxy: FaultProxy) -> None:
        super().__init__(direct, proxy)
        self.url = f"{self._through(proxy.port)}&prefix={self.prefix}{self.options}"

    def _call(self, action: str, **arguments: Any) -> Any:
        headers = {
            "content-type": "application/x-amz-json-1.0",
            "x-amz-target": f"AmazonSQS.{action}",
            "authorization": "AWS4-HMAC-SHA256 Credential=key/20260101/eu-west-1/sqs/aws4_request",
        }
        return httpx.post(self.direct, headers=headers, content=json.dumps(arguments)).json()

    def wipe(self) -> None:
        for url in self._call("ListQueues", QueueNamePrefix=self.prefix).get("QueueUrls", ()):
            self._call("DeleteQueue", QueueUrl=url)


class KafkaCarrier(Carrier):
    """A server that speaks Kafka's protocol; it deletes no topics."""

    service = "kafka"
    options = "&session=2&partitions=4"
    server: ClassVar[Callable[[int], Any]] = KafkaServer

    @classmethod
    @contextmanager
    def behind_proxy(cls, url_of: Callable[[str], str]) -> Iterator[Carrier]:
        """Run a server that tells clients to connect to the proxy."""
        del url_of
        with FaultProxy("127.0.0.1", 0) as proxy, cls.server(proxy.port) as server:
            proxy.upstream = ("127.0.0.1", server.port)
            yield cls(server.url, proxy)

    def wipe(self) -> None:
        """Do nothing."""


class ApacheKafkaCarrier(KafkaCarrier):
    """Apache Kafka."""

    service = "apache-kafka"
    server = ApacheKafkaServer

    def wipe(self) -> None:
        from aiokafka.admin import AIOKafkaAdminClient

        async def delete() -> None:
            admin = AIOKafkaAdminClient(bootstrap_servers=f"127.0.0.1:{self.proxy.port}")
            await admin.start()
            await admin.delete_topics([name for name in await admin.list_topics() if name.startswith(self.prefix)])
            await admin.close()

        asyncio.run(delete())
