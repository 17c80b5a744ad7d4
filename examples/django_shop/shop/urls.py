"""The pages of the shop."""

import json

from django.contrib import admin
from django.db import transaction
from django.http import JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from notifykit.contrib.django import publish

from .events import OrderPlaced
from .models import Order

TENANT = "acme"  # a real shop takes it from the session


class DeclinedError(Exception):
    """The customer's card was declined."""


@csrf_exempt
@require_POST
def place(request):
    """Place an order: what is published is rolled back with the order."""
    said = json.loads(request.body)
    try:
        with transaction.atomic():
            order = Order.objects.create(reference=said["order_id"])
            publish(OrderPlaced(order.reference), tenant=TENANT)
            if said["card"] == "declined":
                raise DeclinedError
    except DeclinedError:
        return JsonResponse({"error": "declined"}, status=402)
    return JsonResponse({"order_id": order.reference}, status=201)


urlpatterns = [path("orders", place), path("admin/", admin.site.urls)]
