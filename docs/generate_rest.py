"""Generate ``reference/rest-api.md`` from the OpenAPI document: ``python -m docs.generate_rest``.

The table of routes decides; a test checks that the page is current.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from notifykit.web.openapi import document
from notifykit.web.routes import TABLE

PAGE = Path(__file__).parent / "reference" / "rest-api.md"

_HEAD = """\
# The REST API

% Generated from src/notifykit/web/routes/: python -m docs.generate_rest

How to run it and how to get a key: {doc}`../howto/server`. A server shows the same reference at `/docs`, and serves the
OpenAPI 3.1 document at `/openapi.json`.

Times are ISO 8601 with a zone, durations are seconds. Errors are problem details (RFC 9457) with every problem of the
input and its path. Lists are read page by page: `next` of a page is the `cursor` of the one after it. Requests of
operators name the tenant in the header `Notifykit-Tenant`.
"""


def page() -> str:
    """Return the text of the page."""
    made = document(TABLE)
    operations = [(method, path, its) for path, both in made["paths"].items() for method, its in both.items()]
    parts = [_HEAD]
    for tag in made["tags"]:
        parts.append(f"## {tag['name']}\n")
        parts += [_operation(*each) for each in operations if tag["name"] in each[2]["tags"]]
    parts.append("## Schemas\n")
    parts += [_schema(name, schema) for name, schema in made["components"]["schemas"].items()]
    return "\n".join(parts)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    lines = [f"### `{method.upper()} {path}`\n", f"{operation['summary']}.\n"]
    if text := operation.get("description"):
        lines.append(f"{text}\n")
    lines += [
        f"- `{parameter['name']}`: {parameter.get('description', _type(parameter['schema']))}"
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "query"
    ]
    bodies = operation.get("requestBody", {}).get("content", {}).values()
    lines += [f"- Body: {_type(content['schema'])}" for content in bodies]
    lines += [
        f"- Answer {status}: {_type(content['schema'])}"
        for status, response in operation["responses"].items()
        for content in response.get("content", {}).values()
        if status.startswith("2")
    ]
    return "\n".join(lines) + "\n"


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    lines = [f"### {name}\n", f"{schema.get('description', '')}\n"]
    if "enum" in schema:
        lines.append(f"One of {', '.join(f'`{value}`' for value in schema['enum'])}.")
    for field, its in schema.get("properties", {}).items():
        optional = "" if field in schema.get("required", ()) else ", optional"
        text = f". {its['description']}" if "description" in its else ""
        lines.append(f"- `{field}`: {_type(its)}{optional}{text}")
    return "\n".join(lines) + "\n"


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(map(_type, schema[key]))
    kind = schema.get("type", "any JSON")
    if kind == "array":
        return f"list of {_type(schema['items'])}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
