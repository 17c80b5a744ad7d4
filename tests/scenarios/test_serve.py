"""``notifykit serve`` as it is run: from an empty folder to a delivered webhook, and an orderly stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import httpx
import pytest

from notifykit.testing import Receiver

pytestmark = pytest.mark.in_turn

LOCAL = {"NOTIFYKIT_ALLOW": "127.0.0.0/8", "NOTIFYKIT_ALLOW_HTTP": "1"}


@pytest.fixture
def environment(tmp_path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NOTIFYKIT_")}
    return {**kept, **LOCAL, "NOTIFYKIT_URL": f"sqlite:///{tmp_path / 'served.db'}"}


def cli(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "notifykit", *arguments]


@pytest.mark.thorough
def test_what_is_published_over_the_api_is_delivered(environment, tmp_path):
    """With a key of the command line; SIGTERM ends it with 0."""
    key = subprocess.run(
        cli("api-keys", "create", "--tenant", "acme", "--role", "tenant_admin", "--json"),
        env=environment,
        capture_output=True,
        check=True,
    )
    headers = {"Authorization": f"Bearer {json.loads(key.stdout)['secret']}"}
    command = cli("serve", "--port", "0", "--json")
    with (
        Receiver() as receiver,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process,
    ):
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            with httpx.Client(base_url=ready["api"], headers=headers, timeout=30) as client:
                endpoint = (
                    client.post("/v1/endpoints", json={"url": receiver.url, "secret": receiver.secret})
                    .raise_for_status()
                    .json()["endpoint"]
                )
                client.post(
                    "/v1/subscriptions", json={"event_types": ["order.*"], "endpoint_id": endpoint["id"]}
                ).raise_for_status()
                client.post("/v1/events", json={"type": "order.paid", "data": {"n": 1}}).raise_for_status()
            received = receiver.expect(1, timeout=30)
            process.send_signal(signal.SIGTERM)
            code = process.wait(30)
        finally:
            process.kill()

    assert [{"n": 1}] == [json.loads(each.body)["data"] for each in received]
    assert 0 == code
