"""Webhooks with Taskiq: a stream of Valkey as broker, Valkey as result backend."""

import os

from commands import main, side_by_side
from taskiq import SimpleRetryMiddleware
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker
from webhook import Aiohttp

VALKEY = os.environ["BENCH_VALKEY"]

results = RedisAsyncResultBackend(redis_url=VALKEY, result_ex_time=3600, prefix_str="results")
broker = (
    RedisStreamBroker(url=VALKEY, xread_count=100, consumer_id="0")  # from the start: nothing published is skipped
    .with_result_backend(results)
    .with_middlewares(SimpleRetryMiddleware())
)
client = Aiohttp()


@broker.task(task_name="deliver", retry_on_error=True, max_retries=5)
async def deliver(message_id: str, body: str) -> int:
    """Sign and POST one event."""
    return await client.post(message_id, body)


async def publish(events: int, size: int):
    await broker.startup()
    timing = await side_by_side(events, size, deliver.kiq)
    await broker.shutdown()
    return timing


async def stored() -> int:
    from redis.asyncio import Redis

    async with Redis.from_url(VALKEY) as valkey:
        keys = await valkey.keys("results:*")
        values = await valkey.mget(keys) if keys else []
    return sum(not results.serializer.loadb(value)["is_err"] for value in values)


if __name__ == "__main__":
    main(publish, stored)
