"""Servers on the loopback that behave as the vendors' APIs do, for tests and demonstrations.

::

    with TwilioServer() as twilio:
        kit = Notifykit("memory://", sms=twilio.provider_url)
        ...
        (message,) = twilio.expect_messages(1)
        twilio.post_receipts("http://127.0.0.1:8000/receipts/twilio")

They check the key and the request, give ids, and refuse, throttle, delay or lose what the address names
(:class:`~notifykit.policies.simulation.Simulated`) or what :meth:`~.base.SimulatedVendor.fail` says.
"""

from __future__ import annotations

from ...policies.simulation import Simulated
from .base import SimulatedMessage, SimulatedReceipt, SimulatedVendor
from .discord import DiscordServer
from .mailgun import MailgunServer
from .postmark import PostmarkServer
from .sendgrid import SendGridServer
from .ses import SesServer
from .slack import SlackServer
from .sns import SnsServer
from .teams import TeamsServer
from .twilio import TwilioServer
from .vonage import VonageServer

__all__ = [
    "DiscordServer",
    "MailgunServer",
    "PostmarkServer",
    "SendGridServer",
    "SesServer",
    "Simulated",
    "SimulatedMessage",
    "SimulatedReceipt",
    "SimulatedVendor",
    "SlackServer",
    "SnsServer",
    "TeamsServer",
    "TwilioServer",
    "VonageServer",
]
