"""Errors as problem details (RFC 9457), with every problem of the input and its path."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import attrs
from starlette.responses import Response

from ..codec import dumps, unstructure
from ..errors import (
    ConfigurationError,
    IdempotencyConflictError,
    InvalidInputError,
    NotFoundError,
    NotifykitError,
    SchemaError,
    StaleWriteError,
    StateError,
    StoreUnavailableError,
    ValueRefusedError,
)
from ..models.event import Receipt
from ..telemetry import why

MEDIA_TYPE = "application/problem+json"
#: Seconds after which a request is worth another try while the store does not answer.
_SOON = "2"
_TITLES = {
    "invalid_request": "The request cannot be read",
    "invalid_input": "The input is not acceptable",
    "unauthorized": "Credentials are needed",
    "forbidden": "The credentials do not allow this",
    "not_found": "There is no such object",
    "method_not_allowed": "The method is not allowed here",
    "conflict": "The object is in another state",
    "idempotency_conflict": "The idempotency key belongs to other content",
    "precondition_failed": "The object has changed",
    "too_large": "The request is too large",
    "unsupported_media_type": "The body must be JSON",
    "too_many_requests": "There are too many requests",
    "not_available": "This server does not offer that",
    "unavailable": "The store does not answer now",
    "internal_error": "Something went wrong here",
}
_PROBLEM = re.compile(r"((?:\.?[A-Za-z_][\w-]*|\[[^\]]*\])+): (.*)", re.DOTALL)
_log = logging.getLogger("notifykit.web")


@attrs.frozen(kw_only=True)
class InputProblem:
    """One thing that is wrong with the input.

    Attributes:
        path: Where, such as ``data.items[3]``; empty for the whole of it.
        message: What is wrong.
    """

    path: str
    message: str


@attrs.frozen(kw_only=True)
class ListedEvent:
    """What was done with an event of a list.

    Attributes:
        event_id: The event that is stored; ``null`` if it is not, because its key belongs to other content.
        duplicate: Whether an earlier request with the same idempotency key stored it.
    """

    event_id: str | None
    duplicate: bool


@attrs.frozen(kw_only=True)
class Problem:
    """What went wrong, as RFC 9457 has it.

    Attributes:
        type: A URN that ends in the code.
        title: What the code means.
        status: The HTTP status.
        code: A stable code, for programs.
        detail: What went wrong with this request.
        request_id: What logs call this request.
        problems: Everything that is wrong with the input.
        events: With ``idempotency_conflict``, what was done with each event of the list.
    """

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    problems: tuple[InputProblem, ...] = ()
    events: tuple[ListedEvent, ...] = ()


class Refusal(Exception):  # noqa: N818 - an answer, which only handlers of the API raise
    """A request that is answered with a problem."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})


def refusal_of(error: Exception, request_id: str, *, has_precondition: bool = False) -> Refusal:
    """Return how an error is answered; what is not expected is logged and says nothing of itself.

    Args:
        request_id: What the log calls the request.
        has_precondition: Whether the request names the version that it changes.
    """
    match error:
        case Refusal():
            return error
        case InvalidInputError():
            return Refusal(422, "invalid_input", str(error))
        case NotFoundError():
            return Refusal(404, "not_found", str(error))
        case IdempotencyConflictError():
            return Refusal(409, "idempotency_conflict", str(error))
        case StaleWriteError():
            status, code = (412, "precondition_failed") if has_precondition else (409, "conflict")
            return Refusal(status, code, str(error))
        case StateError():
            return Refusal(409, "conflict", str(error))
        case ValueRefusedError():
            return Refusal(422, "invalid_input", "a value is not one that the database can keep")
        case StoreUnavailableError() | SchemaError():  # which a migration ends
            _log.error("request.failed request_id=%s error=%s", request_id, why(error))
            return Refusal(503, "unavailable", "the store does not answer now: try again", {"Retry-After": _SOON})
        case ConfigurationError():
            return Refusal(501, "not_available", str(error))
        case _:
            known = isinstance(error, NotifykitError)
            shown = why(error) if known else type(error).__name__
            _log.error("request.failed request_id=%s error=%s", request_id, shown, exc_info=None if known else error)
            return Refusal(500, "internal_error", "the server could not answer; its log has this request's id")


def problem_response(refusal: Refusal, error: Exception, request_id: str) -> Response:
    """Return the response to a request that is refused."""
    problem = Problem(
        type=f"urn:notifykit:problem:{refusal.code.replace('_', '-')}",
        title=_TITLES[refusal.code],
        status=refusal.status,
        code=refusal.code,
        detail=refusal.detail,
        request_id=request_id,
        problems=tuple(map(_input_problem, error.problems)) if isinstance(error, InvalidInputError) else (),
        events=tuple(map(_listed, error.receipts)) if isinstance(error, IdempotencyConflictError) else (),
    )
    content: Any = {name: value for name, value in unstructure(problem).items() if value != []}
    return Response(dumps(content), refusal.status, refusal.headers, MEDIA_TYPE)


def _listed(receipt: Receipt | None) -> ListedEvent:
    if receipt is None:
        return ListedEvent(event_id=None, duplicate=False)
    return ListedEvent(event_id=receipt.event_id, duplicate=receipt.duplicate)


def _input_problem(text: str) -> InputProblem:
    found = _PROBLEM.fullmatch(text)
    return InputProblem(path="", message=text) if found is None else InputProblem(path=found[1], message=found[2])
