"""Webhooks with PgQueuer, which keeps its jobs and what became of them in PostgreSQL."""

import os

import asyncpg
from commands import in_batches, main, side_by_side
from pgqueuer import PgQueuer, Queries
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.executors import DatabaseRetryEntrypointExecutor
from webhook import Aiohttp


def connect() -> asyncpg.Pool:
    return asyncpg.create_pool(os.environ["BENCH_POSTGRES"], min_size=4, max_size=8)


async def prepare() -> None:
    async with connect() as pool:
        await Queries(AsyncpgPoolDriver(pool)).install()


async def work() -> None:
    client = Aiohttp()
    async with connect() as pool:
        queue = PgQueuer(AsyncpgPoolDriver(pool))

        @queue.entrypoint("deliver", executor_factory=DatabaseRetryEntrypointExecutor)
        async def deliver(job) -> None:
            """Sign and POST one event."""
            await client.post(f"evt_{job.id}", job.payload.decode())  # a retry is the same job

        await queue.run(batch_size=100)


async def publish(events: int, size: int, batch: int):
    async with connect() as pool:
        queries = Queries(AsyncpgPoolDriver(pool))

        async def one(_: str, body: str) -> None:
            await queries.enqueue("deliver", body.encode())

        async def many(messages: list[tuple[str, str]]) -> None:
            n = len(messages)
            await queries.enqueue(["deliver"] * n, [body.encode() for _, body in messages], [0] * n)

        return await (in_batches(events, size, batch, many) if batch > 1 else side_by_side(events, size, one))


async def stored() -> int:
    async with connect() as pool:
        return await pool.fetchval("SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'")


if __name__ == "__main__":
    main(prepare, work, publish, stored)
