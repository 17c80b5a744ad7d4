"""Webhooks with Dramatiq: Valkey as broker and as result backend."""

import os

import dramatiq
from commands import in_turn, main
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from webhook import Httpx

VALKEY = os.environ["BENCH_VALKEY"]

results = RedisBackend(url=VALKEY, namespace="results", use_namespace_prefix_keys=True)
broker = RedisBroker(url=VALKEY)
broker.add_middleware(Results(backend=results, store_results=True, result_ttl=3_600_000))
dramatiq.set_broker(broker)
client = Httpx()


@dramatiq.actor(max_retries=5)
def deliver(message_id: str, body: str) -> int:
    """Sign and POST one event."""
    return client.post(message_id, body)


def publish(events: int, size: int):
    return in_turn(events, size, deliver.send)


def stored() -> int:
    with results.client.pipeline() as pipe:
        for key in results.client.keys("results:*"):
            pipe.lindex(key, 0)
        return sum(results.encoder.decode(result) == 204 for result in pipe.execute())


if __name__ == "__main__":
    main(publish, stored)
