"""``notifykit catch``: the page with people's messages, over a real socket."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from notifykit import Event, Notifykit
from notifykit.channels import provider_channel_from_url
from notifykit.channels.catcher import Catcher
from notifykit.channels.messages import MessageChannel
from notifykit.cli.catch.command import _VENDORS, Page
from notifykit.cli.catch.tail import Tail
from notifykit.cli.catch.vendors import CaughtVendor
from notifykit.cli.receiver import Receiver
from notifykit.contrib.provider_receipts import receipts_app
from notifykit.models.messages import SmsMessage
from notifykit.models.receipt import ProviderReceipt
from notifykit.testing import START
from notifykit.testing.suites.provider import make_claim
from tests.unit.cli.driving import Command, start
from tests.unit.web.serving import serving

EMAIL = {"channel": "email", "to": "ada@example.org", "message": {"subject": "Hi", "text": "Hi", "html": "<p>Hi</p>"}}


def append(file: Path, *messages: object) -> None:
    with file.open("a") as lines:
        lines.writelines(json.dumps(message) + "\n" for message in messages)


async def test_the_page_gets_messages_as_they_come(tmp_path: Path) -> None:
    """A request that asks for later messages waits until there is one."""
    file = tmp_path / "caught.jsonl"
    page = Page(Tail(file))
    async with (
        Receiver(page.handle) as receiver,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{receiver.port}") as client,
    ):
        page.port = receiver.port
        following = asyncio.create_task(page.follow())
        waiting = asyncio.create_task(client.get("/messages?after=0"))
        await asyncio.sleep(0)
        append(file, EMAIL, {"channel": "sms", "message": {"text": "Hello"}})
        found = (await waiting).json()["messages"]
        again = (await client.get("/messages?after=1")).json()["messages"]
        html = await client.get("/html/1")
        missing = [(await client.get(path)).status_code for path in ("/html/2", "/html/9", "/html/x", "/other")]
        bad = (await client.get("/messages?after=x")).status_code
        page_itself = [await client.get(path) for path in ("/", "/page.js", "/page.css")]
        elsewhere = await client.get("/", headers={"host": "evil.example"})
        posted = await client.post("/")
        following.cancel()

    assert [1, 2] == [message["number"] for message in found]
    assert ["sms"] == [message["channel"] for message in again]
    assert "<p>Hi</p>" == html.text
    assert html.headers["content-security-policy"].startswith("sandbox")
    assert ([404] * 4, 400, 403, 405) == (missing, bad, elsewhere.status_code, posted.status_code)
    assert all("script-src 'self'" in answer.headers["content-security-policy"] for answer in page_itself)


def test_it_runs_until_it_is_interrupted(tmp_path: Path) -> None:
    """It says where the page is; Ctrl-C ends it without a word."""
    file = tmp_path / "caught.jsonl"
    append(file, EMAIL)
    with start("catch", "--no-browser", "--port", "0", "--json", "--file", str(file)) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        answer = httpx.get(said["page"] + "messages?after=0").json()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)

    assert str(file) == said["file"]
    assert ["Hi"] == [message["message"]["subject"] for message in answer["messages"]]
    assert (130, "") == (process.returncode, err)


@pytest.mark.parametrize("name", [".", "missing/caught.jsonl", "caught\0.jsonl"])
def test_a_file_that_cannot_be_is_refused(cli: Command, name: str) -> None:
    """A folder, a file in a folder that is missing, and a name that no file has."""
    answer = cli("catch", "--no-browser", "--file", name)

    assert 1 == answer.code
    assert "--file" in answer.err


class Kit:
    """Keeps receipts."""

    def __init__(self) -> None:
        self.kept: list[ProviderReceipt] = []

    async def record_receipts(self, receipts: Iterable[ProviderReceipt]) -> int:
        self.kept += receipts
        return len(self.kept)


@pytest.mark.parametrize("name", _VENDORS)
def test_what_simulated_vendors_take_is_shown(tmp_path: Path, name: str) -> None:
    """The application verifies their receipts, and the page has the message and what was answered."""
    kept, tail = Kit(), Tail(tmp_path / "caught.jsonl")
    vendor = CaughtVendor(name, Catcher(tmp_path / "caught.jsonl"), None)
    app = Starlette(routes=[Mount("/receipts", receipts_app(kept, {name: vendor.secret}))])
    with vendor.server, serving(app) as served:
        vendor.receipts = f"{served.url}/receipts/{name}"
        asyncio.run(publish_to(vendor))
    tail.read()

    message, receipt = tail.messages
    assert (vendor.server.channel, name, vendor.server.address("bounce")) == tuple(
        message[field] for field in ("channel", "type", "to")
    )
    assert "A-1" in message["message"]["text"]
    assert f"Receipts for {vendor.receipts}: bounce: answered 200" == receipt["message"]["text"]
    assert [("bounced", True)] == [(each.kind.value, each.permanent) for each in kept.kept]


async def publish_to(vendor: CaughtVendor) -> None:
    """Publish an event to an address that bounces, and look twice."""
    channel = vendor.server.channel
    async with Notifykit("memory://", **{channel: vendor.server.provider_url}) as kit:  # type: ignore[arg-type]
        await kit.subscriptions.create(
            "order.*",
            tenant="acme",
            subscriber="user:42",
            channel=channel,
            address=vendor.server.address("bounce"),
        )
        await kit.apublish(Event(type="order.shipped", data={"order": "A-1"}), tenant="acme")
        async with kit.dispatcher() as dispatcher:
            await dispatcher.drained()
    for _ in range(2):
        await vendor.look()


def test_it_says_how_to_reach_simulated_vendors(tmp_path: Path) -> None:
    """The URL of the provider, and what verifies receipts; receipts that nobody takes are named."""
    options = ("--vendor", "twilio", "--receipts", "http://127.0.0.1:1/receipts")
    file = str(tmp_path / "caught.jsonl")
    with start("catch", "--no-browser", "--port", "0", "--json", "--file", file, *options) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        url = said["vendors"]["twilio"]["provider"]
        asyncio.run(send(url))
        shown: list[str] = []
        while len(shown) < 2:
            answer = httpx.get(said["page"] + f"messages?after={len(shown)}").json()
            shown += [message["message"]["text"] for message in answer["messages"]]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)

    assert "simulated-token" == said["vendors"]["twilio"]["receipt_secret"]
    assert "Hello" == shown[0]
    assert shown[1].startswith("The receipts cannot be posted to http://127.0.0.1:1/receipts/twilio")
    assert (130, "") == (process.returncode, err)


async def send(url: str) -> None:
    """Send a text message over a provider."""
    channel = provider_channel_from_url("sms", url)
    assert isinstance(channel, MessageChannel)
    to = channel.destination(tenant="acme", subscriber_id="user:42", address="+12025550100")
    await channel.provider.send(SmsMessage(text="Hello"), make_claim("sms", "+12025550100"), to, now=START)
    await channel.aclose()


def test_receipts_go_to_a_url(cli: Command) -> None:
    """Anything else is a usage error."""
    assert 2 == cli("catch", "--no-browser", "--vendor", "twilio", "--receipts", "localhost").code
