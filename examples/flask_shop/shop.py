"""A Flask shop with SQLAlchemy: an event is a row in the same transaction as its order, and the customer is told.

Run it in this folder; the web process only publishes, and the dispatcher is a separate process::

    pip install 'notifykit-sdk[flask]'
    export NOTIFYKIT_URL=sqlite:///shop.db NOTIFYKIT_ALLOW=127.0.0.0/8 NOTIFYKIT_ALLOW_HTTP=1
    notifykit migrate
    flask --app shop run --port 8000 &
    notifykit run

Then, with the program in ``../receiver`` listening on port 9000::

    curl -s localhost:8000/endpoints -H 'content-type: application/json' -d '{"url": "http://127.0.0.1:9000/hooks"}'
    curl -s localhost:8000/orders -H 'content-type: application/json' -d '{"order_id": "A-1", "card": "valid"}'
    curl -s localhost:8000/orders -H 'content-type: application/json' -d '{"order_id": "A-2", "card": "declined"}'

The receiver gets the event of the first order.  The second order is refused after its event was published; order and
event are rolled back together, and nothing is sent.

The customer of an order gets an inbox item, and an e-mail a quarter of an hour later unless the item was read by then.
Before you start the two processes, ``export NOTIFYKIT_EMAIL=catch://``; then ``notifykit catch`` shows the e-mails.
With the URL of your mail server, ``smtp://...``, they are sent::

    curl -s -X PUT localhost:8000/customers/ada -H 'content-type: application/json' -d '{"email": "ada@example.org"}'
    curl -s localhost:8000/orders -H 'content-type: application/json' \
         -d '{"order_id": "A-3", "card": "valid", "customer": "ada"}'
    curl -s localhost:8000/customers/ada/inbox

With PostgreSQL, ``pip install 'notifykit-sdk[postgres]' psycopg`` and ``NOTIFYKIT_URL=postgresql+psycopg://...``.
"""

from __future__ import annotations

import os
from datetime import timedelta

import attrs
import sqlalchemy as sa
from flask import Flask, Response, jsonify, request
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import notifykit
from notifykit import InvalidInputError, Step

TENANT = "acme"


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[str] = mapped_column(primary_key=True)


LATER = timedelta(minutes=15)


@notifykit.event(
    "order.placed",
    category="orders",
    steps=[Step("in_app"), Step("email", after=LATER, unless={"read"})],
)
@attrs.frozen
class OrderPlaced:
    """A customer has ordered."""

    order_id: str


class CardDeclinedError(Exception):
    pass


def charge(card: str) -> None:
    if card == "declined":
        raise CardDeclinedError


def create_app(url: str | None = None) -> Flask:
    url = url or os.environ.get("NOTIFYKIT_URL", "sqlite:///shop.db")
    engine = sa.create_engine(url)
    Base.metadata.create_all(engine)
    kit = notifykit.configure(url, event_types=[OrderPlaced])
    kit.blocking.sync_event_types()  # so that the dispatcher, a separate process, knows the steps
    app = Flask(__name__)

    @app.post("/endpoints")
    def add_endpoint() -> tuple[Response, int]:
        new = request.get_json()
        try:
            _, endpoint = kit.blocking.subscribe(
                "order.*", tenant=TENANT, endpoint=new["url"], secret=new.get("secret")
            )
        except InvalidInputError as error:
            return jsonify(problems=error.problems), 422
        return jsonify(id=endpoint.id, secret=endpoint.secrets[0].value), 201

    @app.post("/orders")
    def place_order() -> tuple[Response, int]:
        new = request.get_json()
        try:
            with Session(engine) as session, session.begin():
                session.add(Order(id=new["order_id"]))
                told = [new["customer"]] if "customer" in new else []
                receipt = notifykit.publish(OrderPlaced(new["order_id"]), tenant=TENANT, to=told, session=session)
                charge(new["card"])
        except CardDeclinedError:
            return jsonify(problem="the card was declined"), 402
        return jsonify(event_id=receipt.event_id), 201

    @app.get("/orders")
    def list_orders() -> Response:
        with Session(engine) as session:
            return jsonify(list(session.scalars(sa.select(Order.id).order_by(Order.id))))

    @app.put("/customers/<customer>")
    def save_customer(customer: str) -> tuple[Response, int]:
        try:
            kit.blocking.recipients.save(customer, tenant=TENANT, email=request.get_json()["email"])
        except InvalidInputError as error:
            return jsonify(problems=error.problems), 422
        return jsonify(id=customer), 200

    @app.get("/customers/<customer>/inbox")
    def read_inbox(customer: str) -> Response:
        inbox = kit.blocking.inbox(customer, tenant=TENANT)  # in production: only that of the logged-in customer
        items = inbox.page(state="unread").items
        inbox.mark([item.id for item in items], "read")
        return jsonify([{"title": item.title, "text": item.body} for item in items])

    return app
