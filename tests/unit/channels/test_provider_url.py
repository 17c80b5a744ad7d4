"""URLs of vendors' accounts: what is read from them, and what is refused without showing a secret."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from notifykit.channels.provider_url import ProviderUrl, parse_provider_url
from notifykit.errors import ConfigurationError


def parse(url: str, credentials: int = 1, *, host: bool = False) -> ProviderUrl:
    example = "vendor://KEY@?sender=x"
    return parse_provider_url(url, example=example, credentials=credentials, options=("sender", "token"), host=host)


def test_reads_the_parts() -> None:
    """A key, a host and options; a plus is no blank."""
    url = parse("vendor://a%2Fb%3Ac@Main.Example?sender=a+b@example.org&timeout=7&connections=3")

    assert (("a/b:c",), "main.example", "a+b@example.org") == (url.credentials, url.host, url.options["sender"])
    assert (timedelta(seconds=7), 3) == (url.timeout, url.connections)


def test_has_defaults() -> None:
    """No host is needed, unless a vendor says so."""
    url = parse("vendor://key@")

    assert ("", timedelta(seconds=30), 32) == (url.host, url.timeout, url.connections)
    assert "https://api.example.org" == url.endpoint("https://api.example.org")


def test_reads_secrets_from_the_environment_and_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each of the secrets on its own, the last line's end is not part of it."""
    monkeypatch.setenv("MY_ID", "the-id")
    file = tmp_path / "secret"
    file.write_text("the-secret\n")

    url = parse(f"vendor://env:MY_ID:file:{str(file).replace('/', '%2F')}@?token=file:{file}", credentials=2)

    assert (("the-id", "the-secret"), "the-secret") == (url.credentials, url.secret("token"))
    assert url.secret("sender") is None
    assert ("plain", "the-id") == parse("vendor://plain:env:MY_ID@", credentials=2).credentials


def test_the_account_tells_keys_apart() -> None:
    """Circuits of two keys are two; the key does not show."""
    first, second = parse("vendor://first-key@eu"), parse("vendor://second-key@eu")

    assert first.account != second.account
    assert first.account.startswith("vendor://key-")
    assert first.account.endswith("@eu")
    assert "first-key" not in first.account + repr(first)
    assert "vendor://eu" == parse("vendor://eu", credentials=0).account


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("vendor://SECRET@?sende=x", "unknown options: sende; known: connections, endpoint, sender, timeout, token"),
        ("vendor://@", "1 secret"),
        ("vendor://SECRET:SECRET@", "1 secret"),
        ("vendor://SECRET:SECRET:SECRET@", "too many ':'"),
        ("vendor://SEC/RET@", "%2F"),
        ("vendor://SECRET@host/path", "path"),
        ("vendor://SECRET@#x", "fragment"),
        ("vendor://SECRET@ho%st", "not a name"),
        ("vendor://SECRET@[::1", "not a provider's URL"),
        ("vendor://SECRET@?sender", "not a provider's URL"),
        ("vendor://SECRET%00@", "control characters"),
        ("vendor://env:NOT_SET_HERE@", "NOT_SET_HERE is not set"),
        ("vendor://file:%2Fnot%2Fthere@", "cannot be read: FileNotFoundError"),
        ("vendor://SECRET@?timeout=0", "timeout is a whole number between 1 and 600"),
        ("vendor://SECRET@?connections=²", "connections is a whole number"),
        ("vendor://SECRET@?endpoint=http://vendor.example", "endpoint is"),
        ("vendor://SECRET@?endpoint=https://user@vendor.example", "endpoint is"),
        ("vendor://SECRET@?endpoint=https://vendor.example:port", "endpoint is"),
        ("vendor://SECRET@?endpoint=nothing", "endpoint is"),
    ],
)
def test_refuses(url: str, problem: str) -> None:
    """Each mistake has a sentence that says what to write."""
    with pytest.raises(ConfigurationError) as caught:
        parse(url)

    assert problem in str(caught.value)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_host_can_be_required() -> None:
    """Such as the region."""
    with pytest.raises(ConfigurationError, match="a name must follow"):
        parse("vendor://key@", host=True)


def test_the_endpoint_can_be_this_machine() -> None:
    """A test's server needs no TLS."""
    url = parse("vendor://key@?endpoint=http://127.0.0.1:8080/api/")

    assert "http://127.0.0.1:8080/api" == url.endpoint("https://api.example.org")


def test_a_choice_is_one_of_its_values() -> None:
    """The first one by default."""
    values = {"us": "https://us", "eu": "https://eu"}

    assert "https://us" == parse("vendor://key@").choice("sender", values)
    assert "https://eu" == parse("vendor://key@?sender=eu").choice("sender", values)
    with pytest.raises(ConfigurationError, match="sender is one of us, eu"):
        parse("vendor://key@?sender=mars").choice("sender", values)
