"""The provider accounts of tenants, kept by the version of each tenant's configuration."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..models.provider_account import CHANNELS, ProviderAccount
from ..models.unreadable import UnreadableProviderAccount

if TYPE_CHECKING:
    from ..ports import Store

#: Tenants that are kept at the same time.
_KEPT = 4096


class TenantAccounts:
    """Reads what tenants say of their accounts; one for all channels of a process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tenants: OrderedDict[str, tuple[int, Mapping[str, str]]] = OrderedDict()

    async def url(self, tenant: str, channel: str, version: int) -> str | None:
        """Return the URL of a tenant's own account; empty if it cannot be read, ``None`` if the tenant has none.

        Args:
            version: Of the tenant's configuration: what is returned is not older.

        Raises:
            StoreError: It cannot be read now.
        """
        kept = self._tenants.get(tenant)
        if kept is not None and kept[0] >= version:
            self._tenants.move_to_end(tenant)
            return kept[1].get(channel)
        found = await self._store.get(ProviderAccount, tenant, CHANNELS)
        urls = {each.id: "" if isinstance(each, UnreadableProviderAccount) else each.url for each in found}
        if "" not in urls.values():  # a repair of the row need not change the version
            self._tenants[tenant] = version, urls
            self._tenants.move_to_end(tenant)
            if len(self._tenants) > _KEPT:
                self._tenants.popitem(last=False)
        return urls.get(channel)
