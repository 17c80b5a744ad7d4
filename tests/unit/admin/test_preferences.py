"""Preferences: what a person or a tenant says counts, and can be taken back."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest

from notifykit import EventType, InvalidInputError, Notifykit
from notifykit.models.event_type import StoredEventType
from notifykit.models.preferences import Mute, MuteSelector, Purpose, Scope, Selector, Setting
from notifykit.models.quiet_hours import Weekday, Window
from notifykit.models.recipient import MAX_CONSENTS, TenantPreferences

ACME, ADA = "acme", "user:42"
NIGHTS = Window(days=tuple(Weekday), from_="22:00", to="07:00")


@pytest.fixture
async def ada(kit):
    """The preferences of a person who is known."""
    await kit.recipients.save(ADA, tenant=ACME, email="ada@example.org")
    return kit.preferences(ADA, tenant=ACME)


class TestSettings:
    async def test_the_last_word_on_the_same_thing_counts(self, ada):
        """Each selector has one setting, and taking it back lets wider ones count."""
        await ada.set(value="off", category="orders", channel="sms")
        await ada.set(value="digest:daily", type="comment.created")
        changed = await ada.set(value="on", category="orders", channel="sms")
        left = await ada.unset(type="comment.created")

        orders = Setting(scope=Scope.RECIPIENT, select=Selector(category="orders", channel="sms"), value="on")
        assert ["digest:daily", "on"] == [setting.value for setting in changed.settings]
        assert (orders,) == left.settings

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ({"value": "maybe"}, "value: must be on, off or digest:NAME"),
            ({"value": "off", "type": "order.*"}, "type: must be words"),
            (
                {"value": "off", "type": "a.b", "category": "c"},
                "category: a setting is about a type or about a category",
            ),
            ({"value": "off", "channel": ""}, "channel: is empty"),
        ],
    )
    async def test_what_cannot_be_set_is_refused(self, ada, options, problem):
        """Before anything is changed."""
        with pytest.raises(InvalidInputError, match=problem):
            await ada.set(**options)

    async def test_a_category_that_no_type_has_is_refused(self, kit, ada):
        """By everyone who sets one, once types are known; what was set before stays, and mutes take every name."""
        before = await ada.set(value="off", category="old")
        kit.catalog.include([EventType(name="order.shipped", category="orders")])
        tenant = kit.tenant_preferences(tenant=ACME)
        select = Selector(category="ordres")
        wrong = Setting(scope=Scope.RECIPIENT, select=select, value="off")
        told = "category: no type of event has the category 'ordres'; known are orders$"

        for refused in (
            ada.set(value="off", category="ordres", channel="sms"),
            ada.replace([*before.settings, wrong]),
            tenant.set(value="off", category="ordres"),
        ):
            with pytest.raises(InvalidInputError, match=told):
                await refused
        await ada.set(value="off", category="orders")
        await ada.set(value="off", category="general")
        await ada.mute(category="ordres")

        assert 1 == len((await ada.replace(before.settings)).settings)
        assert () == (await tenant.get()).settings


class TestMutes:
    async def test_a_mute_that_has_ended_is_refused(self, ada, clock):
        """It would hold nothing back, and the second of the same would end the first."""
        with pytest.raises(InvalidInputError, match="until: must be later than now"):
            await ada.mute(topic="project/7/**", until=clock.now())

    async def test_a_second_mute_of_the_same_replaces_the_first(self, ada, clock):
        """Mutes that have ended are forgotten, those of something else stay."""
        until = clock.now() + timedelta(hours=1)
        await ada.mute(topic="project/7/**", until=until)
        await ada.mute(channel="sms", purpose="transactional")
        later = await ada.mute(topic="project/7/**", until=until + timedelta(hours=1))
        clock.advance(timedelta(hours=3))
        forgotten = await ada.mute(category="news")
        left = await ada.unmute(channel="sms", purpose=Purpose.TRANSACTIONAL)

        news = Mute(select=MuteSelector(category="news"))
        sms = Mute(select=MuteSelector(channel="sms", purpose=Purpose.TRANSACTIONAL))
        project = Mute(select=MuteSelector(topic="project/7/**"), until=until + timedelta(hours=1))
        assert (sms, project) == later.mutes
        assert (sms, news) == forgotten.mutes
        assert (news,) == left.mutes

    async def test_unmuting_what_is_not_muted_changes_nothing(self, ada, kit):
        """Not even the version."""
        assert 1 == (await ada.unmute(topic="a/b")).version

    async def test_a_topic_must_be_a_pattern(self, ada):
        """The error says what is wrong with it."""
        with pytest.raises(InvalidInputError, match="topic: word 2 is empty"):
            await ada.mute(topic="a//b")


async def test_quiet_hours_are_in_the_zone_of_the_person(kit, ada):
    """They move with the person, and none ends them."""
    set_ = await ada.quiet_hours([NIGHTS], exceptions=["urgent"])
    moved = await kit.recipients.save(ADA, tenant=ACME, zone="Asia/Tokyo")
    ended = await ada.quiet_hours()

    assert ((NIGHTS,), "UTC") == (set_.quiet_hours.windows, set_.quiet_hours.zone)
    assert ("Asia/Tokyo", frozenset({"urgent"})) == (moved.quiet_hours.zone, moved.quiet_hours.exceptions)
    assert () == ended.quiet_hours.windows


async def test_quiet_hours_leave_some_time(ada):
    """Else nothing could ever be sent."""
    with pytest.raises(InvalidInputError, match="windows: the windows cover the whole week"):
        await ada.quiet_hours([Window(days=tuple(Weekday), from_="00:00", to="00:00")])


async def test_consents_say_who_when_and_how(ada, clock):
    """Every grant and withdrawal is kept, up to a hundred."""
    given = await ada.consent(by="user:42", how="sign-up form 3")
    clock.advance(timedelta(1))
    withdrawn = await ada.consent(granted=False, by="support")
    for _ in range(MAX_CONSENTS):
        many = await ada.consent(by="again")

    first, second = withdrawn.consents
    assert ("user:42", "sign-up form 3", True) == (first.by, first.how, first.granted)
    assert (timedelta(1), False) == (second.at - first.at, second.granted)
    assert ({Purpose.MARKETING}, frozenset()) == (given.consented, withdrawn.consented)
    assert (MAX_CONSENTS, {"again"}) == (len(many.consents), {consent.by for consent in many.consents})


class TestTenants:
    async def test_a_tenant_has_defaults_and_locks(self, kit):
        """One for each selector, locked or not."""
        ours = kit.tenant_preferences(tenant=ACME)
        nothing = await ours.get()

        await ours.set(value="off", category="news")
        await ours.set(value="on", category="billing", locked=True)
        await ours.set(value="on", category="news", locked=True)
        await ours.unset(category="billing")
        said = await ours.localize(locale="pt_br", zone="America/Sao_Paulo")

        news = Setting(scope=Scope.TENANT, select=Selector(category="news"), value="on", locked=True)
        assert TenantPreferences(tenant=ACME) == nothing
        assert ((news,), "pt-BR", "America/Sao_Paulo") == (said.settings, said.locale, said.zone)
        assert said == await ours.get()
        assert TenantPreferences(tenant="globex") == await kit.tenant_preferences(tenant="globex").get()

    async def test_what_cannot_be_said_is_refused(self, kit):
        """The error names the argument."""
        ours = kit.tenant_preferences(tenant=ACME)
        with pytest.raises(InvalidInputError, match="zone: there is no time zone"):
            await ours.localize(locale=None, zone="Mars/Olympus")
        with pytest.raises(InvalidInputError, match="locked: must be true or false"):
            await ours.set(value="off", locked="yes")


class TestMatrix:
    @pytest.fixture
    async def kit(self, clock):
        types = [
            EventType(name="order.shipped", category="orders"),
            EventType(name="sale", category="news", purpose="marketing"),
            EventType(name="login", category="account", purpose="security"),
        ]
        async with Notifykit("memory://", clock=clock, event_types=types) as kit:
            yield kit

    async def test_it_shows_what_counts_for_each_type_and_channel(self, kit, ada):
        """From the tenant's locks over the person's settings to nothing, with mutes, and security as it is."""
        await kit.store.save(StoredEventType(id="chat.message", tenant=ACME, category="chat"))
        tenant = kit.tenant_preferences(tenant=ACME)
        await tenant.set(value="off", category="orders", channel="sms", locked=True)
        await tenant.set(value="on", category="news", locked=True)
        await ada.set(value="on", channel="sms")
        await ada.set(value="digest:daily", category="orders", channel="email")
        await ada.set(value="off", category="news", channel="email")
        await ada.mute(category="chat")
        await ada.mute(purpose="security")

        cells = {(cell.type, cell.channel): cell for cell in await ada.matrix()}

        assert {"chat.message", "login", "order.shipped", "sale"} == {type_ for type_, _ in cells}
        assert {"in_app", "email", "sms", "push"} == {channel for _, channel in cells}
        shown = {
            ("order.shipped", "sms"): ("off", Scope.TENANT, True, False),
            ("order.shipped", "email"): ("digest:daily", Scope.RECIPIENT, False, False),
            ("order.shipped", "in_app"): ("on", None, False, False),
            ("sale", "email"): ("off", Scope.RECIPIENT, False, False),
            ("sale", "push"): ("on", Scope.TENANT, False, False),  # marketing cannot be locked on
            ("login", "sms"): ("on", Scope.SYSTEM, True, False),
            ("chat.message", "sms"): ("on", Scope.RECIPIENT, False, True),
            ("chat.message", "push"): ("on", None, False, True),
        }
        assert shown == {key: tuple(cells[key])[4:] for key in shown}

    async def test_a_lock_is_on_in_spite_of_mutes(self, kit, ada):
        """What is locked on cannot be muted."""
        await kit.tenant_preferences(tenant=ACME).set(value="on", category="orders", locked=True)
        await ada.mute()

        cells = {(cell.type, cell.channel): cell for cell in await ada.matrix(channels=["email"])}

        assert not cells["order.shipped", "email"].muted
        assert cells["sale", "email"].muted

    async def test_it_shows_the_channels_that_there_are(self, kit, ada):
        """Those that settings or addresses name, or those that are asked for."""
        await kit.recipients.add_address(ADA, "pager", "7", tenant=ACME)
        await ada.set(value="off", channel="fax")

        channels = list(dict.fromkeys(cell.channel for cell in await ada.matrix()))
        asked = {cell.channel for cell in await ada.matrix(channels=["fax"])}

        assert ["in_app", "email", "sms", "push", "fax", "pager"] == channels
        assert {"fax"} == asked


def test_sync_callers_have_the_same(sqlite_store_url):
    """Recipients, their preferences, and those of the tenant."""
    kit = Notifykit(sqlite_store_url)
    blocking = kit.blocking

    blocking.recipients.save(ADA, tenant=ACME, email="ada@example.org")
    muted = blocking.preferences(ADA, tenant=ACME).mute(channel="sms")
    said = blocking.tenant_preferences(tenant=ACME).set(value="off", category="news")
    report = blocking.recipients.import_(['{"id":"user:43"}'], tenant=ACME)

    assert [muted] == blocking.recipients.list(tenant=ACME, limit=1)
    assert attrs.evolve(said) == blocking.tenant_preferences(tenant=ACME).get()
    assert 1 == report.saved
    kit.close()
