"""Recipients: kept exactly, read by the hundred, and named by the events that are addressed to them."""

from __future__ import annotations

from typing import Any

import attrs

from ....models.addresses import AddressState, Suppression
from ....models.preferences import Mute, MuteSelector, Purpose, Scope, Selector, Setting
from ....models.quiet_hours import QuietHours, Weekday, Window
from ....models.recipient import Consent, Recipient, RecipientAddress, TenantPreferences
from ....ports import Store
from ...builders import make_endpoint, make_event, make_recipient
from ...clock import FakeClock
from .steps import ACME, GLOBEX, HOUR, TICK, find_event, get_one, load, take_one

_NIGHTS = Window(days=tuple(Weekday), from_="22:00", to="07:30")


def _setting(scope: Scope, value: str, **select: Any) -> Setting:
    return Setting(scope=scope, select=Selector(**select), value=value)


class RecipientPromises:
    """What a store promises of recipients, and of events that are addressed to them."""

    async def test_a_recipient_reads_back_as_it_was_saved(self, store: Store, clock: FakeClock) -> None:
        """Every field is kept exactly, and a save replaces the recipient as a whole."""
        now = clock.now()
        recipient = make_recipient(
            "user:Ω/42 🐘",
            at=now,
            name="Ada ☃",
            locale="zh-Hant-TW",
            zone="Europe/Berlin",
            traits={"plan": "pro", "seats": 3, "tags": ["ü", None, True, {"x": 1.5}], "zone": "none of ours"},
            addresses=[
                RecipientAddress(channel="email", address="ada@bücher.example"),
                RecipientAddress(
                    channel="push", address="t" * 300, app="shop", platform="ios", state=AddressState.GONE,
                    reason="unregistered", changed_at=now + TICK,
                ),
                RecipientAddress(channel="sms", address="+4915123456789", state=AddressState.UNVERIFIED),
            ],
            settings=[
                _setting(Scope.RECIPIENT, "off", category="news"),
                _setting(Scope.RECIPIENT, "digest:daily", type="comment.created", channel="email"),
            ],
            mutes=[
                Mute(select=MuteSelector(topic="project/7/**"), until=now + HOUR),
                Mute(select=MuteSelector(channel="sms", purpose=Purpose.TRANSACTIONAL)),
            ],
            consents=[
                Consent(purpose=Purpose.MARKETING, at=now, by="user:42", how="form ☃"),
                Consent(purpose=Purpose.MARKETING, at=now + TICK, granted=False),
            ],
            suppressions=[
                Suppression(channel="email", address="ada@bücher.example", purposes=(Purpose.MARKETING,), until=now)
            ],
            quiet_hours=QuietHours(zone="Europe/Berlin", windows=[_NIGHTS], exceptions=["urgent"]),
            updated_at=now + TICK,
        )  # fmt: skip

        saved = await store.save(recipient)
        found = await get_one(store, Recipient, ACME, recipient.id)
        bare = await store.save(Recipient(id=recipient.id, tenant=ACME, created_at=now, updated_at=now, version=1))

        assert attrs.evolve(recipient, version=1) == saved == found
        assert bare == await get_one(store, Recipient, ACME, recipient.id)

    async def test_quiet_hours_of_a_recipient_without_a_zone_are_kept(self, store: Store, clock: FakeClock) -> None:
        """They have no zone of their own: the tenant's counts then."""
        quiet = QuietHours(windows=[_NIGHTS])

        saved = await store.save(make_recipient(at=clock.now(), quiet_hours=quiet))

        assert saved == await get_one(store, Recipient, ACME, saved.id)
        assert quiet == saved.quiet_hours

    async def test_many_recipients_are_read_at_once(self, store: Store, clock: FakeClock) -> None:
        """Those that there are of 700 ids, each once, and of this tenant alone."""
        for number in range(7):
            await store.save(make_recipient(f"user:{number * 100}", at=clock.now()))
        await store.save(make_recipient("user:1", tenant=GLOBEX, at=clock.now()))

        found = await store.get(Recipient, ACME, [f"user:{number}" for number in range(700)] * 2)

        assert [f"user:{number}00" if number else "user:0" for number in range(7)] == sorted(one.id for one in found)

    async def test_recipients_change_no_version(self, store: Store, clock: FakeClock) -> None:
        """No process caches them, so that nothing has to be loaded again."""
        await store.save(make_endpoint(at=clock.now()))
        before = await load(store, ACME)

        saved = await store.save(make_recipient(at=clock.now()))
        await store.remove(Recipient, ACME, saved.id, now=clock.now())

        assert before == await load(store, ACME)

    async def test_preferences_of_a_tenant_are_kept_and_change_its_version(
        self, store: Store, clock: FakeClock
    ) -> None:
        """What every recipient of a tenant depends on may be cached by the tenant's version."""
        lock = Setting(scope=Scope.TENANT, select=Selector(category="billing"), value="on", locked=True)
        default = _setting(Scope.TENANT, "off", category="news", channel="sms")
        preferences = TenantPreferences(tenant=ACME, settings=(default, lock), locale="pt-BR", zone="Asia/Tokyo")
        before = await load(store, ACME)

        saved = await store.save(preferences)
        found = await get_one(store, TenantPreferences, ACME, saved.id)
        changed = await store.save(TenantPreferences(tenant=ACME, version=1))
        raised = await load(store, ACME)
        await store.remove(TenantPreferences, ACME, saved.id, now=clock.now())

        assert attrs.evolve(preferences, version=1) == saved == found
        assert TenantPreferences(tenant=ACME, version=2) == changed
        assert before.version < raised.version < (await load(store, ACME)).version
        assert [] == await store.page(TenantPreferences, ACME, limit=9)

    async def test_planners_are_told_to_whom_an_event_is_addressed(self, store: Store, clock: FakeClock) -> None:
        """The text that was published comes with what is taken and read; most events have none."""
        event = make_event(at=clock.now(), audience='{"to":["user:Ω"],"channels":["email"]}')
        await store.append([event])

        taken = await take_one(store, clock)
        await store.append([make_event(at=clock.now())])

        assert event.audience == taken.audience
        assert event == await find_event(store, ACME, event.id)
        assert (await take_one(store, clock)).audience is None
