"""The contract of :class:`notifykit.ports.Store`, promise by promise.

Subclass :class:`StoreSuite` as ``TestSomething``, give it the fixture ``store`` (an opened
and empty store, closed when the test is over) and say in ``features`` what the store can
do.  Some features need one more fixture: see :class:`StoreFeatures`.  Tests of features
that are not declared are skipped.

The suite tells the store every instant, so it never sleeps; only the tests of ``wait``
use the real clock.
"""

from __future__ import annotations

from .circuits import BroughtEventPromises, LimitPromises
from .claims import ClaimPromises
from .config import ConfigPromises
from .destinations import DestinationPromises
from .fixtures import StoreFeatures, StoreFixtures
from .handing import HandOffPromises
from .leases import LeasePromises
from .liveness import LivenessPromises
from .matches import MatchPromises
from .operators import OperatorPromises
from .ordering import OrderingPromises
from .outbox import OutboxPromises
from .planning import PlanningPromises
from .purge import PurgePromises
from .reading import ReadingPromises
from .receipts import ReceiptPromises
from .recipients import RecipientPromises
from .records import RecordPromises
from .sent import SentPromises
from .sharing import SharingPromises
from .suppressions import SuppressionPromises
from .tenancy import TenancyPromises
from .versions import VersionPromises

__all__ = ["StoreFeatures", "StoreSuite"]


class StoreSuite(
    OutboxPromises,
    PlanningPromises,
    SentPromises,
    ClaimPromises,
    RecordPromises,
    LeasePromises,
    HandOffPromises,
    OperatorPromises,
    OrderingPromises,
    ReadingPromises,
    ConfigPromises,
    VersionPromises,
    MatchPromises,
    DestinationPromises,
    RecipientPromises,
    ReceiptPromises,
    SuppressionPromises,
    TenancyPromises,
    PurgePromises,
    LivenessPromises,
    SharingPromises,
    LimitPromises,
    BroughtEventPromises,
    StoreFixtures,
):
    """Everything that a store promises."""
