"""Tests of the shop and of its admin pages.  Run ``pytest`` in this folder."""

from __future__ import annotations

import asyncio
import os
import tempfile

import pytest

os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
os.environ["SHOP_DATA"] = tempfile.mkdtemp()
os.environ["NOTIFYKIT_ALLOW"], os.environ["NOTIFYKIT_ALLOW_HTTP"] = "127.0.0.0/8", "1"

import django

django.setup()

from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import Client
from shop.models import Order

from notifykit import RetryPolicy
from notifykit.default import default_kit

DELIVERIES, ENDPOINTS, RECIPIENTS = (f"/admin/notifykit/{name}/" for name in ("delivery", "endpoint", "recipient"))


@pytest.fixture(scope="module")
def kit():
    call_command("migrate", verbosity=0)
    call_command("notifykit", "migrate")
    kit = default_kit()
    yield kit
    kit.close()


@pytest.fixture(scope="module")
def staff(kit):
    """The browser of somebody who may do everything."""
    client = Client()
    client.force_login(User.objects.create_superuser("ada", password="x"))
    return client


@pytest.fixture(scope="module")
def viewer(kit):
    """The browser of somebody who may look at deliveries and nothing else."""
    user = User.objects.create_user("bob", password="x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_delivery"))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture(scope="module")
def dead(kit):
    """A delivery that died, because nobody listens there."""
    kit.blocking.subscribe(
        "order.*",
        tenant="acme",
        endpoint="http://127.0.0.2:9999/hooks",
        headers={"authorization": "Bearer s3cr3t-t0ken"},
        retry=RetryPolicy(delays=()),
    )
    kit.blocking.recipients.save("user:42", tenant="acme", name="Ada Lovelace", email="ada@example.org")
    Client().post("/orders", {"order_id": "A-1", "card": "valid"}, content_type="application/json")
    dispatch(kit)
    return kit.blocking.deliveries.dead(tenant="acme")[0]


def dispatch(kit):
    async def drain():
        async with kit.twin() as twin, twin.dispatcher() as dispatcher:
            await dispatcher.drained()

    asyncio.run(drain())


def test_an_order_is_announced_and_one_that_fails_is_not(kit):
    before = len(kit.blocking.events.list(tenant="acme"))
    answers = [
        Client().post("/orders", {"order_id": reference, "card": card}, content_type="application/json").status_code
        for reference, card in (("B-1", "valid"), ("B-2", "declined"))
    ]

    assert answers == [201, 402]
    assert len(kit.blocking.events.list(tenant="acme")) == before + 1
    assert list(Order.objects.filter(reference__startswith="B").values_list("reference", flat=True)) == ["B-1"]


def test_the_admin_lists_what_a_tenant_has(staff, dead):
    index = staff.get("/admin/").content.decode()
    lists = [staff.get(path, {"tenant": "acme"}).content.decode() for path in (DELIVERIES, ENDPOINTS, RECIPIENTS)]
    others = [staff.get(path, {"tenant": "globex"}).content.decode() for path in (DELIVERIES, ENDPOINTS, RECIPIENTS)]
    filtered = staff.get(DELIVERIES, {"tenant": "acme", "state": "delivered"}).content.decode()

    assert all(path in index for path in (DELIVERIES, ENDPOINTS, RECIPIENTS))
    assert "/add/" not in index.partition("notifykit")[2].partition("</table>")[0]
    assert [word in page for word, page in zip((dead.id, "127.0.0.2:9999", "Ada Lovelace"), lists, strict=True)] == [
        True
    ] * 3
    assert ["There is nothing." in page for page in others] == [True] * 3
    assert dead.id not in filtered


def test_one_is_shown_with_what_became_of_it_and_without_secrets(staff, dead):
    shown = staff.get(f"{DELIVERIES}{dead.id}/change/", {"tenant": "acme"}).content.decode()
    endpoint = staff.get(f"{ENDPOINTS}{dead.subscriber_id}/change/", {"tenant": "acme"}).content.decode()
    person = staff.get(f"{RECIPIENTS}user%3A42/change/", {"tenant": "acme"}).content.decode()
    foreign = staff.get(f"{DELIVERIES}{dead.id}/change/", {"tenant": "globex"})

    assert "connect" in shown
    assert "authorization" in endpoint
    assert "whsec_" not in endpoint
    assert "s3cr3t" not in endpoint
    assert "ada@example.org" in person
    assert foreign.status_code == 302


def test_a_delivery_is_sent_again_by_those_who_may(kit, staff, viewer, dead):
    page = f"{DELIVERIES}{dead.id}/change/?tenant=acme"
    looked = viewer.get(page)
    refused = viewer.post(page)
    elsewhere = viewer.get(ENDPOINTS, {"tenant": "acme"})
    sent = staff.post(page, follow=True)
    again = kit.blocking.deliveries.get(dead.id, tenant="acme")
    too_soon = staff.post(page, follow=True)
    dispatch(kit)
    ticked = staff.post(f"{DELIVERIES}?tenant=acme", {"ids": [dead.id]}, follow=True)
    log = staff.get("/admin/").content.decode()

    assert [each.status_code for each in (looked, refused, elsewhere)] == [200, 403, 403]
    assert "Send again" not in looked.content.decode()
    assert (again.generation, again.state.value) == (1, "pending")
    assert "is sent again" in sent.content.decode()
    assert "still being delivered" in too_soon.content.decode()
    assert "is sent again" in ticked.content.decode()
    assert kit.blocking.deliveries.get(dead.id, tenant="acme").generation == 2
    assert dead.id in log


def test_nothing_can_be_made_or_deleted(staff, dead):
    answers = [staff.get(f"{DELIVERIES}add/"), staff.post(f"{DELIVERIES}{dead.id}/delete/")]

    assert [each.status_code for each in answers] == [404, 404]


def test_strangers_are_asked_to_sign_in(dead):
    assert "/login/" in Client().get(DELIVERIES, {"tenant": "acme"})["Location"]


def test_djangos_migrations_have_nothing_to_do(kit, capsys):
    call_command("makemigrations", "--check", "--dry-run")

    assert "No changes detected" in capsys.readouterr().out
