"""The app with the command ``manage.py notifykit`` and pages for the admin; it has no tables."""

from __future__ import annotations

from django.apps import AppConfig


class NotifykitConfig(AppConfig):
    """``"notifykit.contrib.django"`` in ``INSTALLED_APPS``."""

    name = "notifykit.contrib.django"
    label = "notifykit"
    verbose_name = "notifykit"
