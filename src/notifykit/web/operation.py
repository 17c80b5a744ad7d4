"""Answers the requests of one route: admits the caller, reads the request, calls the handler, writes the response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..codec import dumps, unstructure
from ..errors import InvalidInputError, NotFoundError
from ..models.access import AccessScope, Role
from ..telemetry import AccessRefused
from .access.callers import TENANT_HEADER, Caller
from .access.gate import Gate, address_of
from .audit import AuditTrail
from .limits import Limiter
from .live.feeds import Live
from .problems import Refusal, problem_response, refusal_of
from .reading import REQUEST_ID, json_of, query_of, read_body, request_id, structured
from .route import Answer, Call, Page, Route
from .types import StoredTypes

if TYPE_CHECKING:
    from ..kit import Notifykit

#: Of every response: a browser that is led to it stores it as a file, and shows nothing.
_HEADERS = {"Content-Disposition": 'attachment; filename="api.json"'}
#: Of a route that anybody may call.
NOBODY = Caller(subject="", role=Role.VIEWER, scopes=frozenset(), tenant="")


@attrs.frozen(kw_only=True)
class Server:
    """What the operations of an application share.

    Attributes:
        max_body: The most bytes of a body.
    """

    kit: Notifykit
    gate: Gate
    limiter: Limiter
    types: StoredTypes
    live: Live
    audit: AuditTrail
    max_body: int


class Operation:
    """The ASGI application of one route."""

    def __init__(self, route: Route, server: Server) -> None:
        self._route = route
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        response = await self.response_to(Request(scope, receive))
        await response(scope, receive, send)

    async def response_to(self, request: Request) -> Response:
        """Return the answer to a request, whatever happens."""
        id_ = request_id(request)
        caller: Caller | None = None
        headers: dict[str, str] = {}
        try:
            if self._route.needs_store:
                await self._server.kit.open()
            caller = await self._admit(request)
            self._require(caller, request)
            tenant = "" if self._is_of_no_tenant else caller.tenant_of(request)
            if self._route.scope is not None:
                headers = await self._server.limiter.take(caller, tenant)
            response = await self._answer(request, caller, tenant)
        except Exception as error:  # noqa: BLE001 - whatever happens is answered
            response = self._refused(request, error, id_)
            if response.status_code in (401, 403) or (response.status_code == 429 and caller is None):
                self._report_refusal(request, caller, response.status_code, id_)
        response.headers.update({**_HEADERS, **headers, REQUEST_ID: id_})
        if caller is not None:
            await self._audit(request, caller, response.status_code, id_)
        return response

    @property
    def _is_of_no_tenant(self) -> bool:
        return self._route.scope is None or self._route.is_system

    async def _admit(self, request: Request) -> Caller:
        if self._route.scope is None:
            return NOBODY
        return await self._server.gate.admit(request)

    def _require(self, caller: Caller, request: Request) -> None:
        """Refuse what a caller may not do."""
        if self._route.scope is None:
            return
        if caller.recipient is not None:
            _require_own(self._route, request, caller)
        caller.require(self._route.scope)
        if caller.by_session and self._route.changes_something:
            _require_no_form(request)

    async def _answer(self, request: Request, caller: Caller, tenant: str) -> Response:
        route = self._route
        query = query_of(request.query_params, route.query)
        body, given = None, frozenset[str]()
        if route.body is not None:
            content = json_of(request, await read_body(request, self._server.max_body))
            given = frozenset(content) if isinstance(content, dict) else given
            body = structured(content, route.body)
        if route.person_field is not None and caller.recipient not in (None, _named(body, query, route.person_field)):
            raise NotFoundError("recipient", "")
        call = Call(
            kit=self._server.kit,
            types=self._server.types,
            live=self._server.live,
            request=request,
            caller=caller,
            tenant=tenant,
            path=request.path_params,
            query=query,
            body=body,
            given=given,
        )
        return _response(route, await route.handler(call))

    def _refused(self, request: Request, error: Exception, id_: str) -> Response:
        if isinstance(error, NotFoundError) and error.id == "":
            error = Refusal(404, "not_found", "there is no such object")
        return problem_response(refusal_of(error, id_, has_precondition="if-match" in request.headers), error, id_)

    def _report_refusal(self, request: Request, caller: Caller | None, status: int, id_: str) -> None:
        self._server.kit.tell(
            AccessRefused(
                action=self._route.name,
                client=address_of(request),
                subject=None if caller is None else caller.subject,
                status=status,
                request_id=id_,
            )
        )

    async def _audit(self, request: Request, caller: Caller, status: int, id_: str) -> None:
        route = self._route
        if route.scope is None or (route.scope is AccessScope.EVENTS_WRITE and caller.role is not Role.OPERATOR):
            return
        await self._server.audit.add(
            route.name,
            caller.subject,
            caller.role,
            route.scope,
            changes=route.changes_something,
            tenant=caller.tenant or request.headers.get(TENANT_HEADER, "")[:128],
            target=target_of(request),
            status=status,
            request_id=id_,
        )


def target_of(request: Request) -> str | None:
    """Return the object of a request: what the handler has named, or the ids in the path."""
    named: str | None = getattr(request.state, "target", None)
    return named or " ".join(str(value)[:255] for value in request.path_params.values()) or None


def _require_own(route: Route, request: Request, caller: Caller) -> None:
    """Let persons see what is their own; whatever else there is does not exist for them."""
    if route.person is not None and request.path_params[route.person] == caller.recipient:
        return
    if route.person is None and route.person_field is not None:
        return  # looked at when the request has been read
    raise NotFoundError("recipient", "")


def _require_no_form(request: Request) -> None:
    """Refuse what a page of another site can have a browser send with the host's session.

    JSON, and methods other than POST, need the consent of this server first (CORS).
    """
    if request.method == "POST" and "json" not in request.headers.get("content-type", ""):
        raise Refusal(415, "unsupported_media_type", "send the body as application/json")


def _named(body: Any, query: Any, field: str) -> Any:
    return getattr(body if hasattr(body, field) else query, field, None)


def _response(route: Route, result: Any) -> Response:
    headers: Mapping[str, str] = {}
    if isinstance(result, Response):
        return result
    if isinstance(result, Answer):
        result, headers = result
    if route.answer is None:
        return Response(status_code=route.status, headers=headers)
    if isinstance(result, Page):
        content: Any = {"data": [unstructure(each) for each in result.items], "next": result.next}
    else:
        content = unstructure(result)
    return Response(dumps(content), route.status, headers, "application/json")


def version_in(request: Request) -> int | None:
    """Return the version that ``If-Match`` names; ``None`` without it, or for any.

    Raises:
        InvalidInputError: It is no version of ours.
    """
    given = request.headers.get("if-match")
    if given is None or given.strip() == "*":
        return None
    text = given.strip().strip('"')
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InvalidInputError(['header.If-Match: must be the ETag of a response, such as "3", or *'])
    return int(text)


def etag(version: int) -> dict[str, str]:
    """Return the header with the version of a record."""
    return {"ETag": f'"{version}"'}
