"""Renders pages: templates of this package with every value escaped, and headers that allow no inline code."""

from __future__ import annotations

from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse

from ...errors import MissingExtraError
from .assets import Assets
from .filters import FILTERS
from .options import PageOptions

try:
    from minijinja import Environment
except ImportError as error:
    raise MissingExtraError("the pages", "server") from error


class Renderer:
    """Renders the templates of this package.

    Args:
        assets: The static files that pages name.
    """

    def __init__(self, options: PageOptions, assets: Assets) -> None:
        self.options = options
        self._assets = assets
        self._environment = Environment(
            loader=_source,
            filters=FILTERS,
            debug=False,  # what a page shows is not for the log
            undefined_behavior="strict",
            auto_escape_callback=lambda _: True,
            finalizer=lambda value: "" if value is None else NotImplemented,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def page(
        self,
        request: Request,
        template: str,
        status: int = 200,
        *,
        embeddable: bool = False,
        **values: Any,
    ) -> HTMLResponse:
        """Return a page.

        Templates have what is given, and ``url(path, **query)``, ``asset(name)``, ``here`` and ``options``.

        Args:
            template: Its name below ``templates``.
            embeddable: Whether the sites of :attr:`PageOptions.embedded_in` may show it in a frame.
        """
        prefix = _prefix(request)
        html = self._environment.render_template(
            template,
            **{"scheme": "auto", "title": self.options.name, "access": None, "form_token": ""} | values,
            options=self.options,
            here=request.url.path.removeprefix(prefix),
            url=lambda path, **query: self.url(request, path, **query),
            asset=lambda name: prefix + self._assets.path(name),
        )
        frames = self.options.embedded_in if embeddable else ()
        return HTMLResponse(html, status, headers=headers_for(frames))

    def url(self, request: Request, path: str, **query: Any) -> str:
        """Return where a path of the application is, behind the prefix that it is mounted under."""
        given = {name: str(value) for name, value in query.items() if value not in (None, "")}
        return _prefix(request) + path + (f"?{urlencode(given)}" if given else "")


def headers_for(frames: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the headers of a page: code and styles come from files of this server, and forms go to it.

    Args:
        frames: Sites that may show the page in a frame.
    """
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        f"form-action 'self'; base-uri 'none'; frame-ancestors {' '.join(frames) or chr(39) + 'none' + chr(39)}; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "same-origin",  # with less, browsers would not say where a form comes from
        "Cross-Origin-Opener-Policy": "same-origin",
    }


def _prefix(request: Request) -> str:
    return str(request.scope.get("root_path", ""))


def _source(name: str) -> str | None:
    found = files(__package__).joinpath("templates").joinpath(name)
    return found.read_text("utf-8") if found.is_file() else None
