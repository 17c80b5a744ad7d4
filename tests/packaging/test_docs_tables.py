"""What the documentation repeats agrees with the code."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from docs import generate_decisions, generate_providers, generate_rest, generate_telemetry
from notifykit import telemetry
from notifykit.models.delivery import DeliveryState
from notifykit.models.retry import DEFAULT_RETRY

ROOT = Path(__file__).resolve().parents[2]


def test_the_telemetry_page_is_fresh() -> None:
    """The page of telemetry events is what its generator makes now."""
    written = generate_telemetry.PAGE.read_text("utf-8")

    assert generate_telemetry.page() == written, "run: python -m docs.generate_telemetry"


def test_the_page_of_the_rest_api_is_fresh() -> None:
    """It is what its generator makes now of the table of routes."""
    assert generate_rest.page() == generate_rest.PAGE.read_text("utf-8"), "run: python -m docs.generate_rest"


def test_the_telemetry_page_has_every_event() -> None:
    """Each event that the module defines has a section on the page."""
    defined = {
        vars(value)["name"]
        for value in vars(telemetry).values()
        if isinstance(value, type) and attrs.has(value) and value.__module__ == telemetry.__name__
    }

    described = set(re.findall(r"^## (.+)$", generate_telemetry.page(), re.MULTILINE))

    assert defined == described


def test_a_field_without_a_meaning_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page cannot be made while a field has no meaning."""
    monkeypatch.delitem(generate_telemetry.COMMON, "fence")

    with pytest.raises(ValueError, match=r"ClaimLost\.fence"):
        generate_telemetry.fields(telemetry.ClaimLost)


def test_the_table_of_decisions_is_fresh() -> None:
    """The page about decisions has every code, as its generator writes it now."""
    written = generate_decisions.PAGE.read_text("utf-8")

    for table in (generate_decisions.table(), generate_decisions.steps_table()):
        assert table in written, "run: python -m docs.generate_decisions"
    assert generate_decisions.page(written) == written


@pytest.mark.parametrize("name", generate_providers.PAGES)
def test_the_tables_of_providers_are_fresh(name: str) -> None:
    """The page has every code of each provider, as its generator writes it now."""
    written = (generate_providers.FOLDER / name).read_text("utf-8")

    for vendor, (module, head) in generate_providers.PAGES[name].items():
        assert generate_providers.table(vendor, module, head) in written, "run: python -m docs.generate_providers"
    assert generate_providers.page(name, written) == written


def test_the_states_page_has_every_state() -> None:
    """The page about states explains each of them."""
    page = (ROOT / "docs/explanation/states.md").read_text("utf-8")

    explained = re.findall(r"^\| `([a-z]+)` \|", page.partition("\n## ")[0], re.MULTILINE)

    assert [state.value for state in DeliveryState] == explained


def test_the_default_schedule_is_the_one_that_is_printed() -> None:
    """The how-to on retries prints the pauses that an endpoint gets by default."""
    page = (ROOT / "docs/howto/retries.md").read_text("utf-8")
    units = {"s": 1, "min": 60, "h": 3600}

    (row,) = re.findall(r"^\| pause before it \|(.*)\|$", page, re.MULTILINE)
    pauses = [int(number) * units[unit] for number, unit in re.findall(r"(\d+) (s|min|h)\b", row)]

    assert [delay.total_seconds() for delay in DEFAULT_RETRY.delays] == pauses


def test_the_quickstart_is_the_example() -> None:
    """The README's first Python snippet and ``examples/quickstart.py`` are the same text."""
    example = ROOT / "examples/quickstart.py"
    if not example.is_file():
        pytest.skip("needs examples/, which is not in the sdist")
    snippet = re.search(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)

    assert snippet is not None
    assert example.read_text("utf-8") == snippet[1]
