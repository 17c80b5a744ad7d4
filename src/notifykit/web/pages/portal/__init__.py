"""The portal: what a tenant sees of their endpoints and deliveries."""

from __future__ import annotations

from . import activity, endpoints, event_types, home, subscriptions

#: Every page of the portal; what is fixed comes before what is a parameter.
PORTAL_PAGES = tuple(
    page for module in (home, endpoints, subscriptions, event_types, activity) for page in module.PAGES.table
)
