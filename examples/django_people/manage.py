"""A Django shop: an event is a row in the same transaction as its order, and the customer is told.

Run it in this folder; the web process only publishes, and the dispatcher is a separate process::

    pip install 'notifykit-sdk[django]'
    export NOTIFYKIT_EMAIL=catch://
    python manage.py notifykit migrate
    python manage.py runserver --noreload 8000 &
    python manage.py notifykit run

Then a customer orders, and reads the inbox::

    curl -s -X PUT localhost:8000/customers/ada -d '{"email": "ada@example.org", "zone": "Europe/Berlin"}'
    curl -s localhost:8000/orders -d '{"order_id": "A-1", "card": "valid", "customer": "ada"}'
    curl -s localhost:8000/customers/ada/inbox
    curl -s -X POST localhost:8000/customers/ada/inbox

The e-mail is sent a quarter of an hour after the order, unless the inbox was read by then; ``notifykit catch`` shows
it.  An order whose card is declined is rolled back together with its event, and nobody is told.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import django
from django.apps import AppConfig
from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.http import require_http_methods

import notifykit
from notifykit import InvalidInputError, Step
from notifykit.contrib.django import publish, store_url

TENANT = "acme"
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


class Shop(AppConfig):
    """The app of the shop."""

    name = "__main__" if __name__ == "__main__" else "manage"
    label = "shop"
    path = str(Path(__file__).parent)

    def ready(self) -> None:
        notifykit.configure(store_url(), event_types=[OrderPlaced])


if not settings.configured:
    database = os.environ.get("SHOP_DATABASE", "shop.db")
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(Path(database).resolve())}},
        INSTALLED_APPS=[f"{Shop.name}.Shop", "notifykit.contrib.django"],
        ROOT_URLCONF=Shop.name,
        USE_TZ=True,
    )
    django.setup()

from django.db import connection, models, transaction  # noqa: E402 - models need the settings


class Order(models.Model):
    """What a customer has ordered."""

    id = models.CharField(primary_key=True, max_length=50)

    class Meta:
        app_label = "shop"


def create_table() -> None:
    """Create the table of orders; a project of several files has a migration instead."""
    if Order._meta.db_table not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(Order)


class CardDeclinedError(Exception):
    pass


def charge(card: str) -> None:
    if card == "declined":
        raise CardDeclinedError


@require_http_methods(["GET", "POST"])
def orders(request: HttpRequest) -> JsonResponse:
    """List the orders, or place one."""
    if request.method == "GET":
        return JsonResponse(list(Order.objects.order_by("id").values_list("id", flat=True)), safe=False)
    new = json.loads(request.body)
    try:
        with transaction.atomic():
            Order.objects.create(id=new["order_id"])
            receipt = publish(OrderPlaced(new["order_id"]), tenant=TENANT, to=[new["customer"]])
            charge(new["card"])
    except CardDeclinedError:
        return JsonResponse({"problem": "the card was declined"}, status=402)
    return JsonResponse({"event_id": receipt.event_id}, status=201)


@require_http_methods(["PUT"])
def customer(request: HttpRequest, id: str) -> JsonResponse:
    """Save how a customer is reached."""
    given = json.loads(request.body)
    try:
        notifykit.default_kit().blocking.recipients.save(
            id, tenant=TENANT, email=given["email"], zone=given.get("zone")
        )
    except InvalidInputError as error:
        return JsonResponse({"problems": error.problems}, status=422)
    return JsonResponse({"id": id})


@require_http_methods(["GET", "POST"])
def inbox(request: HttpRequest, id: str) -> JsonResponse:
    """Show what is unread, or mark it as read; in production only to the customer who is logged in."""
    its = notifykit.default_kit().blocking.inbox(id, tenant=TENANT)
    if request.method == "POST":
        return JsonResponse({"read": its.mark_all("read")})
    found: list[dict[str, Any]] = [{"title": item.title, "text": item.body} for item in its.page(state="unread").items]
    return JsonResponse(found, safe=False)


urlpatterns = [
    path("orders", orders),
    path("customers/<str:id>", customer),
    path("customers/<str:id>/inbox", inbox),
]

if __name__ == "__main__":
    create_table()
    execute_from_command_line(sys.argv)
