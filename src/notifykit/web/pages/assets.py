"""Static files under names with a hash of their content, so that browsers and a CDN may keep them for a year."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
#: The custom element with a person's inbox.
INBOX = "inbox.js"
_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Cross-Origin-Resource-Policy": "cross-origin",  # a page of the host's may show an element of ours
}


class Assets:
    """The files of the folder ``static``, and some that are made.

    Args:
        made: Contents by their names.
    """

    def __init__(self, made: Mapping[str, bytes] | None = None) -> None:
        folder = files(__package__).joinpath("static")
        found = {each.name: each.read_bytes() for each in folder.iterdir() if each.name.rpartition(".")[2] in _TYPES}
        self._hashed: dict[str, str] = {}
        self._contents: dict[str, bytes] = {}
        for name, content in {**found, **(made or {})}.items():
            stem, _, ending = name.rpartition(".")
            self._hashed[name] = f"{stem}.{sha256(content).hexdigest()[:12]}.{ending}"
            self._contents[self._hashed[name]] = content

    def path(self, name: str) -> str:
        """Return the path of a file below the application, such as ``/static/pages.0123456789ab.css``."""
        return f"/static/{self._hashed[name]}"

    def routes(self) -> list[Route]:
        """Return the routes of the files."""
        files = [Route(f"/static/{name}", self._serve, methods=["GET"]) for name in self._contents]
        return [*files, Route(f"/{INBOX}", self._go_to_inbox, methods=["GET"])]

    async def _go_to_inbox(self, request: Request) -> Response:
        """Lead pages of hosts, which cannot know the hash, to the element."""
        path = request.scope.get("root_path", "") + self.path(INBOX)
        return RedirectResponse(path, 302, {**_HEADERS, "Cache-Control": "public, max-age=300"})

    async def _serve(self, request: Request) -> Response:
        name = request.url.path.rpartition("/")[2]
        return Response(self._contents[name], 200, _HEADERS, _TYPES[name.rpartition(".")[2]])
