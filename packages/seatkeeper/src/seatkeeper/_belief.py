"""Whom a program believes, as it goes along: the pinned root, the certificate last verified, the latest lease.

Wraps `protocol.trust` with what it needs to remember: a certificate that was verified is not verified again, and a lease
whose sequence fell behind the last one's tells of a server set back to an old copy (contract, "Rules of the seat", 7 and 8).
"""

from seatkeeper._clock import Instant
from seatkeeper._seat import Lease
from seatkeeper._settings import Settings
from seatkeeper.errors import UntrustedServer
from seatkeeper.protocol.documents import CertificateClaims, LeaseClaims
from seatkeeper.protocol.envelopes import EnvelopeError
from seatkeeper.protocol.trust import Expected, Trust, read_unverified_lease


class Belief:
    """What is believed about one seat; `claims` are those of the latest lease, None before the first."""

    def __init__(self, settings: Settings, seat_id: str, stored_lease: str | None) -> None:
        self.claims: LeaseClaims | None = None
        self._settings = settings
        self._seat_id = seat_id
        self._trust = Trust(settings.roots)
        self._last = _unverified(stored_lease)
        self._certificate: CertificateClaims | None = None
        self._certificate_text: str | None = None

    def lease(self, token: str | None, certificate: str | None, *, nonce: str, sent_at: Instant, server: str) -> Lease:
        """Give a lease that may be acted on, counted from the sending of the attempt that got it.

        Raises:
            UntrustedServer: it isn't signed as the pinned root demands, speaks of something else, or is older than the last.
        """
        expected = Expected(
            tenant_id=self._settings.tenant, product_id=self._settings.product, seat_id=self._seat_id, nonce=nonce
        )
        try:
            certified = self._certified(certificate)
            claims = self._trust.lease(token or "", certified, expected)
            self._not_older(claims)
        except EnvelopeError as error:
            raise UntrustedServer(f"the answer of {server} can't be trusted: {error}", server=server) from error
        self._certificate, self._certificate_text = certified, certificate or self._certificate_text
        self.claims = self._last = claims
        return Lease(token=token or "", sent_at=sent_at, length=claims.exp - claims.iat)

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


def _unverified(stored: str | None) -> LeaseClaims | None:
    try:
        return read_unverified_lease(stored) if stored else None
    except EnvelopeError:
        return None
