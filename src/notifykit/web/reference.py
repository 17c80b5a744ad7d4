"""The reference page: the OpenAPI document as HTML, without scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_CODE = re.compile(r"`([^`]+)`")
_METHODS = ("get", "post", "put", "patch", "delete")


def reference_html(document: Mapping[str, Any], *, style: str) -> str:
    """Return the page.

    Args:
        style: The URL of the style sheet.
    """
    info = document["info"]
    operations = [
        (method, path, its[method]) for path, its in document["paths"].items() for method in _METHODS if method in its
    ]
    tags = [tag["name"] for tag in document["tags"]]
    menu = "".join(f'<li><a href="#{_slug(tag)}">{escape(tag)}</a></li>' for tag in [*tags, "Schemas"])
    sections = "".join(_section(tag, [each for each in operations if tag in each[2]["tags"]]) for tag in tags)
    schemas = "".join(_schema(name, schema) for name, schema in document["components"]["schemas"].items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>notifykit API</title>'
        f'<link rel="stylesheet" href="{escape(style)}"></head><body>'
        f'<nav aria-label="Sections"><ul>{menu}</ul></nav><main><h1>notifykit API</h1>'
        f"<p>Version {escape(info['version'])}</p>{_text(info['description'])}{sections}"
        f'<section id="schemas"><h2>Schemas</h2>{schemas}</section></main></body></html>'
    )


def _section(tag: str, operations: list[tuple[str, str, Mapping[str, Any]]]) -> str:
    articles = "".join(_operation(*each) for each in operations)
    return f'<section id="{_slug(tag)}"><h2>{escape(tag)}</h2>{articles}</section>'


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    head = (
        f'<article id="{escape(operation["operationId"])}"><h3><span class="{method}">{method.upper()}</span> '
        f"<code>{escape(path)}</code></h3><p>{_inline(operation['summary'])}.</p>"
    )
    parts = [head, _text(operation.get("description", ""))]
    if parameters := operation.get("parameters"):
        rows = "".join(
            f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['in'])}</td>"
            f"<td>{_type(each['schema'])}</td><td>{_inline(each.get('description', ''))}</td></tr>"
            for each in parameters
        )
        parts.append(_table(("Parameter", "In", "Type", "Meaning"), rows))
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<p>Body ({escape(media_type)}): {_type(content['schema'])}</p>")
    parts += _answers(operation["responses"])
    return "".join(parts) + "</article>"


def _answers(responses: Mapping[str, Any]) -> Iterator[str]:
    refused = []
    for status, response in responses.items():
        if "$ref" in response:
            refused.append(status)
            continue
        kinds = [_type(content["schema"]) for content in response.get("content", {}).values()]
        yield f"<p>Answer {escape(status)}: {', '.join(kinds) or 'nothing'}</p>"
    yield f'<p>Refused with {", ".join(refused)}: <a href="#schema-Problem">Problem</a></p>'


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    head = f'<article id="schema-{escape(name)}"><h3>{escape(name)}</h3>{_text(schema.get("description", ""))}'
    if "enum" in schema:
        values = ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
        return f"{head}<p>One of {values}</p></article>"
    required = schema.get("required", ())
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code></td><td>{_type(its)}{'' if field in required else ', optional'}</td>"
        f"<td>{_inline(its.get('description', ''))}</td></tr>"
        for field, its in schema.get("properties", {}).items()
    )
    return f"{head}{_table(('Field', 'Type', 'Meaning'), rows)}</article>"


def _table(head: tuple[str, ...], rows: str) -> str:
    cells = "".join(f'<th scope="col">{name}</th>' for name in head)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table>"


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#schema-{escape(name)}">{escape(name)}</a>'
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(map(_type, schema[key]))
    kind = schema.get("type", "any JSON")
    if kind == "array":
        return f"list of {_type(schema['items'])}"
    named = " or ".join(kind) if isinstance(kind, list) else str(kind)
    return escape(f"{named} ({schema['format']})" if "format" in schema else named)


def _text(markdown: str) -> str:
    return "".join(f"<p>{_inline(part)}</p>" for part in markdown.split("\n\n") if part)


def _inline(markdown: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(markdown))


def _slug(tag: str) -> str:
    return tag.lower().replace(" ", "-")
