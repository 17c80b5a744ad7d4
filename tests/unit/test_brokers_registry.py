"""Brokers by URL: the scheme selects one, third parties can add theirs, and errors name what is wrong."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from notifykit import Notifykit, brokers
from notifykit.brokers import broker_from_url
from notifykit.brokers.feeds import feed_from_url
from notifykit.brokers.memory import MemoryBroker
from notifykit.brokers.url import lane_name
from notifykit.errors import BrokerUnavailableError, ConfigurationError, InvalidInputError, MissingExtraError
from notifykit.models.delivery import Lane, Priority
from notifykit.ports import Ticket

LANE = Lane("webhook", Priority.NORMAL)
REDIS = "redis://queue/0"
KAFKA = "kafka://queue"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("memory://", "MemoryBroker"),
        ("redis://queue/0?prefix=shop&redeliver=2", "RedisBroker"),
        ("rediss://user:secret@queue", "RedisBroker"),
        ("kafka://one:9092,two?by=subscriber&partitions=3", "KafkaBroker"),
        ("amqp://user:secret@queue/vhost", "RabbitBroker"),
        ("sqs://key:secret@?region=eu-west-1", "SqsBroker"),
        ("NATS://queue:4222", "NatsBroker"),
    ],
)
async def test_the_scheme_says_which_broker(url, name):
    """Nothing is connected."""
    broker = broker_from_url(url)

    assert name == type(broker).__name__
    await broker.aclose()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("queue", "is not a broker's URL"),
        ("://queue", "is not a broker's URL"),
        ("carrier-pigeon://coop", "no broker for 'carrier-pigeon' URLs; known: amqp, amqps, kafka, memory"),
        ("memory://shared", "takes nothing"),
        (f"{REDIS}?prefix=a b", "prefix="),
        (f"{REDIS}?redeliver=soon", "redeliver='soon': give seconds"),
        (f"{REDIS}?redeliver=0", "redeliver='0': give seconds"),
        (f"{KAFKA}?partitions=none", "partitions='none': give a number between 1 and 1000"),
        ("sqs://?poll=60&region=eu-west-1", "poll='60': give a number between 1 and 20"),
        ("sqs://key:secret@", "sqs:// needs a region"),
        (f"{KAFKA}?by=weight", "by='weight': partition by tenant or subscriber"),
        ("nats://queue?replica=3", "nats:// URLs have no option 'replica'; known: prefix, redeliver, replicas"),
        (f"{KAFKA}?partition=3", "no option 'partition'"),
        ("amqp://queue?bogus=1", "no option 'bogus'"),
        ("sqs://?regio=eu-west-1", "no option 'regio'"),
        (f"{REDIS}?bogus=1", "no option 'bogus'"),
        (f"{REDIS}?ssl_ca_certs=ca.pem", "no option 'ssl_ca_certs'"),
        (f"{REDIS}?health_check_interval=x", "health_check_interval"),
        *((f"{scheme}://queue:abc", "write it like") for scheme in ("redis", "amqp", "kafka", "nats")),
        ("kafka://one:9092,two:abc", "write it like"),
    ],
)
def test_what_cannot_be_used_is_refused(url, message):
    """The message names the option, and what it may be; the kit says so at once."""
    with pytest.raises(ConfigurationError, match=message):
        broker_from_url(url)
    with pytest.raises(ConfigurationError, match=message):
        Notifykit("memory://", broker=url)


async def test_a_broker_without_a_key_says_where_to_give_one(monkeypatch):
    """Keys of the environment may come later, so the first call complains."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    broker = broker_from_url("sqs://?region=eu-west-1")

    with pytest.raises(BrokerUnavailableError, match="set AWS_ACCESS_KEY_ID"):
        await broker.put([Ticket("dlv_1", LANE, "acme", "end_1")])


@pytest.mark.parametrize("scheme", ["redis+stream", "kafka", "nats", "amqp", "sqs"])
@pytest.mark.parametrize(("rest", "message"), [("queue?bogus=1", "no option 'bogus'"), ("queue:abc", "write it like")])
def test_a_feed_refuses_the_same(scheme, rest, message):
    """When the program starts, in place of an error of the client."""
    with pytest.raises(ConfigurationError, match=message):
        feed_from_url(f"{scheme}://{rest}", topic="orders", group="notifykit")


def test_options_of_the_client_are_passed_on():
    """Such as those for certificates."""
    broker = broker_from_url("rediss://queue?ssl_ca_certs=ca.pem&max_connections=7&health_check_interval=3")

    pool = broker._redis.connection_pool  # type: ignore[attr-defined]
    assert ("ca.pem", 7, 3) == (
        pool.connection_kwargs["ssl_ca_certs"],
        pool.max_connections,
        pool.connection_kwargs["health_check_interval"],
    )
    assert "cafile=ca.pem" in broker_from_url("amqps://queue?cafile=ca.pem&prefix=a")._url  # type: ignore[attr-defined]


def test_a_password_in_a_wrong_place_is_not_shown():
    """A slash that is not quoted ends the host, and the password is taken for the port."""
    with pytest.raises(ConfigurationError) as caught:
        broker_from_url("amqp://user:sec/ret@queue")

    assert "sec" not in str(caught.value).replace("special", "")


def test_no_password_is_shown():
    """Neither in errors nor in the log."""
    with pytest.raises(ConfigurationError) as caught:
        broker_from_url("//user:secret@queue")

    assert "secret" not in str(caught.value)
    assert "secret" not in broker_from_url("redis://user:secret@queue/0")._shown  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [
        (REDIS, "redis", "redis"),
        (KAFKA, "aiokafka", "kafka"),
        ("nats://queue", "nats", "nats"),
        ("amqp://queue", "aio_pika", "rabbitmq"),
    ],
)
def test_a_missing_client_names_its_extra(url, module, extra, monkeypatch):
    """A kit that only publishes needs none."""
    monkeypatch.setitem(sys.modules, module, None)
    ours = brokers._SCHEMES[url.partition(":")[0]].partition(":")[0]
    monkeypatch.delitem(sys.modules, ours, raising=False)

    with pytest.raises(MissingExtraError, match=rf"\[{extra}\]"):
        broker_from_url(url)
    assert url == Notifykit("memory://", broker=url)._broker


def test_third_parties_add_brokers(monkeypatch):
    """An entry point of the group ``notifykit.brokers`` is a scheme."""
    entry = EntryPoint("pigeon", "notifykit.brokers.memory:MemoryBroker", "notifykit.brokers")
    monkeypatch.setattr(brokers, "entry_points", lambda group: EntryPoints([entry]).select(group=group))

    assert isinstance(broker_from_url("pigeon://"), MemoryBroker)


def test_the_environment_names_the_broker(monkeypatch):
    """An empty text in the program means none."""
    monkeypatch.setenv("NOTIFYKIT_BROKER", "memory://")

    assert isinstance(Notifykit("memory://").dispatcher()._broker, MemoryBroker)
    assert Notifykit("memory://", broker="").dispatcher()._broker is None


def test_what_is_no_broker_is_refused():
    """The message says what is expected."""
    with pytest.raises(ConfigurationError, match=r"broker: .*Broker"):
        Notifykit("memory://", broker=3)  # type: ignore[arg-type]


def test_lanes_have_names_of_their_own():
    """Different channels never share a queue, whatever their names contain."""
    channels = ["a", "a-b", "a_b", "a.b", "a:b", "ä", "a_2d_b", "a b"]

    names = {lane_name("shop", Lane(channel, Priority.HIGH)) for channel in channels}

    assert len(channels) == len(names)
    assert "shop-webhook-normal" == lane_name("shop", LANE)


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b"[1,2,3]", b'["a","b"]', b'"abc"', b"null"])
def test_what_is_no_ticket_is_refused(body):
    """Whatever another program has put into the queue."""
    with pytest.raises(InvalidInputError, match="ticket"):
        Ticket.from_bytes(body, LANE)
