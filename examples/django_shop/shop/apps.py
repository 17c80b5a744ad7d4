"""Makes the kit on the database of Django when Django starts."""

from django.apps import AppConfig

import notifykit
from notifykit.contrib.django import store_url


class ShopConfig(AppConfig):
    name = "shop"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self):
        from .events import OrderPlaced

        notifykit.configure(store_url(), event_types=[OrderPlaced])
