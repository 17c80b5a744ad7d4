"""Sends requests, again where that does no harm, and reads answers."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, NamedTuple, Self, Unpack
from urllib.parse import quote, urlsplit

import attrs
import httpx
from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random_exponential

from ..catalog import EventCatalog
from ..codec import dumps, unstructure
from ..errors import ConfigurationError, InvalidInputError, NotFoundError, NotifykitError
from ..models.event import Event, Receipt, Resource
from ..publisher import PublishOptions
from .operations import AsyncOperations, Operations

#: How often a request is sent, and for how many seconds a pause lasts at the most.
TRIES, _LONGEST = 5, 30.0
#: Events of one request.
MAX_EVENTS = 1000
_AGAIN = frozenset({429, 502, 503, 504})
_STREAM = "/v1/inbox/{user_id}/stream"
_ACTIVITY = "/v1/deliveries/stream"
#: A stream that is idle says so every few seconds.
_OF_STREAMS = httpx.Timeout(10, read=60)
_wait = wait_random_exponential(multiplier=0.2, max=_LONGEST)


class ApiError(NotifykitError):
    """The API refused a request.

    Attributes:
        status: The HTTP status.
        code: The problem's stable code, such as ``unauthorized``.
        request_id: What the server's log calls the request.
        receipts: With the code ``idempotency_conflict``, what was done with each event of the request that was refused:
            the receipt of one that is stored, and ``None`` for one whose key belongs to other content.
    """

    def __init__(
        self, status: int, code: str, detail: str, request_id: str = "", receipts: Iterable[Receipt | None] = ()
    ) -> None:
        super().__init__(f"{detail} ({code})")
        self.status = status
        self.code = code
        self.request_id = request_id
        self.receipts = tuple(receipts)


class ApiUnavailableError(ApiError):
    """The API did not answer, or was not able to; the request was sent again in vain, if that does no harm."""


class _Repeat(Exception):  # noqa: N818 - inside of this module
    """A request that is worth another try."""

    def __init__(self, error: ApiUnavailableError, pause: float | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.pause = pause


@attrs.frozen(kw_only=True)
class _Request:
    """A request, ready to be sent."""

    method: str
    path: str
    headers: Mapping[str, str]
    params: Mapping[str, Any]
    content: bytes | None

    @property
    def options(self) -> dict[str, Any]:
        """What httpx takes beside the method and the path."""
        return {"headers": self.headers, "params": self.params, "content": self.content}

    @property
    def may_repeat(self) -> bool:
        """Whether it does no harm to send it twice."""
        return self.method != "POST" or "Idempotency-Key" in self.headers


class _Requests:
    """Makes requests and reads answers: what both clients do in the same way."""

    def __init__(self, tenant: str | None) -> None:
        self._tenant = tenant
        self._catalog = EventCatalog()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        params: Mapping[str, Any] | None = None,
        *,
        tenant: str | None = None,
        key: str | None = None,
        if_match: str | None = None,
    ) -> _Request:
        named = tenant or self._tenant
        headers = {"Notifykit-Tenant": named} if named else {}
        headers |= {"Content-Type": "application/json"} if body is not None else {}
        headers |= {"Idempotency-Key": key} if key else {}
        headers |= {"If-Match": if_match} if if_match else {}
        content = None if body is None else dumps(body)
        return _Request(method=method, path=path, headers=headers, params=params or {}, content=content)

    def operation(
        self,
        method: str,
        path: str,
        values: Mapping[str, str],
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        **headers: str | None,
    ) -> _Request:
        """Return the request of an operation; the values are those of the path."""
        filled = path.format(**{name: quote(value, safe="") for name, value in values.items()})
        given = {name: value for name, value in (query or {}).items() if value is not None}
        return self.request(method, filled, body, given, key=idempotency_key, **headers)

    def stream(self, user_id: str, cursor: str | None, tenant: str | None) -> _Request:
        return self.operation("GET", _STREAM, {"user_id": user_id}, query={"cursor": cursor}, tenant=tenant)

    def publish(self, events: Iterable[object], options: PublishOptions, *, many: bool) -> _Request:
        said = [self._event(event, options) for event in events]
        tenants = {tenant for _, tenant in said if tenant is not None}
        if len(tenants) > 1:
            raise InvalidInputError(["tenant: the events of one request are of one tenant"])
        bodies = [body for body, _ in said]
        return self.request(
            "POST", "/v1/events", bodies if many else bodies[0], tenant=next(iter(tenants), None), key=uuid.uuid4().hex
        )

    def _event(self, event: object, options: PublishOptions) -> tuple[dict[str, Any], str | None]:
        """Return an event as JSON types, and its tenant."""
        plain, _ = self._catalog.to_event(event)
        given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        if isinstance(resource := given.get("resource"), tuple):
            given["resource"] = Resource(*resource)
        try:
            plain = attrs.evolve(plain, **given)
        except TypeError as error:
            raise InvalidInputError([f"options: {error}"]) from None
        body = {field.name: getattr(plain, field.name) for field in attrs.fields(Event)}
        for name in ("to", "channels"):
            body[name] = [body[name]] if isinstance(body[name], str) else list(body[name])
        tenant, data = body.pop("tenant"), body.pop("data")
        said = {name: unstructure(value) for name, value in body.items() if value not in (None, [], {})}
        return {**said, "data": data}, tenant


class Change(NamedTuple):
    """Something that a stream says.

    Attributes:
        id: Where to go on after it; ``None`` if it says nothing new.
        event: What it is: ``changes`` or ``counts``.
        data: What it says, as JSON has it.
    """

    id: str | None
    event: str
    data: Any


def _changes(lines: Iterable[str]) -> Iterator[Change]:
    """Yield what the lines of one server-sent event say; comments keep the connection alive and say nothing."""
    fields = dict(line.split(": ", 1) for line in lines if ": " in line and not line.startswith(":"))
    if "data" in fields:
        yield Change(fields.get("id"), fields.get("event", "message"), json.loads(fields["data"]))


def _receipt(answer: Mapping[str, Any]) -> Receipt:
    return Receipt(event_id=answer["event_id"], duplicate=answer["duplicate"])


def _answer(request: _Request, response: httpx.Response) -> Any:
    """Return what a response says.

    Raises:
        ApiError: The request is refused; as for the kit an :class:`InvalidInputError` or :class:`NotFoundError`.
        _Repeat: It may be accepted later.
    """
    if response.is_success:
        return response.json() if response.content else None
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    code, detail = str(problem.get("code", "unknown")), str(problem.get("detail", response.reason_phrase))
    refused = (response.status_code, code, detail, str(problem.get("request_id", "")))
    if response.status_code in _AGAIN:
        # A request that was turned away at the door has done nothing, whatever it is.
        unavailable = ApiUnavailableError(*refused)
        if request.may_repeat or response.status_code == 429:
            after = response.headers.get("retry-after", "")
            raise _Repeat(unavailable, min(float(after), _LONGEST) if after.isdecimal() else None)
        raise unavailable
    if code == "invalid_input":
        found = problem.get("problems", ())
        raise InvalidInputError([f"{each['path']}: {each['message']}".removeprefix(": ") for each in found] or [detail])
    if code == "not_found":
        raise NotFoundError("object", request.path)
    listed = [_receipt(each) if each["event_id"] else None for each in problem.get("events", ())]
    raise ApiError(*refused, listed)


def _refuse(request: _Request, response: httpx.Response) -> None:
    """Raise what a stream was refused with."""
    try:
        _answer(request, response)
    except _Repeat as error:
        raise error.error from error


def _failed(request: _Request, error: httpx.TransportError) -> Exception:
    server = error.request.url.copy_with(raw_path=b"/", userinfo=b"")
    why = str(error) or type(error).__name__
    unavailable = ApiUnavailableError(0, "unavailable", f"the API at {server} did not answer: {why}")
    never_sent = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
    return _Repeat(unavailable, None) if request.may_repeat or never_sent else unavailable


def _pause(state: RetryCallState) -> float:
    error = None if state.outcome is None else state.outcome.exception()
    told = error.pause if isinstance(error, _Repeat) else None
    return _wait(state) if told is None else told


def _options(url: str, key: str, timeout: timedelta) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f"url: {url[:200]!r} is not the address of an API; write it like https://notify.example"
        )
    if not key.strip():
        raise ConfigurationError("key: is empty; make one with: notifykit api-keys create")
    return {
        "base_url": url.rstrip("/"),
        "headers": {"Authorization": f"Bearer {key}"},
        "timeout": timeout.total_seconds(),
    }


def _retry(sleep: Callable[[float], Any] | None) -> dict[str, Any]:
    """Return the options of tenacity."""
    options = {
        "stop": stop_after_attempt(TRIES),
        "wait": _pause,
        "retry": retry_if_exception_type(_Repeat),
        "reraise": True,
    }
    return options if sleep is None else {**options, "sleep": sleep}


class Client(Operations):
    """A client for sync code; thread-safe.

    Args:
        url: Where the API is: ``https://notify.example``, with the prefix if it is mounted.
        key: An API key or a token.
        tenant: For an operator's key: the tenant, unless a call names one.
        timeout: Of one try.
        transport: A transport of httpx, for tests.

    Raises:
        ConfigurationError: The URL is not one of a server, or the key is empty.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        tenant: str | None = None,
        timeout: timedelta = timedelta(seconds=10),
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self._requests = _Requests(tenant)
        self._http = httpx.Client(transport=transport, **_options(url, key, timeout))
        self._retrying = Retrying(**_retry(sleep))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def publish(self, event: object, **options: Unpack[PublishOptions]) -> Receipt:
        """Publish one event; see :meth:`notifykit.Notifykit.publish`.

        Raises:
            InvalidInputError: With every problem found; nothing is stored.
            ApiError: The API refused it.
            ApiUnavailableError: The API did not answer; whether it is stored is not known, and trying again does no
                harm if the event has an idempotency key of yours.
        """
        return _receipt(self._send(self._requests.publish([event], options, many=False)))

    def publish_many(self, events: Iterable[object], **options: Unpack[PublishOptions]) -> list[Receipt]:
        """Publish events, a thousand in a request; see :meth:`publish`."""
        return [
            _receipt(each)
            for part in _parts(events)
            for each in self._send(self._requests.publish(part, options, many=True))
        ]

    def request(self, method: str, path: str, body: Any = None, *, tenant: str | None = None, **params: Any) -> Any:
        """Send a request of the API's reference and return what the answer says.

        Raises:
            InvalidInputError: With every problem found.
            NotFoundError: There is no such object.
            ApiError: It is refused for another reason.
        """
        return self._send(self._requests.request(method, path, body, params, tenant=tenant))

    def pages(self, path: str, *, tenant: str | None = None, **params: Any) -> Iterator[dict[str, Any]]:
        """Yield everything that a list has, page by page: ``client.pages("/v1/deliveries", state="dead")``."""
        while True:
            page = self.request("GET", path, tenant=tenant, **params)
            yield from page["data"]
            if page["next"] is None:
                return
            params["cursor"] = page["next"]

    def operate(self, method: str, path: str, values: Mapping[str, str], **given: Any) -> Any:
        """Send the request of an operation; see :class:`.operations.Operations`."""
        return self._send(self._requests.operation(method, path, values, **given))

    def stream_inbox(self, user_id: str, *, cursor: str | None = None, tenant: str | None = None) -> Iterator[Change]:
        """Yield changes of a person's inbox as they happen, until the connection ends.

        Args:
            cursor: The ``id`` of the last change that was received, to miss nothing.
        """
        return self._stream(_STREAM, {"user_id": user_id}, cursor, tenant)

    def stream_deliveries(self, *, cursor: str | None = None, tenant: str | None = None) -> Iterator[Change]:
        """Yield what happens to deliveries, until the connection ends; at ``reset`` list them anew.

        Args:
            cursor: The ``id`` of the last change that was received.
        """
        return self._stream(_ACTIVITY, {}, cursor, tenant)

    def _stream(self, path: str, values: Mapping[str, str], cursor: str | None, tenant: str | None) -> Iterator[Change]:
        request = self._requests.operation("GET", path, values, query={"cursor": cursor}, tenant=tenant)
        with self._http.stream("GET", request.path, timeout=_OF_STREAMS, **request.options) as response:
            if not response.is_success:
                response.read()
                _refuse(request, response)
            lines: list[str] = []
            for line in response.iter_lines():
                lines.append(line)
                if not line:
                    yield from _changes(lines)
                    lines.clear()

    def _send(self, request: _Request) -> Any:
        def once() -> Any:
            try:
                response = self._http.request(
                    request.method,
                    request.path,
                    headers=request.headers,
                    params=request.params,
                    content=request.content,
                )
            except httpx.TransportError as error:
                raise _failed(request, error) from error
            return _answer(request, response)

        try:
            return self._retrying.copy()(once)
        except _Repeat as given_up:
            raise given_up.error from given_up


class AsyncClient(AsyncOperations):
    """The same for async code; see :class:`Client`."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        tenant: str | None = None,
        timeout: timedelta = timedelta(seconds=10),
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Any] | None = None,
    ) -> None:
        self._requests = _Requests(tenant)
        self._http = httpx.AsyncClient(transport=transport, **_options(url, key, timeout))
        self._retrying = AsyncRetrying(**_retry(sleep))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def publish(self, event: object, **options: Unpack[PublishOptions]) -> Receipt:
        """Publish one event; see :meth:`Client.publish`."""
        return _receipt(await self._send(self._requests.publish([event], options, many=False)))

    async def publish_many(self, events: Iterable[object], **options: Unpack[PublishOptions]) -> list[Receipt]:
        """Publish events, a thousand in a request; see :meth:`publish`."""
        receipts: list[Receipt] = []
        for part in _parts(events):
            receipts += map(_receipt, await self._send(self._requests.publish(part, options, many=True)))
        return receipts

    async def request(
        self, method: str, path: str, body: Any = None, *, tenant: str | None = None, **params: Any
    ) -> Any:
        """Send a request of the API's reference and return what the answer says; see :meth:`Client.request`."""
        return await self._send(self._requests.request(method, path, body, params, tenant=tenant))

    async def pages(self, path: str, *, tenant: str | None = None, **params: Any) -> AsyncIterator[dict[str, Any]]:
        """Yield everything that a list has, page by page; see :meth:`Client.pages`."""
        while True:
            page = await self.request("GET", path, tenant=tenant, **params)
            for each in page["data"]:
                yield each
            if page["next"] is None:
                return
            params["cursor"] = page["next"]

    async def operate(self, method: str, path: str, values: Mapping[str, str], **given: Any) -> Any:
        """Send the request of an operation; see :class:`.operations.AsyncOperations`."""
        return await self._send(self._requests.operation(method, path, values, **given))

    def stream_inbox(
        self, user_id: str, *, cursor: str | None = None, tenant: str | None = None
    ) -> AsyncIterator[Change]:
        """Yield changes of a person's inbox as they happen; see :meth:`Client.stream_inbox`."""
        return self._stream(_STREAM, {"user_id": user_id}, cursor, tenant)

    def stream_deliveries(self, *, cursor: str | None = None, tenant: str | None = None) -> AsyncIterator[Change]:
        """Yield what happens to deliveries; see :meth:`Client.stream_deliveries`."""
        return self._stream(_ACTIVITY, {}, cursor, tenant)

    async def _stream(
        self, path: str, values: Mapping[str, str], cursor: str | None, tenant: str | None
    ) -> AsyncIterator[Change]:
        request = self._requests.operation("GET", path, values, query={"cursor": cursor}, tenant=tenant)
        async with self._http.stream("GET", request.path, timeout=_OF_STREAMS, **request.options) as response:
            if not response.is_success:
                await response.aread()
                _refuse(request, response)
            lines: list[str] = []
            async for line in response.aiter_lines():
                lines.append(line)
                if not line:
                    for change in _changes(lines):
                        yield change
                    lines.clear()

    async def _send(self, request: _Request) -> Any:
        async def once() -> Any:
            try:
                response = await self._http.request(
                    request.method,
                    request.path,
                    headers=request.headers,
                    params=request.params,
                    content=request.content,
                )
            except httpx.TransportError as error:
                raise _failed(request, error) from error
            return _answer(request, response)

        try:
            return await self._retrying.copy()(once)
        except _Repeat as given_up:
            raise given_up.error from given_up


def _parts(events: Iterable[object]) -> Iterator[list[object]]:
    part: list[object] = []
    for event in events:
        part.append(event)
        if len(part) == MAX_EVENTS:
            yield part
            part = []
    if part:
        yield part
