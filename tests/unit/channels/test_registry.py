"""Channels by URL: the scheme says which, third parties can add theirs, and what is wrong is said."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from notifykit import ConfigurationError, Notifykit, channels
from notifykit.channels import channel_from_url
from notifykit.channels.webhook import Guard, WebhookChannel


class MadeElsewhere:
    """A channel of a third party."""

    def __init__(self, url: str) -> None:
        self.url, self.name = url, "sms"

    async def send(self, *_: object, **__: object) -> None:
        """Do nothing."""

    async def aclose(self) -> None:
        """Do nothing."""


@pytest.fixture
def sms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the third party's package."""
    entry = EntryPoint("sms", f"{__name__}:MadeElsewhere", "notifykit.channels")
    monkeypatch.setattr(EntryPoint, "load", lambda _: MadeElsewhere)
    monkeypatch.setattr(channels, "entry_points", lambda group: EntryPoints([entry] if group == entry.group else []))


def test_the_scheme_says_which_channel() -> None:
    """The webhook channel takes its egress rules beside the URL."""
    assert isinstance(channel_from_url("webhook://", guard=Guard(), transport="wire"), WebhookChannel)


@pytest.mark.parametrize("url", ["", "sms", "://key", "/var/lib/key"])
def test_what_is_no_url_is_refused_and_not_shown(url: str) -> None:
    """It may hold an account's key; the message lists the channels that there are."""
    with pytest.raises(
        ConfigurationError, match="begins with its name and '://', known: smtp, smtps, webhook"
    ) as refused:
        channel_from_url(url)
    assert "key" not in str(refused.value)


def test_an_unknown_channel_is_refused() -> None:
    """The message lists the known ones and says how more are added."""
    with pytest.raises(ConfigurationError, match=r"no channel for 'fax' URLs; known: smtp, smtps, webhook\. A package"):
        channel_from_url("fax://key@provider")


def test_webhooks_take_nothing_behind_the_scheme() -> None:
    """Where they go is up to the egress rules."""
    with pytest.raises(ConfigurationError, match="takes no options"):
        channel_from_url("webhook://?allow=10.0.0.0/8", guard=Guard(), transport="wire")


@pytest.mark.usefixtures("sms")
class TestAKit:
    """Channels of a kit."""

    async def test_delivers_over_webhooks_and_what_it_is_given(self) -> None:
        """URLs, and channels as they are."""
        for given in (["sms://"], [MadeElsewhere("sms://")]):
            async with Notifykit("memory://", channels=given) as kit:  # type: ignore[arg-type]
                assert ["webhook", "sms"] == list(kit.dispatcher()._channels)

    async def test_reads_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Unless it is given channels."""
        monkeypatch.setenv("NOTIFYKIT_CHANNELS", "sms://account, ")

        async with Notifykit("memory://") as kit, Notifykit("memory://", channels=[]) as other:
            assert ["webhook", "sms"] == list(kit.dispatcher()._channels)
            assert ["webhook"] == list(other.dispatcher()._channels)

    async def test_makes_channels_anew_for_each_dispatcher(self) -> None:
        """A dispatcher closes its channels when it ends."""
        async with Notifykit("memory://", channels=["sms://"]) as kit:
            first, second = kit.dispatcher(), kit.dispatcher()
        assert first._channels["sms"] is not second._channels["sms"]

    async def test_lets_a_channel_replace_webhooks(self) -> None:
        """The one with that name is used."""
        ours = WebhookChannel()
        async with Notifykit("memory://", channels=[ours]) as kit:
            assert {"webhook": ours} == kit.dispatcher()._channels

    @pytest.mark.parametrize("wrong", [[7], 7, [object()], "sms://"])
    def test_refuses_what_is_no_channel(self, wrong: object) -> None:
        """The argument is named."""
        with pytest.raises(ConfigurationError, match="channels"):
            Notifykit("memory://", channels=wrong)  # type: ignore[arg-type]
