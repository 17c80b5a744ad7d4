"""Generate the client's operations from the OpenAPI document: ``python -m docs.generate_client``.

``operations.py`` has a method for each operation, ``shapes.py`` the types of what is sent and answered.  A test checks
that they are current.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from notifykit.web.openapi import document
from notifykit.web.routes import TABLE

FOLDER = Path(__file__).resolve().parents[1] / "src" / "notifykit" / "client"
#: What is no request with an answer in JSON: a stream, and what programs get their credentials from.
LEFT_OUT = frozenset({"stream_inbox", "issue_token"})

_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_HEADERS = {"If-Match": "if_match", "Idempotency-Key": "idempotency_key", "Notifykit-Tenant": "tenant"}

_SHAPES = '''"""What operations of the API take and answer, as JSON has it: times are texts, durations seconds.

Generated: python -m docs.generate_client
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict
'''

_OPERATIONS = '''"""A method for each operation of the API.

Generated: python -m docs.generate_client
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Unpack, cast

from . import shapes

'''

_CLASS = '''
class {name}(ABC):
    """The operations, {kind}.

    Each raises what :meth:`{client}.request` raises.  An operator's key needs ``tenant``, unless the client has one.
    """

    @abstractmethod
    {prefix}def operate(
        self,
        method: str,
        path: str,
        values: Mapping[str, str],
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        tenant: str | None = None,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """Send a request.

        Args:
            path: With the names of ``values`` in braces.
        """
'''


def shapes() -> str:
    """Return the module of the types."""
    found = document(TABLE)
    parts = [_SHAPES, *(_shape(name, schema) for name, schema in found["components"]["schemas"].items())]
    parts += [
        _typed_dict(_query_name(operation), _parameters(operation), f"The query of ``{operation['operationId']}``.")
        for _, _, operation in _operations(found)
        if _parameters(operation)
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def operations() -> str:
    """Return the module of the methods."""
    found = document(TABLE)
    parts = [_OPERATIONS]
    for name, kind, client, prefix in (
        ("Operations", "for sync code", "Client", ""),
        ("AsyncOperations", "for async code", "AsyncClient", "async "),
    ):
        parts.append(_CLASS.format(name=name, kind=kind, client=client, prefix=prefix))
        parts += [_method(*each, is_async=bool(prefix)) for each in _operations(found)]
    return "\n".join(parts)


def _operations(found: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, its in found["paths"].items():
        for method, operation in its.items():
            if operation["operationId"] not in LEFT_OUT:
                yield method.upper(), path, operation


# ── types ──────────────────────────────────────────────────────────────────────────────────────


def _shape(name: str, schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return f"{name} = {_type(schema)}"
    required = schema.get("required", ())
    fields = [(each, field, each in required) for each, field in schema["properties"].items()]
    return _typed_dict(name, fields, schema.get("description", ""))


def _typed_dict(name: str, fields: list[tuple[str, Mapping[str, Any], bool]], text: str) -> str:
    lines = [f"class {name}(TypedDict):"]
    summary = text.partition("\n\n")[0].replace("`", "``").replace("````", "``")
    lines.append(f'    """{summary or name}"""' if len(summary) < 100 else f'    """{name}."""')
    lines.append("")
    for field, schema, is_required in fields:
        kind = _type(schema)
        lines.append(f"    {field}: {kind if is_required else f'NotRequired[{kind}]'}")
    return "\n".join(lines)


def _type(schema: Mapping[str, Any], prefix: str = "") -> str:
    """Return a schema as a type of Python."""
    if "$ref" in schema:
        return prefix + schema["$ref"].rpartition("/")[2]
    for union in ("oneOf", "anyOf"):
        if union in schema:
            return " | ".join(dict.fromkeys(_type(each, prefix) for each in schema[union]))
    if "enum" in schema:
        return f"Literal[{', '.join('None' if each is None else _quoted(each) for each in schema['enum'])}]"
    kinds = schema.get("type")
    if isinstance(kinds, list):
        return " | ".join(_type({**schema, "type": kind}, prefix) for kind in kinds)
    if kinds in _SCALARS:
        return _SCALARS[kinds]
    if kinds == "array":
        return f"Sequence[{_type(schema.get('items', {}), prefix)}]"
    if kinds == "object":
        values = schema.get("additionalProperties")
        return f"Mapping[str, {_type(values, prefix) if isinstance(values, dict) else 'Any'}]"
    return "Any"


def _quoted(text: str) -> str:
    return f'"{text}"'


# ── methods ────────────────────────────────────────────────────────────────────────────────────


def _parameters(operation: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], bool]]:
    return [
        (each["name"], each["schema"], each["required"])
        for each in operation.get("parameters", ())
        if each["in"] == "query"
    ]


def _query_name(operation: Mapping[str, Any]) -> str:
    return "".join(part.capitalize() for part in operation["operationId"].split("_")) + "Query"


def _method(method: str, path: str, operation: Mapping[str, Any], *, is_async: bool) -> str:
    name = operation["operationId"]
    values = re.findall(r"\{(\w+)\}", path)
    headers = [_HEADERS[each["name"]] for each in operation.get("parameters", ()) if each["in"] == "header"]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    arguments = ["self", *(f"{value}: str" for value in values)]
    passed = [_quoted(method), _quoted(path), "{" + ", ".join(f'"{value}": {value}' for value in values) + "}"]
    more = ""
    if body is not None and "$ref" not in body:
        arguments.append(f"body: {_type(body, 'shapes.')}")
        passed.append("body=body")
    elif body is not None:
        more = f"**body: Unpack[{_type(body, 'shapes.')}]"
        passed.append("body=body")
    elif _parameters(operation):
        more = f"**query: Unpack[shapes.{_query_name(operation)}]"
        passed.append('query=cast("Mapping[str, Any]", query)')
    if headers:
        arguments += ["*", *(f"{header}: str | None = None" for header in headers)]
        passed += [f"{header}={header}" for header in headers]
    if more:
        arguments.append(more)
    answer = next(its for status, its in operation["responses"].items() if status.startswith("2"))
    content = answer.get("content", {}).get("application/json")
    returned = "None" if content is None else _type(content["schema"], "shapes.")
    call = f"{'await ' if is_async else ''}self.operate({', '.join(passed)})"
    end = call if content is None else f"return cast({_quoted(returned)}, {call})"
    prefix = "async " if is_async else ""
    return (
        f"    {prefix}def {name}({', '.join(arguments)}) -> {returned}:\n"
        f'        """{operation["summary"]}."""\n'
        f"        {end}\n"
    )


def formatted(text: str) -> str:
    """Return a module as the formatter writes it."""
    import subprocess
    import sys

    command = [sys.executable, "-m", "ruff", "format", "--config", str(FOLDER.parents[2] / "pyproject.toml"), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    (FOLDER / "shapes.py").write_text(formatted(shapes()))
    (FOLDER / "operations.py").write_text(formatted(operations()))
