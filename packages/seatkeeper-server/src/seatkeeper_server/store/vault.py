"""Makes a tenant's keys and keeps activation codes sealed: `service.catalogue.Vault` over the database's key rows.

A code is sealed for its own row, so that one row's content can't be moved to another; whoever has the database but not the
sealing key reads neither keys nor codes.
"""

import os
from datetime import datetime

from seatkeeper_server.keys import Random, TenantKeys, new_tenant_keys
from seatkeeper_server.sealing import SealKey
from seatkeeper_server.service.catalogue import SealedCode
from seatkeeper_server.store.catalogue import Catalogue


class KeyVault:
    """The keys and codes of a database, within one transaction of its catalogue."""

    def __init__(self, catalogue: Catalogue, seal: SealKey, random: Random = os.urandom) -> None:
        self._catalogue = catalogue
        self._seal = seal
        self._random = random

    def make_keys(self, tenant_id: str, now: datetime) -> None:
        """Make and keep every key a new tenant needs."""
        database_id = self._catalogue.database_id()
        for row in new_tenant_keys(tenant_id, database_id=database_id, seal=self._seal, now=now, random=self._random):
            self._catalogue.add_key(row)

    def public_key(self, tenant_id: str) -> str:
        """Give the tenant's root public key, which applications pin."""
        return self._keys(tenant_id).root_public_key

    def code_hash(self, tenant_id: str, code: str) -> str:
        """Give what a code is looked up by."""
        return self._keys(tenant_id).code_hash(code)

    def secret_hash(self, tenant_id: str, secret: str) -> str:
        """Give what is kept of an API client's secret."""
        return self._keys(tenant_id).api_secret_hash(secret)

    def seal_code(self, tenant_id: str, code_hash: str, code: str) -> bytes:
        """Give the sealed code."""
        return self._seal.seal(code.encode(), _context(tenant_id, code_hash))

    def open_code(self, tenant_id: str, sealed: SealedCode) -> str:
        """Give the code that was sealed.

        Raises:
            SealKeyError: it was sealed under another key.
        """
        return self._seal.open(sealed.sealed, _context(tenant_id, sealed.code_hash)).decode()

    def _keys(self, tenant_id: str) -> TenantKeys:
        return TenantKeys(self._catalogue.keys(tenant_id), self._seal)


def _context(tenant_id: str, code_hash: str) -> str:
    return f"activation_code/{tenant_id}/{code_hash}"
