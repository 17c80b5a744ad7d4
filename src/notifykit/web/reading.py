"""What a request says: its body and its query, checked, with every problem found."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import attrs
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect, Request

from ..codec import converter, loads_unique, structure
from ..errors import InvalidInputError
from ..models.checks import FieldCheck
from ..models.ids import new_id
from .problems import Refusal
from .route import NoQuery

REQUEST_ID = "X-Request-Id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id(request: Request) -> str:
    """Return the id of a request: the client's own, if it looks like one."""
    given = request.headers.get(REQUEST_ID, "")
    return given if _REQUEST_ID.fullmatch(given) else new_id("req_")


_NO_QUERY = NoQuery()


async def read_body(request: Request, most: int) -> bytes:
    """Return the bytes of the body.

    Raises:
        Refusal: It is larger than ``most`` bytes, or the client has gone.
    """
    too_large = Refusal(413, "too_large", f"the body may have {most} bytes")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > most:
        raise too_large
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise too_large
            parts.append(part)
    except ClientDisconnect as error:
        raise Refusal(400, "invalid_request", "the client has gone") from error
    return b"".join(parts)


def json_of(request: Request, body: bytes) -> Any:
    """Return what a body says as JSON.

    Raises:
        Refusal: It is not JSON, or its media type is another one.
        InvalidInputError: An object has a key twice.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise Refusal(415, "unsupported_media_type", "send the body as application/json")
    try:
        value, problems = loads_unique(body)
    except ValueError as error:
        raise Refusal(400, "invalid_request", f"the body is not JSON: {str(error)[:200]}") from error
    if problems:
        raise InvalidInputError(problems)
    return value


def structured(value: Any, wanted: Any) -> Any:
    """Return an instance of a class of bodies, or of several of one.

    Raises:
        InvalidInputError: With every problem found.
    """
    if isinstance(value, list) and (many := _many_of(wanted)) is not None:
        return structure(value, many)
    return structure(value, _one_of(wanted))


def _many_of(wanted: Any) -> Any:
    return next((each for each in get_args(wanted) if get_origin(each) is tuple), None)


def _one_of(wanted: Any) -> Any:
    return next((each for each in get_args(wanted) if get_origin(each) is not tuple), wanted)


def query_of(given: QueryParams, wanted: type[Any]) -> Any:
    """Return an instance of a class of queries.

    Raises:
        InvalidInputError: With every problem found, each with ``query.`` before the parameter's name.
    """
    if not given and wanted is NoQuery:
        return _NO_QUERY
    kinds, known = get_type_hints(wanted), {field.name: field for field in attrs.fields(wanted)}
    values: dict[str, Any] = {}
    problems = [f"query.{name[:64]}: is unknown" for name in given if name not in known]
    for name, field in known.items():
        texts = given.getlist(name)
        if not texts:
            if field.default is attrs.NOTHING:
                problems.append(f"query.{name}: is missing")
            continue
        try:
            values[name] = _value(texts, kinds[field.name])
        except (ValueError, TypeError) as error:
            problems.append(f"query.{name}: {error}")
            continue
        if isinstance(field.validator, FieldCheck) and (wrong := field.validator.check(values[name])) is not None:
            problems.append(f"query.{name}: {wrong}")
    if problems:
        raise InvalidInputError(problems)
    return wanted(**values)


def _value(texts: list[str], kind: Any) -> Any:
    if NoneType in get_args(kind):
        kind = next(part for part in get_args(kind) if part is not NoneType)
    if get_origin(kind) is tuple:
        (item, _) = get_args(kind)
        return tuple(_scalar(text, item) for each in texts for text in each.split(","))
    if len(texts) > 1:
        raise ValueError("is given more than once")
    return _scalar(texts[0], kind)


def _scalar(text: str, kind: Any) -> Any:
    if kind in _SCALARS:
        return _SCALARS[kind](text)
    if issubclass(kind, Enum):
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"must be one of {', '.join(str(member.value) for member in kind)}") from None
    return text


def _whole(text: str) -> int:
    if not (text.isascii() and text.removeprefix("-").isdecimal() and len(text) < 20):
        raise ValueError("must be a whole number")
    return int(text)


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def _instant(text: str) -> datetime:
    try:
        instant: datetime = converter.structure(text.replace(" ", "+"), datetime)  # a + that was not encoded
    except ValueError:
        raise ValueError("must be a time with its zone, as in 2026-03-29T00:30:00Z") from None
    return instant


_SCALARS: Mapping[Any, Callable[[str], Any]] = {int: _whole, bool: _flag, datetime: _instant}
