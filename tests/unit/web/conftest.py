"""The API over a store in memory, with a tenant that has one of everything."""

from __future__ import annotations

import pytest

from notifykit.models.access import Role
from notifykit.testing import FakeClock
from notifykit.web import create_app
from tests.unit.web.world import ACME, client_of, made, new_kit


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def kit(clock):
    async with new_kit(clock) as kit:
        yield kit


@pytest.fixture
async def world(kit):
    return await made(kit)


@pytest.fixture
async def admin(kit, world):
    """A client with the key of the tenant's administrator."""
    async with client_of(create_app(kit), headers=world.headers(ACME, Role.TENANT_ADMIN)) as client:
        yield client
