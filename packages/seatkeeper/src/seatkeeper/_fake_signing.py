"""The fake server's keys: a root, a signing key it certified, and a secret for access tokens. Made anew for each server."""

import hmac
import re
import secrets
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import UNSET, json

from seatkeeper._fake_pool import Place, Rejection
from seatkeeper.protocol import ids
from seatkeeper.protocol.documents import CertificateClaims, LeaseClaims
from seatkeeper.protocol.envelopes import CERTIFICATE, LEASE, key_id, public_key_text, sign
from seatkeeper.protocol.tree import sign_batch

YEAR = 365 * 86_400
COMPANY = 4  # leaves beside a lease in a tree: with them, both sides and an odd one out come up
_TOKEN = re.compile(r"Bearer (act_[A-Za-z0-9_-]{22})\.(\d{1,18})\.([A-Za-z0-9_-]+)")


def _typeable_key() -> Ed25519PrivateKey:
    """Make a key whose public part can be typed after an option: like the server's, it doesn't begin with a hyphen."""
    keys = iter(Ed25519PrivateKey.generate, None)
    return next(key for key in keys if not public_key_text(key.public_key()).startswith("-"))


class Signer:
    """Signs for one product of one tenant; the ids are those that leases carry."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.tenant, self.product = new_id(ids.TENANT), new_id(ids.PRODUCT)
        self.edition, self.entitlement, self.database = new_id(ids.EDITION), new_id(ids.ENTITLEMENT), new_id(ids.DATABASE)
        self.root = _typeable_key()
        self.sequence = 0
        self._now = now
        self._secret = secrets.token_bytes(32)
        self.rotate()

    @property
    def public_key(self) -> str:
        return public_key_text(self.root.public_key())

    def rotate(self) -> None:
        """Sign with a new key from now on, certified by the root."""
        self._key = Ed25519PrivateKey.generate()
        now, signer = self._now(), self._key.public_key()
        claims = CertificateClaims(
            tid=self.tenant,
            iss=self.database,
            kid=key_id(signer),
            key=public_key_text(signer),
            iat=now,
            nbf=now - 60,
            exp=now + 10 * YEAR,
        )
        self.certificate = sign(json.encode(claims), typ=CERTIFICATE, kid=key_id(self.root.public_key()), key=self.root)

    def lease(self, place: Place, features: dict[str, int], client_nonce: str | None, reads_trees: bool) -> str:
        """Sign what a place may do until its stored end; every second one in a tree, for programs that read trees."""
        payload = self.payload(place, features, client_nonce)
        if reads_trees and client_nonce is not None and self.sequence % 2 == 0:
            return self._in_company(payload)
        return self._alone(payload)

    def sign_list(self, listed: list[tuple[bytes, bool]]) -> list[str]:
        """Sign claims that one list asked for: those whose programs read trees (True) under one signature, others alone."""
        in_tree = [payload for payload, reads_trees in listed if reads_trees]
        if len(in_tree) < 2:
            return [self._alone(payload) for payload, _ in listed]
        together = iter(sign_batch(in_tree, kid=self._kid, key=self._key))
        return [next(together) if reads_trees else self._alone(payload) for payload, reads_trees in listed]

    def payload(self, place: Place, features: dict[str, int], client_nonce: str | None) -> bytes:
        """Give the claims of a place's next lease."""
        self.sequence += 1
        claims = LeaseClaims(
            iss=self.database,
            tid=self.tenant,
            prd=self.product,
            edn=self.edition,
            ent=self.entitlement,
            act=place.activation_id,
            gen=place.generation,
            sub=place.seat_id,
            feat=features,
            iat=self._now(),
            exp=place.expires_at,
            epo=1,
            seq=self.sequence,
            nonce=client_nonce,
            dev=place.device,
            bor=True if place.borrowed else UNSET,
        )
        return json.encode(claims)

    def _alone(self, payload: bytes) -> str:
        return sign(payload, typ=LEASE, kid=self._kid, key=self._key)

    def _in_company(self, payload: bytes) -> str:
        """Sign a lease in a tree, among leaves that are nobody's; each time at another place."""
        leaves, place = [secrets.token_bytes(32) for _ in range(COMPANY)], self.sequence // 2 % (COMPANY + 1)
        leaves.insert(place, payload)
        return sign_batch(leaves, kid=self._kid, key=self._key)[place]

    @property
    def _kid(self) -> str:
        return key_id(self._key.public_key())

    def token(self, place: Place) -> str:
        """Give the access token of a place's present generation."""
        return f"{place.activation_id}.{place.generation}.{self._mac(place.activation_id, place.generation)}"

    def read_token(self, authorization: str) -> tuple[str, int]:
        """Give the activation and generation that a token names; nothing is looked up for a wrong one."""
        found = _TOKEN.fullmatch(authorization)
        if found is None or not hmac.compare_digest(found[3], self._mac(found[1], int(found[2]))):
            raise Rejection("token.invalid")
        return found[1], int(found[2])

    def _mac(self, activation_id: str, generation: int) -> str:
        return ids.b64url(hmac.digest(self._secret, f"{activation_id}.{generation}".encode(), "sha256"))


def new_id(prefix: str) -> str:
    """Give a random id with a prefix."""
    return ids.make_id(prefix, secrets.token_bytes(ids.RANDOM_BYTES))
