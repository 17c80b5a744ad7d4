"""The web application that receives receipts: what it answers, and that it answers only once they are stored."""

from __future__ import annotations

import datetime as dt
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from notifykit import ConfigurationError, Event, EventType, Notifykit, Step, StoreUnavailableError
from notifykit.channels.receipts.ses import SesReceipts
from notifykit.contrib import provider_receipts
from notifykit.contrib.provider_receipts import MAX_BODY, receipts_app
from notifykit.models.receipt import ProviderReceipt
from notifykit.testing import Reply, VendorServer
from tests.unit.channels import vendor_reports as v

SECRETS: dict[str, Any] = {
    "mailgun": ["before", v.MAILGUN_KEY],
    "postmark": v.POSTMARK_LOGIN,
    "ses": SesReceipts(v.TOPIC, fetch=lambda _: v.certificate()),
    "twilio": v.TWILIO_TOKEN,
    "vonage": v.VONAGE_SECRET,
}


class Kit:
    """Stores receipts, or says why it cannot."""

    def __init__(self) -> None:
        self.stored: list[ProviderReceipt] = []
        self.error: Exception | None = None

    async def record_receipts(self, receipts) -> int:
        if self.error is not None:
            raise self.error
        self.stored += receipts
        return 0


class Now(dt.datetime):
    """The clock of the application."""

    @classmethod
    def now(cls, tz=None):
        return v.NOW


@pytest.fixture
def kit(monkeypatch):
    monkeypatch.setattr(provider_receipts, "datetime", Now)
    return Kit()


async def answer(app, path: str, report: v.Report, *, method: str = "POST", base: str = "https://shop.example"):
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url=base) as client:
        found = await client.request(method, path, headers=report.headers, content=report.body)
    return found.status_code, found.json()["reason"] if found.content else ""


@pytest.mark.parametrize("name", ["mailgun", "postmark", "ses"])
async def test_a_genuine_report_is_stored(kit, name):
    """200, which every vendor takes for success."""
    assert (200, "") == await answer(receipts_app(kit, SECRETS), f"/{name}", v.GENUINE[name]())
    assert [(name, v.DELIVERY)] == [(each.provider, each.delivery_id) for each in kit.stored]


@pytest.mark.parametrize("slash", ["", "/"])
async def test_it_can_be_mounted(kit, slash):
    """The last part of the path names the vendor; the path that Twilio has signed is the whole one."""
    app = Starlette(routes=[Mount("/hooks", app=Mount("/receipts", app=receipts_app(kit, SECRETS)))])
    url = f"https://shop.example/hooks/receipts/twilio{slash}?delivery_id={v.DELIVERY}"

    found = await answer(app, url.removeprefix("https://shop.example"), v.twilio(v.TWILIO_FIELDS, url=url))

    assert (200, "") == found
    assert [v.DELIVERY] == [each.delivery_id for each in kit.stored]


async def test_behind_a_proxy_the_public_url_is_given(kit):
    """The request says what the proxy has called."""
    report = v.twilio(v.TWILIO_FIELDS)
    path = v.TWILIO_URL.removeprefix("https://shop.example")

    found = [
        await answer(receipts_app(kit, SECRETS, public_url=url), path, report, base="http://10.0.0.7:8000")
        for url in (None, "https://shop.example/receipts/")
    ]

    assert [(401, "no_match"), (200, "")] == found


async def test_vonage_may_use_get(kit):
    """Its receipt is then in the query."""
    report = v.vonage(v.VONAGE_FIELDS, form="query")
    query = report.url.partition("?")[2]

    assert (200, "") == await answer(receipts_app(kit, SECRETS), f"/vonage?{query}", report, method="GET")
    assert 1 == len(kit.stored)


@pytest.mark.parametrize(
    ("path", "report", "expected"),
    [
        ("/pigeon", v.Report(body=b""), (404, "vendor_unknown")),
        ("/", v.Report(body=b""), (404, "vendor_unknown")),
        ("/sendgrid", v.Report(body=b""), (404, "vendor_unknown")),
        ("/postmark", v.postmark({}, login="a:b"), (401, "no_match")),
        ("/twilio", v.Report(body=b""), (401, "header_missing")),
        ("/mailgun", v.Report(body=b"{"), (400, "payload_malformed")),
        ("/mailgun", v.mailgun(v.MAILGUN_EVENT, at=v.UNIX - 10**6), (401, "timestamp_too_old")),
        ("/postmark", v.Report(body=b"x" * (MAX_BODY + 1)), (413, "body_too_large")),
        ("/ses", v.ses({}, TopicArn="arn:aws:sns:eu-west-1:1:t"), (401, "topic_unknown")),
    ],
)
async def test_refusals_say_why(kit, path, report, expected):
    """And nothing is stored."""
    assert expected == await answer(receipts_app(kit, SECRETS), path, report)
    assert [] == kit.stored


async def test_only_some_methods_are_allowed(kit):
    """A browser's preflight gets an answer."""
    assert (405, "method_not_allowed") == await answer(
        receipts_app(kit, SECRETS), "/postmark", v.postmark({}), method="DELETE"
    )


async def test_a_store_that_is_away_is_told_to_the_vendor(kit, caplog):
    """It sends the receipts again."""
    kit.error = StoreUnavailableError("the database is not available")

    found = await answer(receipts_app(kit, SECRETS), "/postmark", v.postmark(v.POSTMARK_BOUNCE))

    assert (503, "store_unavailable") == found
    assert "receipts.not_stored provider=postmark" in caplog.text


async def test_refusals_are_logged_without_content(kit, caplog):
    """Only which vendor and why."""
    await answer(receipts_app(kit, SECRETS), "/postmark", v.postmark(v.POSTMARK_BOUNCE, login="a:b"))

    assert "receipts.refused provider=postmark reason=no_match" in caplog.text
    assert "ada@example.org" not in caplog.text


async def test_a_bug_is_not_hidden(kit):
    """The server answers 500, and the vendor sends the receipts again."""
    kit.error = RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        await answer(receipts_app(kit, SECRETS), "/postmark", v.postmark(v.POSTMARK_BOUNCE))


@pytest.mark.parametrize(
    ("secrets", "options", "said"),
    [
        ({}, {}, "at least one"),
        ({"pigeon": "x"}, {}, "known"),
        ({"postmark": "no-colon"}, {}, "user:password"),
        ({"postmark": "a:b"}, {"public_url": "shop.example"}, "public_url"),
    ],
)
def test_wrong_options_are_refused_at_once(kit, secrets, options, said):
    """Not by the first request."""
    with pytest.raises(ConfigurationError, match=said):
        receipts_app(kit, secrets, **options)


async def _drive(app, scope: dict[str, Any], *messages: dict[str, Any]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    waiting = list(messages)

    async def receive():
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    return sent


async def test_it_speaks_plain_asgi(kit):
    """A server may run it by itself: it has a lifespan, reads bodies in parts, and has no web sockets."""
    app = receipts_app(kit, SECRETS)
    body = v.postmark(v.POSTMARK_BOUNCE)
    raw = [(key.lower().encode(), value.encode()) for key, value in body.headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/postmark", "query_string": b"", "headers": raw}
    parts: list[dict[str, Any]] = [
        {"type": "http.request", "body": body.body[:9], "more_body": True},
        {"type": "http.request", "body": body.body[9:]},
    ]

    life = await _drive(app, {"type": "lifespan"}, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    start, _ = await _drive(app, scope, *parts)
    cut, _ = await _drive(app, scope, parts[0], {"type": "http.disconnect"})

    assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == [message["type"] for message in life]
    assert (200, 400, 1) == (start["status"], cut["status"], len(kit.stored))
    with pytest.raises(ConfigurationError, match="HTTP"):
        await _drive(app, {"type": "websocket"})


async def test_an_sms_whose_answer_was_lost_is_delivered_by_its_receipt():
    """It is sent once; the URL that Twilio was given names the delivery, although no answer had its id."""
    sent = EventType(name="code.sent", steps=[Step("sms")])
    async with VendorServer(Reply(status=502)) as vendor:
        account = f"twilio://AC{'0' * 32}:{v.TWILIO_TOKEN}@?from=Shop&countries=US&endpoint={vendor.url}"
        url = f"{account}&callback=https://shop.example/receipts/twilio"
        async with Notifykit("memory://", sms=url, event_types=[sent]) as kit:
            app = Starlette(routes=[Mount("/receipts", app=receipts_app(kit, {"twilio": v.TWILIO_TOKEN}))])
            await kit.recipients.save("user:42", tenant="acme", sms="+15558675310")
            await kit.apublish(Event(type="code.sent", data={}, to="user:42"), tenant="acme")
            async with kit.dispatcher() as dispatcher:
                await dispatcher.drained()
            (before,) = await kit.deliveries.list(tenant="acme")
            (request,) = vendor.requests
            (callback,) = parse_qs(request.body.decode())["StatusCallback"]
            fields = {**v.TWILIO_FIELDS, "MessageStatus": "delivered", "ErrorCode": ""}
            report = v.twilio(fields, url=callback)

            found = await answer(app, callback.removeprefix("https://shop.example"), report)

            (after,) = await kit.deliveries.list(tenant="acme")
            (attempt,) = await kit.deliveries.attempts(after.id, tenant="acme")

    assert (200, "") == found
    assert [("dead", "uncertain", None), ("delivered", None, "delivered")] == [
        (each.state, each.reason, each.receipt) for each in (before, after)
    ]
    assert ("uncertain", ["delivered"]) == (attempt.outcome, [receipt.kind for receipt in attempt.receipts])
    assert 1 == len(vendor.requests)
