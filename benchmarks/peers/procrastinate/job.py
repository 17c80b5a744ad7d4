"""Webhooks with procrastinate, which keeps its jobs and what became of them in PostgreSQL."""

import os

from commands import in_batches, main
from procrastinate import App, PsycopgConnector, RetryStrategy
from webhook import Aiohttp

app = App(connector=PsycopgConnector(conninfo=os.environ["BENCH_POSTGRES"], min_size=2, max_size=16))
client = Aiohttp()


@app.task(name="deliver", retry=RetryStrategy(max_attempts=5, exponential_wait=2))
async def deliver(message_id: str, body: str) -> int:
    """Sign and POST one event."""
    return await client.post(message_id, body)


async def prepare() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


async def work() -> None:
    async with app.open_async():
        await app.run_worker_async(concurrency=64)


async def publish(events: int, size: int, batch: int):
    async def enqueue(messages: list[tuple[str, str]]) -> None:
        await deliver.batch_defer_async(*({"message_id": message_id, "body": body} for message_id, body in messages))

    async with app.open_async():
        return await in_batches(events, size, batch, enqueue)


async def stored() -> int:
    async with app.open_async():
        row = await app.connector.execute_query_one_async(
            "SELECT count(*) AS jobs FROM procrastinate_jobs WHERE status = 'succeeded'"
        )
        return row["jobs"]


if __name__ == "__main__":
    main(prepare, work, publish, stored)
