"""TLS: the vetted address is dialled, the name is verified."""

from __future__ import annotations

import asyncio
import ssl

import pytest
import trustme

from notifykit.channels.webhook import Guard, WebhookChannel
from notifykit.channels.webhook.pool import client_context
from notifykit.models.destination import destination_of
from notifykit.models.outcome import Accepted, Transient

from .receivers import NOW, FixedResolver, Receiver, always_ok, make_claim, make_destination, make_endpoint

LOOPS = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
]


@pytest.fixture(params=LOOPS)
def anyio_backend(request):
    """Both common event loops have a TLS layer of their own."""
    if request.param[1]["use_uvloop"]:
        pytest.importorskip("uvloop", reason="needs uvloop")
    return request.param


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def server_tls(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@pytest.fixture(params=["wire", "httpx"])
async def channel(request, authority):
    """The channel, with an authority that it trusts and names that lead to this machine."""
    tls = client_context()
    authority.configure_trust(tls)
    resolver = FixedResolver({}, default=["127.0.0.1"])
    guard = Guard(allow=["127.0.0.0/8"], resolver=resolver)
    channel = WebhookChannel(guard=guard, transport=request.param, tls=tls)
    yield channel
    await channel.aclose()
    await asyncio.sleep(0)


async def test_the_name_is_kept_although_the_address_is_dialled(channel, authority):
    """SNI, the certificate check and ``Host`` use the name; the connection is kept, and speaks HTTP/1.1."""
    seen = []
    tls = server_tls(authority, "hook.test")
    tls.sni_callback = lambda _, name, __: seen.append(name)
    protocols = []

    async def script(exchange):
        protocols.append(exchange.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await always_ok(exchange)

    async with Receiver(script, tls=tls) as receiver:
        endpoint = make_endpoint(f"https://hook.test:{receiver.port}/")
        outcomes = [await channel.send(make_claim(b"x" * 100_000), destination_of(endpoint), now=NOW) for _ in range(3)]

        assert [Accepted] * 3 == [type(outcome) for outcome in outcomes]
        assert (["hook.test"], ["http/1.1"]) == (seen, protocols)
        assert f"host: hook.test:{receiver.port}".encode() in receiver.requests[0][0]
        assert [100_000] * 3 == [len(body) for _, body in receiver.requests]


async def test_a_certificate_for_another_name_is_refused(channel, authority):
    """A valid certificate for another name gets no delivery."""
    async with Receiver(always_ok, tls=server_tls(authority, "other.test")) as receiver:
        outcome = await channel.send(make_claim(), make_destination(f"https://hook.test:{receiver.port}/"), now=NOW)

        assert Transient(reason="tls_failed") == outcome
        assert [] == receiver.requests


async def test_an_unknown_authority_is_refused(channel):
    """A self-made certificate gets no delivery."""
    async with Receiver(always_ok, tls=server_tls(trustme.CA(), "hook.test")) as receiver:
        outcome = await channel.send(make_claim(), make_destination(f"https://hook.test:{receiver.port}/"), now=NOW)

        assert Transient(reason="tls_failed") == outcome
        assert [] == receiver.requests


async def test_two_names_on_one_address_share_no_connection(channel, authority):
    """A connection belongs to a name: the certificate is checked for each of them."""
    async with Receiver(always_ok, tls=server_tls(authority, "one.test")) as receiver:
        outcomes = [
            await channel.send(make_claim(), make_destination(f"https://{name}:{receiver.port}/", id=name), now=NOW)
            for name in ("one.test", "two.test")
        ]

        assert [Accepted, Transient] == [type(outcome) for outcome in outcomes]


def test_the_settings_are_strict():
    """Certificates and names are verified, and nothing older than TLS 1.2 is spoken."""
    context = client_context()

    assert (ssl.CERT_REQUIRED, True) == (context.verify_mode, context.check_hostname)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
