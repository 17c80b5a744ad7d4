import asyncio
from http.server import BaseHTTPRequestHandler, HTTPServer

import attrs

import notifykit
from notifykit.signing import Verifier, generate_secret


@notifykit.event("order.shipped")
@attrs.frozen
class OrderShipped:
    order_id: str


class Receiver(BaseHTTPRequestHandler):  # in production: a program of your customer
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        event = Verifier(secret).open(body, self.headers)  # raises if it is not authentic
        self.send_response(204)
        self.end_headers()
        print(f"received {event.type}: {event.data}")

    def log_message(self, *_):
        """Do not log requests."""


async def main():
    local = notifykit.EgressRules(allow=["127.0.0.0/8"], allow_http=True)  # the default is public addresses over https
    async with notifykit.Notifykit("sqlite:///quickstart.db", egress=local) as kit:
        url = f"http://127.0.0.1:{server.server_port}/hooks"
        await kit.subscribe("order.*", tenant="acme", endpoint=url, secret=secret)
        await kit.apublish(OrderShipped("A-1"), tenant="acme")
        async with kit.dispatcher():
            await asyncio.to_thread(server.handle_request)


secret = generate_secret()
with HTTPServer(("127.0.0.1", 0), Receiver) as server:
    asyncio.run(main())
