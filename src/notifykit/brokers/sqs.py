"""Amazon SQS: a queue for each lane."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..errors import BrokerUnavailableError, InvalidInputError
from ..models.delivery import Lane
from ..ports import BrokerNote, Received, Ticket
from .arrivals import Arrivals
from .sqs_client import BATCH, MOST_WAIT, OPTIONS, QueueMissingError, SqsClient, in_batches, unwrapped
from .url import count, lane_name, seconds, split_options

#: Requests for messages of a lane at a time, and requests that put or delete.
_POLLS, _WRITES = 5, 10
#: Seconds after which SQS drops a ticket: what is dropped is handed over again by the relay.
_LONGEST = 3600
_DEFAULTS = {"prefix": "notifykit", "redeliver": "30", "poll": "20", **OPTIONS}


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
        _, options = split_options(url, _DEFAULTS)
        self._prefix = options["prefix"]
        self._visibility = max(1, round(seconds(options, "redeliver")))
        self._poll_for = count(options, "poll", MOST_WAIT)
        self._client = SqsClient(url, options, wait=self._poll_for)
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
                    raise BrokerUnavailableError(
                        f"{self._client.shown}: {failed[0].get('Message', failed[0].get('Code'))}"
                    )

        for lane in of:
            await self._queue(lane)
        await asyncio.gather(*(write(lane, part) for lane, entries in of.items() for part in in_batches(entries)))

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
                MaxNumberOfMessages=BATCH,
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
                received.append(Received(Ticket.from_bytes(unwrapped(message["Body"])[0].encode(), lane), handle))
            except InvalidInputError:
                foreign.append({"ReceiptHandle": handle})
        (self._busy.add if len(received) == BATCH else self._busy.discard)(lane)
        self._arrivals.add(received)
        if foreign:
            await self._in_batches("DeleteMessageBatch", {lane: foreign})

    async def ack(self, received: Sequence[Received]) -> None:
        of: defaultdict[Lane, list[dict[str, str]]] = defaultdict(list)
        for one in received:
            of[one.ticket.lane].append({"ReceiptHandle": one.handle})
        await self._in_batches("DeleteMessageBatch", of)

    # -- queues ----------------------------------------------------------------------------------

    async def _queue(self, lane: Lane) -> str:
        """Return the URL of a lane's queue, which is made if it is missing."""
        if lane not in self._queues:
            attributes = {"MessageRetentionPeriod": str(_LONGEST)}
            made = await self._client.call(
                "CreateQueue", QueueName=lane_name(self._prefix, lane), Attributes=attributes
            )
            self._queues[lane] = made["QueueUrl"]
        return self._queues[lane]

    async def _of_queue(self, lane: Lane, action: str, **arguments: Any) -> dict[str, Any]:
        try:
            return await self._client.call(action, QueueUrl=await self._queue(lane), **arguments)
        except QueueMissingError:
            self._queues.pop(lane, None)
            return await self._client.call(action, QueueUrl=await self._queue(lane), **arguments)

    # -- checking --------------------------------------------------------------------------------

    async def check(self, lanes: Sequence[Lane]) -> list[BrokerNote]:
        waiting, notes = 0, []
        for lane in lanes:
            answer = await self._of_queue(lane, "GetQueueAttributes", AttributeNames=["All"])
            found, name = answer.get("Attributes", {}), lane_name(self._prefix, lane)
            waiting += int(found.get("ApproximateNumberOfMessages", 0))
            if "RedrivePolicy" in found:
                notes.append(
                    BrokerNote(
                        f"queue {name} moves tickets that wait for slow receivers into another queue",
                        "remove its redrive policy: the database hands out again what was lost",
                    )
                )
        return [BrokerNote(f"about {waiting} tickets wait in {len(lanes)} queues"), *notes]

    # -- life ------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        tasks = [task for its in self._polls.values() for task in its]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._polls.clear()
        self._arrivals.clear()
        self._failure = None
        await self._client.aclose()


if TYPE_CHECKING:
    from ..ports import Broker

    _conforms: type[Broker] = SqsBroker
