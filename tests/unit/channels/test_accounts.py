"""Provider accounts of a channel: URLs with options of routing, objects, secrets from elsewhere."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from notifykit import Account, ConfigurationError, Notifykit
from notifykit.channels.accounts import accounts_of
from notifykit.channels.routed import RoutedChannel
from notifykit.models.delivery import Claim
from notifykit.models.destination import Destination
from notifykit.models.messages import Message
from notifykit.models.outcome import Accepted, Outcome
from notifykit.models.provider_account import masked

POSTMARK = "postmark://TOKEN@?sender=shop@example.org"


@attrs.define
class Recorder:
    """A provider of one's own."""

    account: str = "own://account"
    name: str = "own"
    sent: list[Message] = attrs.field(factory=list)

    async def send(self, message: Message, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        self.sent.append(message)
        return Accepted()

    async def aclose(self) -> None:
        pass


def members(**given: Any) -> list[str]:
    """Return the accounts of the channel that a kit makes of a provider."""
    kit = Notifykit("memory://", **given)
    (channel,) = (each for each in kit.channels if isinstance(each, RoutedChannel))
    return [each.provider.account for each in channel.members]


def test_several_providers_in_one_url() -> None:
    """With and without blanks around what separates them, in the order in which they are used."""
    found = accounts_of(
        f"{POSTMARK}&weight=3||smtp://h.example?weight=1&sender=a@b.example  ||  sendgrid://K@?weight=0"
    )

    assert [POSTMARK, "smtp://h.example?sender=a@b.example", "sendgrid://K@"] == [each.provider for each in found]
    assert [3.0, 1.0, 0.0] == [each.options.weight for each in found]


def test_options_of_an_account(tmp_path: Path) -> None:
    """They are taken out of the URL, wherever they stand in it."""
    table = tmp_path / "costs.csv"
    table.write_text("# EUR for each segment\n\nDE, 0.075\n * ,0.1 # elsewhere\n")

    (found,) = accounts_of(f"twilio://A:B@?slow=1.5&from=+49&costs={table}&countries=DE&failures=3")

    assert "twilio://A:B@?from=+49&countries=DE" == found.provider
    assert (None, 3, timedelta(seconds=1.5)) == (found.options.weight, found.options.failures, found.options.slow)
    assert {"DE": Decimal("0.075"), "*": Decimal("0.1")} == found.options.costs


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "the URL of a provider is needed"),
        (f"{POSTMARK} || ", "the URL of a provider is needed"),
        (f"{POSTMARK}&weight=3 || {POSTMARK}", "weight: give one to each provider of the channel or to none"),
        (f"{POSTMARK}&weight=heavy", "postmark: weight is a number"),
        (f"{POSTMARK}&failures=2.5", "postmark: failures is a whole number"),
        (f"{POSTMARK}&failures=0", "failures: between 1 and"),
        (f"{POSTMARK}&slow=", "postmark: slow is a number"),
        (f"{POSTMARK}&costs=nowhere.csv", "postmark: the table of costs 'nowhere.csv' cannot be read"),
        (" || ".join([POSTMARK] * 17), "a channel has between 1 and 16 providers, not 17"),
    ],
)
def test_what_is_wrong_is_said_without_secrets(url: str, said: str) -> None:
    """When the kit is made."""
    with pytest.raises(ConfigurationError, match=said) as refused:
        Notifykit("memory://", email=url or [""])
    assert "TOKEN" not in str(refused.value)


@pytest.mark.parametrize("line", ["DE", "DE;0.075", "DE,much", "Germany,1", "DE,1,2"])
def test_a_line_that_is_no_cost(tmp_path: Path, line: str) -> None:
    """The error says which, or which country."""
    table = tmp_path / "costs.csv"
    table.write_text(f"FR,1\n{line}\n")

    with pytest.raises(ConfigurationError, match=r"costs: (line 2|has a key)"):
        accounts_of(f"{POSTMARK}&costs={table}")


def test_objects_and_lists() -> None:
    """URLs, accounts and providers of one's own, alone and together."""
    own = Recorder()
    smtp = Account("smtp://localhost:25?sender=a@b.example&tls=off")

    assert ["own://account"] == members(email=own)
    assert ["smtp://localhost:25"] == members(email=smtp)
    assert ["own://account", "smtp://localhost:25"] == members(email=[own, smtp])
    assert ["smtp://localhost:25", "catch"] == members(email=(smtp, "catch://"))
    assert ["own://account"] == members(sms=Account(own, costs={"DE": "0.07"}))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (5, "email: must be the URL of a provider, an Account, a Provider or a list of these, not int"),
        ([5], "email: provider: must be a Provider"),
        ([], "email: a channel has between 1 and 16 providers, not 0"),
    ],
)
def test_what_is_no_provider(given: Any, said: str) -> None:
    """The argument is named."""
    with pytest.raises(ConfigurationError, match=said):
        Notifykit("memory://", email=given)


def test_secrets_that_a_callable_returns() -> None:
    """It is asked whenever the account is set up; what it returns is written into the URL as it has to be."""
    asked = []

    def credentials() -> tuple[str, str]:
        asked.append(1)
        return "shop@x", "p:a/s?s"

    account = Account("smtp://mail.example?sender=a@b.example", credentials=credentials)
    named = members(email=account)

    assert "smtp://shop%40x:p%3Aa%2Fs%3Fs@mail.example?sender=a@b.example" == account.url()
    assert ["smtp://shop@x@mail.example:587"] == named
    assert len(asked) >= 2
    assert "postmark://K@?sender=a@b" == Account("postmark://old@?sender=a@b", credentials=lambda: "K").url()


@pytest.mark.parametrize("returned", [None, "", ("a", ""), 5, ["a"]])
def test_a_callable_that_returns_no_secret(returned: Any) -> None:
    """The kit says so at once."""
    with pytest.raises(ConfigurationError, match="credentials: must return a text, or a tuple of two"):
        Notifykit("memory://", email=Account(POSTMARK, credentials=lambda: returned))


def test_a_provider_that_is_an_object_has_its_own_secrets() -> None:
    """So a callable for them is a mistake."""
    with pytest.raises(ConfigurationError, match="credentials: a provider that is an object has its own"):
        Account(Recorder(), credentials=lambda: "K")


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by accounts nor by channels."""
    monkeypatch.setenv("TOKEN_OF_POSTMARK", "hunter2")
    url = "postmark://env:TOKEN_OF_POSTMARK@?sender=a@b.example || sendgrid://hunter2@?sender=a@b.example"
    kit = Notifykit("memory://", email=url)

    shown = repr(accounts_of(url)) + repr(kit.channels) + repr([each.__dict__ for each in kit.channels[2:]])

    assert "postmark" in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postmark://TOKEN@?sender=a@b.example", "postmark://***@?sender=a@b.example"),
        ("SES://ID:SECRET@eu-west-1?token=T&weight=2", "ses://***@eu-west-1?token=***&weight=2"),
        ("smtp://mail.example:25", "smtp://mail.example:25"),
        ("smtp://user:p/w@mail.example", "smtp://***@mail.example"),
        ("fcm:///path/secret", "fcm://"),
        ("no url", "***"),
    ],
)
def test_what_is_shown_of_a_url(url: str, expected: str) -> None:
    """The scheme, the host, and options that are no secrets."""
    assert expected == masked(url)
