"""The token endpoint: OAuth 2.0 client credentials (RFC 6749 §4.4), with an API key as the client.

The client's id is the key's id, its secret the key's secret.  The access token stands for the key for an hour.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote_plus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...admin.api_keys import place_of
from ...codec import dumps
from ...errors import NotifykitError
from ..problems import Refusal, problem_response, refusal_of
from ..reading import REQUEST_ID, read_body, request_id
from .gate import Gate, address_of

if TYPE_CHECKING:
    from ...kit import Notifykit

PATH = "/oauth/token"
#: How long an access token is valid.
LASTS = timedelta(hours=1)
_MAX_BODY = 8_192
_HEADERS = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749 §5.1


class _TokenError(Exception):
    """An error of RFC 6749 §5.2."""

    def __init__(self, code: str, status: int = 400) -> None:
        super().__init__(code)
        self.code = code
        self.status = status


def token_route(kit: Notifykit, gate: Gate) -> Route:
    """Return the route of the token endpoint."""

    async def token(request: Request) -> Response:
        try:
            gate.require_patience(address_of(request))
            return await _token(request, kit)
        except _TokenError as error:
            if error.status == 401:
                gate.count_failure(request)
            headers = _HEADERS | ({"WWW-Authenticate": "Basic"} if error.status == 401 else {})
            return Response(dumps({"error": error.code}), error.status, headers, "application/json")
        except (Refusal, NotifykitError) as error:
            id_ = request_id(request)
            response = problem_response(refusal_of(error, id_), error, id_)
            response.headers[REQUEST_ID] = id_
            return response

    return Route(PATH, token, methods=["POST"])


async def _token(request: Request, kit: Notifykit) -> Response:
    try:
        form = parse_qs((await read_body(request, _MAX_BODY)).decode(), max_num_fields=20)
    except ValueError:
        raise _TokenError("invalid_request") from None
    fields = {name: values[0] for name, values in form.items() if len(values) == 1}
    client, secret = _credentials(request, fields)
    if fields.get("grant_type") != "client_credentials":
        raise _TokenError("unsupported_grant_type" if "grant_type" in fields else "invalid_request")
    await kit.open()
    is_secret = secret.startswith("nk_") and place_of(secret) is not None
    key = await kit.api_keys.find(secret) if is_secret else None
    if key is None or not hmac.compare_digest(key.id.encode(), client.encode()):
        raise _TokenError("invalid_client", 401)
    issued = await kit.api_keys.issue_token(key.id, tenant=key.tenant, lasts=LASTS)
    answer = {"access_token": issued.secret, "token_type": "Bearer", "expires_in": int(LASTS.total_seconds())}
    return Response(dumps(answer), 200, _HEADERS, "application/json")


def _credentials(request: Request, fields: dict[str, str]) -> tuple[str, str]:
    """Return the client's id and secret, from the header or the form."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return fields.get("client_id", ""), fields.get("client_secret", "")
    try:
        client, _, secret = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise _TokenError("invalid_client", 401) from None
    return unquote_plus(client), unquote_plus(secret)
