"""The mail server for tests keeps what it is sent, in sync and in asynchronous tests."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage

import pytest

from notifykit.testing import FakeSmtpServer


def message(to: str = "ada@example.org") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "shop@example.org", to, "Hello"
    made.set_content("Hello, Ada.")
    return made


def test_any_program_can_send_to_it() -> None:
    """What was sent can be waited for and read."""
    with FakeSmtpServer() as server:
        with smtplib.SMTP(server.host, server.port, local_hostname="client.example") as client:
            client.send_message(message())
        (mail,) = server.expect(1)

    assert ("shop@example.org", "ada@example.org") == (mail.sender, mail.recipient)
    assert ("Hello", "Hello, Ada.\n", "") == (mail.message["Subject"], mail.text, mail.html)


async def test_it_can_be_waited_for() -> None:
    """For a while; the error says how many there are."""
    async with FakeSmtpServer() as server:
        with pytest.raises(TimeoutError, match=r"0 of 1 mails came within 0\.01 s"):
            await server.aexpect(1, timeout=0.01)


def test_what_is_scripted_ends() -> None:
    """After so many times, or when everything is cleared."""
    with FakeSmtpServer() as server:
        server.reply("RCPT", "452 4.2.2 full", to="ada@example.org", times=2)
        server.reply("DATA", "451 4.3.0 later", times=None)
        server.greylist()
        with smtplib.SMTP(server.host, server.port, local_hostname="client.example") as client:
            for _ in range(2):
                with pytest.raises(smtplib.SMTPRecipientsRefused):
                    client.send_message(message())
            with pytest.raises(smtplib.SMTPRecipientsRefused):  # greylisted
                client.send_message(message())
            with pytest.raises(smtplib.SMTPDataError):
                client.send_message(message())
        server.clear()
        with smtplib.SMTP(server.host, server.port, local_hostname="client.example") as client:
            client.send_message(message("eve@example.org"))

    assert ["eve@example.org"] == [mail.recipient for mail in server.mails]
