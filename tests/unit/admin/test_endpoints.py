"""Endpoints: created and changed whole or not at all; their secrets rotate without a gap."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tenacity import wait_fixed

from notifykit import DeliveryState, InvalidEndpointError, NotFoundError, RetryPolicy, StateError
from notifykit.models.endpoint import EndpointState, RateLimit
from notifykit.models.outcome import Transient
from notifykit.policies.decide import HOLD
from notifykit.signing import generate_secret
from notifykit.testing import FakeClock

ACME = "acme"
URL = "http://127.0.0.1:8080/hooks"
DAY, HOUR, TICK = timedelta(days=1), timedelta(hours=1), timedelta(microseconds=1)


class TestCreating:
    async def test_an_endpoint_has_what_was_given(self, kit, clock):
        """Every setting is kept, header names in lower case, the URL in its canonical form."""
        secret = generate_secret()

        created = await kit.endpoints.create(
            "HTTP://127.0.0.1:8080/hooks",
            tenant=ACME,
            description="the shop",
            headers={"X-Shop": "7"},
            secret=secret,
            retry=RetryPolicy(delays=[HOUR]),
            timeout=timedelta(seconds=30),
            max_in_flight=1000,
            rate_limit=RateLimit(per_second=0.5, burst=3),
        )

        assert created == await kit.endpoints.get(created.id, tenant=ACME)
        assert ("http://127.0.0.1:8080/hooks", "the shop") == (created.url, created.description)
        assert ({"x-shop": "7"}, (secret,)) == (created.headers, created.signing_keys(clock.now()))
        assert (RetryPolicy(delays=[HOUR]), RateLimit(per_second=0.5, burst=3)) == (created.retry, created.rate_limit)
        assert (timedelta(seconds=30), 1000) == (created.timeout, created.max_in_flight)
        assert (EndpointState.ACTIVE, clock.now(), clock.now()) == (*created_state(created), created.updated_at)

    async def test_defaults_are_usable(self, kit):
        """Without settings there is a fresh secret of its own for each endpoint."""
        one, other = [await kit.endpoints.create(URL, tenant=ACME) for _ in range(2)]

        assert one.secrets[0].value.startswith("whsec_")
        assert one.secrets[0].value != other.secrets[0].value
        assert 8 == one.retry.max_attempts

    async def test_a_wait_strategy_is_a_retry_policy(self, kit):
        """A strategy of tenacity's is asked once and stored."""
        created = await kit.endpoints.create(URL, tenant=ACME, retry=wait_fixed(60))

        assert (timedelta(minutes=1),) * 7 == created.retry.delays

    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            ("https://10.0.0.1/hooks", "private"),
            ("https://169.254.169.254/latest/meta-data", "metadata"),
            ("https://[::1]/hooks", "loopback"),
            ("ftp://127.0.0.1/hooks", "scheme"),
            ("https://user:secret@127.0.0.1/hooks", "userinfo"),
            ("http://127.0.0.1:22/hooks", "port"),
            ("not a url", ""),
            ("", ""),
        ],
    )
    async def test_a_url_that_may_not_be_dialled_is_refused_with_the_reason(self, kit, url, reason):
        """The problem names what is wrong with the address, and repeats no password."""
        with pytest.raises(InvalidEndpointError) as refused:
            await kit.endpoints.create(url, tenant=ACME)

        (problem,) = refused.value.problems
        assert problem.startswith(f"url: destination refused ({reason}")
        assert "secret" not in problem
        assert [] == await kit.endpoints.list(tenant=ACME)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("Host", "evil.example"),
            ("Content-Length", "0"),
            ("Transfer-Encoding", "chunked"),
            ("webhook-signature", "v1,x"),
            ("Webhook_Id", "x"),
            ("X-Forwarded-For", "127.0.0.1"),
            ("Cookie", "a=b"),
            ("X-A", "line\r\nX-B: break"),
            ("X-A\r\nX-B", "x"),
            ("X A", "x"),
            ("X-A", "caf\xe9"),
            ("X-A", ""),
            ("X-A", "v" * 4097),
        ],
    )
    async def test_a_header_that_could_forge_is_refused(self, kit, name, value):
        """Headers that the sender sets itself, or that would break a request, are named."""
        with pytest.raises(InvalidEndpointError) as refused:
            await kit.endpoints.create(URL, tenant=ACME, headers={name: value})

        assert ["headers"] == [problem.partition(".")[0] for problem in refused.value.problems]

    @pytest.mark.parametrize("tenant", ["", "a b", "acme\n", "a/b", "é", "\ud800", "x" * 129])
    async def test_a_tenant_that_no_event_can_have_is_refused(self, kit, tenant):
        """An endpoint of a tenant that cannot publish would never get anything."""
        with pytest.raises(InvalidEndpointError, match="tenant: must be 1 to 128 characters"):
            await kit.endpoints.create(URL, tenant=tenant)

    async def test_the_same_header_in_two_spellings_is_refused(self, kit):
        """It would be undefined which one is sent."""
        with pytest.raises(InvalidEndpointError, match="given twice"):
            await kit.endpoints.create(URL, tenant=ACME, headers={"X-Shop": "7", "x-shop": "8"})

    @pytest.mark.parametrize(
        ("settings", "path"),
        [
            ({"secret": "hunter2"}, "secret"),
            ({"timeout": timedelta(seconds=1) - TICK}, "timeout"),
            ({"timeout": timedelta(seconds=30) + TICK}, "timeout"),
            ({"max_in_flight": 0}, "max_in_flight"),
            ({"max_in_flight": 1001}, "max_in_flight"),
            ({"description": "d" * 501}, "description"),
        ],
    )
    async def test_a_setting_out_of_bounds_is_refused(self, kit, settings, path):
        """The problem begins with the setting's name, and a secret is not repeated."""
        with pytest.raises(InvalidEndpointError) as refused:
            await kit.endpoints.create(URL, tenant=ACME, **settings)

        assert [path] == [problem.partition(":")[0] for problem in refused.value.problems]
        assert "hunter2" not in str(refused.value)

    async def test_every_problem_is_found_at_once(self, kit):
        """All problems are reported together, not one after the other."""
        with pytest.raises(InvalidEndpointError) as refused:
            await kit.endpoints.create(
                "ftp://x", tenant=ACME, secret="x", timeout=timedelta(0), max_in_flight=0, description="d" * 501
            )

        paths = {problem.partition(":")[0] for problem in refused.value.problems}
        assert {"url", "secret", "timeout", "max_in_flight", "description"} == paths


def created_state(endpoint):
    return endpoint.state, endpoint.created_at


class TestChanging:
    async def test_what_is_not_given_stays(self, kit, endpoint, clock):
        """Each setting can be changed by itself; the time of the change is kept."""
        clock.advance(HOUR)

        changed = await kit.endpoints.update(endpoint.id, tenant=ACME, max_in_flight=1)
        again = await kit.endpoints.update(
            endpoint.id, tenant=ACME, url=f"{URL}/v2", description="", headers={"X-A": "b"}, timeout=2 * SECOND
        )

        assert (1, endpoint.url, endpoint.secrets) == (changed.max_in_flight, changed.url, changed.secrets)
        assert (endpoint.created_at, clock.now()) == (changed.created_at, changed.updated_at)
        assert (f"{URL}/v2", {"x-a": "b"}, 2 * SECOND, 1) == (
            again.url,
            again.headers,
            again.timeout,
            again.max_in_flight,
        )
        assert again == await kit.endpoints.get(endpoint.id, tenant=ACME)

    async def test_a_refused_change_changes_nothing(self, kit, endpoint):
        """Changes are checked like new endpoints."""
        with pytest.raises(InvalidEndpointError):
            await kit.endpoints.update(endpoint.id, tenant=ACME, description="new", url="http://10.0.0.1/")

        assert endpoint == await kit.endpoints.get(endpoint.id, tenant=ACME)

    async def test_waiting_deliveries_use_the_new_settings(self, kit, world, endpoint, clock):
        """A retry goes to where the endpoint is now."""
        world.answers[endpoint.id] = [Transient(reason="http_503")]
        await world.published()
        await kit.endpoints.update(endpoint.id, tenant=ACME, url=f"{URL}/v2")

        clock.advance(HOUR)
        await world.settles()

        assert [URL, f"{URL}/v2"] == [target.address for _, target in world.sent]

    async def test_pages_follow_the_order_of_creation(self, kit):
        """A page begins behind the last id of the one before."""
        created = [await kit.endpoints.create(URL, tenant=ACME) for _ in range(5)]

        first = await kit.endpoints.list(tenant=ACME, limit=3)
        rest = await kit.endpoints.list(tenant=ACME, limit=3, after=first[-1].id)

        assert created == [*first, *rest]

    async def test_deleting_an_endpoint_cancels_its_deliveries(self, kit, world, endpoint, clock):
        """Its subscriptions are removed and its waiting deliveries are cancelled, with the reason."""
        world.answers[endpoint.id] = [Transient(reason="http_503")]
        (waiting,) = await world.published()

        await kit.endpoints.delete(endpoint.id, tenant=ACME)

        cancelled = await kit.deliveries.get(waiting.id, tenant=ACME)
        assert (DeliveryState.CANCELLED, "endpoint_deleted") == (cancelled.state, cancelled.reason)
        assert [] == await kit.subscriptions.list(tenant=ACME)
        assert [] == await world.published()
        with pytest.raises(NotFoundError):
            await kit.endpoints.delete(endpoint.id, tenant=ACME)


SECOND = timedelta(seconds=1)


class TestStates:
    async def test_a_pause_keeps_and_resuming_delivers(self, kit, world, endpoint):
        """Deliveries made during a pause are held without an attempt, and due the moment the endpoint is resumed."""
        paused = await kit.endpoints.pause(endpoint.id, tenant=ACME)
        (held,) = await world.published()
        resumed = await kit.endpoints.resume(endpoint.id, tenant=ACME)
        await world.settles()
        (delivered,) = await world.deliveries_of(held.event_id)

        assert (EndpointState.PAUSED, "paused by the operator") == (paused.state, paused.state_reason)
        assert (DeliveryState.HELD, "endpoint_paused", 0) == (held.state, held.reason, held.attempts)
        assert (EndpointState.ACTIVE, None) == (resumed.state, resumed.state_reason)
        assert (DeliveryState.DELIVERED, 1) == (delivered.state, delivered.attempts)

    async def test_a_retry_that_comes_up_during_a_pause_is_held(self, kit, world, endpoint, clock):
        """A pause holds what was waiting already, too, and uses up none of its attempts."""
        world.answers[endpoint.id] = [Transient(reason="http_503")]
        (waiting,) = await world.published()
        await kit.endpoints.pause(endpoint.id, tenant=ACME, reason="moving house")

        now = clock.advance(HOUR)
        await world.settles()
        (held,) = await world.deliveries_of(waiting.event_id)
        await kit.endpoints.resume(endpoint.id, tenant=ACME)
        await world.settles()
        (delivered,) = await world.deliveries_of(waiting.event_id)

        assert (DeliveryState.HELD, 1, now + HOLD) == (held.state, held.attempts, held.due_at)
        assert (DeliveryState.DELIVERED, 2) == (delivered.state, delivered.attempts)

    async def test_a_disabled_endpoint_gets_nothing(self, kit, world, endpoint, clock):
        """New deliveries are written down as suppressed; waiting ones are cancelled as they come up."""
        world.answers[endpoint.id] = [Transient(reason="http_503")]
        (waiting,) = await world.published()
        disabled = await kit.endpoints.disable(endpoint.id, tenant=ACME, reason="does not pay")

        (suppressed,) = await world.published()
        clock.advance(HOUR)
        await world.settles()
        (cancelled,) = await world.deliveries_of(waiting.event_id)

        assert (EndpointState.DISABLED, "does not pay") == (disabled.state, disabled.state_reason)
        assert (DeliveryState.SUPPRESSED, "endpoint_disabled") == (suppressed.state, suppressed.reason)
        assert (DeliveryState.CANCELLED, "endpoint_disabled") == (cancelled.state, cancelled.reason)
        assert 1 == len(world.sent)

    async def test_a_disabled_endpoint_can_be_resumed(self, kit, world, endpoint):
        """Events from then on are delivered."""
        await kit.endpoints.disable(endpoint.id, tenant=ACME)

        await kit.endpoints.resume(endpoint.id, tenant=ACME)

        assert [DeliveryState.DELIVERED] == [delivery.state for delivery in await world.published()]

    async def test_a_test_event_goes_to_its_endpoint_alone(self, kit, world, endpoint):
        """Whatever the tenant's endpoints are subscribed to, one gets the test, and at once."""
        target = await kit.endpoints.create(f"{URL}/new", tenant=ACME)

        receipt = await kit.endpoints.test(target.id, tenant=ACME)
        await world.settles()

        (delivery,) = await world.deliveries_of(receipt.event_id)
        ((claim, sent_to),) = world.sent
        assert (target.id, DeliveryState.DELIVERED) == (delivery.subscriber_id, delivery.state)
        assert (target.id, "notifykit.test", "high") == (sent_to.subscriber_id, claim.event_type, claim.priority)
        assert f'"endpoint_id":"{target.id}"'.encode() in claim.body


class TestSecrets:
    async def test_a_rotation_signs_with_both_for_a_while(self, kit, endpoint, clock):
        """The new secret comes first, the old one keeps signing until the overlap is over, to the microsecond."""
        old = endpoint.secrets[0].value

        rotated = await kit.endpoints.rotate_secret(endpoint.id, tenant=ACME)

        new = rotated.secrets[0].value
        assert rotated == await kit.endpoints.get(endpoint.id, tenant=ACME)
        assert (new, old) == rotated.signing_keys(clock.now() + DAY - TICK)
        assert (new,) == rotated.signing_keys(clock.now() + DAY)
        assert new != old

    async def test_a_given_secret_is_used(self, kit, endpoint):
        """The caller may pass the new secret."""
        mine = generate_secret("v1a")

        rotated = await kit.endpoints.rotate_secret(endpoint.id, tenant=ACME, secret=mine)

        assert mine == rotated.secrets[0].value

    @pytest.mark.parametrize("days", [0, 7])
    async def test_an_overlap_is_0_to_7_days(self, kit, endpoint, clock, days):
        """Without an overlap the old secret stops at once; after seven days at the latest."""
        rotated = await kit.endpoints.rotate_secret(endpoint.id, tenant=ACME, overlap=days * DAY)

        assert 1 + (days > 0) == len(rotated.signing_keys(clock.now()))
        assert 1 == len(rotated.signing_keys(clock.now() + days * DAY))

    @pytest.mark.parametrize("overlap", [-TICK, 7 * DAY + TICK])
    async def test_another_overlap_is_refused(self, kit, endpoint, overlap):
        """And nothing is rotated."""
        with pytest.raises(InvalidEndpointError, match="overlap: between 0 s and 7 days"):
            await kit.endpoints.rotate_secret(endpoint.id, tenant=ACME, overlap=overlap)

        assert endpoint == await kit.endpoints.get(endpoint.id, tenant=ACME)

    async def test_a_wrong_secret_is_refused_without_repeating_it(self, kit, endpoint):
        """The rejected text may be a password."""
        with pytest.raises(InvalidEndpointError, match="secret: ") as refused:
            await kit.endpoints.rotate_secret(endpoint.id, tenant=ACME, secret="hunter2")

        assert "hunter2" not in str(refused.value)

    async def test_five_secrets_sign_at_the_most(self, kit, endpoint, clock):
        """A sixth is refused while all five sign; the overlap of a later rotation never makes an older one longer."""
        for _ in range(4):
            await kit.endpoints.rotate_secret(endpoint.id, tenant=ACME, overlap=7 * DAY)
            clock.advance(HOUR)

        with pytest.raises(StateError, match="revoke one first"):
            await kit.endpoints.rotate_secret(endpoint.id, tenant=ACME)
        full = await kit.endpoints.get(endpoint.id, tenant=ACME)
        clock.advance(7 * DAY)
        rotated = await kit.endpoints.rotate_secret(endpoint.id, tenant=ACME)

        ends = [secret.expires_at for secret in full.secrets]
        start = FakeClock().now()
        assert [None, *(start + n * HOUR + 7 * DAY for n in (3, 2, 1, 0))] == ends
        assert (rotated.secrets[0].value, full.secrets[0].value) == rotated.signing_keys(clock.now())

    async def test_a_shorter_overlap_shortens_the_older_ones(self, kit, endpoint, clock):
        """A rotation after a leak must end all the old secrets."""
        await kit.endpoints.rotate_secret(endpoint.id, tenant=ACME, overlap=7 * DAY)

        rotated = await kit.endpoints.rotate_secret(endpoint.id, tenant=ACME, overlap=HOUR)

        assert [None, HOUR, HOUR] == [s.expires_at and s.expires_at - clock.now() for s in rotated.secrets]

    async def test_a_revoked_secret_stops_at_once(self, kit, endpoint, clock):
        """Whether it is the old one or the current one; then the one before is current again."""
        first = endpoint.secrets[0].value
        second = (await kit.endpoints.rotate_secret(endpoint.id, tenant=ACME)).secrets[0].value

        revoked = await kit.endpoints.revoke_secret(endpoint.id, second, tenant=ACME)

        assert (first,) == revoked.signing_keys(clock.now() + 30 * DAY)

    async def test_revoking_an_old_secret_leaves_the_new_one(self, kit, endpoint, clock):
        """Before its overlap is over."""
        first = endpoint.secrets[0].value
        second = (await kit.endpoints.rotate_secret(endpoint.id, tenant=ACME)).secrets[0].value

        revoked = await kit.endpoints.revoke_secret(endpoint.id, first, tenant=ACME)

        assert (second,) == revoked.signing_keys(clock.now())

    async def test_the_last_secret_that_signs_stays(self, kit, endpoint, clock):
        """Deliveries are never unsigned: an expired secret does not count."""
        await kit.endpoints.rotate_secret(endpoint.id, tenant=ACME, overlap=HOUR)
        clock.advance(HOUR)
        current = await kit.endpoints.get(endpoint.id, tenant=ACME)

        with pytest.raises(StateError, match="rotate first"):
            await kit.endpoints.revoke_secret(endpoint.id, current.secrets[0].value, tenant=ACME)

        assert current == await kit.endpoints.get(endpoint.id, tenant=ACME)

    async def test_an_unknown_secret_is_not_repeated(self, kit, endpoint):
        """The error shows its first characters only."""
        unknown = generate_secret()

        with pytest.raises(NotFoundError) as missing:
            await kit.endpoints.revoke_secret(endpoint.id, unknown, tenant=ACME)

        assert unknown[7:] not in str(missing.value)
