"""The description of a route: routing, access, the OpenAPI document and the tests are made of it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs
from starlette.requests import Request

from ..models.access import AccessScope
from ..models.checks import MAX_ID, field_check, optional, text, whole
from ..models.ids import is_id
from ..policies.arguments import MAX_PAGE
from .access.callers import Caller
from .live.feeds import Live
from .types import StoredTypes

if TYPE_CHECKING:
    from ..kit import Notifykit

#: The metadata of a field with what JSON Schema says beyond its type.
SCHEMA = "schema"
_PARAMETER = re.compile(r"\{(\w+)\}")
MOST = 200
_id = text(most=MAX_ID)


def described(check: Callable[[object], str | None], *, default: Any = attrs.NOTHING, **schema: Any) -> Any:
    """Return a field with a check, and with what JSON Schema says of it beyond its type."""
    return attrs.field(default=default, validator=field_check(check), metadata={SCHEMA: schema})


@attrs.frozen(kw_only=True)
class NoQuery:
    """A query without parameters."""


def cursor_of(prefix: str = "") -> Any:
    """Return the field of a cursor, which is the id of the last object of a page.

    Args:
        prefix: Of the ids, if this library makes them.
    """

    def check(value: object) -> str | None:
        wrong = _id(value)
        if wrong is None and prefix and not (isinstance(value, str) and is_id(value, prefix)):
            return "must be the next of the page before"
        return wrong

    form = {"pattern": f"^{prefix}"} if prefix else {}
    return described(optional(check), default=None, minLength=1, maxLength=MAX_ID, **form)


@attrs.frozen(kw_only=True)
class PageQuery:
    """Which page of a list.

    Attributes:
        limit: How many at the most.
        cursor: The ``next`` of the page before.
    """

    limit: int = described(whole(1, MOST), default=50, minimum=1, maximum=MOST)
    cursor: str | None = cursor_of()


assert MOST <= MAX_PAGE


class PageOf(NamedTuple):
    """The type of a page of values of a class: ``{"data": […], "next": …}``."""

    item: type[Any]


class Page(NamedTuple):
    """Some values, and where the next page starts.

    Attributes:
        items: The values.
        next: The cursor of the next page; ``None`` if there is none.
    """

    items: Sequence[Any]
    next: str | None


def page_of(found: Sequence[Any], limit: int, view: Callable[[Any], Any]) -> Page:
    """Return a page of what was found with a limit that is one higher."""
    shown = found[:limit]
    return Page([view(each) for each in shown], shown[-1].id if len(found) > limit else None)


class Answer(NamedTuple):
    """A value, and headers of the response.

    Attributes:
        value: What the body says.
        headers: Beside those of every response.
    """

    value: Any
    headers: Mapping[str, str]


@attrs.frozen(kw_only=True)
class Call:
    """A request that was read and may be answered.

    Attributes:
        types: Checks events of types that are stored.
        live: What streams share.
        caller: The sender, who has the scope of the route.
        tenant: Whom it is about.
        path: The parameters in the path.
        query: An instance of the route's class of queries.
        body: An instance of the route's class of bodies.
        given: The names of the fields that the body has.
    """

    kit: Notifykit
    types: StoredTypes
    live: Live
    request: Request
    caller: Caller
    tenant: str
    path: Mapping[str, str]
    query: Any
    body: Any
    given: frozenset[str]

    def about(self, target: str) -> None:
        """Name the object of the request for the audit log, where its path does not."""
        self.request.state.target = target


Handler = Callable[[Call], Awaitable[Any]]


@attrs.frozen(kw_only=True)
class Route:
    """One operation of the API.

    Attributes:
        scope: What a caller must have; ``None`` if anybody may call it.
        body: The class of what the request says, ``None`` if it says nothing.
        query: The class of its query.
        answer: The class of what the response says, a :class:`PageOf` one, or ``None`` for nothing (204).
        status: Of the response.
        person: The parameter of the path that is a person's id: persons may call it for themselves.
        person_field: The same, of the body or the query.
        has_etag: Whether the answer carries the version of a record, which ``If-Match`` may name.
        is_idempotent: Whether ``Idempotency-Key`` makes it safe to repeat.
        media_type: Of the response, if that is not JSON.
        is_system: Whether it is about no tenant.
        needs_store: Whether it is answered only if the store can be opened.
    """

    method: str
    path: str
    handler: Handler
    scope: AccessScope | None
    tag: str
    body: Any = None
    query: type[Any] = NoQuery
    answer: Any = None
    status: int = 200
    person: str | None = None
    person_field: str | None = None
    has_etag: bool = False
    is_idempotent: bool = False
    media_type: str = "application/json"
    is_system: bool = False
    needs_store: bool = True

    @property
    def name(self) -> str:
        """The id of the operation."""
        return self.handler.__name__.rstrip("_")

    @property
    def summary(self) -> str:
        """The first line of what the handler says of itself."""
        return (inspect.getdoc(self.handler) or "").partition("\n")[0].rstrip(".")

    @property
    def description(self) -> str:
        """The rest of it."""
        return (inspect.getdoc(self.handler) or "").partition("\n")[2].strip()

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the parameters in the path."""
        return tuple(_PARAMETER.findall(self.path))

    @property
    def is_stream(self) -> bool:
        """Whether it is answered with what happens from then on."""
        return self.media_type == "text/event-stream"

    @property
    def changes_something(self) -> bool:
        """Whether it may change what is stored."""
        return self.method != "GET"


class Routes:
    """Collects the routes of a module.

    Attributes:
        table: The routes in the order of their definition.
    """

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self.table: list[Route] = []

    def add(self, method: str, path: str, scope: AccessScope | None, **options: Any) -> Callable[[Handler], Handler]:
        """Return a decorator that adds a handler as a route; see :class:`Route`."""

        def take_in(handler: Handler) -> Handler:
            status = options.pop("status", 200 if options.get("answer") is not None else 204)
            self.table.append(
                Route(method=method, path=path, scope=scope, tag=self._tag, handler=handler, status=status, **options)
            )
            return handler

        return take_in
