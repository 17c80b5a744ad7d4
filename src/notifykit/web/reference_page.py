"""The OpenAPI document and the page that shows it."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route as StarletteRoute

from ..codec import dumps
from .openapi import document
from .pages.assets import Assets
from .reference import reference_html
from .route import Route

_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {"Referrer-Policy": "no-referrer"}
_SHORT = "public, max-age=300"


def reference_routes(table: Sequence[Route], assets: Assets) -> list[StarletteRoute]:
    """Return the routes of the document and of the page."""

    async def openapi(request: Request) -> Response:
        described = document(table, prefix=request.scope.get("root_path", ""))
        return Response(dumps(described), 200, {**_HEADERS, "Cache-Control": _SHORT}, "application/json")

    async def page(request: Request) -> Response:
        prefix = request.scope.get("root_path", "")
        html = reference_html(document(table, prefix=prefix), style=prefix + assets.path("reference.css"))
        return HTMLResponse(html, headers={**_HEADERS, "Content-Security-Policy": _POLICY, "Cache-Control": _SHORT})

    return [
        StarletteRoute("/openapi.json", openapi, methods=["GET"]),
        StarletteRoute("/docs", page, methods=["GET"]),
    ]
