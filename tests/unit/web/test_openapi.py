"""The OpenAPI document: it is made of the table of routes, and says what is answered."""

from __future__ import annotations

import inspect
import re
from typing import Any

import jsonschema_rs
import pytest

from notifykit.models.access import Role
from notifykit.web import create_app
from notifykit.web.openapi import document
from notifykit.web.reference import reference_html
from notifykit.web.routes import TABLE
from tests.unit.web.world import ACME, client_of

DOCUMENT = document(TABLE)
ANSWERED = [route for route in TABLE if route.answer is not None and not route.is_stream]


def validator(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]}, validate_formats=True)


@pytest.mark.parametrize("route", ANSWERED, ids=lambda route: route.name)
async def test_answers_have_the_schema_that_is_told(kit, world, route):
    """Of each route the usual answer."""
    described = DOCUMENT["paths"][route.path][route.method.lower()]["responses"][str(route.status)]

    async with client_of(create_app(kit)) as client:
        answer = await client.request(**world.request(route, headers=world.headers(ACME, Role.OPERATOR)))

    if route.name == "cancel_delivery":
        assert 409 == answer.status_code
    else:
        assert route.status == answer.status_code
        validator(described["content"]["application/json"]["schema"]).validate(answer.json())


async def test_refusals_have_the_schema_that_is_told(admin):
    """With and without a list of problems."""
    schema = validator({"$ref": "#/components/schemas/Problem"})

    for answer in (await admin.get("/v1/events/evt_0"), await admin.post("/v1/events", json={})):
        schema.validate(answer.json())


def test_every_route_explains_itself():
    """With a summary, its scope and the roles that have it; every class and every reference is there."""
    operations = {its["operationId"]: its for path in DOCUMENT["paths"].values() for its in path.values()}
    schemas = DOCUMENT["components"]["schemas"]

    assert {*operations} == {route.name for route in TABLE} | {"issue_token"}
    for route in TABLE:
        assert inspect.getdoc(route.handler), route.name
        assert operations[route.name]["summary"]
        assert route.scope is None or f"`{route.scope}`" in operations[route.name]["description"]
    assert [] == [name for name, schema in schemas.items() if "description" not in schema]
    named = set(re.findall(r"#/components/schemas/(\w+)", str(DOCUMENT)))
    assert named <= {*schemas}


def test_bodies_say_what_is_accepted():
    """Types, limits, what is required, and what each field means."""
    event = DOCUMENT["components"]["schemas"]["NewEvent"]

    assert ["type", "data"] == event["required"]
    assert event["additionalProperties"] is False
    assert {"type": "array", "items": {"type": "string"}, "maxItems": 1000} == {
        name: value for name, value in event["properties"]["to"].items() if name not in ("description", "default")
    }
    assert "not before" in event["properties"]["delay"]["description"].lower()


def test_the_reference_page_has_everything():
    """Each operation and each class, with links to those that it names; nothing is left unescaped."""
    page = reference_html(DOCUMENT, style="/static/x.css")

    anchors = set(re.findall(r'id="([^"]+)"', page))
    assert {route.name for route in TABLE} <= anchors
    assert set(re.findall(r'href="#([^"]+)"', page)) <= anchors
    assert "<b>" not in reference_html({**DOCUMENT, "info": {**DOCUMENT["info"], "version": "<b>"}}, style="")
    assert "``" not in page
