"""What a store says of itself, and the fixtures that its suite works with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar, TypeVar

import attrs
import pytest
from sqlalchemy import Connection

from ....ports import Store
from ...clock import FakeClock

#: Opens another store on the same data, as a second process would; the fixture closes it.
MakeStore = Callable[[], Awaitable[Store]]
Test = TypeVar("Test", bound=Callable[..., object])


@attrs.frozen(kw_only=True)
class StoreFeatures:
    """What a store can do beyond what every store must do.

    Attributes:
        joins: ``append_joined`` works; needs the fixture ``connection``.
        durable: What was stored is there when the store is opened again; needs ``make_second_store``.
        concurrent: Several processes may work on the same data; needs ``make_second_store``.
        hints: An append through one store wakes the processes that wait on another; needs ``make_second_store``.
        fair: A batch goes round tenants and subscribers by itself, so that a caller need not exclude
            those that have been served.
    """

    joins: bool = False
    durable: bool = False
    concurrent: bool = False
    hints: bool = False
    fair: bool = False


def needs(feature: str) -> Callable[[Test], Test]:
    """Skip the test for stores that do not declare ``feature``."""

    def mark(test: Test) -> Test:
        test.__dict__["needs"] = feature
        return test

    return mark


class StoreFixtures:
    """The fixtures of a suite; a subclass brings ``store``."""

    features: ClassVar[StoreFeatures] = StoreFeatures()
    pytestmark: ClassVar[object] = pytest.mark.anyio

    @pytest.fixture(autouse=True)
    def _declared(self, request: pytest.FixtureRequest) -> None:
        feature = getattr(request.function, "needs", None)
        if feature is not None and not getattr(self.features, feature):
            pytest.skip(f"the store does not declare the feature {feature!r}")

    @pytest.fixture(scope="session")
    @classmethod
    def anyio_backend(cls) -> str:
        """The event loop of the tests."""
        return "asyncio"

    @pytest.fixture
    def clock(self) -> FakeClock:
        """The time that the tests tell the store."""
        return FakeClock()

    @pytest.fixture
    def store(self) -> Store:
        """An opened and empty store."""
        pytest.fail("the suite needs a fixture 'store' that returns an opened and empty store")

    @pytest.fixture
    def make_second_store(self) -> MakeStore:
        """Opens further stores on the data of ``store``."""
        pytest.fail("the features 'durable', 'concurrent' and 'hints' need a fixture 'make_second_store'")

    @pytest.fixture
    def connection(self) -> Connection:
        """A SQLAlchemy connection to the database of ``store``, in no transaction yet."""
        pytest.fail("the feature 'joins' needs a fixture 'connection'")
