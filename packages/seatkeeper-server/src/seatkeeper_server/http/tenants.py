"""The tenants' keys, as the event loop may ask for them: without waiting for a database.

A tenant that has been seen before is at hand. For any other a thread of its own looks, one at a time and with a bounded line
before it, so that whoever invents tenants holds up nobody but those who come for the first time.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from seatkeeper_server.keys import Keyring, TenantKeys
from seatkeeper_server.service.desk import Overloaded

MOST_WAITING: Final = 256  # look-ups; whoever comes later is told to come again

Found = TypeVar("Found")


class Tenants:
    """Gives the keys of tenants. What may need the database is done in a thread."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._seen: set[str] = set()
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tenants")

    def at_hand(self, tenant_id: str) -> TenantKeys | None:
        """Give the keys of a tenant that has been seen before; None for any other: then `keys` may know more."""
        return self._keyring.tenant(tenant_id) if tenant_id in self._seen else None

    def at_hand_for_code(self, tenant_id: str, code: str) -> tuple[TenantKeys, str] | None:
        """Give what `keys_for_code` gives, of a tenant that has been seen before; None for any other."""
        keys = self.at_hand(tenant_id)
        return None if keys is None else (keys, keys.code_hash(code))

    async def keys(self, tenant_id: str) -> TenantKeys | None:
        """Give a tenant's keys; None if there is no such tenant.

        Raises:
            Overloaded: too many tenants that were never seen are being looked up.
            StorageUnavailable: the keys can't be read now.
        """
        keys = await self._looked(tenant_id, lambda: self._keyring.tenant(tenant_id))
        return self._noted(tenant_id, keys)

    async def keys_for_code(self, tenant_id: str, code: str) -> tuple[TenantKeys | None, str]:
        """Give a tenant's keys, and what a code is looked up by; for an unknown tenant that fits nothing.

        Raises:
            Overloaded, StorageUnavailable: as `keys`.
        """
        keys, code_hash = await self._looked(
            tenant_id, lambda: (self._keyring.tenant(tenant_id), self._keyring.code_hash(tenant_id, code))
        )
        return self._noted(tenant_id, keys), code_hash

    def close(self) -> None:
        """Let what is being looked up be found, and end the thread."""
        self._thread.shutdown()

    async def _looked(self, tenant_id: str, look: Callable[[], Found]) -> Found:
        if tenant_id in self._seen:
            return look()
        if self._waiting >= MOST_WAITING:
            raise Overloaded
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, look)
        finally:
            self._waiting -= 1

    def _noted(self, tenant_id: str, keys: TenantKeys | None) -> TenantKeys | None:
        if keys is None:
            self._seen.discard(tenant_id)
        else:
            self._seen.add(tenant_id)
        return keys
