"""HTTP/2: what the suite of providers says, over it, and what servers do that HTTP/1.1 does not know."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import attrs
import pytest
from h2.settings import SettingCodes

from notifykit import MissingExtraError
from notifykit.channels import http2, http_provider, provider_channel_from_url
from notifykit.channels.http_answers import HttpAnswer
from notifykit.channels.http_provider import HttpProvider, HttpRequest
from notifykit.channels.single_flight import SingleFlight
from notifykit.models.outcome import Accepted, CircuitEffect, Outcome, Transient, Uncertain, Unsent
from notifykit.testing import Reply

from . import test_push_apns
from .http2_server import AUTHORITY, Act, Http2Server, client_context, server_context
from .push_keys import APNS_URL, fcm_url
from .test_http_provider import send

OK = Reply(status=200, body=b"ok")


@attrs.frozen
class Vendor:
    """Posts a body and accepts what HTTP accepts."""

    url: str
    body: bytes = b"text"
    name: str = "vendor"
    account: str = "vendor://account"
    secrets: tuple[str, ...] = ()

    def request(self, *_: object, **__: object) -> HttpRequest:
        return HttpRequest(url=f"{self.url}/base/path?a=b", headers={"authorization": "key-1"}, body=self.body)

    def outcome(self, answer: HttpAnswer, *, now) -> Outcome:
        return answer.outcome(now=now)


def provider_of(server: Http2Server, *, connections: int = 4, body: bytes = b"text") -> HttpProvider:
    return HttpProvider(
        Vendor(server.url, body), connections=connections, http2=f"{server.url}/base", tls=client_context()
    )


@pytest.fixture
def server():
    with Http2Server(OK) as server:
        yield server


@pytest.fixture
async def provider(server):
    provider = provider_of(server)
    yield provider
    await provider.aclose()


class TestApnsOverHttp2(test_push_apns.TestApns):
    """The whole suite of a provider."""

    @pytest.fixture
    def server(self, tmp_path, monkeypatch):
        """The vendor, with a certificate that OpenSSL trusts."""
        AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        with Http2Server(self.success) as server:
            yield server


class TestRequests:
    """Many on a connection."""

    async def test_concurrent_ones_share_a_connection(self, server, provider):
        """Also those that come before it is open."""
        server.reply(*[Reply(status=200, delay=timedelta(seconds=0.05))] * 50)

        outcomes = await asyncio.gather(*(send(provider) for _ in range(50)))

        assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        assert (50, 1) == (len(server.requests), server.connections)
        assert {("/base/path?a=b", b"text")} == {(request.path, request.body) for request in server.requests}
        assert {"notifykit"} == {request.header("user-agent") for request in server.requests}

    async def test_more_than_the_server_takes_at_a_time(self):
        """Further connections are opened; beyond their number, requests wait."""
        with Http2Server(
            Reply(status=200, delay=timedelta(seconds=0.02)), settings={SettingCodes.MAX_CONCURRENT_STREAMS: 2}
        ) as server:
            provider = provider_of(server, connections=3)
            outcomes = await asyncio.gather(*(send(provider) for _ in range(20)))
            assert all(isinstance(outcome, Accepted) for outcome in outcomes)
            assert 3 == server.connections

            await provider.aclose()

    async def test_who_waits_for_room_has_sent_nothing(self):
        """The limit is this process's own."""
        with Http2Server(OK, settings={SettingCodes.MAX_CONCURRENT_STREAMS: 1}) as server:
            provider = provider_of(server, connections=1)
            server.reply(Reply(delay=timedelta(seconds=30)))
            first = asyncio.create_task(send(provider, timeout=0.4))
            await server.aexpect(1)

            assert Unsent(reason="connection_limit") == await send(provider, timeout=0.05)
            assert Uncertain(reason="timeout") == await first
            await provider.aclose()

    async def test_a_body_larger_than_the_window(self):
        """It is sent as the server takes it."""
        body = bytes(range(256)) * 1000
        with Http2Server(OK, settings={SettingCodes.INITIAL_WINDOW_SIZE: 1000}) as server:
            provider = provider_of(server, body=body)
            outcomes = await asyncio.gather(*(send(provider) for _ in range(3)))

            assert all(isinstance(outcome, Accepted) for outcome in outcomes)
            assert all(body == request.body for request in server.requests)
            await provider.aclose()

    async def test_an_answer_before_the_request_has_ended(self):
        """The rest is not sent."""
        with Http2Server(OK, settings={SettingCodes.INITIAL_WINDOW_SIZE: 0}, early=True) as server:
            provider = provider_of(server)
            for _ in range(2):
                assert b"ok" == (await send(provider)).answer.body

            assert 1 == server.connections
            await provider.aclose()

    async def test_the_next_request_after_one_that_was_given_up(self, server, provider):
        """Its stream is reset, and the connection stays in use, as something has come since."""
        server.reply(Reply(delay=timedelta(seconds=30)))
        late = asyncio.create_task(send(provider, timeout=0.2))
        await server.aexpect(1)
        assert isinstance(await send(provider), Accepted)
        assert Uncertain(reason="timeout") == await late

        assert isinstance(await send(provider), Accepted)
        assert 1 == server.connections

    async def test_a_connection_on_which_nothing_comes_is_not_used_again(self, server, provider):
        """It may be dead without either end's knowledge."""
        server.reply(Reply(delay=timedelta(seconds=30)))
        assert Uncertain(reason="timeout") == await send(provider, timeout=0.2)

        assert isinstance(await send(provider), Accepted)
        assert 1 == server.connections

    async def test_an_idle_connection_is_not_used_again(self, server, provider):
        """A router may have forgotten it."""
        assert isinstance(await send(provider), Accepted)
        (first,) = server._exchanges
        provider._multiplexed._connections[0]._heard -= 100
        assert isinstance(await send(provider), Accepted)

        assert first not in server._exchanges

    async def test_a_connection_whose_streams_are_used_up(self, server, provider, monkeypatch):
        """Their numbers never come again."""
        monkeypatch.setattr(http2, "_LAST_STREAM", 1)
        for _ in range(5):
            assert isinstance(await send(provider), Accepted)

        assert 1 == server.connections


class TestServers:
    """What servers do."""

    @pytest.mark.parametrize("act", ["refuse", "leave"])
    async def test_what_was_not_processed_is_sent_again(self, server, provider, act):
        """Within the same attempt, because nothing happened."""
        assert isinstance(await send(provider), Accepted)
        server.reply(Act(act=act), Act(act=act))

        assert isinstance(await send(provider), Accepted)

    async def test_what_is_never_processed_is_transient(self, server, provider):
        """A server that refuses everything is not asked without end."""
        server.reply(*[Act(act="refuse")] * 3)

        assert Transient(reason="reset") == await send(provider)
        assert 3 == len(server.requests)

    async def test_a_shutdown_loses_nothing(self, server, provider):
        """Requests under way are answered; the next one opens another connection."""
        server.reply(
            Reply(status=200, delay=timedelta(seconds=0.1)),
            Act(act="finish", status=200, body=b"last", delay=timedelta(seconds=0.05)),
        )
        first = asyncio.create_task(send(provider))
        await server.aexpect(1)
        assert b"last" == (await send(provider)).answer.body
        assert isinstance(await send(provider), Accepted)
        assert isinstance(await first, Accepted)
        assert 3 == len(server.requests)

    @pytest.mark.parametrize(
        ("act", "reason"),
        [
            (Act(act="reset"), "answer_lost"),
            (Act(act="crash"), "answer_lost"),
            (Act(act="garbage"), "bad_response"),
            (Reply(hang_up=True), "answer_lost"),
        ],
    )
    async def test_no_answer_is_uncertain(self, server, provider, act, reason):
        """The message may have been taken; the next one is sent."""
        server.reply(act)

        assert Uncertain(reason=reason) == await send(provider)
        assert isinstance(await send(provider), Accepted)

    async def test_a_crash_in_the_middle_of_a_request(self):
        """Whatever of it has been sent."""
        with Http2Server(OK, settings={SettingCodes.INITIAL_WINDOW_SIZE: 0}, early=True) as server:
            provider = provider_of(server)
            server.reply(Act(act="crash"))

            assert isinstance(await send(provider), Uncertain)
            assert isinstance(await send(provider), Accepted)
            await provider.aclose()

    async def test_a_server_that_hangs_up_at_once(self):
        """Nothing was sent."""
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=server_context())
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        provider = HttpProvider(Vendor(url), http2=url, tls=client_context())

        assert Transient(reason="connect_failed") == await send(provider)
        await provider.aclose()
        server.close()

    async def test_another_protocol(self):
        """A proxy that speaks only HTTP/1.1 gets no message."""
        with Http2Server(OK, alpn="http/1.1") as server:
            provider = provider_of(server)

            assert Transient(reason="connect_failed") == await send(provider)
            assert not server.requests
            await provider.aclose()

    async def test_a_certificate_that_is_not_trusted(self, server):
        """The circuit opens, and nothing is sent."""
        provider = HttpProvider(Vendor(server.url), http2=server.url)

        assert Transient(reason="tls_failed", circuit=CircuitEffect.OPEN) == await send(provider)
        await provider.aclose()

    async def test_nobody_listens(self, free_tcp_port):
        """All who wait for the connection are told at once."""
        url = f"https://127.0.0.1:{free_tcp_port}"
        provider = HttpProvider(Vendor(url), http2=url)

        outcomes = await asyncio.gather(*(send(provider) for _ in range(5)))
        assert [Transient(reason="connect_failed")] * 5 == outcomes
        await provider.aclose()

    async def test_a_server_that_says_nothing(self, monkeypatch):
        """Connecting has a deadline of its own."""
        monkeypatch.setattr(http2, "_CONNECT_TIMEOUT", 0.1)
        writers = []
        silent = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
        url = f"https://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
        provider = HttpProvider(Vendor(url), http2=url)

        assert Transient(reason="connect_failed") == await send(provider)
        assert Transient(reason="timeout") == await send(provider, timeout=0.05)
        await provider.aclose()
        for writer in writers:
            writer.close()
        silent.close()


@pytest.mark.parametrize(("url", "name"), [(APNS_URL, "apns"), (fcm_url("https://x.example"), "fcm")])
def test_without_the_extra(monkeypatch, url, name):
    """The message names it."""
    monkeypatch.setattr(http_provider, "find_spec", lambda _: None)

    with pytest.raises(MissingExtraError, match=rf"sending through {name} needs .*\[push\]"):
        provider_channel_from_url("push", url)


async def test_what_is_made_once_for_all():
    """A failure is that of all who wait, and the next who asks has it made anew."""
    made = []

    async def make() -> int:
        made.append(1)
        await asyncio.sleep(0)
        if len(made) == 1:
            raise ValueError("once")
        return len(made)

    once = SingleFlight(make)
    failed = await asyncio.gather(once.get(), once.get(), return_exceptions=True)

    assert [ValueError, ValueError] == [type(each) for each in failed]
    assert [2, 2] == list(await asyncio.gather(once.get(), once.get()))
