"""Whom a program believes, as it goes along: the pinned root, the certificate last verified, the latest lease.

Wraps `protocol.trust` with what it needs to remember (contract, "Rules of the seat", 7 and 8):
- A certificate that was verified is not verified again.
- A lease whose sequence fell behind the last one's tells of a server set back to an old copy.
- A lease after the first speaks of the same activation and generation: no call but activate begins a new life, so another
  one is an activation that somebody made behind the program's back.
- A lease grants what its call asked for. Who stands in between can rewrite a request, not the lease that comes of it.
"""

from msgspec import json

from seatkeeper._seat import Lease
from seatkeeper._settings import Settings
from seatkeeper._wire import Call
from seatkeeper.errors import BorrowedSeatUnusable, UntrustedServer
from seatkeeper.protocol.documents import ActivateRequest, CertificateClaims, FeatureRequest, LeaseClaims
from seatkeeper.protocol.envelopes import EnvelopeError
from seatkeeper.protocol.trust import Expected, Trust, read_unverified_lease


class Belief:
    """What is believed about one seat; `claims` are those of the latest lease, None before the first."""

    def __init__(self, settings: Settings, *, seat_id: str, device_key: str, stored_lease: str | None) -> None:
        self.claims: LeaseClaims | None = None
        self._settings = settings
        self._seat_id = seat_id
        self._device_key = device_key
        self._trust = Trust(settings.roots)
        self._last = _unverified(stored_lease)
        self._certificate: CertificateClaims | None = None
        self._certificate_text: str | None = None

    def lease(self, token: str | None, certificate: str | None, *, call: Call, server: str, counted: bool = True) -> Lease:
        """Give a lease that may be acted on, counted from when its call was first sent.

        With `counted` off it grants nothing that was asked for: the caller has to refuse that.

        Raises:
            UntrustedServer: it isn't signed as the pinned root demands, speaks of something else than the call or the seat,
                or is older than the last.
        """
        try:
            certified = self._certified(certificate)
            claims = self._trust.lease(token or "", certified, self._expected(call))
            self._not_older(claims)
            self._of_this_life(claims, call)
            if counted:
                self._as_asked(claims, call)
        except EnvelopeError as error:
            raise UntrustedServer(f"the answer of {server} can't be trusted: {error}", server=server) from error
        self._certificate, self._certificate_text = certified, certificate or self._certificate_text
        self.claims = self._last = claims
        return Lease(token=token or "", sent_at=call.asked_at, length=claims.exp - claims.iat)

    def borrowed(self, token: str, certificate: str, *, nonce: str) -> float:
        """Believe a borrowed lease that was kept on this device, as if it had just come; give its length in seconds.

        Raises:
            BorrowedSeatUnusable: it isn't what the pinned root and this seat demand.
        """
        try:
            certified = self._trust.certificate(certificate)
            claims = self._trust.lease(token, certified, self._expecting(nonce))
            if claims.bor is not True:
                raise EnvelopeError("borrowed", "it is not a borrowed lease")
        except EnvelopeError as error:
            raise BorrowedSeatUnusable(f"the borrowed seat that lies here can't be trusted: {error}") from error
        self._certificate, self._certificate_text = certified, certificate
        self.claims = self._last = claims
        return claims.exp - claims.iat

    @property
    def certificate(self) -> str:
        """The certificate of the latest lease."""
        return self._certificate_text or ""

    def _expected(self, call: Call) -> Expected:
        return self._expecting(call.client_nonce)

    def _expecting(self, nonce: str) -> Expected:
        return Expected(
            tenant_id=self._settings.tenant,
            product_id=self._settings.product,
            seat_id=self._seat_id,
            nonce=nonce,
            device=self._device_key,
        )

    def _certified(self, text: str | None) -> CertificateClaims:
        if self._certificate is not None and text in {None, self._certificate_text}:
            return self._certificate
        if text is None:
            raise EnvelopeError("malformed", "there is no certificate")
        return self._trust.certificate(text)

    def _not_older(self, claims: LeaseClaims) -> None:
        last = self._last
        if last is None or (last.iss, last.ent, last.epo) != (claims.iss, claims.ent, claims.epo):
            return
        if claims.seq < last.seq:
            raise EnvelopeError("sequence", "the server has forgotten leases it signed; was it restored from an old copy?")

    def _of_this_life(self, claims: LeaseClaims, call: Call) -> None:
        own = self.claims
        if call.kind == "activate" or (own is not None and (own.act, own.gen) == (claims.act, claims.gen)):
            return
        raise EnvelopeError("activation", "the lease is of another activation than this program's")

    def _as_asked(self, claims: LeaseClaims, call: Call) -> None:
        held = self.claims.feat if self.claims is not None else {}
        if not _grants(call, held, claims.feat):
            raise EnvelopeError("asked", "the lease does not grant what was asked for; was the request changed on its way?")
        if call.kind == "activate" and claims.bor is not True and json.decode(call.body, type=ActivateRequest).borrow_until:
            raise EnvelopeError("asked", "the lease is not for taking home; was the request changed on its way?")


def _grants(call: Call, before: dict[str, int], after: dict[str, int]) -> bool:
    """Tell whether features changed as a call asked for; more is none of our business, but less is."""
    match call.kind:
        case "activate":
            wanted = json.decode(call.body, type=ActivateRequest).features
            return all(after.get(feature.key, 0) >= feature.amount for feature in wanted)
        case "checkout":
            asked = json.decode(call.body, type=FeatureRequest)
            return after.get(asked.key, 0) >= before.get(asked.key, 0) + asked.amount
        case "return":
            asked = json.decode(call.body, type=FeatureRequest)
            return after.get(asked.key, 0) == before.get(asked.key, 0) - asked.amount
    return True


def _unverified(stored: str | None) -> LeaseClaims | None:
    try:
        return read_unverified_lease(stored) if stored else None
    except EnvelopeError:
        return None
