"""Amazon SQS: a queue for each lane, over HTTP with Signature Version 4."""

from __future__ import annotations

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

import httpx

from ..errors import BrokerUnavailableError, ConfigurationError, InvalidInputError
from ..models.delivery import Lane
from ..ports import Received, Ticket
from ..signing.sigv4 import AwsCredentials, signed_headers
from . import without_password
from .arrivals import Arrivals
from .url import count, lane_name, seconds, split_options

T = TypeVar("T")

#: Messages of a request, requests for messages of a lane at a time, and requests that put or delete.
_BATCH, _POLLS, _WRITES = 10, 5, 10
#: Seconds for which SQS waits for a message at the most, and that an answer may take beyond that.
_MOST_WAIT, _ANSWER = 20, 10
#: Seconds after which SQS drops a ticket: what is dropped is handed over again by the relay.
_LONGEST = 3600
_MISSING = ("QueueDoesNotExist", "NonExistentQueue")
_DEFAULTS = {"prefix": "notifykit", "redeliver": "30", "poll": "20", "region": "", "endpoint": ""}


class SqsBroker:
    """Carries tickets in standard queues of Amazon SQS.

    Tickets that were not acknowledged are handed to another worker after ``redeliver`` seconds.

    Args:
        url: ``sqs://KEY_ID:SECRET@?region=eu-west-1``; without a key the environment's, ``AWS_ACCESS_KEY_ID``,
            ``AWS_SECRET_ACCESS_KEY`` and ``AWS_SESSION_TOKEN``, read for each request.  Options: ``region`` (else
            ``AWS_REGION``), ``prefix`` of names (``notifykit``), ``redeliver`` (30), ``poll`` (20), how many seconds a
            request waits for tickets, and ``endpoint``, the URL of another service with the same interface.

    Raises:
        ConfigurationError: There is no region, or an option cannot be used.
    """

    def __init__(self, url: str) -> None:
        rest, options = split_options(url, _DEFAULTS)
        parts = urlsplit(rest)
        self._shown = without_password(url)
        self._prefix = options["prefix"]
        self._visibility = max(1, round(seconds(options, "redeliver")))
        self._poll_for = count(options, "poll", _MOST_WAIT)
        self._region = options["region"] or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""
        if not self._region:
            raise ConfigurationError("sqs:// needs a region: write ?region=eu-west-1, or set AWS_REGION")
        self._endpoint = (options["endpoint"] or f"https://sqs.{self._region}.amazonaws.com").rstrip("/")
        key_id, secret = unquote(parts.username or ""), unquote(parts.password or "")
        self._given = AwsCredentials(key_id=key_id, secret=secret) if key_id else None
        self._http: httpx.AsyncClient | None = None
        self._queues: dict[Lane, str] = {}
        self._arrivals = Arrivals()
        self._polls: defaultdict[Lane, set[asyncio.Task[None]]] = defaultdict(set)
        self._busy: set[Lane] = set()
        self._failure: BrokerUnavailableError | None = None

    # -- putting ---------------------------------------------------------------------------------

    async def put(self, tickets: Sequence[Ticket]) -> None:
        of: defaultdict[Lane, list[dict[str, str]]] = defaultdict(list)
        for ticket in tickets:
            of[ticket.lane].append({"MessageBody": ticket.to_bytes().decode()})
        await self._in_batches("SendMessageBatch", of)

    async def _in_batches(self, action: str, of: Mapping[Lane, Sequence[dict[str, str]]]) -> None:
        """Have entries of queues written, several requests at a time."""
        limit = asyncio.Semaphore(_WRITES)

        async def write(lane: Lane, entries: Sequence[dict[str, str]]) -> None:
            async with limit:
                numbered = [{"Id": str(at), **entry} for at, entry in enumerate(entries)]
                answer = await self._of_queue(lane, action, Entries=numbered)
                # What could not be deleted was not ours any more, and comes again.
                if action == "SendMessageBatch" and (failed := answer.get("Failed")):
                    raise BrokerUnavailableError(f"{self._shown}: {failed[0].get('Message', failed[0].get('Code'))}")

        for lane in of:
            await self._queue(lane)
        await asyncio.gather(*(write(lane, part) for lane, entries in of.items() for part in _parts(entries)))

    # -- receiving -------------------------------------------------------------------------------

    async def receive(self, wanted: Mapping[Lane, int], *, wait: timedelta) -> list[Received]:
        for lane, most in wanted.items():
            running = self._polls[lane]
            while len(running) < (_POLLS if lane in self._busy else 1) and self._arrivals.waiting(lane) < most:
                task = asyncio.create_task(self._poll(lane), name=f"notifykit-sqs-{lane}")
                running.add(task)
                task.add_done_callback(running.discard)
        received = await self._arrivals.take(wanted, wait)
        if self._failure is not None and not received:
            failure, self._failure = self._failure, None
            raise failure
        return received

    async def _poll(self, lane: Lane) -> None:
        """Wait for messages of a lane once."""
        try:
            answer = await self._of_queue(
                lane,
                "ReceiveMessage",
                MaxNumberOfMessages=_BATCH,
                WaitTimeSeconds=self._poll_for,
                VisibilityTimeout=self._visibility,
            )
        except BrokerUnavailableError as error:
            self._failure = error
            self._arrivals.wake()
            return
        received, foreign = [], []
        for message in answer.get("Messages", ()):
            handle = message["ReceiptHandle"]
            try:
                received.append(Received(Ticket.from_bytes(message["Body"].encode(), lane), handle))
            except InvalidInputError:
                foreign.append({"ReceiptHandle": handle})
        (self._busy.add if len(received) == _BATCH else self._busy.discard)(lane)
        self._arrivals.add(received)
        if foreign:
            await self._in_batches("DeleteMessageBatch", {lane: foreign})

    async def ack(self, received: Sequence[Received]) -> None:
        of: defaultdict[Lane, list[dict[str, str]]] = defaultdict(list)
        for one in received:
            of[one.ticket.lane].append({"ReceiptHandle": one.handle})
        await self._in_batches("DeleteMessageBatch", of)

    # -- requests --------------------------------------------------------------------------------

    async def _queue(self, lane: Lane) -> str:
        """Return the URL of a lane's queue, which is made if it is missing."""
        if lane not in self._queues:
            attributes = {"MessageRetentionPeriod": str(_LONGEST)}
            made = await self._call("CreateQueue", QueueName=lane_name(self._prefix, lane), Attributes=attributes)
            self._queues[lane] = made["QueueUrl"]
        return self._queues[lane]

    async def _of_queue(self, lane: Lane, action: str, **arguments: Any) -> dict[str, Any]:
        try:
            return await self._call(action, QueueUrl=await self._queue(lane), **arguments)
        except _QueueMissingError:
            self._queues.pop(lane, None)
            return await self._call(action, QueueUrl=await self._queue(lane), **arguments)

    async def _call(self, action: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer of SQS to one request."""
        url, body = f"{self._endpoint}/", json.dumps(arguments).encode()
        headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"AmazonSQS.{action}"}
        signed = signed_headers(
            "POST",
            url,
            headers,
            body,
            credentials=self._credentials(),
            region=self._region,
            service="sqs",
            now=datetime.now(UTC),
        )
        async with self._translating():
            if self._http is None:
                limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
                self._http = httpx.AsyncClient(timeout=self._poll_for + _ANSWER, limits=limits)
            response = await self._http.post(url, content=body, headers=signed)
        if response.status_code == httpx.codes.OK:
            answer: dict[str, Any] = response.json()
            return answer
        if any(name in response.text for name in _MISSING):
            raise _QueueMissingError(f"{self._shown}: there is no such queue")
        raise BrokerUnavailableError(f"{self._shown}: {action}: {response.status_code} {response.text[:300]}")

    def _credentials(self) -> AwsCredentials:
        if self._given is not None:
            return self._given
        key_id, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
        if not key_id or not secret:
            raise BrokerUnavailableError(
                f"{self._shown}: no key: write sqs://KEY_ID:SECRET@, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        return AwsCredentials(key_id=key_id, secret=secret, token=os.environ.get("AWS_SESSION_TOKEN") or None)

    # -- life ------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        tasks = [task for its in self._polls.values() for task in its]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._polls.clear()
        self._arrivals.clear()
        self._failure = None
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    @asynccontextmanager
    async def _translating(self) -> AsyncIterator[None]:
        try:
            yield
        except (httpx.HTTPError, OSError) as error:
            raise BrokerUnavailableError(f"{self._shown}: {str(error) or type(error).__name__}") from error


class _QueueMissingError(BrokerUnavailableError):
    """The queue was deleted."""


def _parts(entries: Sequence[T]) -> Iterator[Sequence[T]]:
    return (entries[at : at + _BATCH] for at in range(0, len(entries), _BATCH))


if TYPE_CHECKING:
    from ..ports import Broker

    _conforms: type[Broker] = SqsBroker
