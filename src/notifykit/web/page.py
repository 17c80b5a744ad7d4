"""The OpenAPI document and the page that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route as StarletteRoute

from ..codec import dumps
from .openapi import document
from .reference import reference_html
from .route import Route

_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
#: What never changes under its name may be kept for a year, also by a CDN.
_FOR_GOOD = "public, max-age=31536000, immutable"
_SHORT = "public, max-age=300"


def page_routes(table: Sequence[Route]) -> list[StarletteRoute]:
    """Return the routes of the document, of the page, and of its style sheet."""
    style, name = _style()

    async def openapi(request: Request) -> Response:
        described = document(table, prefix=request.scope.get("root_path", ""))
        return Response(dumps(described), 200, {**_HEADERS, "Cache-Control": _SHORT}, "application/json")

    async def page(request: Request) -> Response:
        prefix = request.scope.get("root_path", "")
        html = reference_html(document(table, prefix=prefix), style=f"{prefix}/static/{name}")
        return HTMLResponse(html, headers={**_HEADERS, "Content-Security-Policy": _POLICY, "Cache-Control": _SHORT})

    async def static(_: Request) -> Response:
        return Response(style, 200, {**_HEADERS, "Cache-Control": _FOR_GOOD}, "text/css")

    return [
        StarletteRoute("/openapi.json", openapi, methods=["GET"]),
        StarletteRoute("/docs", page, methods=["GET"]),
        StarletteRoute(f"/static/{name}", static, methods=["GET"]),
    ]


@lru_cache
def _style() -> tuple[bytes, str]:
    """Return the style sheet, and its name with a hash of what it says."""
    content = files(__package__).joinpath("reference.css").read_bytes()
    return content, f"reference.{sha256(content).hexdigest()[:12]}.css"
