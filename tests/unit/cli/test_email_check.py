"""``notifykit check`` tries the mail server: it connects, logs in, sends nothing, and says what is wrong."""

from __future__ import annotations

import pytest

from notifykit.testing import FakeSmtpServer
from tests.unit.cli.driving import Command


def finding(cli: Command) -> tuple[int, str, str]:
    """Run ``check``; return its exit code, and level and text of what it says of e-mail."""
    answer = cli("check", "--json")
    (found,) = [record for record in answer.records if record["name"] == "email"]
    return answer.code, found["level"], found["found"]


def test_a_mail_server_that_can_be_used(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The finding names the account, the encryption and what the server offers."""
    cli("migrate")
    with FakeSmtpServer() as server:
        monkeypatch.setenv("NOTIFYKIT_EMAIL", server.url)

        found = finding(cli)

    said = f"smtp://127.0.0.1:{server.port}, not encrypted, PIPELINING, SMTPUTF8"
    assert (0, "ok", said) == found
    assert 0 == server.commands["MAIL"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("&tls=off", ""), "the server offers no STARTTLS; for a trusted network: tls=off"),
        (("127.0.0.1", "nowhere.invalid"), "the connection failed"),
        (("smtp://", "smtp://shop:hunter2@"), "the login was refused: 535"),
    ],
)
def test_a_mail_server_that_cannot_be_used(
    cli: Command, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], said: str
) -> None:
    """The finding says why, without the password; other checks go on."""
    cli("migrate")
    with FakeSmtpServer(users={"shop": "other"}) as server:
        monkeypatch.setenv("NOTIFYKIT_EMAIL", server.url.replace(*change))

        code, level, found = finding(cli)

    assert (1, "bad") == (code, level)
    assert said in found
    assert "hunter2" not in found


def test_a_url_that_is_wrong(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command says so, and none shows the password."""
    cli("migrate")
    monkeypatch.setenv("NOTIFYKIT_EMAIL", "smtp://shop:hunter2@mail.example.org")

    answer, listed = cli("check"), cli("endpoints", "list")

    assert "sender= is missing" in answer.out
    assert "sender= is missing" in listed.err
    assert "hunter2" not in answer.out + listed.err
