"""The catcher keeps every message of every channel in a file, whatever appends beside it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from notifykit import ConfigurationError, Event, Notifykit
from notifykit.channels import catcher
from notifykit.channels.catcher import Catcher, file_of
from notifykit.channels.messages import MessageChannel
from notifykit.channels.plain import PlainRenderer
from notifykit.cli.catch.tail import Tail
from notifykit.models.messages import KINDS, EmailMessage, Message
from notifykit.models.outcome import Accepted, Permanent, Transient

from .receivers import NOW, make_claim


@attrs.frozen
class Fixed:
    """Makes one message for everybody."""

    message: Message

    def render(self, *_: object, **__: object) -> Message:
        return self.message


def channel(name: str, file: Path) -> MessageChannel:
    return MessageChannel(name, PlainRenderer(), Catcher(file))


async def send(over: MessageChannel, address: str, **claim: Any) -> Any:
    to = over.destination(tenant="acme", subscriber_id="user:42", address=address)
    return await over.send(make_claim(channel=over.name, **claim), to, now=NOW)


@pytest.mark.parametrize("name", KINDS)
async def test_messages_of_each_channel_are_kept(name: str, tmp_path: Path) -> None:
    """With the address, the recipient and the message itself; only the owner can read the file."""
    file = tmp_path / "caught.jsonl"

    outcome = await send(channel(name, file), "ada")
    (kept,) = map(json.loads, file.read_bytes().splitlines())

    assert isinstance(outcome, Accepted)
    assert (name, "ada", "user:42", "acme") == (kept["channel"], kept["to"], kept["recipient"], kept["tenant"])
    assert kept["message"]
    assert 0o600 == file.stat().st_mode & 0o777


async def test_an_e_mail_that_no_provider_could_send_is_refused(tmp_path: Path) -> None:
    """With the same reason, and it is not kept."""
    message = EmailMessage(subject="a\nb", text="x")
    over = MessageChannel("email", Fixed(message), Catcher(tmp_path / "caught.jsonl"))

    outcome = await send(over, "ada@example.org")

    assert isinstance(outcome, Permanent)
    assert "invalid_subject" == outcome.reason
    assert not (tmp_path / "caught.jsonl").exists()


async def test_a_folder_that_is_missing_is_a_transient_failure(tmp_path: Path) -> None:
    """The delivery is tried again; nothing is lost."""
    outcome = await send(channel("sms", tmp_path / "missing" / "caught.jsonl"), "ada")

    assert isinstance(outcome, Transient)
    assert "catcher_unwritable" == outcome.reason


async def test_concurrent_writes_are_whole_lines(tmp_path: Path) -> None:
    """However many channels and threads append to the file."""
    file = tmp_path / "caught.jsonl"
    writers = [channel("sms", file) for _ in range(4)]

    await asyncio.gather(*(send(writers[n % 4], f"number {n}") for n in range(80)))

    assert {f"number {n}" for n in range(80)} == {json.loads(line)["to"] for line in file.read_bytes().splitlines()}


async def test_a_file_that_has_grown_too_large_is_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read of it goes on with the next message."""
    file = tmp_path / "caught.jsonl"
    over, tail = channel("sms", file), Tail(file)
    for number in range(5):
        await send(over, f"number {number}")
    tail.read()
    monkeypatch.setattr(catcher, "MAX_FILE", 1000)
    await send(over, "the next")
    tail.read()

    assert 1 == len(file.read_bytes().splitlines())
    assert "the next" == tail.after(5)[0]["to"]


async def test_the_tail_follows_what_is_appended(tmp_path: Path) -> None:
    """It waits for whole lines, counts lines that are no message, and goes on with the next file."""
    file = tmp_path / "caught.jsonl"
    tail = Tail(file)
    nothing = tail.read()
    await send(channel("sms", file), "first")
    first = tail.read()
    with file.open("ab") as half:
        half.write(b'{"channel": 1}\n[\nnot json\n{"channel": "sms", "message": {"te')
    broken = tail.read()
    with file.open("ab") as rest:
        rest.write(b'xt": "second"}}\n')
    second = tail.read()
    file.rename(tmp_path / "older.jsonl")
    await send(channel("sms", file), "third")

    assert (0, 1, 0, 1, 1) == (nothing, first, broken, second, tail.read())
    assert 3 == tail.bad
    assert [1, 2, 3] == [message["number"] for message in tail.after(0)]
    assert [3] == [message["number"] for message in tail.after(2)]
    assert "second" == (tail.get(2) or {})["message"]["text"]
    assert tail.get(9) is None


async def test_what_is_put_into_inboxes_is_shown_beside_it(tmp_path: Path) -> None:
    """With a catcher on any channel; where the file cannot be written, the item is in the inbox all the same."""
    folder = tmp_path / "later"
    async with Notifykit("memory://", sms=f"catch://{folder}/caught.jsonl") as kit:
        await kit.recipients.save("user:42", tenant="acme")
        for made in (False, True):
            if made:
                folder.mkdir()
            await kit.apublish(Event(type="order.shipped", data={"made": made}), tenant="acme", to=["user:42"])
            async with kit.dispatcher() as dispatcher:
                await dispatcher.drained()
        unread = (await kit.inbox("user:42", tenant="acme").counts()).unread

    (kept,) = map(json.loads, (folder / "caught.jsonl").read_bytes().splitlines())
    assert ("in_app", "user:42", "acme") == (kept["channel"], kept["to"], kept["tenant"])
    assert "Order shipped" == kept["message"]["title"]
    assert 2 == unread


def test_the_url_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative file is in the working directory of the moment; accounts and options are refused."""
    monkeypatch.chdir(tmp_path)

    assert tmp_path / "notifykit-caught.jsonl" == file_of("catch://")
    assert Path("/var/tmp/a b.jsonl") == file_of("catch:///var/tmp/a%20b.jsonl")
    for wrong in ("catch://host/x", "catch://?x=1", "mail://", "catch://u:p@/x"):
        with pytest.raises(ConfigurationError, match="catch:///path"):
            file_of(wrong)
