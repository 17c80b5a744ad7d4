"""Environment variables: a switch is on or off, and a mistyped name is found."""

from __future__ import annotations

import pytest

from notifykit.environment import VARIABLES, misspelt, switch
from notifykit.errors import ConfigurationError
from notifykit.stores.encoding.encryption import payloads_are_encrypted


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("NOTIFYKIT_ALOW", "NOTIFYKIT_ALLOW"),
        ("NOTIFYKIT_KEY", "NOTIFYKIT_KEYS"),
        ("notifykit_url", "NOTIFYKIT_URL"),
        ("NOTIFY_KIT_TENANT", "NOTIFYKIT_TENANT"),
        ("NOTIFYKIT_WORKERS_OF_THE_HOST", None),
    ],
)
def test_a_mistyped_name_is_reported(name: str, meant: str | None) -> None:
    """A name that looks like a variable of the library but is none is reported, with the likely intended one."""
    assert {name: meant} == misspelt({name: "1", "PATH": "/bin", **dict.fromkeys(VARIABLES, "1")})


def test_no_switch_ignores_an_unknown_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Payloads are not left in the clear because of a mistyped value; what the program sets comes first."""
    monkeypatch.setenv("NOTIFYKIT_ENCRYPT_PAYLOADS", "ture")

    with pytest.raises(ConfigurationError, match="NOTIFYKIT_ENCRYPT_PAYLOADS"):
        payloads_are_encrypted(None)
    assert payloads_are_encrypted(True)


def test_a_switch_that_is_not_set_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not set, empty and blank are the same."""
    monkeypatch.delenv("NOTIFYKIT_ALLOW_HTTP", raising=False)
    assert not switch("NOTIFYKIT_ALLOW_HTTP")
    monkeypatch.setenv("NOTIFYKIT_ALLOW_HTTP", " ")
    assert not switch("NOTIFYKIT_ALLOW_HTTP")
