"""Serves pages: finds the session, checks forms, calls the handler, and answers what goes wrong with a page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from ...errors import InvalidInputError, InvalidLinkError
from ...models.access import Role
from ...models.page_access import PageAccess
from ...telemetry import AccessRefused
from ..access.callers import Caller
from ..access.gate import address_of
from ..operation import Server, target_of
from ..problems import Refusal, refusal_of
from ..reading import REQUEST_ID, read_body, request_id
from .assets import Assets
from .operations import OPERATIONS_PAGES
from .options import PageOptions
from .page import PageRoute, Visit
from .portal import PORTAL_PAGES
from .preferences import PREFERENCE_PAGES
from .render import Renderer
from .sessions import EMBEDDABLE, OPERATIONS, PORTAL, PREFERENCES, Sessions, area_of, is_of_this_site

_MAX_FIELDS = 200
#: Of the answer to a link, whose address opens a session.
_LEAVING = {"Referrer-Policy": "no-referrer"}
_Answer = Callable[[Request, str], Awaitable[Response]]
_Endpoint = Callable[[Request], Awaitable[Response]]
#: Every page: routing, access and the tests are made of this table.
PAGES: tuple[PageRoute, ...] = (*PORTAL_PAGES, *OPERATIONS_PAGES, *PREFERENCE_PAGES)


class PageServer:
    """The pages of an application."""

    def __init__(self, server: Server, options: PageOptions, assets: Assets) -> None:
        self._server = server
        self._renderer = Renderer(options, assets)
        self._sessions = Sessions(server.kit, options)

    def routes(self) -> list[BaseRoute]:
        """Return the routes of the pages that the options offer."""
        options = self._renderer.options
        offered = {PORTAL: options.portal, OPERATIONS: options.operations, PREFERENCES: options.preferences}
        areas = [area for area, is_on in offered.items() if is_on]
        ways = [way for area in areas for way in self._ways(area)]
        return ways + [
            Route(page.path, self._guarded(page.area, page.name, self._page(page)), methods=[page.method])
            for page in PAGES
            if page.area in areas
        ]

    def _ways(self, area: str) -> list[BaseRoute]:
        """Return the routes by which sessions of an area begin and end."""
        ways: list[tuple[str, str, str, _Answer]] = [("enter", "GET", "/enter/{token}", self._enter)]
        if area != PREFERENCES:  # people have no keys to sign in with
            ways += [
                ("sign_in", "GET", "/sign-in", self._show_sign_in),
                ("sign_in", "POST", "/sign-in", self._sign_in),
                ("sign_out", "POST", "/sign-out", self._sign_out),
            ]
        return [
            Route(f"/{area}{path}", self._guarded(area, f"{area}.{name}", answer), methods=[method])
            for name, method, path, answer in ways
        ]

    # -- coming and going ------------------------------------------------------------------------

    async def _enter(self, request: Request, area: str) -> Response:
        """Open a session with a link."""
        self._server.gate.require_patience(address_of(request))
        try:
            access = self._sessions.from_link(request.path_params["token"])
        except InvalidLinkError as error:
            if error.reason != "expired":
                self._server.gate.count_failure(request)
            return self._sign_in_page(request, area, 403, problem="This link does not work any more. Open a new one.")
        if area_of(access.role) != area:
            raise Refusal(404, "not_found", "there is no such page")
        return await self._started(request, area, access)

    async def _show_sign_in(self, request: Request, area: str) -> Response:
        return self._sign_in_page(request, area)

    async def _sign_in(self, request: Request, area: str) -> Response:
        """Open a session with an API key."""
        self._server.gate.require_patience(address_of(request))
        _require_own_form(request)
        form = await self._form(request)
        caller = await self._server.gate.keys.find(form.get("key", [""])[0].strip())
        if caller is None or (caller.tenant is None) != (area == OPERATIONS) or not caller.scopes:
            self._server.gate.count_failure(request)
            return self._sign_in_page(request, area, 403, problem="This key does not open these pages.")
        return await self._started(request, area, self._sessions.from_caller(caller))

    async def _sign_out(self, request: Request, area: str) -> Response:
        _require_own_form(request)
        response = RedirectResponse(self._renderer.url(request, f"/{area}/sign-in"), 303)
        access = await self._sessions.end(request, response, area)
        if access is not None:
            await self._audit_session(request, f"{area}.sign_out", access)
        return response

    async def _started(self, request: Request, area: str, access: PageAccess) -> Response:
        response = RedirectResponse(self._renderer.url(request, f"/{area}"), 303, _LEAVING)
        self._sessions.start(request, response, area, access)
        await self._audit_session(request, f"{area}.sign_in", access)
        return response

    async def _audit_session(self, request: Request, action: str, access: PageAccess) -> None:
        await self._server.audit.add(
            action,
            access.subject,
            access.role,
            None,
            changes=True,
            tenant=access.tenant,
            target=None,
            status=303,
            request_id=request.state.id,
        )

    def _sign_in_page(self, request: Request, area: str, status: int = 200, problem: str = "") -> Response:
        template = "preferences/no_link.html" if area == PREFERENCES else "sign_in.html"
        return self._renderer.page(request, template, status, embeddable=area in EMBEDDABLE, area=area, problem=problem)

    # -- pages -----------------------------------------------------------------------------------

    def _page(self, page: PageRoute) -> _Answer:
        async def answer(request: Request, area: str) -> Response:
            access = await self._access(request, area)
            if access is None:
                return self._sign_in_page(request, area, 401, problem="Your session has ended.")
            request.state.access = access
            visit = await self._visit(request, page, access)
            request.state.visit = visit, page
            response = await page.handler(visit)
            self._sessions.prolong(request, response, area, access)
            await self._audit(visit, page, response.status_code)
            return response

        return answer

    async def _access(self, request: Request, area: str) -> PageAccess | None:
        """Return whose session it is; the host's session of a person comes first."""
        person = await self._server.gate.signed_in(request) if area == PREFERENCES else None
        return await self._sessions.find(request, area) if person is None else self._sessions.of_person(person)

    async def _visit(self, request: Request, page: PageRoute, access: PageAccess) -> Visit:
        caller = Caller(
            subject=access.subject,
            role=access.role,
            scopes=access.may,
            tenant=access.tenant or None,
            recipient=access.subject if access.role is Role.RECIPIENT else None,
            by_session=True,
        )
        caller.require(page.scope)
        await self._server.limiter.take(caller, access.tenant)
        form: Mapping[str, list[str]] = {}
        if page.method == "POST":
            _require_own_form(request)
            form = await self._form(request)
            if not self._sessions.tokens.is_form(form.get("form_token", [""])[0], access.nonce):
                raise Refusal(403, "forbidden", "this form is not of your session: load the page again")
        query = dict(request.query_params)
        return Visit(
            kit=self._server.kit,
            live=self._server.live,
            renderer=self._renderer,
            request=request,
            area=page.area,
            access=access,
            tenant=access.tenant or query.get("tenant", "") or form.get("tenant", [""])[0],
            path=request.path_params,
            query=query,
            form=form,
            form_token=self._sessions.tokens.sign_form(access.nonce),
        )

    async def _form(self, request: Request) -> Mapping[str, list[str]]:
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
            raise Refusal(415, "unsupported_media_type", "send the form as a browser does")
        body = await read_body(request, self._server.max_body)
        try:
            return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
        except ValueError:
            raise Refusal(400, "invalid_request", "the form cannot be read") from None

    async def _audit(self, visit: Visit, page: PageRoute, status: int) -> None:
        await self._server.audit.add(
            page.name,
            visit.access.subject,
            visit.access.role,
            page.scope,
            changes=page.method == "POST",
            tenant=visit.tenant[:128],
            target=target_of(visit.request),
            status=status,
            request_id=visit.request.state.id,
        )

    # -- what goes wrong -------------------------------------------------------------------------

    def _guarded(self, area: str, name: str, answer: _Answer) -> _Endpoint:
        """Return an endpoint that answers whatever happens.

        Args:
            name: What telemetry calls it.
        """

        async def endpoint(request: Request) -> Response:
            request.state.id = request_id(request)
            try:
                await self._server.kit.open()
                response = await answer(request, area)
            except Exception as error:  # noqa: BLE001 - whatever happens is answered
                response = await self._failed(request, area, error)
            response.headers[REQUEST_ID] = request.state.id
            self._report_refusal(request, name, response.status_code)
            return response

        return endpoint

    async def _failed(self, request: Request, area: str, error: Exception) -> Response:
        """Return the page that says what went wrong."""
        refusal = refusal_of(error, request.state.id)
        problems = error.problems if isinstance(error, InvalidInputError) else [refusal.detail]
        response = self._renderer.page(
            request, "error.html", refusal.status, embeddable=area in EMBEDDABLE, area=area, problems=problems
        )
        response.headers.update(refusal.headers)
        if hasattr(request.state, "visit"):
            visit, page = request.state.visit
            await self._audit(visit, page, refusal.status)
        return response

    def _report_refusal(self, request: Request, action: str, status: int) -> None:
        """Tell of a request without a session, with wrong credentials, or for more than the session allows."""
        access: PageAccess | None = getattr(request.state, "access", None)
        if status in (401, 403) or (status == 429 and access is None):
            refused = AccessRefused(
                action=action,
                client=address_of(request),
                subject=None if access is None else access.subject,
                status=status,
                request_id=request.state.id,
            )
            self._server.kit.tell(refused)


def _require_own_form(request: Request) -> None:
    """Refuse what a page of another site has a browser send."""
    if not is_of_this_site(request):
        raise Refusal(403, "forbidden", "the form was sent by a page of another site")
