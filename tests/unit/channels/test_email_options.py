"""The URL of a mail server: what is read of it, and that nothing shows the password."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from notifykit import ConfigurationError, Notifykit
from notifykit.channels.email import Mailbox, SmtpOptions, channel_from_url, parse_url
from notifykit.channels.routed import RoutedChannel


def test_an_ordinary_url() -> None:
    """Submission with STARTTLS and a login."""
    found = parse_url("smtp://shop:pa%2Fss%40@mail.example.org?sender=Shop <shop+x@bücher.example>&timeout=20")

    assert found == SmtpOptions(
        host="mail.example.org",
        port=587,
        user="shop",
        password="pa/ss@",
        sender=Mailbox("shop+x@xn--bcher-kva.example", "Shop"),
        timeout=timedelta(seconds=20),
    )
    assert ("starttls", "smtp://shop@mail.example.org:587") == (found.tls, found.account)
    assert "pa/ss@" not in repr(found)


@pytest.mark.parametrize(
    ("url", "account", "tls"),
    [
        ("smtps://mail.example.org?sender=a@b.example", "smtps://mail.example.org:465", "implicit"),
        ("smtps://mail.example.org?sender=a@b.example&tls=required", "smtps://mail.example.org:465", "implicit"),
        ("smtp://localhost:25?sender=a@b.example&tls=off", "smtp://localhost:25", "off"),
        ("smtp://u:p@127.0.0.1:25/?sender=a@b.example&tls=off", "smtp://u@127.0.0.1:25", "off"),
        ("smtp://[::1]:2525?sender=a@b.example&tls=required", "smtp://[::1]:2525", "starttls"),
    ],
)
def test_the_account_and_how_it_is_encrypted(url: str, account: str, tls: str) -> None:
    """Without a port it is that of the scheme; without anything said, TLS is required."""
    found = parse_url(url)

    assert (account, tls) == (found.account, found.tls)


def test_every_option() -> None:
    """Each ends up where it belongs."""
    found = parse_url(
        "smtps://h.example?sender=a@b.example&return_path=Bounces@B.example&ca=/ca.pem&helo=me.example&connections=3"
    )

    assert ("Bounces@b.example", "/ca.pem", "me.example", 3) == (
        found.return_path,
        found.ca,
        found.helo,
        found.connections,
    )


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mail.example.org", "begins with one of catch://, "),
        ("http://mail.example.org", "begins with one of"),
        ("smtp://", "begins with smtp"),
        ("smtp://u:secret@:25", "begins with smtp"),
        ("smtp://u:secret@mail.example.org:port", "is no URL"),
        ("smtp://u:secret@[mail", "is no URL"),
        ("smtp://u:secret@mail.example.org?sender", "is no URL"),
        ("smtp://u:secret/x@mail.example.org", "is no URL|path"),
        ("smtp://mail.example.org/inbox?sender=a@b.example", "has a path"),
        ("smtp://mail.example.org?sender=a@b.example#x", "has a path or a fragment"),
        ("smtp://mail.example.org?sender=a@b.example&colour=red", "unknown options: colour; known: sender"),
        ("smtp://u@mail.example.org?sender=a@b.example", "a user without a password"),
        ("smtp://u%0D%0A:secret@mail.example.org?sender=a@b.example", "a user with control characters"),
        ("smtp://mail.example.org", "sender= is missing"),
        ("smtp://mail.example.org?sender=shop", "sender: address: must be like"),
        ("smtp://mail.example.org?sender=a@b.example&return_path=x", "return_path: address"),
        ("smtp://mail.example.org?sender=a@b.example&tls=perhaps", "tls is required or off"),
        ("smtps://mail.example.org?sender=a@b.example&tls=off", "smtps:// is TLS from the first byte"),
        ("smtp://u:secret@mail.example.org?sender=a@b.example&tls=off", "would send the password in the clear"),
        ("smtp://mail.example.org?sender=a@b.example&connections=0", "connections is a whole number"),
        ("smtp://mail.example.org?sender=a@b.example&timeout=1.5", "timeout is a whole number"),
        ("smtp://mail.example.org?sender=a@b.example&timeout=²", "timeout is a whole number"),
        ("smtp://mail.example.org?sender=a@b.example&helo=a b", "helo is a host name"),
        ("smtp://mail.exa mple.org?sender=a@b.example", "begins with smtp"),
        ("smtp://a..b?sender=a@b.example", "begins with smtp"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(url: str, said: str) -> None:
    """When the kit is made, and not when the first e-mail is sent."""
    with pytest.raises(ConfigurationError, match=said) as refused:
        Notifykit("memory://", email=url)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_password_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an environment variable or a file, as with every provider; the error says which is missing."""
    file = tmp_path / "password"
    file.write_text("from a file\n")
    monkeypatch.setenv("SMTP_PASSWORD", "p/w@env")
    path = str(file).replace("/", "%2F")

    found = [
        parse_url(f"smtp://shop:{place}@h.example?sender=a@b.example").password
        for place in ("env:SMTP_PASSWORD", f"file:{path}", "envelope")
    ]

    assert ["p/w@env", "from a file", "envelope"] == found
    with pytest.raises(ConfigurationError, match="smtp: the environment variable NOWHERE is not set"):
        parse_url("smtp://shop:env:NOWHERE@h.example?sender=a@b.example")


def test_a_file_of_certificates_that_is_not_there(tmp_path: Path) -> None:
    """The option is named."""
    with pytest.raises(ConfigurationError, match="email: ca: "):
        parse_url(f"smtps://h.example?sender=a@b.example&ca={tmp_path}/none.pem").tls_context()


def test_a_kit_is_not_made_with_certificates_that_are_not_there(tmp_path: Path) -> None:
    """As with any other mistake in the URL."""
    with pytest.raises(ConfigurationError, match="email: ca: "):
        Notifykit("memory://", email=f"smtp://h.example?sender=a@b.example&ca={tmp_path}/none.pem")


async def test_a_kit_has_an_e_mail_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its option, or by the environment; a channel of that name counts more."""
    url = "smtp://localhost:25?sender=a@b.example&tls=off"
    own = channel_from_url(url)
    monkeypatch.setenv("NOTIFYKIT_EMAIL", url)
    async with (
        Notifykit("memory://") as found,
        Notifykit("memory://", email="") as without,
        Notifykit("memory://", channels=[own]) as replaced,
    ):
        channel = found.channels[2]
        assert isinstance(channel, RoutedChannel)
        assert ("email", ["smtp://localhost:25"]) == (channel.name, [it.provider.account for it in channel.members])
        assert ["webhook", "in_app"] == [each.name for each in without.channels]
        assert own is replaced.channels[2]
        with pytest.raises(ConfigurationError, match=r"email: must be the URL of a provider, an Account, .* not int"):
            Notifykit("memory://", email=5)  # type: ignore[arg-type]


async def test_sync_callers_have_it_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscription to an e-mail address is checked by the channel."""
    kit = Notifykit("memory://", email="smtp://localhost:25?sender=a@b.example&tls=off")
    subscription = kit.blocking.subscriptions.create(
        "**", tenant="acme", subscriber="user:42", channel="email", address="Ada@EXAMPLE.org"
    )
    kit.close()

    assert "Ada@example.org" == subscription.address
