"""Webhooks with SAQ, which keeps both its queue and its results in Valkey."""

import os

from commands import main, side_by_side
from saq import Queue, Worker
from saq.job import Status
from webhook import Aiohttp

queue = Queue.from_url(os.environ["BENCH_VALKEY"], max_concurrent_ops=128)  # more than we ever ask for at a time
client = Aiohttp()


async def deliver(context, *, message_id: str, body: str) -> int:
    """Sign and POST one event."""
    return await client.post(message_id, body)


async def work(jobs: int) -> None:
    await queue.connect()
    await Worker(queue, [deliver], concurrency=jobs).start()


async def publish(events: int, size: int, publishers: int):
    async def enqueue(message_id: str, body: str) -> None:
        await queue.enqueue("deliver", message_id=message_id, body=body, retries=5, retry_backoff=True, ttl=3600)

    await queue.connect()
    timing = await side_by_side(events, size, enqueue, publishers)
    await queue.disconnect()
    return timing


async def stored() -> int:
    await queue.connect()
    keys = {job.key async for job in queue.iter_jobs([Status.COMPLETE], batch_size=1000)}  # a scan may repeat itself
    await queue.disconnect()
    return len(keys)


if __name__ == "__main__":
    main(work, publish, stored)
