"""The API: what producers, businesses and persons send, and what they are answered."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from notifykit import ConfigurationError, Notifykit, StoreUnavailableError
from notifykit.models.access import Role
from notifykit.models.endpoint import RateLimit
from notifykit.telemetry import AccessRefused
from notifykit.web import EndUser, RequestLimits, create_app
from tests.unit.web.world import ACME, ADA, BODIES, client_of, made, new_kit

EVENT = BODIES["publish_events"]


_DEEP = b'{"type":"a","data":' + b'{"a":' * 900 + b"1" + b"}" * 901
_JSON = {"content-type": "application/json"}


class TestPublishing:
    async def test_one_event_is_stored_before_it_is_answered(self, admin, kit):
        """The answer has its id, and everything that was said of it is kept."""
        said = {
            **EVENT,
            "topic": "shop/7",
            "resource": {"kind": "order", "id": "A-1"},
            "metadata": {"a": "b"},
            "priority": "high",
            "delay": 1.5,
            "to": [ADA],
        }

        answer = await admin.post("/v1/events", json=said)

        stored = await kit.events.get(answer.json()["event_id"], tenant=ACME)
        assert 202 == answer.status_code
        assert ("shop/7", "order", "A-1", "high") == (
            stored.topic,
            stored.resource_kind,
            stored.resource_id,
            stored.priority,
        )
        assert 1.5 == (stored.due_at - stored.published_at).total_seconds()
        shown = (await admin.get(f"/v1/events/{stored.id}")).json()
        assert ({"n": 1}, [ADA]) == (shown["data"], shown["to"])

    async def test_of_a_list_all_events_are_stored_or_none(self, admin, kit):
        """What is wrong is told of each, with its place."""
        good = await admin.post("/v1/events", json=[EVENT, {**EVENT, "type": "order.paid"}])
        bad = await admin.post("/v1/events", json=[EVENT, {"type": "order.paid", "data": 5}, {"data": {}}])

        assert 2 == len({each["event_id"] for each in good.json()})
        assert 422 == bad.status_code
        assert [("[1].data", "not a valid object"), ("[2].type", "is missing")] == [
            (each["path"], each["message"]) for each in bad.json()["problems"]
        ]
        assert 3 == len(await kit.events.list(tenant=ACME))  # with the one that was there

    async def test_a_repeated_request_is_stored_once(self, admin, kit):
        """The second answer says so; other content under the same key is refused."""
        key = {"Idempotency-Key": "k-1"}
        answers = [await admin.post("/v1/events", json=EVENT, headers=key) for _ in range(2)]
        several = [await admin.post("/v1/events", json=[EVENT, EVENT], headers=key) for _ in range(2)]
        other = await admin.post("/v1/events", json={**EVENT, "data": {"n": 2}}, headers=key)

        assert [False, True] == [answer.json()["duplicate"] for answer in answers]
        assert [[False, False], [True, True]] == [[each["duplicate"] for each in one.json()] for one in several]
        assert (409, "idempotency_conflict") == (other.status_code, other.json()["code"])
        assert 4 == len(await kit.events.list(tenant=ACME))

    async def test_a_conflict_in_a_list_does_not_hide_what_is_stored(self, admin, kit):
        """The problem has each event of the list in its place; the request may be repeated if all have keys."""
        key, events = {"Idempotency-Key": "k-1"}, [EVENT, {**EVENT, "data": {"n": 3}}]
        first = (await admin.post("/v1/events", json=events, headers=key)).json()
        changed = [EVENT, {**EVENT, "data": {"n": 4}}, {**EVENT, "type": "order.paid"}]

        answers = [(await admin.post("/v1/events", json=changed, headers=key)).json() for _ in range(2)]

        new = answers[0]["events"][2]["event_id"]
        assert "order.paid" == (await kit.events.get(new, tenant=ACME)).type
        assert [(409, "idempotency_conflict")] * 2 == [(one["status"], one["code"]) for one in answers]
        assert [[(first[0]["event_id"], True), (None, False), (new, is_repeat)] for is_repeat in (False, True)] == [
            [(each["event_id"], each["duplicate"]) for each in one["events"]] for one in answers
        ]

    @pytest.mark.parametrize(
        ("path", "channels"),
        [
            ("/v1/notifications", ()),
            ("/v1/send", ("email",)),
            ("/notify", ("email",)),
            ("/send_notification", ()),
        ],
    )
    async def test_simple_shapes_name_the_person(self, admin, kit, path, channels):
        """Each is an event for that person; the answer says that it is queued."""
        name = {"/v1/notifications": "notify_person", "/v1/send": "send_message"}.get(path, path[1:])

        answer = await admin.post(path, json=BODIES[name])

        stored = await kit.events.get(answer.json()["notification_id"], tenant=ACME)
        audience = json.loads(stored.audience or "{}")
        assert (202, "queued") == (answer.status_code, answer.json()["status"])
        assert ([ADA], channels) == (audience["to"], tuple(audience.get("channels", ())))

    async def test_the_simple_shape_of_preferences_turns_channels_on_and_off(self, admin, kit):
        """Each channel that is named; an unknown person is told of."""
        path, body = "/update_notification_preferences", {"user_id": ADA, "preferences": {"email": False, "sms": True}}

        answer = await admin.post(path, json=body)
        missing = await admin.post(path, json={**body, "user_id": "user:0"})

        settings = (await kit.recipients.get(ADA, tenant=ACME)).settings
        assert {"status": "updated"} == answer.json()
        assert {("email", "off"), ("sms", "on")} == {(each.select.channel, each.value) for each in settings}
        assert 404 == missing.status_code


class TestProblems:
    @pytest.mark.parametrize("path", ["events", "deliveries", "dead-letters", "endpoints", "recipients", "event-types"])
    async def test_an_empty_cursor_is_no_page(self, admin, path):
        """It is refused as any other wrong part of a query, in place of an empty page."""
        answer = await admin.get(f"/v1/{path}?cursor=")

        assert (422, "query.cursor") == (answer.status_code, answer.json()["problems"][0]["path"])

    @pytest.mark.parametrize("path", ["events", "deliveries", "dead-letters"])
    async def test_a_cursor_of_another_form_is_refused(self, admin, path):
        """No page of these lists ends with such an id."""
        answer = await admin.get(f"/v1/{path}?cursor=xx")

        assert (422, "query.cursor") == (answer.status_code, answer.json()["problems"][0]["path"])

    @pytest.mark.parametrize(
        ("request_", "status", "code"),
        [
            ({"content": b"{", "headers": _JSON}, 400, "invalid_request"),
            ({"content": b"{}", "headers": {"content-type": "text/plain"}}, 415, "unsupported_media_type"),
            ({"content": b"x" * 2_000_000, "headers": _JSON}, 413, "too_large"),
            ({"json": {"type": "a.b", "data": {}, "extra": 1}}, 422, "invalid_input"),
            ({"json": EVENT, "params": {"limit": 5}}, 422, "invalid_input"),
            ({"json": EVENT, "headers": {"Idempotency-Key": "k" * 201}}, 422, "invalid_input"),
            ({"content": b'{"type":"a","type":"b"}', "headers": _JSON}, 422, "invalid_input"),
            ({"json": [EVENT] * 1001}, 422, "invalid_input"),
            ({"content": _DEEP, "headers": _JSON}, 422, "invalid_input"),
            ({"content": b"[" * 100_000, "headers": _JSON}, 400, "invalid_request"),
        ],
    )  # fmt: skip
    async def test_what_is_wrong_is_told(self, admin, request_, status, code):
        """As a problem of RFC 9457 that names the request."""
        answer = await admin.post("/v1/events", **request_)

        problem = answer.json()
        assert "application/problem+json" == answer.headers["content-type"]
        assert (status, code, status) == (answer.status_code, problem["code"], problem["status"])
        assert answer.headers["x-request-id"] == problem["request_id"]
        assert f"urn:notifykit:problem:{code.replace('_', '-')}" == problem["type"]

    async def test_a_body_without_a_length_is_limited_too(self, kit, world, admin):
        """Reading ends where the limit is passed."""

        async def parts():
            for _ in range(100):
                yield b" " * 100_000

        answer = await admin.post("/v1/events", content=parts(), headers={"content-type": "application/json"})

        assert 413 == answer.status_code

    async def test_a_path_and_a_method_that_are_not_there(self, admin):
        """They are problems as well; the methods that there are are named."""
        path, method = await admin.get("/v1/nothing"), await admin.put("/v1/events", json={})

        assert [404, 405] == [path.status_code, method.status_code]
        assert {"GET", "HEAD", "POST"} == set(method.headers["allow"].replace(" ", "").split(","))

    async def test_a_store_that_does_not_answer_is_worth_another_try(self, admin, kit, monkeypatch):
        """503, with when to come back."""

        async def fail(*_, **__):
            raise StoreUnavailableError("secret address of the database")

        monkeypatch.setattr(kit.store, "append", fail)
        monkeypatch.setattr(kit.store, "next_due", fail)
        answers = [await admin.post("/v1/events", json=EVENT), await admin.get("/readyz")]

        assert [503, 503] == [answer.status_code for answer in answers]
        assert ["2", "2"] == [answer.headers["retry-after"] for answer in answers]
        assert "secret" not in "".join(answer.text for answer in answers)

    async def test_an_error_of_ours_is_logged_and_not_shown(self, admin, kit, monkeypatch, caplog):
        """With the request's id, under which the log has it."""

        async def fail(*_, **__):
            raise RuntimeError("inner secrets")

        monkeypatch.setattr(kit.store, "find_events", fail)
        answer = await admin.get("/v1/events", headers={"X-Request-Id": "mine-1"})

        assert (500, "internal_error", "mine-1") == (
            answer.status_code,
            answer.json()["code"],
            answer.headers["x-request-id"],
        )
        assert "inner secrets" not in answer.text
        assert "request.failed request_id=mine-1 error=RuntimeError" in caplog.text


class TestLists:
    async def test_pages_show_everything_once(self, admin, kit):
        """The ``next`` of a page is the cursor of the one after it; the last has none."""
        for n in range(5):
            await admin.post("/v1/events", json={**EVENT, "data": {"n": n}})

        ids, cursor = [], None
        for _ in range(4):
            query = {"limit": 2, **({} if cursor is None else {"cursor": cursor})}
            page = (await admin.get("/v1/events", params=query)).json()
            ids += [each["id"] for each in page["data"]]
            if (cursor := page["next"]) is None:
                break

        assert [event.id for event in await kit.events.list(tenant=ACME)] == ids

    async def test_deliveries_are_found_by_what_is_known_of_them(self, admin, world):
        """State, subscriber, event, type, time; an unknown state is told of."""
        found = [
            len((await admin.get("/v1/deliveries", params=query)).json()["data"])
            for query in (
                {"state": "dead,delivered"},
                {"state": "pending"},
                {"subscriber_id": world.ids["endpoint_id"]},
                {"event_type": "order.paid"},
                {"since": "2020-01-01T00:00:00+00:00"},
                {"until": "2020-01-01T00:00:00Z"},
            )
        ]
        wrong = await admin.get("/v1/deliveries", params={"state": "gone", "since": "today", "limit": "0"})

        assert [1, 0, 1, 0, 1, 0] == found
        assert ["query.limit", "query.state", "query.since"] == [each["path"] for each in wrong.json()["problems"]]


class TestBusinesses:
    async def test_an_endpoint_lives(self, admin, kit):
        """Created with its secret, changed, rotated, paused, resumed, tested, looked at, and removed."""
        new = (
            await admin.post("/v1/endpoints", json={"url": "http://127.0.0.1:8081/h", "rate_limit": {"per_second": 5}})
        ).json()
        path = f"/v1/endpoints/{new['endpoint']['id']}"
        changed = (await admin.patch(path, json={"rate_limit": None, "retry": {"delays": [1, 2]}})).json()
        rotated = (await admin.post(f"{path}/rotate", json={"overlap": 60})).json()
        paused = (await admin.post(f"{path}/pause", json={"reason": "maintenance"})).json()
        untested = await admin.post(f"{path}/test")
        resumed = (await admin.post(f"{path}/resume")).json()
        tested = await admin.post(f"{path}/test")
        health = (await admin.get(f"{path}/health")).json()
        gone = [await admin.delete(path), await admin.delete(path)]

        assert new["secret"].startswith("whsec_")
        assert ({"per_second": 5, "burst": 1}, None) == (new["endpoint"]["rate_limit"], changed["rate_limit"])
        assert [1, 2] == changed["retry"]["delays"]
        assert new["secret"] != rotated["secret"]
        assert 2 == rotated["endpoint"]["secrets"]
        assert ("paused", "maintenance", "active") == (paused["state"], paused["state_reason"], resumed["state"])
        assert [409, 202] == [untested.status_code, tested.status_code]
        assert (False, {}, None) == (health["circuit_open"], health["recent"], health["success_rate"])
        assert [204, 404] == [answer.status_code for answer in gone]

    async def test_an_endpoint_that_must_not_be_reached_is_refused(self, admin):
        """With every problem, also of its headers."""
        answer = await admin.post("/v1/endpoints", json={"url": "http://10.0.0.1/", "timeout": 99})
        where = await admin.post("/v1/endpoints", json={"url": "http://10.0.0.1/"})

        assert [("timeout", "between 1 s and 30 s, got 0:01:39")] == [
            (each["path"], each["message"]) for each in answer.json()["problems"]
        ]
        assert "url" == where.json()["problems"][0]["path"]

    async def test_a_subscription_lives(self, admin, world):
        """Conditions are changed and taken away; a trial stores nothing."""
        endpoint = world.ids["endpoint_id"]
        new = (
            await admin.post(
                "/v1/subscriptions",
                json={"event_types": ["a.*"], "endpoint_id": endpoint, "topic": "t/*", "filter": {"n": [1]}},
            )
        ).json()
        path = f"/v1/subscriptions/{new['id']}"
        changed = (await admin.patch(path, json={"topic": None, "enabled": False})).json()
        tried = [
            (await admin.post("/v1/subscriptions/try", json={"event_types": ["a.*"], "type": type_})).json()["code"]
            for type_ in ("a.b", "b.b")
        ]
        wrong = await admin.post("/v1/subscriptions", json={"event_types": ["a..b"], "endpoint_id": endpoint})
        warned = (await admin.get(f"{path}/warnings")).json()
        listed = (await admin.get("/v1/subscriptions", params={"endpoint_id": endpoint})).json()

        assert (None, {"n": [1]}, False) == (changed["topic"], changed["filter"], changed["enabled"])
        assert ["matched", "type_mismatch"] == tried
        assert "event_types[0]" == wrong.json()["problems"][0]["path"]
        assert ["unknown_type"] == [each["code"] for each in warned]
        assert 2 == len(listed["data"])

    async def test_what_did_not_arrive_is_sent_again(self, admin, world):
        """One by one, or all that fit; the attempts are shown."""
        path = f"/v1/deliveries/{world.ids['delivery_id']}"
        attempts = (await admin.get(f"{path}/attempts")).json()
        dead = (await admin.get("/v1/dead-letters")).json()["data"]
        none = (await admin.post("/v1/dead-letters/redrive", json={"event_type": "order.paid"})).json()
        all_ = (await admin.post("/v1/dead-letters/redrive", json={})).json()
        again = await admin.post(f"{path}/resend")
        cancelled = (await admin.post(f"{path}/cancel")).json()
        resent = (await admin.post(f"{path}/resend")).json()

        assert [("permanent", "http_400")] == [(each["outcome"], each["reason"]) for each in attempts]
        assert [world.ids["delivery_id"]] == [each["id"] for each in dead]
        assert (0, 1) == (none["count"], all_["count"])
        assert (409, "cancelled", "pending", 2) == (
            again.status_code,
            cancelled["state"],
            resent["state"],
            resent["generation"],
        )

    async def test_an_event_is_explained(self, admin, world):
        """With what became of it and what each subscription says."""
        found = (await admin.get(f"/v1/events/{world.ids['event_id']}/explain")).json()

        assert (True, ["dead"], ["matched"]) == (
            found["planned"],
            [each["state"] for each in found["deliveries"]],
            [each["code"] for each in found["verdicts"]],
        )


class TestEventTypes:
    async def test_a_stored_type_checks_what_is_published(self, kit, world, admin):
        """Its schema counts at once, for one event and for each of a list, until it is removed."""
        path = "/v1/event-types/order.counted"
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        steps = [{"channel": "in_app"}, {"channel": "email", "after": 60, "unless": ["seen"]}]
        good, bad = ({"type": "order.counted", "data": data} for data in ({"n": 1}, {"n": "x"}))
        async with client_of(create_app(kit), headers=world.headers(ACME, Role.OPERATOR)) as operator:
            before = await operator.post("/v1/events", json=bad)
            saved = await operator.put(path, json={"schema": schema, "category": "stock", "steps": steps})
            answers = [await operator.post("/v1/events", json=json) for json in (good, bad, [good, bad])]
            again = await operator.put(path, json={"category": "stock"})
            after = await operator.post("/v1/events", json=bad)
            gone = [await operator.delete(path) for _ in range(2)]

        assert ("stock", 60, ["seen"]) == (
            saved.json()["category"],
            saved.json()["steps"][1]["after"],
            saved.json()["steps"][1]["unless"],
        )
        assert [202, 202, 422, 422, 202] == [answer.status_code for answer in (before, *answers, after)]
        assert ["data.n", "[1].data.n"] == [answer.json()["problems"][0]["path"] for answer in answers[1:]]
        assert (200, None) == (again.status_code, again.json()["schema"])
        assert [204, 404] == [answer.status_code for answer in gone]

    @pytest.mark.parametrize("path", ["/v1/events", "/v1/notifications"])
    async def test_a_stored_type_gives_events_its_priority_and_category(self, kit, world, path):
        """As a declared one does; an event may have a priority of its own."""
        said: dict[str, Any] = {"data": {}} if path == "/v1/events" else {"user_id": ADA}
        async with client_of(create_app(kit), headers=world.headers(ACME, Role.OPERATOR)) as operator:
            await operator.put("/v1/event-types/order.counted", json={"priority": "low", "category": "stock"})
            answer = (await operator.post(path, json={"type": "order.counted", **said})).json()
            listed = await operator.post("/v1/events", json=[{"type": "order.counted", "data": {}, "priority": "high"}])

        ids = [answer.get("event_id") or answer["notification_id"], listed.json()[0]["event_id"]]
        stored = [await kit.events.get(each, tenant=ACME) for each in ids]
        assert [("low", "stock"), ("high", "stock")] == [(each.priority, each.category) for each in stored]

    @pytest.mark.parametrize(
        ("name", "body", "status"),
        [
            ("order.shipped", {}, 409),
            ("a..b", {}, 422),
            ("a.b", {"schema": {"type": "thing"}}, 422),
            ("a.b", {"steps": [{"channel": "email", "fallback": True}]}, 422),
            ("a.b", {"steps": [{"channel": "webhook"}]}, 422),
        ],
    )
    async def test_a_type_that_cannot_work_is_refused(self, kit, world, name, body, status):
        """And one that the program declares is changed there."""
        async with client_of(create_app(kit), headers=world.headers(ACME, Role.OPERATOR)) as operator:
            answer = await operator.put(f"/v1/event-types/{name}", json=body)

        assert status == answer.status_code


class TestPersons:
    async def test_a_change_of_what_was_not_read_is_refused(self, admin):
        """``If-Match`` names the version; without it the change is made to whatever there is."""
        path = "/v1/recipients/user:9"
        new = await admin.put(path, json={"name": "Eve", "email": ["eve@example.org"]}, headers={"If-Match": '"0"'})
        first = await admin.patch(path, json={"name": "Eva"}, headers={"If-Match": new.headers["etag"]})
        stale = await admin.patch(path, json={"name": "Evi"}, headers={"If-Match": new.headers["etag"]})
        preferences = await admin.put(
            "/v1/preferences/user:9", json={"settings": []}, headers={"If-Match": new.headers["etag"]}
        )
        wrong = await admin.put(path, json={}, headers={"If-Match": "W/3"})
        either = await admin.put(path, json={"zone": "Europe/Berlin"}, headers={"If-Match": "*"})

        assert ['"1"', '"2"'] == [new.headers["etag"], first.headers["etag"]]
        assert [412, 412] == [stale.status_code, preferences.status_code]
        assert "precondition_failed" == stale.json()["code"]
        assert "header.If-Match" == wrong.json()["problems"][0]["path"]
        assert (None, []) == (either.json()["name"], either.json()["addresses"])

    async def test_everything_wrong_with_a_person_is_told(self, admin):
        """Each with its path."""
        answer = await admin.put(
            "/v1/recipients/user:9", json={"locale": "??", "zone": "Mars", "email": ["x"], "traits": [1]}
        )

        assert {"locale", "zone", "email", "traits"} == {each["path"] for each in answer.json()["problems"]}

    async def test_addresses_are_added_and_acted_on(self, admin):
        """A suppressed address is not used; purposes go with a suppression."""
        path, its = f"/v1/recipients/{ADA}/addresses", {"channel": "push", "address": "t-1"}
        added = (await admin.post(path, json={**its, "app": "shop", "platform": "ios"})).json()
        states = [
            (await admin.post(f"{path}/actions", json={**its, "action": action})).json()["addresses"][-1]["state"]
            for action in ("suppress", "unsuppress", "verify")
        ]
        removed = (await admin.post(f"{path}/actions", json={**its, "action": "remove"})).json()
        missing = await admin.post(f"{path}/actions", json={**its, "action": "verify"})
        wrong = await admin.post(f"{path}/actions", json={**its, "action": "remove", "purposes": ["marketing"]})

        assert ("shop", "ios") == (added["addresses"][-1]["app"], added["addresses"][-1]["platform"])
        assert ["suppressed", "active", "active"] == states
        assert ["email"] == [each["channel"] for each in removed["addresses"]]
        assert [404, 422] == [missing.status_code, wrong.status_code]

    async def test_preferences_are_replaced_as_a_whole(self, admin):
        """Mutes and quiet hours that are not given stay; the matrix shows what it comes to."""
        path = f"/v1/preferences/{ADA}"
        quiet = {"windows": [{"days": ["mon"], "begin": "22:00", "end": "07:00"}], "exceptions": ["alarms"]}
        first = (
            await admin.put(
                path,
                json={
                    "settings": [{"category": "orders", "channel": "email", "value": "off"}],
                    "mutes": [{"topic": "shop/7/**"}],
                    "quiet_hours": quiet,
                },
            )
        ).json()
        second = (await admin.put(path, json={"settings": [{"value": "digest:daily"}]})).json()
        muted = (await admin.post(f"{path}/mute", json={"category": "orders"})).json()
        unmuted = (await admin.post(f"{path}/unmute", json={"category": "orders"})).json()
        consent = (await admin.post(f"{path}/consents", json={"how": "form 7"})).json()
        wrong = await admin.put(path, json={"settings": [{"type": "a.b", "category": "c", "value": "on"}]})

        assert quiet == first["quiet_hours"] == second["quiet_hours"]
        assert (
            "off"
            == {(each["type"], each["channel"]): each["value"] for each in first["matrix"]}["order.shipped", "email"]
        )
        assert ["digest:daily"] == [each["value"] for each in second["settings"]]
        assert [1, 2, 1] == [len(each["mutes"]) for each in (second, muted, unmuted)]
        assert [("marketing", True, "form 7")] == [
            (each["purpose"], each["granted"], each["how"]) for each in consent["consents"]
        ]
        assert 422 == wrong.status_code

    async def test_an_inbox_is_read_and_marked(self, admin):
        """Counts follow, and the changes since a page tell other devices."""
        path = f"/v1/inbox/{ADA}"
        page = (await admin.get(path)).json()
        (item,) = page["data"]
        marked = [
            (await admin.post(f"{path}/marks", json={"mark": "read", "ids": [item["id"]]})).json()["count"]
            for _ in range(2)
        ]
        changes = (await admin.get(f"{path}/changes", params={"cursor": page["changes"]})).json()
        archived = (await admin.post(f"{path}/marks", json={"mark": "archived"})).json()
        counts = (await admin.get(f"{path}/counts")).json()
        simple = (await admin.get("/notifications", params={"user_id": ADA})).json()
        wrong = [
            await admin.post(f"{path}/marks", json=body)
            for body in ({"mark": "snoozed"}, {"mark": "read", "ids": [], "state": "unread"}, {"mark": "liked"})
        ]

        assert [1, 0] == marked
        assert [item["id"]] == [each["id"] for each in changes["items"]]
        assert changes["items"][0]["read_at"] is not None
        assert ({"count": 1}, {"unseen": 0, "unread": 0}, []) == (archived, counts, simple)
        assert [422] * 3 == [answer.status_code for answer in wrong]

    async def test_it_is_explained_why_a_person_is_told(self, admin, world):
        """Of a type, or of an event; one of the two is needed."""
        path = f"/v1/recipients/{ADA}/explain"
        of_type = (await admin.get(path, params={"type": "order.shipped"})).json()
        of_event = (await admin.get(path, params={"event_id": world.ids["event_id"]})).json()
        neither = await admin.get(path)

        assert ["in_app", "email"] == [step["channel"] for step in of_type["steps"]]
        assert "nothing" == of_event["reached_by"]
        assert 422 == neither.status_code

    async def test_a_person_is_exported_and_erased(self, admin, kit):
        """Everything that is known of them."""
        exported = (await admin.get(f"/v1/recipients/{ADA}/export")).json()
        erased = (await admin.post(f"/v1/recipients/{ADA}/erase")).json()

        assert exported["recipient"]["id"] == ADA
        assert erased["rows"] >= 2
        assert 404 == (await admin.get(f"/v1/recipients/{ADA}")).status_code


class TestKeys:
    async def test_an_access_token_stands_for_a_key(self, kit, world):
        """OAuth 2.0 client credentials, in the form or as Basic; a token gets no token."""
        issued = await kit.api_keys.create(tenant=ACME, role=Role.PRODUCER)
        form = {"grant_type": "client_credentials", "client_id": issued.key.id, "client_secret": issued.secret}
        async with client_of(create_app(kit)) as client:
            token = await client.post("/oauth/token", data=form)
            basic = await client.post(
                "/oauth/token",
                data={"grant_type": "client_credentials"},
                auth=httpx.BasicAuth(issued.key.id, issued.secret),
            )
            bearer = {"Authorization": f"Bearer {token.json()['access_token']}"}
            used = [await client.post("/v1/events", json=EVENT, headers=bearer)]
            used.append(await client.get("/v1/keys", headers=bearer))
            refused = [
                await client.post("/oauth/token", data={**form, **change})
                for change in (
                    {"client_secret": token.json()["access_token"]},
                    {"client_id": world.ids["key_id"]},
                    {"grant_type": "password"},
                )
            ]
            unread = await client.post("/oauth/token", content=b"\xff")
        assert ("Bearer", 3600, "no-store") == (
            token.json()["token_type"],
            token.json()["expires_in"],
            token.headers["cache-control"],
        )
        assert 200 == basic.status_code
        assert [202, 403] == [answer.status_code for answer in used]
        assert [(401, "invalid_client"), (401, "invalid_client"), (400, "unsupported_grant_type")] == [
            (answer.status_code, answer.json()["error"]) for answer in refused
        ]
        assert (400, "invalid_request") == (unread.status_code, unread.json()["error"])

    async def test_a_key_lives(self, admin, kit):
        """Created and rotated with its secret, listed without, revoked."""
        new = (
            await admin.post("/v1/keys", json={"role": "producer", "name": "shop", "scopes": ["events:write"]})
        ).json()
        path = f"/v1/keys/{new['key']['id']}"
        rotated = (await admin.post(f"{path}/rotate", json={"overlap": 0})).json()
        shown = await admin.get(path)
        found = [await kit.api_keys.find(each["secret"]) for each in (new, rotated)]
        gone = [await admin.delete(path), await admin.get(path)]

        assert new["secret"] not in shown.text
        assert rotated["secret"].startswith(shown.json()["hint"][:-1])
        assert [None, new["key"]["id"]] == [found[0], found[1] and found[1].id]
        assert [204, 404] == [answer.status_code for answer in gone]


class TestServer:
    async def test_limits_are_told_and_kept(self, kit, world, clock):
        """Of a key, with the headers of the IETF draft; a person has a limit of their own."""
        limits = RequestLimits(key=RateLimit(per_second=1, burst=3), person=RateLimit(per_second=1, burst=2))
        headers = world.headers(ACME, Role.VIEWER)
        user = EndUser(tenant=ACME, recipient_id=ADA)
        async with client_of(create_app(kit, limits=limits, recipient=lambda _: user)) as client:
            answers = [await client.get("/v1/events", headers=headers) for _ in range(4)]
            others = [await client.get("/v1/events", headers=world.headers(ACME, Role.PRODUCER))]
            persons = [await client.get(f"/v1/inbox/{ADA}") for _ in range(3)]

        assert [200, 200, 200, 429] == [answer.status_code for answer in answers]
        assert '"key";q=3;w=3' == answers[0].headers["ratelimit-policy"]
        assert ("1", '"key";r=0;t=1') == (answers[3].headers["retry-after"], answers[3].headers["ratelimit"])
        assert [200] == [answer.status_code for answer in others]
        assert [200, 200, 429] == [answer.status_code for answer in persons]

    async def test_quotas_last_until_midnight(self, kit, world, clock):
        """All processes share them, a key has one beside that of its tenant, and the headers name both."""
        limits = RequestLimits(key_per_day=4, tenant_per_day=6, person=None)
        viewer, producer = (world.headers(ACME, role) for role in (Role.VIEWER, Role.PRODUCER))
        clock.advance(datetime(2026, 5, 1, 23, 0, tzinfo=UTC) - clock.now())
        async with client_of(create_app(kit, limits=limits)) as one, client_of(create_app(kit, limits=limits)) as two:
            answers = [await client.get("/v1/events", headers=viewer) for client in (one, two) * 2 + (one,)]
            others = [await two.get("/v1/events", headers=producer) for _ in range(3)]
            clock.advance(timedelta(hours=1, seconds=1))
            tomorrow = await two.get("/v1/events", headers=viewer)

        assert [200] * 4 + [429] == [answer.status_code for answer in answers]
        assert '"key-day";q=4;w=86400, "tenant-day";q=6;w=86400' == answers[0].headers["ratelimit-policy"]
        assert '"key-day";r=0;t=3600, "tenant-day";r=0;t=3600' == answers[0].headers["ratelimit"]
        assert '"key-day";r=0;t=3600' == answers[4].headers["ratelimit"]
        assert "3600" == answers[4].headers["retry-after"]
        assert [200, 200, 429] == [answer.status_code for answer in others]
        assert "this tenant-day is reached" in others[2].json()["detail"]
        assert 200 == tomorrow.status_code

    async def test_a_large_quota_is_taken_in_parts(self, kit, world):
        """A bucket of the store holds a million tokens, so that a token is several requests."""
        limits = RequestLimits(tenant_per_day=5_000_000)
        async with client_of(create_app(kit, limits=limits)) as client:
            answer = await client.get("/v1/events", headers=world.headers(ACME, Role.VIEWER))

        assert '"tenant-day";q=5000000;w=86400' == answer.headers["ratelimit-policy"]
        assert '"tenant-day";r=4999' == answer.headers["ratelimit"].partition(";t=")[0]

    async def test_pages_of_listed_sites_may_call_it(self, kit, world):
        """Others may not, and neither a wildcard nor the origin of files and sandboxes can be listed."""
        asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
        async with client_of(create_app(kit, origins=["https://shop.example"])) as client:
            answers = [
                await client.options("/v1/events", headers={"Origin": origin, **asked})
                for origin in ("https://shop.example", "https://evil.example")
            ]

        assert ["https://shop.example", None] == [
            answer.headers.get("access-control-allow-origin") for answer in answers
        ]
        for unsafe in ("*", "null"):
            with pytest.raises(ConfigurationError, match="list the sites"):
                create_app(kit, origins=[unsafe])

    async def test_long_answers_are_compressed(self, admin):
        """If the client takes it."""
        async with admin.stream("GET", "/openapi.json", headers={"Accept-Encoding": "gzip"}) as answer:
            raw = b"".join([part async for part in answer.aiter_raw()])

        assert "gzip" == answer.headers["content-encoding"]
        assert "3.1.0" == json.loads(gzip.decompress(raw))["openapi"]

    async def test_who_is_refused_is_reported(self, clock, caplog):
        """Without credentials, with too few rights and after too many guesses, and never with what was sent."""
        heard: list[Any] = []
        async with new_kit(clock, subscribers=[heard.append]) as kit:
            world = await made(kit)
            limits = RequestLimits(failures=RateLimit(per_second=0.001, burst=1))
            async with client_of(create_app(kit, limits=limits)) as client:
                await client.get("/v1/events", headers=world.headers(ACME, Role.VIEWER))
                await client.post("/v1/endpoints", headers=world.headers(ACME, Role.VIEWER), json={})
                for _ in range(2):
                    await client.get("/v1/keys", headers={"Authorization": "Bearer nk_guess", "X-Request-Id": "r"})

        told = [each for each in heard if isinstance(each, AccessRefused)]
        assert [("create_endpoint", 403), ("list_keys", 401), ("list_keys", 429)] == [
            (each.action, each.status) for each in told
        ]
        assert [world.ids["key_id"], None, None] == [each.subject for each in told]
        assert {"r"} == {each.request_id for each in told[1:]}
        assert "nk_guess" not in caplog.text

    async def test_what_operators_and_administrators_do_is_reported(self, clock):
        """Also what was refused; not what producers publish, nor what others read."""
        told: list[Any] = []
        from tests.unit.web.world import made

        kit = Notifykit("memory://", clock=clock, egress=new_kit(clock).egress, subscribers=[told.append])
        async with kit:
            world = await made(kit)
            told.clear()
            async with client_of(create_app(kit)) as client:
                admin, operator = (world.headers(ACME, role) for role in (Role.TENANT_ADMIN, Role.OPERATOR))
                await client.post("/v1/events", json=EVENT, headers=admin)
                await client.get("/v1/endpoints", headers=admin)
                await client.delete("/v1/endpoints/end_0", headers={**admin, "X-Request-Id": "r-1"})
                await client.get("/v1/stats", headers=operator)

        reported = [(each.action, each.role, each.tenant, each.target, each.status) for each in told]
        assert [
            ("delete_endpoint", "tenant_admin", ACME, "end_0", 404),
            ("get_stats", "operator", ACME, None, 200),
        ] == reported
        assert "r-1" == told[0].request_id
        assert told[0].subject.startswith("key_")

    async def test_it_is_mounted_under_a_prefix(self, kit, world):
        """The document and the page know where they are; two of them know nothing of each other."""
        from starlette.applications import Starlette
        from starlette.routing import Mount

        host = Starlette(routes=[Mount("/api/a", create_app(kit)), Mount("/api/b", create_app(kit))])
        async with client_of(host, headers=world.headers(ACME, Role.VIEWER)) as client:
            listed = await client.get("/api/a/v1/events")
            described = (await client.get("/api/b/openapi.json")).json()
            page = await client.get("/api/b/docs")
            style = await client.get(page.text.partition('stylesheet" href="')[2].partition('"')[0])

        assert 200 == listed.status_code
        assert [{"url": "/api/b"}] == described["servers"]
        assert ("text/css; charset=utf-8", "public, max-age=31536000, immutable") == (
            style.headers["content-type"],
            style.headers["cache-control"],
        )
        assert "script" not in page.headers["content-security-policy"].replace("'none'", "")
        assert "<script" not in page.text

    async def test_it_is_mounted_in_fastapi(self, kit, world):
        """Beside the host's own routes."""
        from fastapi import FastAPI

        host = FastAPI()
        host.get("/")(lambda: "shop")
        host.mount("/notify", create_app(kit))
        async with client_of(host, headers=world.headers(ACME, Role.VIEWER)) as client:
            answers = [await client.get(path) for path in ("/", "/notify/v1/events", "/v1/events")]

        assert [200, 200, 404] == [each.status_code for each in answers]
        assert ["order.shipped"] == [each["type"] for each in answers[1].json()["data"]]

    async def test_it_is_mounted_beside_django(self, kit, world):
        """What is not the server's goes to Django's own ASGI application."""
        from django.conf import settings
        from django.core.handlers.asgi import ASGIHandler
        from django.http import HttpResponse
        from django.test import override_settings
        from django.urls import path
        from starlette.applications import Starlette
        from starlette.routing import Mount

        if not settings.configured:
            settings.configure()
        urls = (path("", lambda _: HttpResponse("shop")),)
        with override_settings(ROOT_URLCONF=urls, ALLOWED_HOSTS=["*"]):
            host = Starlette(routes=[Mount("/notify", create_app(kit)), Mount("/", ASGIHandler())])  # type: ignore[arg-type]
            async with client_of(host, headers=world.headers(ACME, Role.VIEWER)) as client:
                answers = [await client.get(path) for path in ("/", "/notify/v1/events")]

        assert [200, 200] == [each.status_code for each in answers]
        assert "shop" == answers[0].text
        assert ["order.shipped"] == [each["type"] for each in answers[1].json()["data"]]

    async def test_a_kit_is_opened_by_the_first_request(self, clock, tmp_path):
        """Where the host has not opened it; that the process answers does not depend on the store."""
        url = f"sqlite:///{tmp_path / 'shop.db'}"
        async with new_kit(clock, url) as kit:
            headers = {"Authorization": f"Bearer {(await kit.api_keys.create(tenant=ACME, role='viewer')).secret}"}
        opened, missing = new_kit(clock, url), Notifykit(f"sqlite:///{tmp_path / 'none.db'}", create=False)

        async with client_of(create_app(opened), headers=headers) as client:
            listed = await client.get("/v1/events")
        async with client_of(create_app(missing), headers=headers) as client:
            health, ready = await client.get("/healthz"), await client.get("/readyz")
        await opened.aclose()

        assert {"data": [], "next": None} == listed.json()
        assert (200, 503) == (health.status_code, ready.status_code)
