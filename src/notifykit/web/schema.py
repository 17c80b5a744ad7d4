"""JSON Schema of the classes that requests and responses are made of."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import attrs

from ..codec import unstructure
from ..models.checks import MAX_DURATION
from .route import SCHEMA, PageOf

_SCALARS: Mapping[Any, Mapping[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    datetime: {"type": "string", "format": "date-time"},
    timedelta: {"type": "number", "maximum": MAX_DURATION.total_seconds()},
}
_ATTRIBUTE = re.compile(r"^(\w+): (.*)$")


class Schemas:
    """Collects the schemas of classes, each under its name.

    Attributes:
        components: What ``#/components/schemas`` has.
    """

    def __init__(self) -> None:
        self.components: dict[str, Any] = {}

    def of(self, kind: Any) -> dict[str, Any]:
        """Return the schema of a type; classes are added to the components and referred to."""
        if kind is Any:
            return {}
        if kind in _SCALARS:
            return dict(_SCALARS[kind])
        if isinstance(kind, PageOf):
            return self._page(kind)
        origin = get_origin(kind)
        if origin in (Union, UnionType):
            return self._union(get_args(kind))
        if origin is tuple:
            return {"type": "array", "items": self.of(get_args(kind)[0])}
        if origin is not None and issubclass(origin, Mapping):
            values = self.of(get_args(kind)[1])
            return {"type": "object", "additionalProperties": values} if values else {"type": "object"}
        return self._class(kind)

    def _page(self, page: PageOf) -> dict[str, Any]:
        name = f"{page.item.__name__.removesuffix('View')}Page"
        self.components.setdefault(
            name,
            {
                "type": "object",
                "description": "A page of a list.",
                "properties": {
                    "data": {"type": "array", "items": self.of(page.item)},
                    "next": {
                        "type": ["string", "null"],
                        "description": "The cursor of the next page; null if there is none.",
                    },
                },
                "required": ["data", "next"],
                "additionalProperties": False,
            },
        )
        return _reference(name)

    def _union(self, parts: tuple[Any, ...]) -> dict[str, Any]:
        schemas = [self.of(part) for part in parts if part is not NoneType]
        if NoneType not in parts:
            return schemas[0] if len(schemas) == 1 else {"oneOf": schemas}
        if len(schemas) == 1 and isinstance(schemas[0].get("type"), str):
            nullable = {**schemas[0], "type": [schemas[0]["type"], "null"]}
            if "enum" in nullable:
                nullable["enum"] = [*nullable["enum"], None]
            return nullable
        return {"anyOf": [*schemas, {"type": "null"}]}

    def _class(self, kind: type[Any]) -> dict[str, Any]:
        name = kind.__name__.removesuffix("View")
        if name not in self.components:
            self.components[name] = {}  # for a class that refers to itself
            enum = issubclass(kind, Enum)
            self.components[name] = _enum(kind) if enum else self._object(kind)
        return _reference(name)

    def _object(self, kind: type[Any]) -> dict[str, Any]:
        summary, described = documented(kind)
        properties, required = {}, []
        for name, field, hint in fields_of(kind):
            properties[name] = self.field(field, hint, described.get(name))
            if field.default is attrs.NOTHING or kind.__name__.endswith("View"):
                required.append(name)
        schema = {"type": "object", "properties": properties, "additionalProperties": False}
        return {
            **({"description": summary} if summary else {}),
            **schema,
            **({"required": required} if required else {}),
        }

    def field(self, field: attrs.Attribute[Any], hint: Any, text: str | None) -> dict[str, Any]:
        """Return the schema of a field: of its type, with what its metadata say beyond that."""
        extra = dict(field.metadata.get(SCHEMA, {}))
        schema = self.of(hint)
        if extra and isinstance(schema.get("type"), list) and "enum" in extra:
            extra["enum"] = [*extra["enum"], None]
        if extra and "$ref" in schema and "enum" in extra:
            schema = {"type": "string"}
        schema |= extra
        if text:
            schema["description"] = text
        if field.default is not attrs.NOTHING and field.default is not None:
            default = field.default.factory() if isinstance(field.default, attrs.Factory) else field.default  # type: ignore[arg-type]
            schema["default"] = unstructure(default)
        return schema


def fields_of(kind: type[Any]) -> list[tuple[str, attrs.Attribute[Any], Any]]:
    """Return the fields of a class: name, field and type."""
    hints = get_type_hints(kind)
    return [(field.name, field, hints[field.name]) for field in attrs.fields(kind)]


def documented(kind: type[Any]) -> tuple[str, dict[str, str]]:
    """Return what a class says of itself, and of its attributes."""
    doc = inspect.getdoc(kind) or ""
    text, _, attributes = doc.partition("\nAttributes:\n")
    text, _, _ = text.partition("\nRaises:\n")
    attributes, _, _ = attributes.partition("\nRaises:\n")
    found: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc(attributes).splitlines():
        if match := _ATTRIBUTE.match(line):
            name, found[match[1]] = match[1], match[2]
        elif name and line.strip():
            found[name] += f" {line.strip()}"
    return plain(text), {name: plain(text) for name, text in found.items()}


def plain(text: str) -> str:
    """Return a text of a docstring as Markdown, in one line for each paragraph."""
    paragraphs = [" ".join(part.split()) for part in text.strip().split("\n\n")]
    return "\n\n".join(paragraphs).replace("``", "`")


def _enum(kind: type[Enum]) -> dict[str, Any]:
    summary, described = documented(kind)
    members = [f"`{member.value}`: {described[member.name]}" for member in kind if member.name in described]
    text = "\n\n".join([summary, *members])
    return {"type": "string", "enum": [member.value for member in kind], **({"description": text} if text else {})}


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}
