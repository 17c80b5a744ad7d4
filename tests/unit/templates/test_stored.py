"""Templates that tenants store: used from the next message on, checked when they are saved, rolled back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from notifykit import ConfigurationError, Event, InvalidInputError, Notifykit, TemplateError
from notifykit.channels.messages import MessageChannel
from notifykit.channels.plain import PlainRenderer
from notifykit.errors import NotFoundError
from notifykit.models.outcome import Accepted
from notifykit.models.template import MAX_KEPT, MAX_REVISIONS, StoredTemplate
from notifykit.models.unreadable import UnreadableTemplate
from notifykit.testing import FakeClock
from tests.security.hostile_templates import CASES, DATA

ACME, ADA = "acme", "user:42"
SMS, MAIL = "order.shipped/sms.txt", "order.shipped/email.html"


@attrs.define
class Phone:
    """A provider that keeps what it is given."""

    name: str = "phone"
    account: str = "phone"
    texts: list[tuple[str, str]] = attrs.field(factory=list)

    async def send(self, message: Any, claim: Any, destination: Any, *, now: Any) -> Any:
        self.texts.append((claim.tenant, message.text))
        return Accepted()

    async def aclose(self) -> None:
        pass


@attrs.frozen
class Shop:
    kit: Notifykit
    phone: Phone

    async def told(self, tenant: str = ACME) -> str:
        """Publish, deliver, and return what was sent last."""
        self.phone.texts.clear()
        await self.kit.apublish(
            Event(type="order.shipped", data={"order_id": "A-1"}), tenant=tenant, to=ADA, channels="sms"
        )
        channel = MessageChannel("sms", self.kit.renderer(PlainRenderer()), self.phone)
        async with self.kit.dispatcher([channel]) as dispatcher:
            await dispatcher.drained()
        return self.phone.texts[-1][1] if self.phone.texts else ""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        SMS: "Host: {{ data.order_id }}{% include '_partials/footer.txt' %}",
        MAIL: "<p>{{ data.order_id }}</p>",
        "order.shipped/example.json": '{"order_id": "A-1"}',
        "_partials/footer.txt": ".",
    }
    for name, text in files.items():
        path = tmp_path / "templates" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "templates"


@pytest.fixture(params=["memory://", "sqlite:///{}/shop.db"])
async def shop(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> AsyncIterator[Shop]:
    options: dict[str, Any] = {"create": True} if request.param.startswith("sqlite") else {}
    async with Notifykit(request.param.format(tmp_path), templates=folder, clock=FakeClock(), **options) as kit:
        for tenant in (ACME, "globex"):
            await kit.recipients.save(ADA, tenant=tenant, sms="+4915123456789")
        yield Shop(kit, Phone())


async def test_a_stored_template_is_used_from_the_next_message_on(shop: Shop) -> None:
    """In place of the host's, for this tenant alone; a partial as well, until they are removed."""
    templates = shop.kit.templates
    before = await shop.told()

    await templates.save(
        SMS, "Acme: {{ data.order_id }}\r\n{% include '_partials/footer.txt' %}", tenant=ACME, by="eve"
    )
    stored, others = await shop.told(), await shop.told("globex")
    await templates.save("_partials/footer.txt", "!", tenant=ACME)
    with_partial = await shop.told()
    removed = [await templates.remove(SMS, tenant=ACME) for _ in range(2)]
    without = await shop.told()

    assert ("Host: A-1.", "Acme: A-1\n.", "Host: A-1.") == (before, stored, others)
    assert ("Acme: A-1\n!", [True, False], "Host: A-1!") == (with_partial, removed, without)
    assert ["_partials/footer.txt"] == [each.name for each in await templates.list(tenant=ACME)]


async def test_every_revision_is_kept_and_can_come_back(shop: Shop) -> None:
    """Rolling back is a revision, too; the same text again is none."""
    templates = shop.kit.templates
    for text in ("one", "two", "two"):
        await templates.save(SMS, text, tenant=ACME, by="eve", note=f"says {text}")

    rolled = await templates.rollback(SMS, 1, tenant=ACME, by="ada")
    history = await templates.history(SMS, tenant=ACME)

    assert [(3, "one", "ada"), (2, "two", "eve"), (1, "one", "eve")] == [
        (each.number, each.text, each.by) for each in history
    ]
    assert ("rolled back to 1", "says two") == (history[0].note, history[1].note)
    assert ("one", rolled) == (await shop.told(), await templates.get(SMS, tenant=ACME))
    for name, number in ((SMS, 9), (MAIL, 1)):
        with pytest.raises(NotFoundError):
            await templates.rollback(name, number, tenant=ACME)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        (SMS, "{{ data.order_id", "_tenants/acme/order.shipped/sms.txt, line 1"),
        (SMS, "{{ data.nope }}", "data.nope"),
        (SMS, "{% include '_partials/none.txt' %}", "there is no file '_partials/none.txt'"),
        (SMS, "{% include '../secret.txt' %}", "is no file of the templates' folder"),
        (SMS, " ", "there is nothing in _tenants/acme/order.shipped/sms.txt"),
        (SMS, "{% if data.order_id == 'B' %}x{% endif %}", "the example makes an empty message"),
        ("_partials/footer.txt", "{% include '_partials/footer.txt' %}", "includes itself"),
        ("_partials/other.txt", "{% nonsense %}", "_partials/other.txt, line 1"),
        ("order.shipped/fax.txt", "x", "begins with a channel"),
        ("../sms.txt", "x", "is in a folder with the name of an event type"),
    ],
)
async def test_what_could_not_be_rendered_is_refused(folder: Path, name: str, text: str, problem: str) -> None:
    """When it is saved, with the line; nothing is stored."""
    async with Notifykit("memory://", templates=folder) as kit:
        with pytest.raises(TemplateError, match=problem):
            await kit.templates.save(name, text, tenant=ACME)
        assert [] == await kit.templates.list(tenant=ACME)


async def test_what_others_include_is_not_removed(folder: Path) -> None:
    """Nor is a name taken that only the host's folder has."""
    async with Notifykit("memory://", templates=folder) as kit:
        await kit.templates.save("_partials/own.txt", "x", tenant=ACME)
        await kit.templates.save(SMS, "{% include '_partials/own.txt' %}", tenant=ACME)
        with pytest.raises(TemplateError, match="there is no file"):
            await kit.templates.remove("_partials/own.txt", tenant=ACME)
        with pytest.raises(InvalidInputError, match="without _tenants/"):
            await kit.templates.save(f"_tenants/{ACME}/{SMS}", "x", tenant=ACME)
    with pytest.raises(ConfigurationError, match="NOTIFYKIT_TEMPLATES"):
        await Notifykit("memory://").templates.save(SMS, "x", tenant=ACME)


async def test_a_damaged_template_holds_the_messages_that_may_need_it(shop: Shop, monkeypatch: Any) -> None:
    """The host's would say something else; other types go on."""
    page = shop.kit.store.page
    broken = [MAIL]

    async def damaged(kind: Any, tenant: str, **options: Any) -> list[Any]:
        found = await page(kind, tenant, **options)
        if kind is StoredTemplate:
            return [UnreadableTemplate(id=name, tenant=tenant, revisions=[]) for name in broken]
        return found

    monkeypatch.setattr(shop.kit.store, "page", damaged)
    held = await shop.told()
    broken[:] = ["comment.created/sms.txt"]
    sent = await shop.told()

    assert ("", "Host: A-1.") == (held, sent)


@pytest.mark.parametrize("every", [12, pytest.param(1, marks=[pytest.mark.thorough, pytest.mark.no_cover])])
async def test_hostile_templates_are_refused_when_they_are_saved(tmp_path: Path, every: int) -> None:
    """As they would be when a message is made: the corpus of hostile ones, each as a tenant's upload."""
    (tmp_path / "order.shipped").mkdir()
    (tmp_path / "order.shipped" / "example.json").write_text(json.dumps(DATA), encoding="utf-8")
    async with Notifykit("memory://", templates=tmp_path) as kit:
        for at, (name, (files, expected)) in enumerate([*CASES.items()][::every]):
            refusals = []
            for file, text in sorted(files.items()):
                try:
                    await kit.templates.save(file.removeprefix("_tenants/acme/"), text, tenant=f"t{at}")
                except (TemplateError, InvalidInputError) as error:
                    refusals.append(str(error))
            assert bool(refusals) == (expected is not None), (name, refusals)


def test_old_revisions_make_room() -> None:
    """Numbers go on."""
    clock = FakeClock()
    short = long = StoredTemplate(id=SMS, tenant=ACME, revisions=[])
    for number in range(MAX_REVISIONS + 5):
        short = short.revised(str(number), at=clock.now(), by="", note="")
        long = long.revised("x" * 60_000, at=clock.now(), by="", note="")

    assert (MAX_REVISIONS, 6, MAX_REVISIONS + 5) == (
        len(short.revisions),
        short.revisions[0].number,
        short.current.number,
    )
    assert MAX_KEPT // 60_000 == len(long.revisions)
