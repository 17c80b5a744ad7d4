"""Receive webhooks with Flask.

::

    receiver = WebhookReceiver("whsec_…", dedupe=MemoryDedupe())

    @app.post("/hooks")
    @receiver
    def on_event(event: ReceivedEvent) -> None: ...
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from notifykit.contrib.receivers import HANDLED, Answer, Intake, ReceivedEvent
from notifykit.errors import MissingExtraError

try:
    from flask import Response, current_app, jsonify, make_response, request
    from werkzeug.exceptions import ClientDisconnected
except ImportError as error:
    raise MissingExtraError("receiving webhooks with Flask", "flask") from error

__all__ = ["ReceivedEvent", "WebhookReceiver"]


class WebhookReceiver(Intake):
    """Verifies requests and runs a handler once for each message.

    A duplicate is answered with 204, a message that is being handled with 503, one that is not
    authentic with 401 and a malformed one with 400 or 413, each with its reason code.  If other code
    has read the body and it is gone, the answer is 500 (``body_unavailable``), and the log explains it.
    If the handler raises, Flask gets the error and the sender's next retry runs the handler again.
    """

    def __call__(self, handler: Callable[..., Any]) -> Callable[..., Response]:
        """Turn ``handler`` into a view.

        The handler takes the event (and the variables of the URL) and returns nothing (204) or any
        result of a view; a response that is not 2xx counts as a failure.
        """

        @functools.wraps(handler)
        def view(**variables: Any) -> Response:
            opened = self.open(self._body(), request.headers)
            if isinstance(opened, Answer):
                return _response(opened)
            turned_away = self.begin(opened)
            if turned_away is not None:
                return _response(turned_away)
            handled = False
            try:
                result = current_app.ensure_sync(handler)(opened, **variables)
                response = _response(HANDLED) if result is None else make_response(result)
                handled = 200 <= response.status_code < 300
            finally:
                self.end(opened, handled=handled)
            return response

        return view

    def _body(self) -> bytes | None:
        length = request.content_length
        if length is not None and length > self.max_body:
            return None
        try:
            # Chunked: the server marks the end, and we limit the size.  If the stream is at its end, a hook of the
            # application has read it, and Flask may have kept the bytes.
            chunked = request.stream.read(self.max_body + 1) if length is None else b""
            return chunked or request.get_data()
        except ClientDisconnected:  # Werkzeug raises this if the stream ends early, also because other code has read it
            return b""


def _response(answer: Answer) -> Response:
    if answer.status == 204:
        return Response(status=204)
    response = jsonify(reason=answer.reason)
    response.status_code = answer.status
    response.headers.update(answer.headers)
    return response
