"""Messages out of a queue of Amazon SQS: those put there, and those published to an SNS topic it is subscribed to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from ...errors import BrokerUnavailableError
from ...ports import Message
from ..sqs_client import BATCH, MOST_WAIT, OPTIONS, QueueMissingError, SqsClient, in_batches, unwrapped
from ..url import seconds, split_options

#: How many requests for messages are sent after one that brought as many as it could.
_POLLS = 9
#: What a message may say of itself beside its attributes, and how many of these a dead letter keeps.
_SYSTEM, _ATTRIBUTES = ("MessageGroupId",), 8
_DEFAULTS = {"prefix": "notifykit", "redeliver": "60", **OPTIONS}


class SqsFeed:
    """Reads a queue, standard or FIFO, which the programs that read it share.

    The envelope that SNS puts around what was published to a topic is taken off.  Messages of a process that died are
    handed to another one after ``redeliver`` seconds.  Dead letters are in the queue ``TOPIC-dead``.

    Args:
        url: ``sqs://KEY_ID:SECRET@?region=eu-west-1`` as for :class:`~notifykit.brokers.sqs.SqsBroker`.  Options:
            ``region``, ``endpoint``, and ``redeliver`` (60).
        topic: The queue's name.
        group: Not used: a program of its own needs a queue of its own.

    Raises:
        ConfigurationError: There is no region, or an option cannot be used.
    """

    def __init__(self, url: str, *, topic: str, group: str) -> None:
        del group
        _, options = split_options(url, _DEFAULTS)
        self._client = SqsClient(url, options, wait=MOST_WAIT)
        self._topic = topic
        self._visibility = max(1, round(seconds(options, "redeliver")))
        self._queue: str | None = None
        self._dead: str | None = None

    async def receive(self, limit: int, *, wait: timedelta) -> list[Message]:
        messages = await self._poll(min(limit, BATCH), min(MOST_WAIT, round(wait.total_seconds())))
        if len(messages) == BATCH and limit > BATCH:
            polls = min(_POLLS, limit // BATCH - 1)
            more = await asyncio.gather(*(self._poll() for _ in range(polls)))
            messages += [message for part in more for message in part]
        return messages

    async def _poll(self, limit: int = BATCH, wait: int = 0) -> list[Message]:
        answer = await self._of_queue(
            "ReceiveMessage",
            MaxNumberOfMessages=limit,
            WaitTimeSeconds=wait,
            VisibilityTimeout=self._visibility,
            MessageAttributeNames=["All"],
            AttributeNames=[*_SYSTEM],
        )
        return [_message(each) for each in answer.get("Messages", ())]

    async def ack(self, messages: Sequence[Message]) -> None:
        for part in in_batches(messages):
            entries = [{"Id": str(at), "ReceiptHandle": message.handle} for at, message in enumerate(part)]
            await self._of_queue("DeleteMessageBatch", Entries=entries)  # what is not ours any more comes again

    async def bury(self, message: Message, reason: str) -> None:
        given = {name: text for name, text in message.headers.items() if text}  # a message has ten attributes at most
        texts = {**dict(islice(given.items(), _ATTRIBUTES)), "reason": reason, "id": message.id}
        about = {name: {"DataType": "String", "StringValue": text} for name, text in texts.items()}
        ordered = {"MessageGroupId": message.key or "dead", "MessageDeduplicationId": message.id}
        try:
            if self._dead is None:
                self._dead = await self._dead_letters()
            await self._client.call(
                "SendMessage",
                QueueUrl=self._dead,
                MessageBody=message.body.decode(),
                MessageAttributes=about,
                **(ordered if self._is_fifo else {}),
            )
        except QueueMissingError:
            self._dead = None  # the next call makes it again
            raise

    @property
    def _is_fifo(self) -> bool:
        return self._topic.endswith(".fifo")

    async def _dead_letters(self) -> str:
        """Return the URL of the queue of dead letters, which is made if it is missing."""
        name = f"{self._topic.removesuffix('.fifo')}-dead"
        try:
            return await self._url_of(f"{name}.fifo" if self._is_fifo else name)
        except QueueMissingError:
            attributes = {"MessageRetentionPeriod": "1209600", **({"FifoQueue": "true"} if self._is_fifo else {})}
            name = f"{name}.fifo" if self._is_fifo else name
            made = await self._client.call("CreateQueue", QueueName=name, Attributes=attributes)
            return str(made["QueueUrl"])

    async def _url_of(self, name: str) -> str:
        return str((await self._client.call("GetQueueUrl", QueueName=name))["QueueUrl"])

    async def _of_queue(self, action: str, **arguments: Any) -> dict[str, Any]:
        try:
            if self._queue is None:
                self._queue = await self._url_of(self._topic)
            return await self._client.call(action, QueueUrl=self._queue, **arguments)
        except QueueMissingError as error:
            self._queue = None
            raise BrokerUnavailableError(
                f"{self._client.shown}: there is no queue {self._topic!r}: create it in this region and account"
            ) from error

    async def aclose(self) -> None:
        self._queue = self._dead = None
        await self._client.aclose()


def _message(found: Mapping[str, Any]) -> Message:
    """Return a message; one out of an envelope has the id and the attributes that it had at SNS."""
    body, envelope = unwrapped(found["Body"])
    if envelope is None:
        id_, about = found["MessageId"], found.get("MessageAttributes") or {}
        headers = {name: str(value.get("StringValue", "")) for name, value in about.items()}
    else:
        id_, about = envelope["MessageId"], envelope.get("MessageAttributes") or {}
        headers = {name: str(value.get("Value", "")) for name, value in about.items()}
    group = (found.get("Attributes") or {}).get("MessageGroupId")
    return Message(id_, body.encode(), group, headers, found["ReceiptHandle"])


if TYPE_CHECKING:
    from ...ports import Feed

    _conforms: type[Feed] = SqsFeed
