"""Webhooks with Celery: Valkey as broker and as result backend."""

import os

from celery import Celery
from commands import in_threads, main
from webhook import Requests

VALKEY = os.environ["BENCH_VALKEY"]

app = Celery("job", broker=VALKEY, backend=VALKEY)
app.conf.update(
    task_acks_late=True,  # a worker that dies loses nothing
    worker_prefetch_multiplier=16,  # the tasks are short
    result_expires=3600,
    broker_connection_retry_on_startup=True,
)
client = Requests()


@app.task(name="deliver", autoretry_for=(OSError,), retry_backoff=True, max_retries=5)
def deliver(message_id: str, body: str) -> int:
    """Sign and POST one event."""
    return client.post(message_id, body)


def publish(events: int, size: int, publishers: int = 1):
    producer = Celery("job", broker=VALKEY)  # without a backend it does not subscribe to every result
    return in_threads(
        events, size, publishers, lambda message_id, body: producer.send_task("deliver", (message_id, body))
    )


def stored() -> int:
    valkey = app.backend.client
    keys = valkey.keys("celery-task-meta-*")
    return sum(b'"SUCCESS"' in result for result in valkey.mget(keys)) if keys else 0


if __name__ == "__main__":
    main(publish, stored)
