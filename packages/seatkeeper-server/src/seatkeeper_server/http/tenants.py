"""The tenants' keys, as the event loop may ask for them: without waiting for a database.

A tenant that has been seen before is at hand. For any other a thread of its own looks, one at a time and with a bounded line
before it, so that whoever invents tenants holds up nobody but those who invent some too.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from seatkeeper_server.keys import Keyring, TenantKeys
from seatkeeper_server.service.desk import Overloaded

MOST_WAITING: Final = 256  # look-ups; a later one is told to come again

Found = TypeVar("Found")


class Tenants:
    """Gives the keys of tenants, looking those up elsewhere that were never seen."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._seen: set[str] = set()
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tenants")

    async def keys(self, tenant_id: str) -> TenantKeys | None:
        """Give a tenant's keys; None if there is no such tenant.

        Raises:
            Overloaded: too many tenants that were never seen are being looked up.
            StorageUnavailable: the keys can't be read now.
        """
        if tenant_id in self._seen:
            return self._keyring.tenant(tenant_id)
        keys = await self._apart(lambda: self._keyring.tenant(tenant_id))
        if keys is not None:
            self._seen.add(tenant_id)
        return keys

    async def code_hash(self, tenant_id: str, code: str) -> str:
        """Give what a code is looked up by; for an unknown tenant it fits nothing.

        Raises:
            Overloaded, StorageUnavailable: as `keys`.
        """
        keys = await self.keys(tenant_id)
        if keys is not None:
            return keys.code_hash(code)
        return await self._apart(lambda: self._keyring.code_hash(tenant_id, code))

    async def _apart(self, look: Callable[[], Found]) -> Found:
        if self._waiting >= MOST_WAITING:
            raise Overloaded
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, look)
        finally:
            self._waiting -= 1
