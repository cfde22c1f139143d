"""The keys of each tenant, and what is signed and recognised with them.

A tenant has four: a *root* that signs certificates and nothing else, a *signing* key certified by it that signs leases, and
two secrets for HMACs, one for *access tokens* and one under which activation *codes* are looked up. They lie in the database,
sealed under a key that does not (`sealing.py`); so a copy of the database alone can neither sign a seat nor read a code.

Rules kept here
- Separate keys per tenant and kind; a text made for one purpose never passes for another.
- Secrets are compared in constant time; the current and the previous key are both tried, always both.
- A lease never says more than the stored holding, and never outlives the entitlement or the certificate of its key.
- Leases are signed together by the key that each of them names: one tenant, one tree. One that repeats no nonce of a client is
  signed alone, since its text could be guessed (`protocol/tree.py`).
- What was sold while the server runs is found; asking for tenants that don't exist costs one look-up a second each.

What it doesn't do: it opens no database. `Keyring` is handed a function that reads a tenant's rows.
"""

import asyncio
import hmac
import os
import time
from base64 import urlsafe_b64decode
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache, partial
from threading import Lock
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import UNSET, json

from seatkeeper.protocol import codes, envelopes, tree
from seatkeeper.protocol.documents import UNREADABLE, CertificateClaims, LeaseClaims
from seatkeeper.protocol.envelopes import EnvelopeError
from seatkeeper.protocol.ids import b64url, b64url_bytes
from seatkeeper.protocol.trust import open_lease, read_unverified_lease
from seatkeeper_server.domain.terms import Kind, is_feature
from seatkeeper_server.domain.timekeeping import EARLIER_BY
from seatkeeper_server.sealing import SECRET_BYTES, SealKey, SealKeyError
from seatkeeper_server.service.calls import Entitlement, Served, TokenClaims

__all__ = [
    "KeyRow",
    "Keyring",
    "Random",
    "SealKey",
    "SealKeyError",
    "TenantKeys",
    "code_hash",
    "features_of",
    "new_tenant_keys",
    "renewed_signing_key",
]

CERTIFICATE_LASTS: Final = timedelta(days=365)
RELOAD_AFTER: Final = 60.0  # seconds; how soon a key renewed by another process is used here
TOKENS_AT_HAND: Final = 1024  # access tokens per tenant whose HMAC is remembered: as many as may be under way
CODES_AT_HAND: Final = 256  # codes per tenant whose hash is remembered: a customer's programs all show the same one
UNKNOWN_FOR: Final = 1.0  # seconds in which an unknown tenant is not looked up again
MOST_TOGETHER: Final = 256  # leases under one signature: their paths have eight hashes, and more would save next to nothing
MAX_UNKNOWN: Final = 4096  # unknown tenants remembered; the oldest is forgotten first

_TOKEN_DOMAIN: Final = b"seatkeeper access token v1\0"
_CODE_DOMAIN: Final = b"seatkeeper activation code v1\0"
_API_TOKEN_DOMAIN: Final = b"seatkeeper api token v1\0"
_API_SECRET_DOMAIN: Final = b"seatkeeper api client secret v1\0"

Random = Callable[[int], bytes]

_encode = json.Encoder().encode
_read_lease = json.Decoder(LeaseClaims).decode
_read_certificate = json.Decoder(CertificateClaims).decode


# --- the keys of a tenant, as they are kept ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """One key as the database keeps it: `state` is current, previous or retired; the private part is sealed."""

    tenant_id: str
    purpose: str
    kid: str
    state: str
    public_key: str | None
    sealed: bytes
    certificate: str | None
    created_at: datetime
    expires_at: datetime | None

    @property
    def context(self) -> str:
        """What the private part is sealed for."""
        return f"tenant_key/{self.tenant_id}/{self.purpose}/{self.kid}"


ROOT: Final = "root"
SIGNING: Final = "signing"
ACCESS_TOKEN: Final = "access-token"  # noqa: S105  (a purpose, not a password)
CODE: Final = "code"

CURRENT: Final = "current"
PREVIOUS: Final = "previous"
RETIRED: Final = "retired"


def new_tenant_keys(tenant_id: str, *, database_id: str, seal: SealKey, now: datetime, random: Random) -> list[KeyRow]:
    """Make every key that a new tenant needs: root, signing key with certificate, secrets for tokens and codes."""
    root = _new_root(random)
    return [
        key_pair_row(tenant_id, ROOT, root, seal, now),
        _certified_row(tenant_id, root, database_id=database_id, seal=seal, now=now, random=random),
        secret_row(tenant_id, ACCESS_TOKEN, seal, now, random),
        secret_row(tenant_id, CODE, seal, now, random),
    ]


def _new_root(random: Random) -> Ed25519PrivateKey:
    """Make a root key whose public part doesn't begin with a hyphen: people type it after `--public-key`."""
    while True:
        root = Ed25519PrivateKey.from_private_bytes(random(SECRET_BYTES))
        if not envelopes.public_key_text(root.public_key()).startswith("-"):
            return root


def renewed_signing_key(
    rows: Iterable[KeyRow], *, database_id: str, seal: SealKey, now: datetime, random: Random
) -> list[KeyRow]:
    """Give the rows to write when less than a third of the signing key's validity is left; nothing while it is good.

    The old key becomes `previous`, whose leases are still recognised; a previous one whose certificate has ended is retired.
    Rows come in the order in which they must be written: no two keys are ever `current`.
    """
    kept = list(rows)
    signing = [row for row in kept if row.purpose == SIGNING and row.state != RETIRED]
    current = next((row for row in signing if row.state == CURRENT), None)
    if current is not None and not _wears_out(current, now):
        return []
    root_row = next(row for row in kept if row.purpose == ROOT and row.state == CURRENT)
    root = Ed25519PrivateKey.from_private_bytes(seal.open(root_row.sealed, root_row.context))
    over = [replace(row, state=RETIRED) for row in signing if row is not current and _has_ended(row, now)]
    old = [] if current is None else [replace(current, state=PREVIOUS)]
    new = _certified_row(root_row.tenant_id, root, database_id=database_id, seal=seal, now=now, random=random)
    return [*over, *old, new]


def _wears_out(row: KeyRow, now: datetime) -> bool:
    return row.expires_at is not None and row.expires_at - now < (row.expires_at - row.created_at) / 3


def _has_ended(row: KeyRow, now: datetime) -> bool:
    return row.expires_at is not None and row.expires_at <= now


def _certified_row(
    tenant_id: str, root: Ed25519PrivateKey, *, database_id: str, seal: SealKey, now: datetime, random: Random
) -> KeyRow:
    key = Ed25519PrivateKey.from_private_bytes(random(SECRET_BYTES))
    row = key_pair_row(tenant_id, SIGNING, key, seal, now)
    expires_at = now + CERTIFICATE_LASTS
    claims = CertificateClaims(
        tid=tenant_id,
        iss=database_id,
        kid=row.kid,
        key=envelopes.public_key_text(key.public_key()),
        iat=now.timestamp(),
        nbf=(now - EARLIER_BY).timestamp(),
        exp=expires_at.timestamp(),
    )
    root_kid = envelopes.key_id(root.public_key())
    certificate = envelopes.sign(_encode(claims), typ=envelopes.CERTIFICATE, kid=root_kid, key=root)
    return replace(row, certificate=certificate, expires_at=expires_at)


def key_pair_row(tenant_id: str, purpose: str, key: Ed25519PrivateKey, seal: SealKey, now: datetime) -> KeyRow:
    """Give the row of a key pair, its private part sealed."""
    public = key.public_key()
    return sealed_row(
        tenant_id, purpose, envelopes.key_id(public), envelopes.public_key_text(public), key.private_bytes_raw(), seal, now
    )


def secret_row(tenant_id: str, purpose: str, seal: SealKey, now: datetime, random: Random) -> KeyRow:
    """Give the row of a new secret, sealed."""
    return sealed_row(tenant_id, purpose, b64url(random(12)), None, random(SECRET_BYTES), seal, now)


def sealed_row(
    tenant_id: str, purpose: str, kid: str, public_key: str | None, private: bytes, seal: SealKey, now: datetime
) -> KeyRow:
    """Give the row of a key, its private part sealed for this row alone."""
    row = KeyRow(
        tenant_id=tenant_id,
        purpose=purpose,
        kid=kid,
        state=CURRENT,
        public_key=public_key,
        sealed=b"",
        certificate=None,
        created_at=now,
        expires_at=None,
    )
    return replace(row, sealed=seal.seal(private, row.context))


# --- the keys of a tenant, in use ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Turn:
    """The leases of one tenant that one turn of an event loop asks for, and where each of them goes."""

    loop: asyncio.AbstractEventLoop
    payloads: list[bytes] = field(default_factory=list)
    answers: "list[asyncio.Future[str]]" = field(default_factory=list)

    def take(self, payload: bytes) -> "asyncio.Future[str]":
        answer: asyncio.Future[str] = self.loop.create_future()
        self.payloads.append(payload)
        self.answers.append(answer)
        return answer

    def deliver(self, leases: Iterable[str]) -> None:
        for answer, lease in zip(self.answers, leases, strict=True):
            if not answer.done():  # else who asked has gone away
                answer.set_result(lease)

    def fail(self, error: Exception) -> None:
        for answer in self.answers:
            if not answer.done():
                answer.set_exception(error)


class TenantKeys:
    """A tenant's opened keys. Everything a request needs is made ready once, here, rather than at each request."""

    def __init__(self, rows: Iterable[KeyRow], seal: SealKey) -> None:
        usable = sorted((row for row in rows if row.state != RETIRED), key=lambda row: row.state != CURRENT)
        signing = [row for row in usable if row.purpose == SIGNING]
        if not signing or signing[0].certificate is None:
            raise SealKeyError("this tenant has no certified signing key; the database is damaged")
        self.tenant_id = signing[0].tenant_id
        self.root_public_key = next(row.public_key or "" for row in usable if row.purpose == ROOT)
        self.certificate = signing[0].certificate
        self.certificates = tuple(row.certificate for row in signing if row.certificate is not None)
        token_keys = [seal.open(row.sealed, row.context) for row in usable if row.purpose == ACCESS_TOKEN]
        token_mac, *self._earlier_token_macs = [_mac(key, _TOKEN_DOMAIN) for key in token_keys]
        self._api_token_macs = [_mac(key, _API_TOKEN_DOMAIN) for key in token_keys]
        # An answer shows the token that its request has shown.
        self._token_mac = lru_cache(TOKENS_AT_HAND)(partial(_token_mac, token_mac))
        code_key = next(seal.open(row.sealed, row.context) for row in usable if row.purpose == CODE)
        code_mac = _mac(code_key, _CODE_DOMAIN)
        self._api_secret_mac = _mac(code_key, _API_SECRET_DOMAIN)
        self._code_hash = lru_cache(CODES_AT_HAND)(partial(code_hash, code_mac))
        self._signing_key = Ed25519PrivateKey.from_private_bytes(seal.open(signing[0].sealed, signing[0].context))
        self._known = {row.kid: envelopes.read_public_key(row.public_key or "") for row in signing}
        certified = _read_certificate(envelopes.peek(self.certificate))
        self._certified_until, self.epoch = certified.exp, certified.epo
        self._covered = None if certified.covers is None else frozenset(certified.covers.entitlements)
        self._signing_kid = signing[0].kid
        self._lease_begins = tuple(
            envelopes.header_part(typ, self._signing_kid) + "." for typ in (envelopes.LEASE, tree.LEASE_IN_TREE)
        )
        self._lease_head = self._lease_begins[0].encode("ascii")
        self._turn: _Turn | None = None

    def code_hash(self, code: str) -> str:
        """Give what an activation code is looked up by, however it was typed."""
        return self._code_hash(code)

    def access_token(self, activation_id: str, generation: int) -> str:
        """Give the token that proves to be this life of this seat: `activationId.generation.HMAC`, opaque to clients."""
        body = f"{activation_id}.{generation}"
        return f"{body}.{self._token_mac(body)}"

    def read_token(self, text: str) -> TokenClaims | None:
        """Give what a token says, if one of our keys made it."""
        body, _, mac = text.rpartition(".")
        shown = mac.encode()
        genuine = hmac.compare_digest(self._token_mac(body).encode(), shown)
        for keyed in self._earlier_token_macs:  # all of them, whichever fits: time must not tell
            genuine |= hmac.compare_digest(_token_mac(keyed, body).encode(), shown)
        if not genuine:
            return None
        activation_id, _, generation = body.rpartition(".")
        return TokenClaims(activation_id, int(generation))

    def api_secret_hash(self, secret: str) -> str:
        """Give what is kept of an API client's secret: secrets are long and random, so nothing slow is needed."""
        return _finished(self._api_secret_mac, secret.encode()).hex()

    def api_token(self, payload: bytes) -> str:
        """Give the token that carries this payload to an API client and back."""
        body = b64url(payload)
        return f"{body}.{_token_mac(self._api_token_macs[0], body)}"

    def read_api_token(self, text: str) -> bytes | None:
        """Give the payload of an API client's token, if one of our keys made it."""
        body, _, mac = text.partition(".")
        genuine = False
        for keyed in self._api_token_macs:  # all of them, whichever fits: time must not tell
            genuine |= hmac.compare_digest(_token_mac(keyed, body).encode(), mac.encode())
        return urlsafe_b64decode(body + "=" * (-len(body) % 4)) if genuine else None

    def signed(self, payload: bytes) -> str:
        """Give the compact JWS over a lease's claims; the same bytes as `envelopes.sign`, its header made only once."""
        signed = self._lease_head + b64url_bytes(payload)
        return (signed + b"." + b64url_bytes(self._signing_key.sign(signed))).decode("ascii")

    def signed_together(self, payload: bytes) -> "asyncio.Future[str]":
        """Give the lease over these claims when all that this turn of the running event loop wants signed is known.

        What is then alone is signed alone; two or more share a tree, and so one signature.
        """
        loop, turn = asyncio.get_running_loop(), self._turn
        if turn is None or turn.loop is not loop or len(turn.payloads) >= MOST_TOGETHER:
            turn = self._turn = _Turn(loop)
            loop.call_soon(self._sign, turn)
        return turn.take(payload)

    def _sign(self, turn: _Turn) -> None:
        if self._turn is turn:
            self._turn = None
        try:
            turn.deliver(self._leases(turn.payloads))
        except Exception as error:
            turn.fail(error)

    def signed_in_a_list(self, payloads: Sequence[tuple[bytes, bool]]) -> list[str]:
        """Give the leases over these claims, in their order: of those marked True under one signature, of the others alone."""
        together = iter(self._leases([payload for payload, reads_trees in payloads if reads_trees]))
        return [next(together) if reads_trees else self.signed(payload) for payload, reads_trees in payloads]

    def _leases(self, payloads: list[bytes]) -> list[str]:
        if len(payloads) < 2:
            return [self.signed(payload) for payload in payloads]
        return tree.sign_batch(payloads, kid=self._signing_kid, key=self._signing_key)

    def signed_as(self, typ: str, payload: bytes) -> str:
        """Give the compact JWS over a document of another type than a lease."""
        return envelopes.sign(payload, typ=typ, kid=self._signing_kid, key=self._signing_key)

    @property
    def certified_until(self) -> float:
        """The end of the current certificate in seconds since 1970: no lease may end after it (contract, rule 7)."""
        return self._certified_until

    def covers(self, entitlement_id: str) -> bool:
        """Tell whether the current certificate lets its key sign for an entitlement: a vendor's own does for all."""
        return self._covered is None or entitlement_id in self._covered

    @property
    def recognised(self) -> dict[str, Ed25519PublicKey]:
        """The public keys whose leases are ours, by key id."""
        return self._known

    def signed_by_current(self, lease: str | None) -> bool:
        """Tell whether a lease names the current signing key: whoever shows it knows that key's certificate.

        A local server's key stays while its certificate changes: then the epoch tells.
        """
        if lease is None or not lease.startswith(self._lease_begins):
            return False
        return self.epoch is None or _epoch_of(lease) == self.epoch


def _epoch_of(lease: str) -> int | None:
    try:
        return read_unverified_lease(lease).epo
    except EnvelopeError:
        return None


def code_hash(keyed: hmac.HMAC, code: str) -> str:
    """Give the HMAC under which an activation code is looked up."""
    return _finished(keyed, codes.canonical(code).encode()).hex()


def _token_mac(keyed: hmac.HMAC, body: str) -> str:
    return b64url(_finished(keyed, body.encode()))


def _mac(key: bytes, domain: bytes) -> hmac.HMAC:
    """Give an HMAC that has taken in its key and what it is for; every use finishes a copy of it."""
    return hmac.new(key, domain, "sha256")


def _finished(keyed: hmac.HMAC, text: bytes) -> bytes:
    mac = keyed.copy()
    mac.update(text)
    return mac.digest()


# --- the keys of all tenants ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Cached:
    keys: TenantKeys
    until: float


class Keyring:
    """The keys of every tenant of one database, opened when first needed. It is a `ports.Signer`.

    `load` reads a tenant's rows, none for an unknown tenant; it is never called twice at once, but from any thread.
    """

    def __init__(
        self,
        *,
        load: Callable[[str], list[KeyRow]],
        seal: SealKey,
        database_id: str,
        epoch: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.database_id = database_id
        self.epoch = epoch
        self._load, self._seal, self._clock = load, seal, clock
        self._tenants: dict[str, _Cached] = {}
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._lock = Lock()
        self._strangers_mac = _mac(os.urandom(SECRET_BYTES), _CODE_DOMAIN)

    def tenant(self, tenant_id: str) -> TenantKeys | None:
        """Give a tenant's keys; None if there is no such tenant.

        Raises:
            SealKeyError: the sealing key does not fit.
            StorageUnavailable: the keys can't be read now; what was read before goes on serving.
        """
        cached = self._tenants.get(tenant_id)
        if cached is not None and self._clock() < cached.until:
            return cached.keys
        with self._lock:
            return self._looked_up(tenant_id)

    def code_hash(self, tenant_id: str, code: str) -> str:
        """Give what a code is looked up by. For an unknown tenant it fits nothing, and takes as long to make."""
        keys = self.tenant(tenant_id)
        return code_hash(self._strangers_mac, code) if keys is None else keys.code_hash(code)

    def sign(self, served: Served, client_nonce: str | None) -> str:
        """Give the signed lease for a served call: what the stored holding says, as of now."""
        keys = self._covering(served.entitlement)
        return keys.signed(self._said(keys, served, client_nonce))

    def sign_together(self, served: Served, client_nonce: str) -> "asyncio.Future[str]":
        """Give the same, for a program that reads leases in trees, signed with all that this turn of the event loop asks for.

        A nonce is needed: without one, those who share a tree could find out by guessing what a lease in it says.
        """
        keys = self._covering(served.entitlement)
        return keys.signed_together(self._said(keys, served, client_nonce))

    def sign_list(self, tenant_id: str, listed: Iterable[tuple[Served, str | None, bool]]) -> list[str]:
        """Give the leases for what one list asked of a tenant, in order: served call, client's nonce, whether it reads trees.

        Who reads trees gets one that holds this list and nothing else. No nonce is needed for that: who sent the list sees all
        of it anyway, and nobody else can guess the activation id in another's lease.
        """
        keys = self._known(tenant_id)
        return keys.signed_in_a_list([(self._said(keys, served, nonce), in_tree) for served, nonce, in_tree in listed])

    def _said(self, keys: TenantKeys, served: Served, client_nonce: str | None) -> bytes:
        holding, entitlement, last = served.holding, served.entitlement, served.pool.terms.last_moment
        ends_at = holding.expires_at if last is None else min(holding.expires_at, last)
        claims = LeaseClaims(
            iss=self.database_id,
            tid=entitlement.tenant_id,
            prd=entitlement.product_id,
            edn=entitlement.edition_id,
            ent=entitlement.entitlement_id,
            act=holding.activation_id,
            gen=holding.generation,
            sub=served.who.seat_id,
            feat=features_of(served),
            iat=served.at.timestamp(),
            exp=min(ends_at.timestamp(), keys.certified_until),
            epo=self.epoch if keys.epoch is None else keys.epoch,
            seq=holding.sequence,
            nonce=client_nonce,
            dev=holding.device,
            bor=True if holding.is_borrowed else UNSET,
        )
        return _encode(claims)

    def certificate(self, tenant_id: str) -> str:
        """Give the certificate under which this tenant's leases are signed."""
        return self._known(tenant_id).certificate

    def sign_document(self, tenant_id: str, payload: bytes, *, typ: str) -> str:
        """Give the signed form of a document of another type than a lease, such as a checkpoint of facts."""
        return self._known(tenant_id).signed_as(typ, payload)

    def recognise(self, tenant_id: str, lease: str) -> LeaseClaims | None:
        """Give the claims of a lease that this database's keys signed for this tenant; None for anything else."""
        keys = self.tenant(tenant_id)
        if keys is None:
            return None
        try:
            claims = _read_lease(open_lease(lease, keys=keys.recognised))
        except (EnvelopeError, *UNREADABLE):
            return None
        return claims if claims.tid == tenant_id and claims.iss == self.database_id else None

    def forget(self) -> None:
        """Read everybody's keys anew when they are needed next: they have just been changed here."""
        with self._lock:
            self._tenants.clear()
            self._unknown.clear()

    def _covering(self, entitlement: Entitlement) -> TenantKeys:
        """Give a tenant's keys; read anew if they may not sign for an entitlement that has been lent meanwhile."""
        keys = self._known(entitlement.tenant_id)
        if keys.covers(entitlement.entitlement_id):
            return keys
        self.forget()
        return self._known(entitlement.tenant_id)

    def _known(self, tenant_id: str) -> TenantKeys:
        keys = self.tenant(tenant_id)
        if keys is None:
            raise LookupError(f"there is no tenant {tenant_id}")
        return keys

    def _looked_up(self, tenant_id: str) -> TenantKeys | None:
        now, cached = self._clock(), self._tenants.get(tenant_id)
        if cached is not None and now < cached.until:
            return cached.keys  # another thread was faster
        if now < self._unknown.get(tenant_id, 0.0):
            return None
        try:
            rows = self._load(tenant_id)
        except Exception:
            if cached is None:
                raise
            return cached.keys
        if not rows:
            self._remember_unknown(tenant_id, now)
            return None
        keys = TenantKeys(rows, self._seal)
        self._unknown.pop(tenant_id, None)
        self._tenants[tenant_id] = _Cached(keys, now + RELOAD_AFTER)
        return keys

    def _remember_unknown(self, tenant_id: str, now: float) -> None:
        self._tenants.pop(tenant_id, None)
        self._unknown[tenant_id] = now + UNKNOWN_FOR
        self._unknown.move_to_end(tenant_id)
        while len(self._unknown) > MAX_UNKNOWN:
            self._unknown.popitem(last=False)


def features_of(served: Served) -> dict[str, int]:
    """Give the features a lease speaks of: 1 for each bool one that is enabled, the amount of each counted one that is held."""
    tallies = served.pool.tallies
    features = {key: amount for key, amount in served.holding.rights.items() if amount and is_feature(key)}
    for key, tally in tallies.items():
        if tally.right.kind is Kind.BOOL:
            if tally.right.bought is None or tally.right.bought > 0:
                features[key] = 1
            else:
                features.pop(key, None)  # it was switched off since
    return features
