"""Every protocol that a third party may implement.

Each docstring is the contract.  Backends do not repeat it, they keep it, and the
suites in :mod:`notifykit.testing` prove that they do.
"""

from ..models.delivery import Claim as Claim
from ..models.delivery import Lane as Lane
from ..models.recipient import Person as Person
from .broker import Broker as Broker
from .broker import BrokerNote as BrokerNote
from .broker import ChecksBroker as ChecksBroker
from .broker import Received as Received
from .broker import Ticket as Ticket
from .channel import AddressedChannel as AddressedChannel
from .channel import Channel as Channel
from .channel import ChecksConnection as ChecksConnection
from .channel import Provider as Provider
from .channel import Renderer as Renderer
from .channel import RendersChat as RendersChat
from .channel import RendersEmail as RendersEmail
from .channel import RendersInApp as RendersInApp
from .channel import RendersPush as RendersPush
from .channel import RendersSms as RendersSms
from .clock import Clock as Clock
from .feed import Feed as Feed
from .feed import Message as Message
from .inbox import Inbox as Inbox
from .routing import CircuitStates as CircuitStates
from .routing import RoutesDeliveries as RoutesDeliveries
from .store import ConfigRecord as ConfigRecord
from .store import Digests as Digests
from .store import JoinsTransactions as JoinsTransactions
from .store import Limits as Limits
from .store import ListsTenants as ListsTenants
from .store import Operations as Operations
from .store import Queue as Queue
from .store import R as R
from .store import Records as Records
from .store import Rekeys as Rekeys
from .store import Store as Store
from .values import CANCELLED as CANCELLED
from .values import MAX_IDS as MAX_IDS
from .values import TAMPERED as TAMPERED
from .values import Appended as Appended
from .values import DeliveryFilter as DeliveryFilter
from .values import Dismissal as Dismissal
from .values import EventFilter as EventFilter
from .values import LaneStats as LaneStats
from .values import Move as Move
from .values import NextDue as NextDue
from .values import Outstanding as Outstanding
from .values import Record as Record
from .values import Rewrapped as Rewrapped
from .values import Settlement as Settlement
from .values import StoreStats as StoreStats
from .values import Survey as Survey
from .values import TokenRequest as TokenRequest
