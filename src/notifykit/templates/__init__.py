"""Messages for people: templates in a folder, or methods of event classes.

The template engine is imported with the first use of :class:`Templates`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import MissingExtraError
from .methods import MethodRenderer

if TYPE_CHECKING:
    from .lint import Finding, Lint
    from .renderer import Templates

__all__ = ["Finding", "Lint", "MethodRenderer", "Templates"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from . import lint, renderer
    except ImportError as error:
        raise MissingExtraError("templates", "templates") from error
    return getattr(renderer if name == "Templates" else lint, name)
