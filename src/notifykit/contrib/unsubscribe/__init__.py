"""The page behind the links for unsubscribing: an ASGI application without dependencies.

Mount it where ``public_url`` leads, under ``/unsubscribe``::

    kit = Notifykit(..., public_url="https://notify.example.org")
    app.mount("/unsubscribe", UnsubscribeApp(kit, look=lambda tenant: Look(name="Acme")))

GET only asks, because mail scanners open every link; POST acts, without a session (RFC 8058).  The link is the only
proof that is asked for, so the page shows neither the address nor anything else of the person.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs

from notifykit import InvalidLinkError, Notifykit, Purpose, StoreError, UnsubscribeScope
from notifykit.admin.unsubscribe_links import ONE_CLICK, PAGE

from .page import Look, Page
from .words import WORDS, language_of, what_of

__all__ = ["Look", "UnsubscribeApp"]

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]

#: The form of the page and the body of RFC 8058 are far shorter.
MAX_BODY: Final = 16 * 1024
_STOP, _STOP_ALL, _UNDO, _UNDO_ALL = "stop", "stop_all", "undo", "undo_all"
_ACTIONS: Final = frozenset({_STOP, _STOP_ALL, _UNDO, _UNDO_ALL})

_log = logging.getLogger("notifykit")


class UnsubscribeApp:
    """Serves the page for the link whose token is the last part of the path.

    Mounted, it needs a kit that is open in the server's event loop; a server that runs it alone opens and closes the
    kit with it.

    Args:
        kit: With the keys that the links are made with.
        look: Returns what a tenant's page looks like; by default it is plain.
        tenant: Only links of this tenant work, for a site that belongs to one.
    """

    def __init__(self, kit: Notifykit, *, look: Callable[[str], Look] | None = None, tenant: str | None = None) -> None:
        self._kit = kit
        self._look = look or (lambda _: Look())
        self._tenant = tenant

    async def __call__(self, scope: Mapping[str, Any], receive: _Receive, send: _Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            raise NotImplementedError(f"there is nothing here for {scope['type']}")
        status, page = await self._answer(scope, receive)
        headers = {**page.headers(), "allow": "GET, HEAD, POST"} if status == 405 else page.headers()
        body = page.html().encode()
        fields = [(b"content-length", str(len(body)).encode())]
        fields += [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _live(self, receive: _Receive, send: _Send) -> None:
        await receive()
        await self._kit.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._kit.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Mapping[str, Any], receive: _Receive) -> tuple[int, Page]:
        """Return the status and the page of a request."""
        accepted = next((value for name, value in scope["headers"] if name.lower() == b"accept-language"), b"")
        answer = _Answers(language_of(accepted.decode("latin-1")))
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return 405, answer.sentence("failed")
        try:
            link = self._kit.unsubscribe_links.read(scope["path"].rpartition("/")[2])
            if self._tenant not in (None, link.tenant):
                raise InvalidLinkError("other_tenant")
        except InvalidLinkError as error:
            _log.info("unsubscribe.refused reason=%s", error.reason)
            return 404, answer.sentence("invalid")
        answer.look = self._look(link.tenant)
        if scope["method"] != "POST":
            return 200, answer.asked(link)
        body = await _body(receive)
        if body is None:
            return 413, answer.sentence("failed")
        action, how = _action(body, scope["headers"])
        if action is None:
            return 400, answer.asked(link)
        try:
            return 200, await self._done(action, how, link, answer)
        except StoreError:
            _log.exception("unsubscribe.failed tenant=%s", link.tenant)
            return 503, answer.sentence("failed")

    async def _done(self, action: str, how: str, link: UnsubscribeScope, answer: _Answers) -> Page:
        """Do what was asked for; a person who is not known any more is told the same."""
        scope = link.whole() if action in (_STOP_ALL, _UNDO_ALL) else link
        if action in (_STOP, _STOP_ALL):
            await self._kit.unsubscribe_links.follow(scope, how=how)
            return answer.stopped(scope, _UNDO if action == _STOP else _UNDO_ALL)
        await self._kit.unsubscribe_links.undo(scope)
        return answer.sentence("undone")


class _Answers:
    """The pages in one language."""

    def __init__(self, language: str) -> None:
        self.look = Look()
        self._language = language
        self._words = WORDS[language]

    def asked(self, link: UnsubscribeScope) -> Page:
        """Ask whether what the link says is to stop; marketing of one kind can be stopped as a whole, too."""
        buttons = [(_STOP, self._words["stop"])]
        if link.purpose is Purpose.MARKETING and not link.is_whole:
            buttons.append((_STOP_ALL, self._words["stop_all"]))
        return self._page(self._words["ask"].format(what=what_of(link, self._words)), buttons)

    def stopped(self, scope: UnsubscribeScope, undo: str) -> Page:
        """Tell what has been stopped, and offer to take it back."""
        told = self._words["stopped"].format(what=what_of(scope, self._words))
        return self._page(told, [(undo, self._words["undo"])])

    def sentence(self, name: str) -> Page:
        """Tell something, with nothing to choose."""
        return self._page(self._words[name], [])

    def _page(self, sentence: str, buttons: list[tuple[str, str]]) -> Page:
        return Page(
            look=self.look, language=self._language, title=self._words["title"], sentence=sentence, buttons=buttons
        )


async def _body(receive: _Receive) -> bytes | None:
    """Return the body of a request; ``None`` if it is too long."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _action(body: bytes, headers: list[tuple[bytes, bytes]]) -> tuple[str | None, str]:
    """Return what a form asks for and who sent it: a mail program (RFC 8058, also as multipart) or our page."""
    kind = next((value for name, value in headers if name.lower() == b"content-type"), b"")
    if kind.lower().startswith(b"multipart/"):
        is_one_click = b'name="List-Unsubscribe"' in body and b"One-Click" in body
        return _STOP if is_one_click else None, ONE_CLICK
    try:
        fields = parse_qs(body.decode("latin-1"), max_num_fields=20)
    except ValueError:
        return None, PAGE
    if fields.get("List-Unsubscribe") == ["One-Click"]:
        return _STOP, ONE_CLICK
    action = fields.get("action", [""])[0]
    return action if action in _ACTIONS else None, PAGE
