"""Problem codes: why a request was not served, in words a program can rely on.

A code, once public, is for ever: codes are added, never renamed or given another status. The reference page is made from
`PROBLEMS`. What a person reads is `title`, made more precise by the server's `details`.
"""

from dataclasses import dataclass
from typing import Final

DENIAL_RULES: Final = (
    "pool-full",
    "feature-exhausted",
    "group-limit",
    "reserved",
    "excluded",
    "not-authorized",
    "entitlement-expired",
    "entitlement-disabled",
    "exported",
    "version",
    "clock",
    "share-expired",
    "borrow-limit",
    "restored",
    "cloned",
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem code with the HTTP status it travels under and a sentence a user can act on."""

    code: str
    status: int
    title: str


_TABLE: Final = (
    Problem("seats.exhausted", 402, "Every seat is taken. Wait for one to come back, or ask for more seats."),
    Problem("feature.exhausted", 402, "Not enough of this feature is left. Ask for less, wait, or buy more of it."),
    Problem("feature.unknown", 404, "This entitlement has no such feature. Check the feature's key."),
    Problem("feature.notReturnable", 402, "This feature is used up when it is drawn and can't be given back."),
    Problem("feature.overReturn", 402, "More was given back than this seat holds. Return at most what was checked out."),
    Problem("entitlement.expired", 402, "The entitlement has ended. Ask the vendor to renew it."),
    Problem("entitlement.disabled", 402, "The entitlement is switched off. Ask the vendor why."),
    Problem("entitlement.exported", 402, "The entitlement is served by a local license server. Point the program there."),
    Problem("entitlement.notActive", 402, "The entitlement has not started yet."),
    Problem("policy.refused", 402, "A rule of this entitlement's policy does not allow it."),
    Problem("borrow.refused", 402, "This entitlement does not let seats be borrowed that long."),
    Problem("seat.gone", 409, "The seat is no longer held: it ended, was returned or was taken back. Activate again."),
    Problem("seat.takenOver", 409, "Another copy of the program has taken this seat over. Activate again if you need it."),
    Problem("nonce.stale", 409, "This call's nonce was used before. If nobody else uses this seat, activate again."),
    Problem("idempotency.mismatch", 422, "This idempotency key was used for another request. Make a new key."),
    Problem("conflict", 409, "The request does not fit the present state. Read the state and try again."),
    Problem("credentials.unknown", 401, "Unknown tenant, product or activation code. Check all three."),
    Problem("token.invalid", 401, "The access token is missing, wrong or from another server. Activate again."),
    Problem("forbidden", 403, "These credentials may not do this."),
    Problem("notFound", 404, "There is nothing here. Check the path and the id."),
    Problem("body.unparsable", 400, "The body is not JSON."),
    Problem("body.tooLarge", 413, "The body is larger than 64 KiB."),
    Problem("validation", 422, "Some fields are missing or wrong; see validationErrors."),
    Problem("rate.limited", 429, "Too many requests. Wait as long as Retry-After says."),
    Problem("storage.full", 503, "The server's disk is full. Nothing was changed; tell its administrator."),
    Problem("storage.unavailable", 503, "The server can't reach its database just now. Nothing was acknowledged; try again."),
    Problem("vendor.unreachable", 502, "The vendor's server can't be reached, or gives no answer that can be used."),
    Problem("offline.replayed", 402, "This token has been applied before."),
    Problem("offline.wrongServer", 402, "This token was made for another license server."),
    Problem("offline.tooOld", 402, "This token is older than one that was applied already."),
    Problem("offline.malformed", 402, "This is not a Seatkeeper token. Copy the whole line, and nothing else."),
    Problem("offline.forged", 402, "This token was changed on its way. Carry it again from where it was made."),
    Problem("offline.wrongKey", 402, "This token was signed by a key that may not sign it. Ask where it came from."),
    Problem("offline.wrongKind", 402, "This token is of another kind. Apply it where it belongs."),
)

PROBLEMS: Final[dict[str, Problem]] = {problem.code: problem for problem in _TABLE}
