"""Tenants spread over several databases: ``Notifykit(store=ShardedStore([...]))`` or ``sharded://?a=…&b=…``."""

from .store import ShardedStore as ShardedStore
