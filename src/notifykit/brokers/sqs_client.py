"""Requests to Amazon SQS, over HTTP with Signature Version 4."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

import httpx

from ..errors import BrokerUnavailableError, ConfigurationError
from ..signing.sigv4 import AwsCredentials, signed_headers
from . import without_password

T = TypeVar("T")

#: Messages of a request, and the seconds for which SQS waits for one at the most.
BATCH, MOST_WAIT = 10, 20
#: The options of a URL that :class:`SqsClient` reads, with what they are by default.
OPTIONS: Final = {"region": "", "endpoint": ""}
#: Seconds that an answer may take beyond the wait for messages.
_ANSWER = 10
_MISSING = ("QueueDoesNotExist", "NonExistentQueue")


class QueueMissingError(BrokerUnavailableError):
    """There is no such queue."""


class SqsClient:
    """Sends requests, signed with the key of the URL or of the environment.

    Args:
        url: ``sqs://KEY_ID:SECRET@?…``.
        options: Of the URL, :data:`OPTIONS` at least.
        wait: Seconds for which requests wait for messages at the most.

    Raises:
        ConfigurationError: There is no region.
    """

    def __init__(self, url: str, options: Mapping[str, str], *, wait: int = 0) -> None:
        parts = urlsplit(url)
        self.shown = without_password(url)
        self._region = options["region"] or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""
        if not self._region:
            raise ConfigurationError("sqs:// needs a region: write ?region=eu-west-1, or set AWS_REGION")
        self._endpoint = (options["endpoint"] or f"https://sqs.{self._region}.amazonaws.com").rstrip("/")
        key_id, secret = unquote(parts.username or ""), unquote(parts.password or "")
        self._given = AwsCredentials(key_id=key_id, secret=secret) if key_id else None
        self._timeout = wait + _ANSWER
        self._http: httpx.AsyncClient | None = None

    async def call(self, action: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer to one request.

        Raises:
            QueueMissingError: The queue was deleted, or never made.
            BrokerUnavailableError: The request failed.
        """
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
        if self._http is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
            self._http = httpx.AsyncClient(timeout=self._timeout, limits=limits)
        try:
            response = await self._http.post(url, content=body, headers=signed)
        except (httpx.HTTPError, OSError) as error:
            raise BrokerUnavailableError(f"{self.shown}: {str(error) or type(error).__name__}") from error
        if response.status_code == httpx.codes.OK:
            answer: dict[str, Any] = response.json()
            return answer
        if any(name in response.text for name in _MISSING):
            raise QueueMissingError(f"{self.shown}: there is no such queue")
        what = " ".join(filter(None, (action, arguments.get("QueueName"))))
        raise BrokerUnavailableError(f"{self.shown}: {what}: {response.status_code} {response.text[:300]}")

    def _credentials(self) -> AwsCredentials:
        if self._given is not None:
            return self._given
        key_id, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
        if not key_id or not secret:
            raise BrokerUnavailableError(
                f"{self.shown}: no key: write sqs://KEY_ID:SECRET@, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        return AwsCredentials(key_id=key_id, secret=secret, token=os.environ.get("AWS_SESSION_TOKEN") or None)

    async def aclose(self) -> None:
        """Close the connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()


def in_batches(entries: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield entries, as many at a time as one request may have."""
    return (entries[at : at + BATCH] for at in range(0, len(entries), BATCH))


def unwrapped(body: str) -> tuple[str, Mapping[str, Any] | None]:
    """Return what was published to an SNS topic, and the envelope that SNS has put around it, if there is one."""
    if '"TopicArn"' not in body:
        return body, None
    try:
        envelope = json.loads(body)
    except ValueError:
        return body, None
    if not isinstance(envelope, dict) or envelope.get("Type") != "Notification":
        return body, None
    inner = envelope.get("Message")
    return (inner, envelope) if isinstance(inner, str) and envelope.get("MessageId") else (body, None)
