"""Masks people's addresses in what commands show, unless they are asked for with ``--show-addresses``."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import attrs

T = TypeVar("T")

#: What stands for the hidden part.
_HIDDEN = "***"


def masked(address: str) -> str:
    """Return an address of which so much is left that an operator who knows it recognizes it."""
    local, at, domain = address.rpartition("@")
    if at and "/" not in local and '"' not in address:
        return f"{local[:1]}{_HIDDEN}@{domain}"
    return f"{address[:4]}{_HIDDEN}{address[-2:]}" if len(address) > 8 else _HIDDEN


def hidden(value: T) -> T:
    """Return a record, or a collection of records, with its addresses masked.

    They are the fields ``address`` and ``addresses``, and what answers of providers repeat of them.
    """
    known = sorted(set(_addresses(value)), key=len, reverse=True)
    masked_value: T = _hidden(value, known) if known else value
    return masked_value


def _addresses(value: Any) -> Iterator[str]:
    for name, part in _parts(value):
        if isinstance(part, str):
            if name == "address":
                yield part
        elif name == "addresses" and part and isinstance(part[0], str):
            yield from part
        else:
            yield from _addresses(part)


def _hidden(value: Any, known: Iterable[str]) -> Any:
    if isinstance(value, dict):
        return {name: _hidden(part, known) for name, part in value.items()}
    if isinstance(value, list) or type(value) is tuple:
        return type(value)(_hidden(part, known) for part in value)
    changes = {name: new for name, part in _parts(value) if (new := _changed(name, part, known)) is not part}
    if not changes:
        return value
    if isinstance(value, tuple):
        return value._replace(**changes)  # type: ignore[attr-defined]
    made = copy.copy(value)
    for name, new in changes.items():
        object.__setattr__(made, name, new)  # a masked address is none that a record accepts
    return made


def _changed(name: object, part: Any, known: Iterable[str]) -> Any:
    if name == "address" and isinstance(part, str):
        return masked(part)
    if name == "addresses" and part and isinstance(part[0], str):
        return tuple(map(masked, part))
    if name == "response" and isinstance(part, bytes):
        for address in known:
            part = part.replace(address.encode(), masked(address).encode())
        return part
    return _hidden(part, known)


def _parts(value: Any) -> Iterable[tuple[Any, Any]]:
    if attrs.has(type(value)):
        return [(field.name, getattr(value, field.name)) for field in attrs.fields(type(value))]
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return zip(value._fields, value, strict=True)
    return enumerate(value) if isinstance(value, list | tuple) else ()
