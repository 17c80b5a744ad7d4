"""Receive webhooks with Django.

::

    receiver = WebhookReceiver("whsec_…", dedupe=MemoryDedupe())

    @receiver
    def on_event(event: ReceivedEvent) -> None: ...

    urlpatterns = [path("hooks", on_event)]
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from notifykit.contrib.receivers import HANDLED, Answer, Intake, ReceivedEvent
from notifykit.errors import MissingExtraError

try:
    from asgiref.sync import async_to_sync
    from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, RawPostDataException
    from django.views.decorators.csrf import csrf_exempt
    from django.views.decorators.http import require_POST
except ImportError as error:
    raise MissingExtraError("receiving webhooks with Django", "django") from error

__all__ = ["ReceivedEvent", "WebhookReceiver"]


class WebhookReceiver(Intake):
    """Verifies requests and runs a handler once for each message.

    A duplicate is answered with 204, a message that is being handled with 503, one that is not
    authentic with 401 and a malformed one with 400 or 413, each with its reason code.  If other code
    has read the body and it is gone, the answer is 500 (``body_unavailable``), and the log explains it.
    If the handler raises, Django gets the error and the sender's next retry runs the handler again.
    """

    def __call__(self, handler: Callable[..., Any]) -> Callable[..., HttpResponseBase]:
        """Turn ``handler`` into a view for POST, exempt from CSRF checks because the signature authenticates it.

        The handler takes the event (and the variables of the URL) and returns nothing (204) or a
        response; a response that is not 2xx counts as a failure.
        """
        run = async_to_sync(handler) if inspect.iscoroutinefunction(handler) else handler

        @csrf_exempt
        @require_POST
        @functools.wraps(handler)
        def view(request: HttpRequest, **variables: Any) -> HttpResponseBase:
            opened = self.open(self._body(request), request.headers)
            if isinstance(opened, Answer):
                return _response(opened)
            turned_away = self.begin(opened)
            if turned_away is not None:
                return _response(turned_away)
            handled = False
            try:
                response: HttpResponseBase = run(opened, **variables) or _response(HANDLED)
                handled = 200 <= response.status_code < 300
            finally:
                self.end(opened, handled=handled)
            return response

        return view

    def _body(self, request: HttpRequest) -> bytes:
        if not request.META.get("CONTENT_LENGTH") and request.META.get("wsgi.input_terminated"):
            chunked: bytes = request.META["wsgi.input"].read(self.max_body + 1)  # Django treats it as empty
            return chunked
        # Not only request.body: its limit is a setting for forms, and exceeding it has another response.
        body: bytes = request.read(self.max_body + 1)
        try:
            return request.body  # Django keeps it if a middleware has read it
        except RawPostDataException:
            return body


def _response(answer: Answer) -> HttpResponse:
    if answer.status == 204:
        return HttpResponse(status=204)
    return JsonResponse({"reason": answer.reason}, status=answer.status, headers=dict(answer.headers))
