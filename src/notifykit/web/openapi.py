"""The OpenAPI 3.1 document of a table of routes."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import attrs

from ..distribution import version
from ..models.access import ROLE_SCOPES, Role
from .access.callers import TENANT_HEADER
from .access.tokens import PATH as TOKEN_PATH
from .problems import MEDIA_TYPE, Problem
from .route import NoQuery, Route
from .schema import Schemas, documented, fields_of, plain

_ABOUT = """\
What a business publishes, and what becomes of it.

Times are ISO 8601 with a zone, durations are seconds. Errors are problem details (RFC 9457) with every problem of the
input and its path. Lists are read page by page: `next` of a page is the `cursor` of the one after it."""


def document(table: Sequence[Route], *, prefix: str = "") -> dict[str, Any]:
    """Return the document.

    Args:
        prefix: Where the application is mounted.
    """
    schemas = Schemas()
    problem = schemas.of(Problem)
    # RFC 9457 lets an empty list be left out.
    schemas.components["Problem"]["required"].sort()
    paths: dict[str, Any] = {}
    for route in table:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    paths[TOKEN_PATH] = {"post": _token_operation()}
    responses = {
        "Problem": {
            "description": "The request is refused.",
            "content": {MEDIA_TYPE: {"schema": problem}},
            "headers": {"X-Request-Id": {"schema": {"type": "string"}}},
        }
    }
    tags = [{"name": name} for name in dict.fromkeys(route.tag for route in table)]
    return {
        "openapi": "3.1.0",
        "info": {"title": "notifykit", "version": version() or "0", "description": _ABOUT},
        "servers": [{"url": prefix or "/"}],
        "tags": [*tags, {"name": "Access"}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "responses": responses,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, an access token, or a JSON Web Token of the identity provider.",
                }
            },
        },
        "security": [{"bearer": []}],
    }


def _operation(route: Route, schemas: Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": route.name, "summary": route.summary, "tags": [route.tag]}
    description = [plain(route.description)] if route.description else []
    if route.scope is not None:
        roles = [role.value for role in Role if route.scope in ROLE_SCOPES[role] and _is_for(role, route)]
        description.append(f"Scope `{route.scope}`: {', '.join(roles)}.")
        operation["x-scope"] = route.scope.value
    else:
        operation["security"] = []
    if description:
        operation["description"] = "\n\n".join(description)
    if parameters := _parameters(route, schemas):
        operation["parameters"] = parameters
    if route.body is not None:
        content = {"application/json": {"schema": schemas.of(route.body)}}
        operation["requestBody"] = {"required": True, "content": content}
    operation["responses"] = _responses(route, schemas)
    return operation


def _is_for(role: Role, route: Route) -> bool:
    return role is not Role.RECIPIENT or route.person is not None or route.person_field is not None


def _parameters(route: Route, schemas: Schemas) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1, "maxLength": 255}}
        for name in route.parameters
    ]
    if route.query is not NoQuery:
        _, described = documented(route.query)
        for name, field, hint in fields_of(route.query):
            schema = schemas.field(field, _without_null(hint), described.get(name))
            text = schema.pop("description", None)
            parameter = {"name": name, "in": "query", "required": field.default is attrs.NOTHING, "schema": schema}
            if schema.get("type") == "array":
                parameter |= {"style": "form", "explode": False}
            found.append(parameter | ({"description": text} if text else {}))
    if route.has_etag and route.method in ("PUT", "PATCH"):
        found.append(_header("If-Match", "Only if the ETag is still this one.", pattern='^("[0-9]{1,9}"|\\*)$'))
    if route.is_idempotent:
        found.append(_header("Idempotency-Key", "A request with the same key is stored once.", maxLength=200))
    if route.scope is not None and not route.is_system:
        found.append(_header(TENANT_HEADER, "Of operators' requests only: the tenant.", maxLength=128))
    if route.is_stream:
        found.append(
            _header("Last-Event-ID", "The id of the last event that was received.", pattern="^[0-9a-f-]{1,40}$")
        )
    return found


def _without_null(hint: Any) -> Any:
    """Return the type of a parameter, which is left out where a field would be null."""
    from types import NoneType, UnionType
    from typing import get_args, get_origin

    if get_origin(hint) is UnionType and NoneType in get_args(hint):
        return next(part for part in get_args(hint) if part is not NoneType)
    return hint


def _header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", **schema},
    }


def _responses(route: Route, schemas: Schemas) -> dict[str, Any]:
    refused = {"$ref": "#/components/responses/Problem"}
    done: dict[str, Any] = {"description": HTTPStatus(route.status).phrase}
    if route.media_type != "application/json":
        done["content"] = {route.media_type: {"schema": {"type": "string"}}}
    elif route.answer is not None:
        done["content"] = {route.media_type: {"schema": schemas.of(route.answer)}}
    if route.has_etag:
        done["headers"] = {"ETag": {"schema": {"type": "string"}, "description": "The version."}}
    statuses = [400, 422, 503]
    if route.scope is not None:
        statuses += [401, 403, 404, 429, 501]
    if route.body is not None:
        statuses += [413, 415]
    if route.changes_something:
        statuses.append(409)
    if route.has_etag and route.method in ("PUT", "PATCH"):
        statuses.append(412)
    return {str(route.status): done, **{str(status): refused for status in sorted(statuses)}}


def _token_operation() -> dict[str, Any]:
    field = {"type": "string"}
    form = {
        "type": "object",
        "properties": {
            "grant_type": {"type": "string", "enum": ["client_credentials"]},
            "client_id": field,
            "client_secret": field,
        },
        "required": ["grant_type"],
    }
    answer = {
        "type": "object",
        "properties": {
            "access_token": field,
            "token_type": {"type": "string", "enum": ["Bearer"]},
            "expires_in": {"type": "integer"},
        },
        "required": ["access_token", "token_type", "expires_in"],
    }
    error = {
        "description": "An error of RFC 6749.",
        "content": {
            "application/json": {"schema": {"type": "object", "properties": {"error": field}, "required": ["error"]}}
        },
    }
    refused = {"$ref": "#/components/responses/Problem"}
    return {
        "operationId": "issue_token",
        "summary": "Get an access token for an API key (OAuth 2.0 client credentials)",
        "description": "The client's id is the key's id (`key_…`), its secret the key's secret, in the form or as HTTP "
        "Basic. The token stands for the key for an hour.",
        "tags": ["Access"],
        "security": [],
        "requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": form}}},
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": answer}}},
            "400": error,
            "401": error,
            "413": refused,
            "429": refused,
            "503": refused,
        },
    }
