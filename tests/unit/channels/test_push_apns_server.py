"""APNs against an HTTP/2 server that nobody here wrote, whose application checks what Apple checks."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest

from notifykit import ConfigurationError
from notifykit.channels import provider_channel_from_url
from notifykit.models.messages import PushMessage
from notifykit.models.outcome import NO_ANSWER, Accepted, BadRecipient, CircuitEffect, Outcome, Transient
from notifykit.testing.suites.provider import make_claim

from .http2_server import AUTHORITY
from .push_keys import APNS_TOKEN, APNS_URL, EC_KEY, public_pem

pytestmark = pytest.mark.interop
pytest.importorskip("granian")
FOLDER = Path(__file__).parent


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """Where the server listens."""
    folder = tmp_path_factory.mktemp("apns")
    certificate = AUTHORITY.issue_cert("127.0.0.1")
    AUTHORITY.cert_pem.write_to_path(folder / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "granian", "--interface", "asginl", "--http", "2", "--no-log", "--no-ws"),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--ssl-certificate", folder / "cert.pem", "--ssl-keyfile", folder / "key.pem", "apns_app:app"),
    ]
    environment = {**os.environ, "APNS_PUBLIC_KEY": public_pem(EC_KEY), "PYTHONPATH": str(FOLDER)}
    process = subprocess.Popen(list(map(str, command)), env=environment, cwd=folder)
    try:
        _wait(port)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
            yield f"{APNS_URL}&endpoint=https://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _wait(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the server did not start")


async def send_all(url: str, *tokens: str) -> list[Outcome]:
    """Send a push to each device at the same time."""
    channel = provider_channel_from_url("push", url)
    provider, message = channel.provider, PushMessage(title="Grüße", body="It is here ✓")  # type: ignore[attr-defined]

    async def send(token: str) -> Outcome:
        destination = channel.destination(tenant="acme", subscriber_id="user:42", address=token)  # type: ignore[attr-defined]
        outcome = await provider.send(message, make_claim("push", token), destination, now=datetime.now(UTC))
        return attrs.evolve(outcome, answer=NO_ANSWER)

    try:
        return await asyncio.gather(*map(send, tokens))
    finally:
        await channel.aclose()


async def test_many_pushes_and_one_that_is_gone(url):
    """Each has its own outcome."""
    gone = "410" + APNS_TOKEN[3:]

    *others, last = await send_all(url, *[f"{number:064x}" for number in range(1, 301)], gone)

    assert all(isinstance(outcome, Accepted) for outcome in others)
    assert BadRecipient(reason="apns_Unregistered") == last


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("team=DEF123GHIJ", "team=OTHER", "apns_InvalidProviderToken"),
        ("topic=org.example.shop", "topic=org.example.other", "apns_TopicDisallowed"),
    ],
)
async def test_wrong_settings_open_the_circuit(url, old, new, reason):
    """No token is called wrong for it."""
    assert [Transient(reason=reason, circuit=CircuitEffect.OPEN)] == await send_all(url.replace(old, new), APNS_TOKEN)


async def test_settings_are_checked_without_a_push(url):
    """What is asked for a device that does not exist is judged by the key and the topic first."""
    said = []
    for tried in (url, url.replace("team=DEF123GHIJ", "team=OTHER")):
        provider = provider_channel_from_url("push", tried).provider  # type: ignore[attr-defined]
        try:
            said.append(await provider.check())
        except ConfigurationError as error:
            said.append(str(error))
        await provider.aclose()

    assert "apns://org.example.shop, the key may send to the topic" == said[0]
    assert 'the vendor refused: 403 {"reason": "InvalidProviderToken"}' in said[1]
