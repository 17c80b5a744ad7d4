"""A page of a shop with a person's inbox and preferences in it, for the demo."""

from __future__ import annotations

import hmac
import secrets
from itertools import count
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from notifykit import Event, Notifykit
from notifykit.web import EndUser

_PAGE = (Path(__file__).parent / "shop.html").read_text("utf-8")
_COOKIE = "shop_session"


class Shop:
    """Signs everybody in as Ada who opens its page; a real shop asks for a password first."""

    def __init__(self, kit: Notifykit, tenant: str, person: str) -> None:
        self._kit = kit
        self._ada = EndUser(tenant=tenant, recipient_id=person)
        self._session = secrets.token_urlsafe()
        self._orders = count(100)
        self.routes = [
            Route("/shop", self._show, methods=["GET"]),
            Route("/shop/orders", self._order, methods=["POST"]),
        ]

    def signed_in(self, request: Request) -> EndUser | None:
        """Return the person whose session a request has: what the server of notifykit asks."""
        given = request.cookies.get(_COOKIE, "")
        return self._ada if hmac.compare_digest(given.encode(), self._session.encode()) else None

    async def _show(self, _: Request) -> Response:
        response = HTMLResponse(_PAGE)
        response.set_cookie(_COOKIE, self._session, httponly=True, samesite="lax")
        return response

    async def _order(self, request: Request) -> Response:
        person = self.signed_in(request)
        if person is not None:
            event = Event(type="order.shipped", data={"order_id": f"A-{next(self._orders)}"})
            await self._kit.apublish(event, tenant=person.tenant, to=person.recipient_id)
        return RedirectResponse("/shop", 303)
