"""Makes a tenant's keys and keeps activation codes sealed: `service.catalogue.Vault` over the database's key rows; and the keys
by which servers deal with each other: `service.site_books.Keyholder`.

A code is sealed for its own row, so that one row's content can't be moved to another; whoever has the database but not the
sealing key reads neither keys nor codes.
"""

import os
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec import json

from seatkeeper.protocol import envelopes
from seatkeeper.protocol.documents import CertificateClaims, Covers
from seatkeeper_server.certifying import certified, guest_keys, opened_signing_key
from seatkeeper_server.keys import Random, TenantKeys, new_tenant_keys
from seatkeeper_server.sealing import SECRET_BYTES, SealKey
from seatkeeper_server.service.accounts import AccountKey, NewAccountKey
from seatkeeper_server.service.catalogue import CannotDo, SealedCode
from seatkeeper_server.service.delegation import Site
from seatkeeper_server.statements import MAX_TOKEN, public_text, sealing_kid
from seatkeeper_server.store.catalogue import Catalogue
from seatkeeper_server.store.rows import micros

OURSELVES: Final = ""  # whose keys a local server's own are

_read_certificate = json.Decoder(CertificateClaims).decode


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

    def account_key(self, tenant_id: str) -> AccountKey | None:
        """Give the key of a vendor's account; None if nobody has asked for it yet."""
        found = self._catalogue.tx.query("account_key", tenant_id=tenant_id)
        return next((AccountKey(modulus, exponent) for modulus, exponent in found), None)

    def add_account_key(self, tenant_id: str, made: NewAccountKey, now: datetime) -> None:
        """Keep the key of a vendor's account, its private part sealed."""
        self._catalogue.tx.execute(
            "add_account_key",
            tenant_id=tenant_id,
            modulus=made.public.modulus,
            exponent=made.public.exponent,
            sealed=self._seal.seal(made.private, f"account_key/{tenant_id}"),
            now=micros(now),
        )

    # --- between servers -------------------------------------------------------------------------------------------

    def sealing_key(self, owner: str, now: datetime) -> X25519PrivateKey:
        """Give the key that documents for an owner are sealed to; made if there is none."""
        private = self._exchange_key(owner, "sealing", now)
        return X25519PrivateKey.from_private_bytes(private)

    def own_signing_key(self, now: datetime) -> Ed25519PrivateKey:
        """Give the key by which this server signs as a local one; made if there is none."""
        return Ed25519PrivateKey.from_private_bytes(self._exchange_key(OURSELVES, "signing", now))

    def _exchange_key(self, owner: str, purpose: str, now: datetime) -> bytes:
        context = f"exchange_key/{owner}/{purpose}"
        for _, _, sealed in self._catalogue.tx.query("exchange_key", owner=owner, purpose=purpose):
            return self._seal.open(sealed, context)
        private = self._random(SECRET_BYTES)
        public = _public(purpose, private)
        self._catalogue.tx.execute(
            "add_exchange_key",
            owner=owner,
            purpose=purpose,
            kid=sealing_kid(public),
            public_key=public,
            sealed=self._seal.seal(private, context),
            now=micros(now),
        )
        return self._exchange_key(owner, purpose, now)  # of two that are made at once, the first one stays

    def signing_key(self, tenant_id: str) -> tuple[Ed25519PrivateKey, str]:
        """Give the tenant's current signing key and its certificate."""
        return opened_signing_key(self._catalogue.keys(tenant_id), self._seal)

    def certify(
        self, tenant_id: str, *, site: Site, covers: Covers, since: datetime, until: datetime, epoch: int, now: datetime
    ) -> str:
        """Have the tenant's root certify the key of a local server, for what it was lent."""
        claims = CertificateClaims(
            tid=tenant_id,
            iss=site.database_id,
            kid=envelopes.key_id(envelopes.read_public_key(site.signing_key)),
            key=site.signing_key,
            iat=now.timestamp(),
            nbf=since.timestamp(),
            exp=until.timestamp(),
            covers=covers,
            epo=epoch,
        )
        certificate = certified(self._catalogue.keys(tenant_id), claims, self._seal)
        if len(certificate) > envelopes.MAX_TOKEN:
            raise CannotDo(f"{site.name} has too many shares: no program could read its certificate; lend to another server")
        return certificate

    def welcome(self, tenant_id: str, root_key: str, certificate: str, now: datetime) -> None:
        """Serve a vendor's programs under this certificate of his root's from now on; with secrets of this server's own."""
        until = datetime.fromtimestamp(_read_certificate(envelopes.peek(certificate, most=MAX_TOKEN)).exp, tz=UTC)
        signing = self.own_signing_key(now)
        if self._catalogue.keys(tenant_id):
            kid = envelopes.key_id(signing.public_key())
            self._catalogue.tx.execute(
                "set_certificate", tenant_id=tenant_id, kid=kid, certificate=certificate, expires_at=micros(until)
            )
            return
        rows = guest_keys(
            tenant_id,
            root_key=root_key,
            signing=signing,
            certificate=certificate,
            until=until,
            seal=self._seal,
            now=now,
            random=self._random,
        )
        for row in rows:
            self._catalogue.add_key(row)

    def database_id(self) -> str:
        """Give the id of this database, which every lease names as its issuer."""
        return self._catalogue.database_id()

    def _keys(self, tenant_id: str) -> TenantKeys:
        return TenantKeys(self._catalogue.keys(tenant_id), self._seal)


def _context(tenant_id: str, code_hash: str) -> str:
    return f"activation_code/{tenant_id}/{code_hash}"


def _public(purpose: str, private: bytes) -> str:
    if purpose == "sealing":
        return public_text(X25519PrivateKey.from_private_bytes(private))
    return envelopes.public_key_text(Ed25519PrivateKey.from_private_bytes(private).public_key())
