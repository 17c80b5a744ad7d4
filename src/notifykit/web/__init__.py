"""The REST API: one ASGI application over a kit, served on its own or mounted in the host's application."""

from __future__ import annotations

from ..errors import MissingExtraError

try:
    import starlette as _starlette  # noqa: F401 - everything in here needs it
except ImportError as error:
    raise MissingExtraError("the REST API", "server") from error

from .access.callers import EndUser
from .access.jwt import JwtAccess
from .app import create_app
from .limits import RequestLimits
from .pages.options import PageOptions

__all__ = ["EndUser", "JwtAccess", "PageOptions", "RequestLimits", "create_app"]
