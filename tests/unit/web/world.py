"""A tenant that has one of everything, and requests for each route about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import httpx
from starlette.applications import Starlette

from notifykit import EgressRules, Event, EventType, Notifykit
from notifykit.models.access import Role
from notifykit.models.event_type import StoredEventType
from notifykit.models.inbox import InboxFilter
from notifykit.models.outcome import Permanent
from notifykit.models.template import StoredTemplate, TemplateRevision
from notifykit.ports import Inbox
from notifykit.testing import FakeClock, make_inbox_item
from notifykit.web.access.callers import TENANT_HEADER
from notifykit.web.route import Route
from tests.unit.dispatch.support import ScriptedChannel

ACME, GLOBEX = "acme", "globex"
ADA, BOB = "user:42", "user:7"
#: A template that the tenant has stored in place of the host's.
FOOTER = "_partials/footer.txt"
#: In everything that the tenant says.
MARK = "acme-only"
SHIPPED = EventType(name="order.shipped", schema={"type": "object"}, category="orders", description="An order left.")

#: What is sent to the routes that have a body; a new one needs an entry.
BODIES: Mapping[str, Any] = {
    "publish_events": {"type": "order.shipped", "data": {"n": 1}},
    "notify_person": {"user_id": ADA, "type": "order.shipped", "payload": {"n": 1}},
    "send_message": {"recipients": [ADA], "template": "order.shipped", "channel": "email"},
    "notify": {"userId": ADA, "type": "email", "template": "order.shipped", "data": {}},
    "send_notification": {"user_id": ADA, "type": "order.shipped", "message": "Hello"},
    "update_notification_preferences": {"user_id": ADA, "preferences": {"email": False}},
    "mark_inbox": {"mark": "read"},
    "put_preferences": {"settings": [{"channel": "sms", "value": "off"}]},
    "mute": {"category": "orders"},
    "unmute": {"category": "orders"},
    "record_consent": {"purpose": "marketing"},
    "create_endpoint": {"url": "http://127.0.0.1:8080/new"},
    "update_endpoint": {"description": "changed"},
    "pause_endpoint": {},
    "disable_endpoint": {"reason": "why"},
    "rotate_secret": {},
    "recover_endpoint": {"since": "2026-01-01T00:00:00Z"},
    "create_subscription": {"event_types": ["order.*"], "endpoint_id": "ENDPOINT"},
    "update_subscription": {"description": "changed"},
    "try_subscription": {"event_types": ["order.*"], "type": "order.shipped"},
    "redrive_dead_letters": {},
    "put_recipient": {"name": "New"},
    "patch_recipient": {"name": "New"},
    "add_address": {"channel": "push", "address": "token-2"},
    "act_on_address": {"action": "suppress", "channel": "email", "address": f"{MARK}@example.org"},
    "put_event_type": {"category": "orders", "steps": [{"channel": "email"}]},
    "create_key": {"role": "viewer"},
    "rotate_key": {},
    "create_portal_link": {},
    "set_template": {"name": FOOTER, "text": "changed"},
    "rollback_template": {"name": FOOTER, "to": 1},
    "add_suppression": {"channel": "email", "address": f"{MARK}@example.net"},
    "check_suppression": {"channel": "email", "address": f"{MARK}@example.org"},
    "remove_suppression": {"channel": "email", "address": f"{MARK}@example.org"},
}
QUERIES: Mapping[str, Mapping[str, str]] = {
    "list_notifications": {"user_id": ADA},
    "explain_person": {"type": "order.shipped"},
    "list_template_revisions": {"name": FOOTER},
    "remove_template": {"name": FOOTER},
}


@attrs.define(kw_only=True)
class World:
    """One tenant, two persons, and a secret for each role.

    Attributes:
        ids: By the names of parameters in paths.
        secrets: The secrets of keys by tenant and role.
    """

    kit: Notifykit
    ids: dict[str, str]
    secrets: dict[tuple[str, Role], str]

    def request(self, route: Route, **more: Any) -> dict[str, Any]:
        """Return the arguments of a request to a route about the tenant's objects."""
        body = BODIES.get(route.name)
        if route.body is not None:
            assert body is not None, f"BODIES needs an entry for {route.name}"
            body = {key: self.ids["endpoint_id"] if value == "ENDPOINT" else value for key, value in body.items()}
        path = route.path.format(**self.ids)
        return {"method": route.method, "url": path, "json": body, "params": QUERIES.get(route.name), **more}

    def headers(self, tenant: str, role: Role) -> dict[str, str]:
        """Return the credentials of a role in a tenant; an operator names the tenant."""
        named = {TENANT_HEADER: tenant} if role is Role.OPERATOR else {}
        owner = "" if role is Role.OPERATOR else tenant
        return {"Authorization": f"Bearer {self.secrets[owner, role]}", **named}

    async def snapshot(self) -> Any:
        """Return everything that the tenant has, without what merely tells of use."""
        kit = self.kit
        assert isinstance(kit.store, Inbox)
        keys = await kit.api_keys.list(tenant=ACME)
        return (
            await kit.endpoints.list(tenant=ACME),
            await kit.subscriptions.list(tenant=ACME),
            await kit.recipients.list(tenant=ACME),
            await kit.deliveries.list(tenant=ACME),
            await kit.events.list(tenant=ACME),
            [attrs.evolve(key, last_used_at=None, version=0) for key in keys],
            await kit.templates.list(tenant=ACME),
            await kit.suppressions.page(tenant=ACME),
            await kit.store.inbox_page(ACME, ADA, InboxFilter(), now=kit.clock.now(), limit=99),
            await kit.store.inbox_page(ACME, BOB, InboxFilter(), now=kit.clock.now(), limit=99),
        )


def new_kit(clock: FakeClock, url: str = "memory://", **options: Any) -> Notifykit:
    egress = EgressRules(allow=["127.0.0.0/8"], allow_http=True)
    templates = Path(__file__).parent / "templates"
    return Notifykit(url, egress=egress, clock=clock, event_types=[SHIPPED], templates=templates, **options)


async def made(kit: Notifykit) -> World:
    """Fill a kit that is open."""
    await kit.sync_event_types()
    await kit.store.save(StoredEventType(id="order.noted"))
    endpoint = await kit.endpoints.create(
        "http://127.0.0.1:8080/hooks", tenant=ACME, description=MARK, headers={"x-secret": MARK}
    )
    subscription = await kit.subscriptions.create("order.*", tenant=ACME, endpoint_id=endpoint.id, description=MARK)
    for person in (ADA, BOB):
        await kit.recipients.save(person, tenant=ACME, name=MARK, email=f"{MARK}@example.org", traits={"a": MARK})
        assert isinstance(kit.store, Inbox)
        await kit.store.inbox_put([make_inbox_item(person, tenant=ACME, title=MARK, at=kit.clock.now())])
    revision = TemplateRevision(number=1, text=MARK, at=kit.clock.now(), by=MARK)
    await kit.store.save(StoredTemplate(id=FOOTER, tenant=ACME, revisions=[revision]))
    await kit.suppressions.add("email", f"{MARK}@example.org", tenant=ACME, reason="complaint", evidence=MARK)
    receipt = await kit.apublish(Event(type="order.shipped", data={"note": MARK}), tenant=ACME)
    dispatcher = kit.dispatcher([ScriptedChannel(lambda _: Permanent(reason="http_400"))])
    while await dispatcher.step():
        pass
    (delivery,) = await kit.deliveries.list(tenant=ACME)
    secrets: dict[tuple[str, Role], str] = {}
    ids = {
        "endpoint_id": endpoint.id,
        "subscription_id": subscription.id,
        "event_id": receipt.event_id,
        "delivery_id": delivery.id,
        "recipient_id": ADA,
        "user_id": ADA,
        "name": "order.noted",
    }
    for tenant in (ACME, GLOBEX):
        for role in (Role.PRODUCER, Role.VIEWER, Role.TENANT_ADMIN):
            issued = await kit.api_keys.create(tenant=tenant, role=role, name=MARK if tenant == ACME else "")
            secrets[tenant, role] = issued.secret
            if tenant == ACME and role is Role.VIEWER:
                ids["key_id"] = issued.key.id
    secrets["", Role.OPERATOR] = (await kit.api_keys.create(tenant="", role=Role.OPERATOR)).secret
    return World(kit=kit, ids=ids, secrets=secrets)


def client_of(app: Starlette, **options: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api.test", **options)
