"""FCM: what Google is sent, what its answers mean, and how access tokens are got."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from urllib.parse import parse_qs, quote

import attrs
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from notifykit import ConfigurationError
from notifykit.channels import provider_channel_from_url
from notifykit.channels.http_answers import Meaning
from notifykit.channels.push import fcm
from notifykit.models.delivery import Priority
from notifykit.models.outcome import Accepted, BadRecipient, CircuitEffect, Outcome, Permanent, Throttled, Transient
from notifykit.testing import START, Reply, VendorServer

from .push_keys import (
    APNS_URL,
    EC_PEM,
    FCM_TOKEN,
    RSA_KEY,
    RSA_LINE,
    RSA_PEM,
    fcm_url,
    pem,
    public_pem,
    service_account,
)
from .push_suite import PushSuite, outcome_for, outcome_of

MESSAGE_ID = "projects/example-shop/messages/0:1500415314455276%31bd1c9631bd1c96"
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
STATUSES = {
    "INTERNAL": 500,
    "INVALID_ARGUMENT": 400,
    "QUOTA_EXCEEDED": 429,
    "SENDER_ID_MISMATCH": 403,
    "THIRD_PARTY_AUTH_ERROR": 401,
    "UNAVAILABLE": 503,
    "UNREGISTERED": 404,
}
MINUTE = timedelta(minutes=1)
REFUSED = Transient(reason="token_refused", circuit=CircuitEffect.OPEN)


def error(code: str | None, message: str = "said", status: int | None = None) -> Reply:
    """Return an error as Google writes it; without a code, one that is not of FCM."""
    status = status or STATUSES[code or ""]
    details = [{"@type": "type.googleapis.com/google.rpc.Help"}]
    if code is not None:
        details.append({"@type": FCM_ERROR, "errorCode": code})
    body = {"error": {"code": status, "message": message, "status": "X", "details": details}}
    return Reply(status=status, body=json.dumps(body).encode())


WRONG_TOKEN = error("INVALID_ARGUMENT", "The registration token is not a valid FCM registration token")
#: What is not as the table says, for an account of which nothing is known.
EXPECTED: dict[str, Outcome] = {"SENDER_ID_MISMATCH": Permanent(reason="fcm_SENDER_ID_MISMATCH")}


def granted(number: int, seconds: object = 3599) -> Reply:
    body = {"access_token": f"ya29.token-{number}", "expires_in": seconds, "token_type": "Bearer"}
    return Reply(status=200, body=json.dumps(body).encode())


class Google(VendorServer):
    """Google's token endpoint: it checks the signature as Google does, and numbers its tokens."""

    def __init__(self) -> None:
        super().__init__(Reply())
        self.claims: list[dict[str, object]] = []
        self.script: list[Reply] = []

    def _answer(self, method, path, headers, body):
        super()._answer(method, path, headers, body)
        fields = {name: value for name, (value,) in parse_qs(body.decode()).items()}
        assert "urn:ietf:params:oauth:grant-type:jwt-bearer" == fields["grant_type"]
        try:
            claims = jwt.decode(
                fields["assertion"],
                public_pem(RSA_KEY),
                algorithms=["RS256"],
                audience=f"{self.url}/token",
                options={"verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError as refused:
            said = {"error": "invalid_grant", "error_description": f"Invalid JWT Signature: {refused}"}
            return Reply(status=400, body=json.dumps(said).encode())
        self.claims.append(claims)
        return self.script.pop(0) if self.script else granted(len(self.claims))


#: Answers, and what follows from each.
OUTCOMES = (
    *(
        (
            WRONG_TOKEN if name == "INVALID_TOKEN" else error(name),
            EXPECTED.get(name, outcome_for(code.meaning, f"fcm_{name}", MINUTE)),
        )
        for name, code in fcm.CODES.items()
        if name != "INVALID_TOKEN"
    ),
    (WRONG_TOKEN, Permanent(reason="fcm_INVALID_TOKEN")),
    (error("SOMETHING_NEW", status=400), Permanent(reason="http_400")),
    (error(None, status=404), Transient(reason="http_404", circuit=CircuitEffect.OPEN)),
    (error(None, "The registration token is not valid", status=400), Permanent(reason="http_400")),
    (
        Reply(status=404, body=b'{"error": {"details": [7]}}'),
        Transient(reason="http_404", circuit=CircuitEffect.OPEN),
    ),
)


@pytest.mark.parametrize(("reply", "expected"), OUTCOMES)
def test_what_each_answer_means(reply, expected):
    """Those that the documentation names, and others."""
    assert expected == outcome_of(fcm_url("https://oauth2.googleapis.com/token"), reply)


class TestFcm(PushSuite):
    """Google's service."""

    name = "fcm"
    key_line = RSA_LINE
    address = FCM_TOKEN
    success = Reply(status=200, body=json.dumps({"name": MESSAGE_ID}).encode())
    reference = MESSAGE_ID
    outcomes = OUTCOMES[-1:]

    @pytest.fixture(autouse=True)
    def google(self, monkeypatch):
        """The token endpoint, whose URL is in the service account."""
        with Google() as google:
            monkeypatch.setattr(TestFcm, "url", fcm_url(f"{google.url}/token"), raising=False)
            yield google

    def check_request(self, request):
        assert ("POST", "/v1/projects/example-shop/messages:send") == (request.method, request.path)
        assert "Bearer ya29.token-1" == request.header("authorization")
        assert {
            "message": {
                "token": FCM_TOKEN,
                "notification": {"title": "Grüße", "body": "It is here ✓"},
                "data": {"order": "A-1", "aps": "x", "url": "https://shop.example/1"},
                "android": {"priority": "HIGH", "ttl": "2419200s"},
                "apns": {
                    "headers": {
                        "apns-priority": "10",
                        "apns-expiration": str(int((START + timedelta(days=28)).timestamp())),
                    }
                },
                "webpush": {
                    "headers": {"TTL": "2419200", "Urgency": "high"},
                    "fcm_options": {"link": "https://shop.example/1"},
                },
            }
        } == request.json()

    # -- the message -------------------------------------------------------------------------------

    async def test_urgency_expiry_and_collapsing(self, server, sender):
        """They come from the event and the message; a link of an app's own scheme is only data."""
        message = attrs.evolve(self.message, collapse_key="orders", url="shop://orders/1")
        await self.send_at(sender, message=message, priority=Priority.LOW, expires_at=START + MINUTE)

        sent = server.requests[0].json()["message"]
        id_ = sent["android"]["collapse_key"]
        assert {"priority": "NORMAL", "ttl": "60s", "collapse_key": id_, "notification": {"tag": id_}} == sent[
            "android"
        ]
        assert id_ == sent["apns"]["headers"]["apns-collapse-id"]
        assert {"headers": {"TTL": "60", "Urgency": "low", "Topic": id_}} == sent["webpush"]
        assert "shop://orders/1" == sent["data"]["url"]
        assert len(id_) <= 32

    async def test_an_event_that_has_expired_is_not_kept(self, server, sender):
        """The least that services know is none at all."""
        await self.send_at(sender, expires_at=START - MINUTE)

        assert "0s" == server.requests[0].json()["message"]["android"]["ttl"]

    async def test_a_wrong_token_is_believed_if_others_are_accepted(self, server, sender):
        """Then the project is right."""
        await self.send_at(sender)
        server.reply(error("SENDER_ID_MISMATCH"), WRONG_TOKEN)

        assert BadRecipient(reason="fcm_SENDER_ID_MISMATCH") == await self.send_at(sender)
        assert BadRecipient(reason="fcm_INVALID_TOKEN") == await self.send_at(sender)

    async def test_a_key_of_another_project_costs_no_token(self, server, sender):
        """All of them are refused then."""
        server.reply(*[error("SENDER_ID_MISMATCH")] * 20)
        outcomes = [await self.send_at(sender) for _ in range(20)]

        assert not any(isinstance(outcome, BadRecipient) for outcome in outcomes)
        assert Transient(reason="fcm_SENDER_ID_MISMATCH", circuit=CircuitEffect.OPEN) == outcomes[-1]

    # -- the access token --------------------------------------------------------------------------

    async def test_what_google_is_told(self, google, sender):
        """The signature is right, and the scope is that of messages."""
        await self.send_at(sender)

        now = int(START.timestamp())
        assert [
            {
                "iss": "sender@example-shop.iam.gserviceaccount.com",
                "scope": "https://www.googleapis.com/auth/firebase.messaging",
                "aud": f"{google.url}/token",
                "iat": now,
                "exp": now + 3600,
            }
        ] == google.claims

    async def test_concurrent_sends_share_one_exchange(self, server, google, sender):
        """At the start, and when it is renewed five minutes before it expires."""
        google.script = [attrs.evolve(granted(1), delay=timedelta(seconds=0.05)), granted(2, "soon")]
        for later, count in ((timedelta(0), 1), (54 * MINUTE, 1), (56 * MINUTE, 2), (100 * MINUTE, 2)):
            outcomes = await asyncio.gather(*(self.send_at(sender, later) for _ in range(20)))
            assert all(isinstance(outcome, Accepted) for outcome in outcomes)
            assert count == len(google.claims)

    async def test_who_is_cancelled_does_not_take_the_token_from_others(self, google, sender):
        """The exchange belongs to all."""
        google.script = [attrs.evolve(granted(1), delay=timedelta(seconds=0.05))]
        first, second = (asyncio.create_task(self.send_at(sender)) for _ in range(2))
        await google.aexpect(1)
        first.cancel()

        assert isinstance(await second, Accepted)
        assert 1 == len(google.claims)

    async def test_a_token_that_has_expired_early_is_replaced(self, server, google, sender):
        """The request is made once more, as it was refused."""
        await self.send_at(sender)
        server.reply(401, 401, 401)

        assert isinstance(await self.send_at(sender, MINUTE * 0.5), Transient)
        assert Transient(reason="http_401", circuit=CircuitEffect.OPEN) == await self.send_at(sender, 2 * MINUTE)
        assert 2 == len(google.claims)
        assert ["Bearer ya29.token-1"] * 3 + ["Bearer ya29.token-2"] == [
            request.header("authorization") for request in server.requests
        ]

    async def test_attempts_with_the_token_before_use_the_new_one(self, server, google, sender):
        """They do not each get another one."""
        await self.send_at(sender)
        server.reply(*[Reply(status=401, delay=timedelta(seconds=0.05))] * 5)

        outcomes = await asyncio.gather(*(self.send_at(sender, 2 * MINUTE) for _ in range(5)))

        assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        assert 2 == len(google.claims)

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            (400, Transient(reason="token_refused", circuit=CircuitEffect.OPEN)),
            (401, Transient(reason="token_refused", circuit=CircuitEffect.OPEN)),
            (Reply(status=200, body=b"{}"), Transient(reason="token_refused", circuit=CircuitEffect.OPEN)),
            (
                Reply(status=200, body=b'{"access_token": "\\r\\n"}'),
                Transient(reason="token_refused", circuit=CircuitEffect.OPEN),
            ),
            (503, Transient(reason="token_refused")),
            (
                Reply(status=429, headers={"retry-after": "9"}),
                Throttled(reason="token_refused", retry_after=timedelta(seconds=9)),
            ),
            (Reply(hang_up=True), Transient(reason="token_answer_lost")),
        ],
    )
    async def test_without_a_token(self, server, google, sender, answer, expected):
        """Nothing is sent, so that a later attempt duplicates nothing; the next one asks again."""
        google.script = [Reply(status=answer) if isinstance(answer, int) else answer]

        assert expected == await self.send_at(sender)
        assert not server.requests
        assert isinstance(await self.send_at(sender), Accepted)

    async def test_without_a_new_token(self, server, google, sender):
        """The same when one has to be replaced."""
        await self.send_at(sender)
        server.reply(401)
        google.script = [Reply(status=503)]

        assert Transient(reason="token_refused") == await self.send_at(sender, 2 * MINUTE)

    async def test_waiting_for_a_token_ends_with_the_attempt(self, google, sender):
        """Nothing was sent by then."""
        google.script = [Reply(delay=timedelta(seconds=30))]

        assert Transient(reason="token_timeout") == await sender.send(timeout=timedelta(seconds=0.1))

    async def test_what_google_says_is_kept_without_the_request(self, server, google, monkeypatch):
        """A key of another account is refused; the answer names the reason."""
        other = pem(rsa.generate_private_key(65537, 2048))
        monkeypatch.setattr(TestFcm, "url", fcm_url(f"{google.url}/token", private_key=other))
        sender = self._sender(server.url)
        outcome = await sender.send()
        await sender.channel.aclose()

        assert b"invalid_grant: Invalid JWT Signature: Signature verification failed" == outcome.answer.body

    async def test_a_check_has_a_message_judged(self, server, google):
        """It is not sent; what is wrong is said."""
        url = f"{self.url}&endpoint={server.url.rstrip('/')} && {APNS_URL}&endpoint={server.url.rstrip('/')}"
        no_device = Reply(status=400, body=b'{"reason": "BadDeviceToken"}')
        wrong_key = Reply(status=403, body=b'{"reason": "InvalidProviderToken"}')
        server.reply(self.success, no_device, self.success, wrong_key, Reply(status=403))
        google.script = [granted(1), granted(2), granted(3), Reply(status=400, body=b'{"error": "invalid_grant"}')]
        found = []
        for _ in range(4):
            provider = provider_channel_from_url("push", url).provider  # type: ignore[attr-defined]
            try:
                found.append(await provider.check())
            except ConfigurationError as error:
                found.append(str(error))
            await provider.aclose()

        refused = "the vendor refused: 403"
        assert [
            "fcm://example-shop, the service account may send, apns://org.example.shop, the key may send to the topic",
            f'apns://org.example.shop: {refused} {{"reason": "InvalidProviderToken"}}',
            f"fcm://example-shop: {refused}",
            "fcm://example-shop: no access token: token_refused invalid_grant",
        ] == found
        assert [True, None] == [request.json().get("validate_only") for request in server.requests[:2]]
        assert f"/3/device/{'0' * 64}" == server.requests[1].path

    # -- the URL -----------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("key", "problem"),
        [
            ("{", "key is not the JSON of a service account: not JSON"),
            ("[]", '"type" is not "service_account"'),
            ("{}", '"type" is not "service_account"'),
            (service_account("https://x.example", client_email=None), "client_email is missing"),
            (service_account("http://x.example"), "token_uri is not an https:// URL"),
            (service_account("https://x.example", private_key="x"), "not a private key in PEM: ValueError"),
            (service_account("https://x.example", project_id="a/b"), "project is the id of a project"),
        ],
    )
    def test_what_is_wrong_with_a_service_account(self, key, problem):
        """The message says what, and shows nothing of it."""
        with pytest.raises(ConfigurationError) as raised:
            provider_channel_from_url("push", f"fcm://?key={quote(key)}")

        assert problem in str(raised.value)
        assert RSA_LINE not in str(raised.value)

    def test_a_key_of_another_kind(self):
        """Google's are RSA, Apple's are not."""
        with pytest.raises(ConfigurationError, match="not an RSA key"):
            provider_channel_from_url("push", fcm_url("https://x.example", private_key=EC_PEM))
        with pytest.raises(ConfigurationError, match="not a key of the curve P-256"):
            provider_channel_from_url("push", APNS_URL.replace(quote(EC_PEM), quote(RSA_PEM)))

    def test_the_key_may_be_in_a_file_or_in_the_environment(self, tmp_path, monkeypatch):
        """And another project may be named."""
        (tmp_path / "firebase.json").write_text(service_account("https://oauth2.googleapis.com/token"))
        monkeypatch.setenv("FIREBASE", service_account("https://oauth2.googleapis.com/token"))

        for key in (f"file:{tmp_path}/firebase.json", "env:FIREBASE"):
            provider = provider_channel_from_url("push", f"fcm://?key={key}&project=other").provider  # type: ignore[attr-defined]
            assert "fcm://other" == provider.account


def test_the_table_names_what_is_believed():
    """These remove a device."""
    gone = {name for name, code in fcm.CODES.items() if code.meaning is Meaning.BAD_RECIPIENT}

    assert {"INVALID_TOKEN", "SENDER_ID_MISMATCH", "UNREGISTERED"} == gone
