"""The examples do what their docstrings say: each runs as a reader would run it, in processes of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from notifykit.signing import Signer, generate_secret
from notifykit.testing import Receiver

pytestmark = pytest.mark.in_turn

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
if not EXAMPLES.is_dir():
    pytest.skip("needs examples/, which is not in the sdist", allow_module_level=True)

LOCAL = {"NOTIFYKIT_ALLOW": "127.0.0.0/8", "NOTIFYKIT_ALLOW_HTTP": "1"}
JSON = {"content-type": "application/json", "x-tenant": "acme"}


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NOTIFYKIT_")}
    return {**kept, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1", **more}


@pytest.fixture
def example(tmp_path) -> Callable[[str], Path]:
    """Copies an example: it uses nothing of the checkout, and writes its files elsewhere."""

    def copy(name: str) -> Path:
        ignored = shutil.ignore_patterns("__pycache__", "*.db*")
        return Path(shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=ignored))

    return copy


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(found: Callable[[], Any], what: str, *, seconds: float = 90) -> Any:
    """Ask until there is an answer; fail if none comes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := found():
            return answer
        time.sleep(0.02)
    pytest.fail(f"waited {seconds} s for {what}")


@contextlib.contextmanager
def running(*arguments: str, folder: Path, env: Mapping[str, str], port: int | None = None) -> Iterator[None]:
    """Run a Python program, from when it listens on ``port`` until the end of the block."""
    log = folder / f"{arguments[1]}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, env=dict(env), stdout=output, stderr=subprocess.STDOUT
        )

    def is_up() -> bool:
        if process.poll() is not None:
            pytest.fail(f"{arguments} ended with {process.returncode}:\n{log.read_text()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    try:
        if port is not None:
            until(is_up, f"{arguments} to listen")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
    text = log.read_text()
    assert "Traceback" not in text, text
    assert status in (0, -signal.SIGTERM), text


@contextlib.contextmanager
def receiving(folder: Path, secret: str) -> Iterator[httpx.Client]:
    """Run the example receiver."""
    port = free_port()
    serve = ("-m", "uvicorn", "app:app", "--port", str(port))
    with (
        running(*serve, folder=folder, env=environment(WEBHOOK_SECRET=secret), port=port),
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        yield client


# ── the quickstart ─────────────────────────────────────────────────────────────────────────────


def test_the_quickstart_prints_what_was_received_and_ends(tmp_path):
    """Twice in the same folder: what the first run left behind does no harm to the second."""
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-W", "error", EXAMPLES / "quickstart.py"],  # a warning would end it
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

        assert ("received order.shipped: {'order_id': 'A-1'}\n", 0) == (done.stdout, done.returncode), done.stderr


def test_the_quickstart_fits_on_a_screen():
    """It is printed in the README."""
    lines = (EXAMPLES / "quickstart.py").read_text().splitlines()

    assert len(lines) <= 40
    assert max(map(len, lines)) <= 120


# ── programs ───────────────────────────────────────────────────────────────────────────────────


def test_the_fastapi_app_delivers_to_the_receiver(example):
    """From an order to a handled webhook, through programs that share only the URL and the secret, and to a person."""
    secret, port = generate_secret(), free_port()
    app = example("fastapi_app")
    env = environment(**LOCAL, NOTIFYKIT_EMAIL="catch://")
    with (
        receiving(example("receiver"), secret) as receiver,
        running("-m", "uvicorn", "app:app", "--port", str(port), folder=app, env=env, port=port),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=JSON) as shop,
    ):
        refused = shop.post("/endpoints", json={"url": "http://169.254.169.254/"})
        added = shop.post("/endpoints", json={"url": str(receiver.base_url.join("/hooks")), "secret": secret})
        shop.put("/people/user:42", json={"email": "ada@example.org"}).raise_for_status()
        order = {"order_id": "A-1", "user_id": "user:42"}
        first, again = (shop.post("/orders", json=order) for _ in range(2))

        handled = until(lambda: receiver.get("/handled").json(), "the webhook to be handled")
        until(
            lambda: [delivery["state"] for delivery in shop.get("/deliveries").json()] == ["delivered"] * 3,
            "the deliveries to be recorded",
        )
        deliveries = shop.get("/deliveries").json()
        inbox = shop.get("/people/user:42/inbox").json()
        caught = [json.loads(line) for line in (app / "notifykit-caught.jsonl").read_text().splitlines()]

    assert (422, 201, secret) == (refused.status_code, added.status_code, added.json()["secret"])
    assert first.json() == again.json()
    assert [{"id": first.json()["event_id"], "type": "order.placed", "data": {"order_id": "A-1"}}] == handled
    assert [1, 1, 1] == [delivery["attempts"] for delivery in deliveries]
    assert (1, ["Order placed"]) == (inbox["unread"], [item["title"] for item in inbox["items"]])
    shown = {
        each["channel"]: (each["to"], each["message"].get("subject") or each["message"]["title"]) for each in caught
    }
    assert {"email": ("ada@example.org", "Your order A-1"), "in_app": ("user:42", "Order placed")} == shown


def test_the_flask_shop_announces_what_it_committed_and_nothing_else(example):
    """The web process publishes in its transaction, ``notifykit run`` delivers, and follows the steps of the type."""
    port = free_port()
    folder = example("flask_shop")
    env = environment(**LOCAL, NOTIFYKIT_URL=f"sqlite:///{folder / 'shop.db'}")
    subprocess.run([sys.executable, "-m", "notifykit", "migrate"], cwd=folder, env=env, check=True, timeout=30)
    with (
        Receiver() as receiver,
        running("-m", "flask", "--app", "shop", "run", "--port", str(port), folder=folder, env=env, port=port),
        running("-m", "notifykit", "run", folder=folder, env=env),
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as shop,
    ):
        refused = shop.post("/endpoints", json={"url": "ftp://nowhere.example"})
        shop.post("/endpoints", json={"url": receiver.url, "secret": receiver.secret}).raise_for_status()
        declined = shop.post("/orders", json={"order_id": "A-1", "card": "declined"})
        shop.put("/customers/ada", json={"email": "ada@example.org"}).raise_for_status()
        placed = shop.post("/orders", json={"order_id": "A-2", "card": "valid", "customer": "ada"})
        last = shop.post("/orders", json={"order_id": "A-3", "card": "valid"})
        receiver.expect(2, timeout=90)
        orders = shop.get("/orders").json()
        inbox = until(lambda: shop.get("/customers/ada/inbox").json(), "the item in the inbox")

    assert (422, 402, 201) == (refused.status_code, declined.status_code, placed.status_code)
    assert ["A-2", "A-3"] == orders
    assert [{"title": "Order placed", "text": "Order id: A-2"}] == inbox
    assert {placed.json()["event_id"]: "A-2", last.json()["event_id"]: "A-3"} == {
        event.id: event.data["order_id"] for event in receiver.events
    }


@pytest.mark.thorough
def test_the_django_program_tells_its_customers(example):
    """The web process publishes in its transaction, ``manage.py notifykit run`` tells the customer, and nobody else."""
    port = free_port()
    folder = example("django_people")
    env = environment(NOTIFYKIT_EMAIL="catch://")
    subprocess.run([sys.executable, "manage.py", "notifykit", "migrate"], cwd=folder, env=env, check=True, timeout=60)
    serve = ("manage.py", "runserver", "--noreload", str(port))
    with (
        running(*serve, folder=folder, env=env, port=port),
        running("manage.py", "notifykit", "run", folder=folder, env=env),
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as shop,
    ):
        shop.put("/customers/ada", json={"email": "ada@example.org"}).raise_for_status()
        refused = shop.put("/customers/bob", json={"email": "nowhere"})
        declined = shop.post("/orders", json={"order_id": "A-1", "card": "declined", "customer": "ada"})
        placed = shop.post("/orders", json={"order_id": "A-2", "card": "valid", "customer": "ada"})
        inbox = until(lambda: shop.get("/customers/ada/inbox").json(), "the item in the inbox")
        orders = shop.get("/orders").json()
        read = shop.post("/customers/ada/inbox").json()

    assert (422, 402, 201) == (refused.status_code, declined.status_code, placed.status_code)
    assert ["A-2"] == orders
    assert ([{"title": "Order placed", "text": "Order id: A-2"}], {"read": 1}) == (inbox, read)


def test_the_receiver_refuses_forgeries_and_handles_each_message_once(example):
    """Also when the repeat comes after a restart."""
    secret = generate_secret()
    body = b'{"type":"order.placed","timestamp":"2026-11-20T12:00:00Z","data":{"order_id":"A-1"}}'
    headers = Signer(secret).headers("msg_1", int(time.time()), body)
    folder = example("receiver")

    with receiving(folder, secret) as receiver:
        forged = receiver.post("/hooks", content=body + b" ", headers=headers)
        answers = [receiver.post("/hooks", content=body, headers=headers) for _ in range(2)]
        handled = receiver.get("/handled").json()
    with receiving(folder, secret) as restarted:
        late = restarted.post("/hooks", content=body, headers=headers)
        handled_again = restarted.get("/handled").json()

    assert (401, "no_match") == (forged.status_code, forged.json()["reason"])
    assert [204, 204, 204] == [answer.status_code for answer in (*answers, late)]
    assert [{"id": "msg_1", "type": "order.placed", "data": {"order_id": "A-1"}}] == handled
    assert [] == handled_again


@pytest.mark.parametrize("name", ["django_people", "fastapi_app", "flask_shop"])
def test_the_examples_own_tests_pass(example, name):
    """They show how a program is tested with the fixture ``outbox``."""
    plugin = ("-p", "no:notifykit", "-p", "notifykit.testing.plugin", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", *plugin],
        cwd=example(name),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert 0 == done.returncode, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.mark.thorough
def test_the_server_delivers_with_one_command(example):
    """From an empty folder to a webhook that its own receiver took, and an inbox that its key reads; printed once."""
    folder, port = example("server"), str(free_port())

    @contextlib.contextmanager
    def started() -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=folder,
            env=environment(PORT=port),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.terminate()

    def lines(process: subprocess.Popen[str], last: str) -> list[str]:
        assert process.stdout is not None
        found: list[str] = []
        for line in process.stdout:
            found.append(line)
            if last in line:
                break
        return found

    with started() as process:
        said = lines(process, "demo receiver: order.shipped {'order_id': 'A-1'}")
        (key,) = [line.split()[-1] for line in said if "API key" in line]
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client:
            inbox = client.get("/v1/inbox/user:42").raise_for_status().json()
            (portal,) = [line.split()[-1] for line in said if "portal of the tenant" in line]
            page = client.get(portal, follow_redirects=True).raise_for_status().text
            assert "Overview · Demo Shop" in page
            shop = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
            assert 401 == shop.get("/v1/inbox/user:42").status_code
            assert "<notify-inbox" in shop.get("/shop").text
            assert inbox == shop.get("/v1/inbox/user:42").raise_for_status().json()
            assert "Your notifications" in shop.get("/preferences").raise_for_status().text
            shop.close()
            until(lambda: client.get("/v1/deliveries", params={"state": "delivered"}).json()["data"], "a delivery")
    with started() as process, httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client:

        def answers() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return client.get("/readyz").is_success
            return False

        until(answers, "the second start")
        client.post("/v1/events", json={"type": "order.shipped", "data": {"order_id": "A-2"}}).raise_for_status()
        again = lines(process, "A-2")

    assert ["Order A-1 is on its way"] == [item["title"] for item in inbox["data"]]
    assert not [line for line in again if "API key" in line]
