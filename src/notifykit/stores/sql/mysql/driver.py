"""The driver of the MySQL store, or an error that names the extra which brings it."""

from __future__ import annotations

from ....errors import MissingExtraError

try:
    import asyncmy
    from asyncmy.constants import CLIENT
    from asyncmy.converters import conversions
except ImportError as error:
    raise MissingExtraError("the MySQL store", "mysql") from error

__all__ = ["CLIENT", "asyncmy", "conversions"]
