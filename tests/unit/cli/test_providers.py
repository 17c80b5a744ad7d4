"""``notifykit providers``: list accounts, check them, and send a test message."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from notifykit import Event, Notifykit
from notifykit.models.circuit import OpenCircuit
from notifykit.testing import Reply, VendorServer
from tests.unit.cli.driving import Command

AC = "AC" + "0" * 32


def set_up(store_url: str, *, tenant_has: str | None = None, is_open: str | None = None) -> None:
    """Store an account of the tenant, and open a circuit."""

    async def work() -> None:
        async with Notifykit(store_url, create=True) as kit:
            if tenant_has is not None:
                await kit.providers.set("email", tenant_has, tenant="acme")
            if is_open is not None:
                now = datetime.now(UTC)
                circuit = OpenCircuit(key=is_open, tenant="", since=now, probe_at=now, reason="http_401")
                await kit.store.save_circuit("", is_open, circuit, now=now)

    asyncio.run(work())


def test_accounts_are_listed(cli: Command, store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tenant's own first, with weights and circuits, and without secrets."""
    monkeypatch.setenv(
        "NOTIFYKIT_EMAIL",
        "postmark://SECRET@?sender=a@b.example&weight=3 || smtp://h.example?sender=a@b.example&weight=1",
    )
    monkeypatch.setenv("NOTIFYKIT_SMS", f"twilio://{AC}:SECRET@?from=+4915100&countries=DE")
    set_up(store_url, tenant_has="sendgrid://SECRET@?sender=a@b.example", is_open="smtp://h.example:587")

    text, found = cli("providers", "list", "--tenant", "acme"), cli("providers", "list", "--json").records
    of_sms = cli("providers", "list", "sms", "--json").records
    own = cli("providers", "list", "email", "--tenant", "acme", "--json").records

    assert [("email", 3.0, None), ("email", 1.0, "http_401"), ("sms", None, None)] == [
        (each["channel"], each["weight"], each["circuit"] and each["circuit"]["reason"]) for each in found
    ]
    assert ["sms"] == [each["channel"] for each in of_sms]
    assert ["tenant", "operator", "operator"] == [each["of"] for each in own]
    assert "sendgrid://key-" in text.out
    assert "http_401" in text.out
    assert "SECRET" not in text.out


def test_no_provider(cli: Command) -> None:
    """The variables are named."""
    cli("migrate")

    assert "set NOTIFYKIT_EMAIL" in cli("providers", "list").out
    assert 3 == cli("providers", "test-send", "email", "ada@example.org").code


def test_accounts_are_checked(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is refused makes the exit code 1; one that cannot be checked says so."""
    cli("migrate")
    monkeypatch.setenv("NOTIFYKIT_CHAT", "slack://")
    with VendorServer(Reply(status=401, body=b'{"ErrorCode": 10}')) as server:
        server.reply(Reply(status=200, body=b'{"Name": "shop"}'))
        url = f"postmark://SECRET@?sender=a@b.example&endpoint={server.url.rstrip('/')}"
        monkeypatch.setenv("NOTIFYKIT_EMAIL", url)
        good, bad = cli("providers", "check", "--json"), cli("providers", "check", "email")

    assert (0, ["ok", "skipped"]) == (good.code, [each["state"] for each in good.records])
    assert good.records[0]["said"].endswith("the token is that of the server 'shop'")
    assert 1 == bad.code
    assert "the vendor refused: 401" in bad.out
    assert ["GET", "GET"] == [request.method for request in server.requests]
    assert "SECRET" not in good.out + bad.out


def test_a_test_message(cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes over the account that is named, and shows what the provider answers."""
    cli("migrate")
    with VendorServer(Reply(status=422, body=b'{"ErrorCode": 300, "Message": "no"}')) as server:
        file = tmp_path / "caught.jsonl"
        url = f"postmark://SECRET@?sender=a@b.example&endpoint={server.url.rstrip('/')}"
        monkeypatch.setenv("NOTIFYKIT_EMAIL", f"catch://{file} || {url}")
        caught = cli("providers", "test-send", "email", "ada@example.org")
        refused = cli("providers", "test-send", "email", "ada@example.org", "--provider", "postmark", "--json")
        unknown = cli("providers", "test-send", "email", "ada@example.org", "--provider", "ses")
        wrong = cli("providers", "test-send", "email", "nobody")

    assert (0, True) == (caught.code, caught.out.startswith("catch: accepted, reference caught:dlv_"))
    assert "Test message" in file.read_text()
    assert (1, "permanent", 422) == (refused.code, refused.record["outcome"], refused.record["status"])
    assert (3, True) == (unknown.code, "there is: catch, postmark://key-" in unknown.err)
    assert (2, True) == (wrong.code, "address" in wrong.err)


@pytest.mark.parametrize(("channel", "address"), [("sms", "+4915123456789"), ("push", "token"), ("chat", "room")])
def test_a_test_message_of_each_channel(
    cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channel: str, address: str
) -> None:
    """The catcher takes all of them."""
    cli("migrate")
    monkeypatch.setenv(f"NOTIFYKIT_{channel.upper()}", f"catch://{tmp_path / 'caught.jsonl'}")

    assert 0 == cli("providers", "test-send", channel, address).code


def test_where_a_message_went_and_what_it_cost(cli: Command, store_url: str, tmp_path: Path) -> None:
    """The timeline of a delivery and the explanation for a person say it."""
    costs = tmp_path / "costs.csv"
    costs.write_text("*,0.075\n")

    async def work() -> str:
        kit = Notifykit(store_url, create=True, sms=f"catch://{tmp_path / 'caught.jsonl'}?costs={costs}")
        async with kit:
            await kit.recipients.save("user:42", tenant="default", sms="+4915123456789")
            receipt = await kit.apublish(
                Event(type="code.requested", data={}, to=["user:42"], channels=["sms"]), tenant="default"
            )
            dispatcher = kit.dispatcher()
            while await dispatcher.step():
                pass
            return receipt.event_id

    event_id = asyncio.run(work())
    (delivery,) = cli("deliveries", "list", "--json").records
    (attempt,) = cli("deliveries", "show", delivery["id"], "--json").record["timeline"]

    assert ("catch", "0.075") == (attempt["account"], attempt["cost"])
    assert "over catch, cost 0.075, reference caught:dlv_" in " ".join(
        cli("deliveries", "show", delivery["id"]).out.split()
    )
    explained = cli("explain", event_id, "--recipient", "user:42").out
    assert "sms: delivered over catch, reference caught:dlv_" in explained
    assert ", cost 0.075" in explained
    told = cli("explain", event_id, "--recipient", "user:42", "--json").record
    assert {delivery["id"]: attempt} == told["last_attempts"]
