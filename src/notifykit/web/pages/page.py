"""The description of a page, and what its handler is given: routing, access and the tests are made of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ...models.access import AccessScope
from ...models.page_access import PageAccess
from ..live.feeds import Live
from .render import Renderer
from .sessions import EMBEDDABLE

if TYPE_CHECKING:
    from ...kit import Notifykit


@attrs.frozen(kw_only=True)
class Visit:
    """A request for a page, of a caller who may see it.

    Attributes:
        access: Whose session it is.
        tenant: Whom it is about; empty for a page of operators about no tenant.
        path: The parameters in the path.
        query: The parameters behind it, each once.
        form: What a form says; every field may have several values.
        form_token: What forms of the page send back.
    """

    kit: Notifykit
    live: Live
    renderer: Renderer
    request: Request
    area: str
    access: PageAccess
    tenant: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, list[str]]
    form_token: str

    def field(self, name: str) -> str:
        """Return what a field of the form says, without spaces around it."""
        return self.form.get(name, [""])[0].strip()

    def show(self, template: str, status: int = 200, **values: Any) -> Response:
        """Return a page of a template."""
        return self.renderer.page(
            self.request,
            template,
            status,
            embeddable=self.area in EMBEDDABLE,
            scheme=self.access.scheme,
            access=self.access,
            may=self.access.may,
            tenant=self.tenant,
            form_token=self.form_token,
            query=self.query,
            **values,
        )

    def go(self, path: str, **query: str) -> Response:
        """Return what has the browser show another page."""
        url = self.renderer.url(self.request, path, **query)
        return RedirectResponse(url, 303)


PageHandler = Callable[[Visit], Awaitable[Response]]


@attrs.frozen(kw_only=True)
class PageRoute:
    """One page, or what a form of one does.

    Attributes:
        area: ``portal``, ``operations`` or ``preferences``.
        scope: What its reader must have.
    """

    area: str
    method: str
    path: str
    handler: PageHandler
    scope: AccessScope

    @property
    def name(self) -> str:
        """What audit records call it."""
        return f"{self.area}.{self.handler.__name__.rstrip('_')}"


class PageRoutes:
    """Collects the pages of a module.

    Attributes:
        table: The pages in the order of their definition.
    """

    def __init__(self, area: str) -> None:
        self._area = area
        self.table: list[PageRoute] = []

    def add(self, method: str, path: str, scope: AccessScope) -> Callable[[PageHandler], PageHandler]:
        """Return a decorator that adds a handler as a page; the path is that below the area."""

        def take_in(handler: PageHandler) -> PageHandler:
            self.table.append(
                PageRoute(area=self._area, method=method, path=f"/{self._area}{path}", handler=handler, scope=scope)
            )
            return handler

        return take_in
