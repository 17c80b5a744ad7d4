"""Webhooks with arq, which keeps both its queue and its results in Valkey."""

import os

from arq import Worker, create_pool
from arq.connections import RedisSettings
from commands import main, side_by_side
from webhook import Aiohttp

VALKEY = RedisSettings.from_dsn(os.environ["BENCH_VALKEY"])

client = Aiohttp()


async def deliver(context, message_id: str, body: str) -> int:
    """Sign and POST one event."""
    return await client.post(message_id, body)


async def work(jobs: int) -> None:
    worker = Worker(
        [deliver],
        redis_settings=VALKEY,
        max_jobs=jobs,
        max_tries=5,
        keep_result=3600,
        poll_delay=0.05,  # by default half a second passes between two polls
    )
    await worker.async_run()


async def publish(events: int, size: int, publishers: int):
    async with await create_pool(VALKEY) as arq:
        return await side_by_side(
            events, size, lambda message_id, body: arq.enqueue_job("deliver", message_id, body), publishers
        )


async def stored() -> int:
    async with await create_pool(VALKEY) as arq:
        return sum(result.success for result in await arq.all_job_results())


if __name__ == "__main__":
    main(work, publish, stored)
