"""``notifykit check`` says whether the broker can be used, and is set up well."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

import pytest

from notifykit.cli import main
from notifykit.testing.servers import ValkeyServer
from tests.unit.test_ingest_brokers import SqsSource


@pytest.fixture
def checked(capsys, sqlite_store_url):
    """Returns what the command finds out about a broker: its exit code, and level and text of each finding."""

    def check(broker):
        code = main(["check", "--json", "--url", sqlite_store_url, "--broker", broker])
        found = map(json.loads, capsys.readouterr().out.splitlines())
        return code, [(each["level"], each["found"], each["remedy"]) for each in found if each["name"] == "broker"]

    return check


def with_prefix(url):
    """Return the URL with names of its own."""
    return f"{url}{'&' if '?' in url else '?'}prefix=test-{uuid4().hex[:12]}"


def test_a_wrong_url_of_a_broker_hides_nothing_of_the_store(cli, sqlite_store_url):
    """It is a finding about the broker, and a failed check."""
    cli("migrate", "--url", sqlite_store_url)

    answer = cli("check", "--json", "--url", sqlite_store_url, "--broker", "nats://queue?replica=3")

    found = {each["name"]: each for each in answer.records}
    assert 1 == answer.code
    assert ("bad", "ok") == (found["broker"]["level"], found["store"]["level"])
    assert "'replica'" in found["broker"]["found"]


SERVERS = [
    pytest.param("redis_url", "", "tickets wait", id="redis"),
    pytest.param("rabbitmq_url", "", "quorum queues", id="rabbitmq", marks=pytest.mark.xdist_group("rabbitmq")),
    pytest.param("nats_url", "", "memory storage", id="nats", marks=pytest.mark.xdist_group("nats")),
    pytest.param("kafka_url", "", "topics", id="kafka", marks=pytest.mark.xdist_group("kafka")),
    pytest.param("aws_url", "sqs://k:s@?region=eu-west-1&endpoint=", "queues", id="sqs"),
]


@pytest.mark.thorough
@pytest.mark.parametrize(("server", "before", "found"), SERVERS)
def test_a_good_broker_is_ok_and_what_is_missing_is_made(server, before, found, checked, request):
    """A second check finds what the first has made."""
    broker = with_prefix(before + request.getfixturevalue(server))

    first, second = checked(broker), checked(broker)

    assert first == second
    code, [(level, text, remedy)] = first
    assert (0, "ok", "") == (code, level, remedy)
    assert found in text


@pytest.mark.parametrize(
    "broker",
    [
        "redis://127.0.0.1:1",
        "amqp://app:secret@127.0.0.1:1/",
        "nats://127.0.0.1:1",
        "sqs://k:secret@?region=x&endpoint=http://127.0.0.1:1",
    ],
)
def test_a_broker_that_is_away_fails_the_check(broker, checked):
    """With what to do, and without the password."""
    code, [(level, text, remedy)] = checked(broker)

    assert (1, "bad") == (code, level)
    assert "127.0.0.1:1" in text
    assert "secret@" not in text
    assert "NOTIFYKIT_BROKER" in remedy


def test_a_redis_that_evicts_tickets_is_a_warning(redis_url, checked):
    """They are handed over again, but later."""
    del redis_url  # skips where there is no server
    with ValkeyServer(settings={"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}) as server:
        code, [_, (level, text, remedy)] = checked(server.url)

    assert (0, "warn") == (code, level)
    assert "allkeys-lru" in text
    assert "noeviction" in remedy


@pytest.mark.thorough
def test_a_redis_user_who_may_not_write_fails_the_check(redis_url, checked):
    """The server's words say what is missing."""
    import redis

    user = f"u{uuid4().hex[:8]}"
    with redis.from_url(redis_url) as client:
        client.execute_command("ACL", "SETUSER", user, "on", ">pw", "~*", "+@read", "+@connection")
        code, [(level, text, _)] = checked(with_prefix(redis_url.replace("redis://", f"redis://{user}:pw@")))
        client.execute_command("ACL", "DELUSER", user)

    assert (1, "bad") == (code, level)
    assert "xgroup" in text.lower()


@pytest.mark.thorough
@pytest.mark.xdist_group("rabbitmq")
def test_a_queue_of_another_type_fails_the_check(rabbitmq_url, checked):
    """RabbitMQ names the queue and what differs."""
    import aio_pika

    prefix = f"test-{uuid4().hex[:12]}"

    async def make():
        async with await aio_pika.connect(rabbitmq_url) as connection:
            channel = await connection.channel()
            await channel.declare_queue(f"{prefix}.webhook.normal", durable=True)

    asyncio.run(make())
    code, [(level, text, _)] = checked(f"{rabbitmq_url}?prefix={prefix}")

    assert (1, "bad") == (code, level)
    assert f"{prefix}.webhook.normal" in text
    assert "inequivalent arg" in text


@pytest.mark.thorough
@pytest.mark.xdist_group("nats")
def test_a_stream_that_keeps_everything_is_a_warning(nats_url, checked):
    """It would fill up and refuse tickets."""
    import nats
    from nats.js.api import StreamConfig

    prefix = f"test-{uuid4().hex[:12]}"

    async def make():
        connection = await nats.connect(nats_url)
        await connection.jetstream().add_stream(StreamConfig(name=prefix, subjects=[f"{prefix}.>"]))
        await connection.close()

    asyncio.run(make())
    _, [_, (level, text, remedy)] = checked(f"{nats_url}?prefix={prefix}")

    assert "warn" == level
    assert "limits" in text
    assert prefix in remedy


@pytest.mark.thorough
@pytest.mark.xdist_group("kafka")
def test_a_topic_with_few_partitions_is_a_warning(kafka_url, checked):
    """More workers than partitions get nothing."""
    broker = with_prefix(kafka_url)
    checked(f"{broker}&partitions=1")

    _, [_, (level, text, remedy), *_] = checked(f"{broker}&partitions=4")

    assert "warn" == level
    assert "has 1 partitions" in text
    assert "--partitions 4" in remedy


@pytest.mark.thorough
@pytest.mark.xdist_group("sqs")
def test_a_queue_of_sqs_that_is_set_up_otherwise_is_found(aws_url, checked):
    """A redrive policy takes tickets away; other attributes than ours are an error that names the queue."""
    source = SqsSource(aws_url)
    broker = f"{source.url.partition('&redeliver')[0]}&prefix={source.name}"
    name = f"{source.name}-webhook-normal"
    asyncio.run(source.call("CreateQueue", QueueName=f"{source.name}-other"))
    policy = {"deadLetterTargetArn": f"arn:aws:sqs:eu-west-1:123456789012:{source.name}-other", "maxReceiveCount": "5"}
    attributes = {"MessageRetentionPeriod": "3600", "RedrivePolicy": json.dumps(policy)}
    asyncio.run(source.call("CreateQueue", QueueName=name, Attributes=attributes))

    _, [_, (level, text, remedy)] = checked(broker)
    asyncio.run(source.call("DeleteQueue", QueueUrl=source.url_of(name)))
    asyncio.run(source.call("CreateQueue", QueueName=name, Attributes={"MessageRetentionPeriod": "1209600"}))
    code, [(failed, why, _)] = checked(broker)

    assert "warn" == level
    assert name in text
    assert "redrive policy" in remedy
    assert (1, "bad") == (code, failed)
    assert name in why
    assert "exists" in why
