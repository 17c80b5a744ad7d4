"""The REST API keeps what its OpenAPI document says, whatever is sent: schemathesis makes the requests."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from notifykit import RateLimit
from notifykit.models.access import Role
from notifykit.testing import FakeClock
from notifykit.web import RequestLimits, create_app
from tests import report
from tests.unit.web.serving import Served, serving
from tests.unit.web.world import ACME, World, made, new_kit

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
#: A stream does not end, and a token endpoint slows down who guesses.
LEFT_OUT = {"stream_inbox", "stream_deliveries", "issue_token"}
#: Each part of the operations is a test, so that they run side by side.
PARTS = 4
_FAST = RateLimit(per_second=1_000_000, burst=1_000_000)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Served, World]]:
    kit = new_kit(FakeClock())
    app = create_app(kit, limits=RequestLimits(person=None, failures=_FAST))
    with serving(app) as server:
        yield server, server.call(made(kit))


def check(served: tuple[Served, World], examples: int, part: int) -> Counter[int]:
    """Send so many requests for each operation of a part of them; return how many had each kind of status."""
    server, world = served
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    session, statuses = requests.Session(), Counter[int]()
    headers = world.headers(ACME, Role.TENANT_ADMIN)
    for result in islice(schema.get_all_operations(), part, None, PARTS):
        operation: Any = result.ok()  # type: ignore[union-attr]
        if operation.definition.raw["operationId"] in LEFT_OUT:
            continue

        @hypothesis.seed(20260101)
        @hypothesis.settings(
            max_examples=examples,
            deadline=timedelta(seconds=10),
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate],
        )
        @hypothesis.given(case=hypothesis.strategies.one_of(*_cases(operation)))
        def run(case: Any) -> None:
            _aim(case, world)
            response = case.call(session=session, headers=headers)
            statuses[response.status_code // 100] += 1
            case.validate_response(response, checks=CHECKS)

        run()
    return statuses


def _cases(operation: Any) -> list[Any]:
    return [operation.as_strategy(generation_mode=mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)]


def _aim(case: Any, world: World) -> None:
    """Let every other request be about objects that exist."""
    if len(str(case.body)) % 2 and case.path_parameters:
        with contextlib.suppress(TypeError):
            case.path_parameters = {name: world.ids.get(name, value) for name, value in case.path_parameters.items()}


@pytest.mark.thorough
@pytest.mark.parametrize("part", range(PARTS))
def test_answers_are_what_the_document_says(served, part):
    """Of 5,000 requests none is an error of the server, and none is answered as the document does not say."""
    statuses = check(served, 95, part)

    assert statuses.total() >= 5_000 / PARTS
    assert statuses[2] > 500 / PARTS


@pytest.mark.soak
@pytest.mark.parametrize("part", range(PARTS))
def test_all_of_very_many_answers_are_what_the_document_says(served, part):
    """The same with 200,000 requests."""
    statuses = check(served, 3_800, part)

    report.note(f"schemathesis[{part}]", requests=statuses.total(), succeeded=statuses[2], refused=statuses[4])
    assert statuses.total() >= 200_000 / PARTS
