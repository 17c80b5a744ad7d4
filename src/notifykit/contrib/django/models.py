"""What the admin pages are about.  No model has a table of its own: the kit reads and changes what is stored.

Django makes permissions of them, so that groups of the project's staff can be given the pages.
"""

from __future__ import annotations

from django.db import models


class Endpoint(models.Model):
    """Where a tenant gets webhooks."""

    id: models.CharField[str, str] = models.CharField(primary_key=True, max_length=64)

    class Meta:
        """Only to be seen."""

        managed = False
        default_permissions = ("view",)


class Delivery(models.Model):
    """An event for one subscriber over one channel."""

    id: models.CharField[str, str] = models.CharField(primary_key=True, max_length=64)

    class Meta:
        """To be seen, and sent again."""

        managed = False
        default_permissions = ("view",)
        permissions = (("resend_delivery", "Can send deliveries again"),)
        verbose_name_plural = "deliveries"


class Recipient(models.Model):
    """A person who is told of events."""

    id: models.CharField[str, str] = models.CharField(primary_key=True, max_length=255)

    class Meta:
        """Only to be seen."""

        managed = False
        default_permissions = ("view",)
