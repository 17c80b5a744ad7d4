"""The broker on Amazon SQS keeps the contract, on what simulates it."""

from __future__ import annotations

import json
from uuid import uuid4

import httpx
import pytest

from notifykit.brokers.sqs import SqsBroker
from notifykit.brokers.url import lane_name
from notifykit.testing import BrokerFeatures, BrokerSuite
from notifykit.testing.suites.broker import LANE, URGENT, arrived, make_tickets, tickets_of


@pytest.mark.thorough
@pytest.mark.xdist_group("sqs")
class TestSqsBroker(BrokerSuite):
    """Standard queues."""

    features = BrokerFeatures(redelivers=True, remote=True, wipes=True, foreign=True, batch=100)

    @pytest.fixture
    def prefix(self):
        return f"test-{uuid4().hex[:12]}"

    @pytest.fixture
    def make_broker(self, aws_url, prefix):
        url = f"sqs://key:secret@?region=eu-west-1&endpoint={aws_url}&prefix={prefix}&redeliver=5&poll=1"
        return lambda: SqsBroker(url)

    @pytest.fixture
    def unreachable(self):
        return SqsBroker("sqs://key:secret@?region=eu-west-1&endpoint=http://127.0.0.1:1")

    @pytest.fixture
    def wipe(self, aws_url, prefix):
        async def wipe():
            for lane in (LANE, URGENT):
                await _call(aws_url, "DeleteQueue", prefix, lane)

        return wipe

    @pytest.fixture
    def put_foreign(self, aws_url, prefix):
        async def put(lane, message):
            await _call(aws_url, "SendMessage", prefix, lane, MessageBody=message.decode("latin-1") or " ")

        return put

    async def test_a_ticket_in_an_envelope_of_sns_is_received(self, brokers, aws_url, prefix):
        """A queue may be subscribed to a topic that tickets are published to."""
        broker = brokers()
        first, second = make_tickets(2)
        await broker.put([first])
        envelope = {"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:eu-west-1:1:t"}
        message = json.dumps({**envelope, "Message": second.to_bytes().decode()})
        await _call(aws_url, "SendMessage", prefix, LANE, MessageBody=message)

        received = await arrived(broker, 2)

        assert {first, second} == tickets_of(received)


async def _call(url, action, prefix, lane, **arguments):
    headers = {
        "content-type": "application/x-amz-json-1.0",
        "x-amz-target": f"AmazonSQS.{action}",
        "authorization": "AWS4-HMAC-SHA256 Credential=key/20260101/eu-west-1/sqs/aws4_request",
    }
    queue = f"{url}/123456789012/{lane_name(prefix, lane)}"
    async with httpx.AsyncClient() as http:
        response = await http.post(url, headers=headers, json={"QueueUrl": queue, **arguments})
        assert response.status_code == 200, response.text
