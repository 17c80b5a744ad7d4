"""The routes of the API, module by module; the ones that are called most come first."""

from __future__ import annotations

from . import (
    audit,
    deliveries,
    endpoints,
    events,
    inbox,
    keys,
    portal_links,
    preferences,
    producers,
    recipients,
    subscriptions,
    suppressions,
    system,
    templates,
)

#: Every route: routing, access, the OpenAPI document and the tests are made of this table.
TABLE = tuple(
    route
    for module in (
        producers,
        system,
        inbox,
        preferences,
        events,
        endpoints,
        subscriptions,
        deliveries,
        recipients,
        suppressions,
        templates,
        keys,
        portal_links,
        audit,
    )
    for route in module.ROUTES.table
)
