"""The fake server's replies, and its refusals explained: who holds the seats, what helps, and the sentence a user reads."""

import re
import secrets
from datetime import UTC, datetime

from msgspec import UNSET, Struct, json

from seatkeeper._fake_pool import Pool, Rejection
from seatkeeper._wire import Reply
from seatkeeper.protocol.codes import ALPHABET
from seatkeeper.protocol.documents import Denial, ErrorBody, Remedy, SeatHolder, ValidationProblem
from seatkeeper.protocol.problems import PROBLEMS


def reply(status: int, document: Struct | None = None, nonce: str | None = None) -> Reply:
    """Give a reply, with the nonce for the next call if there is one."""
    headers = {"content-type": "application/json"} if document is not None else {}
    if nonce is not None:
        headers["n-nonce"] = nonce
    return Reply(status=status, headers=headers, body=b"" if document is None else json.encode(document))


def problem(
    code: str, details: str = "", *, denial: Denial | None = None, invalid: str | None = None, nonce: str | None = None
) -> Reply:
    """Give the error body of a problem."""
    known = PROBLEMS[code]
    said = details if details and details != code else known.title
    body = ErrorBody(
        error=known.title,
        details=said,
        error_code=code,
        denial=denial if denial is not None else UNSET,
        validation_errors=[ValidationProblem(message=said, property_name=invalid)] if invalid is not None else UNSET,
    )
    return reply(known.status, body, nonce)


def invalid_field(message: str) -> str:
    """Give the name of the field that msgspec complains about."""
    missing = re.search(r"required field `([^`]+)`", message)
    path = re.search(r"at `\$\.?([^`]*)`", message)
    return ".".join(part for part in (path[1] if path else "", missing[1] if missing else "") if part)


# --- denials, explained -------------------------------------------------------------------------------------------


def denial_of(rejection: Rejection, pool: Pool, now: float) -> Denial:
    """Explain why a seat or a feature was refused: how full it is, who holds it, what helps."""
    key = rejection.feature
    feature = pool.features[key] if key is not None else None
    limit = pool.seats if feature is None else feature.total
    comes_back = (feature is None or feature.type == "elementPool") and rejection.wanted <= (limit or 0)
    listed = holders(pool, now) if comes_back else []
    return Denial(
        id="D-" + "".join(secrets.choice(ALPHABET) for _ in range(6)),
        rule="pool-full" if feature is None else "feature-exhausted",
        limit=limit,
        used=pool.used(now) if feature is None else pool.in_use(feature, now),
        overdraft=0,
        line=0,
        feature=key,
        wanted=None if feature is None else rejection.wanted,
        product_name="fake",
        holders=listed,
        holders_more=max(0, len(pool.held(now)) - len(listed)) if comes_back else 0,
        next_free_by=next_free_by(pool, now) if comes_back else None,
        remedies=[*([_WAIT, _FREE] if comes_back else [_LESS]), _ASK],
    )


def holders(pool: Pool, now: float) -> list[SeatHolder]:
    """Give who holds seats, as many as an answer names."""
    return [
        SeatHolder(
            seat_name=place.seat_name or place.seat_id,
            since=moment(place.since),
            lease_expiry=moment(place.expires_at),
            borrowed_until=moment(place.expires_at) if place.borrowed else None,
        )
        for place in pool.held(now)[:20]
    ]


def next_free_by(pool: Pool, now: float) -> datetime | None:
    """Give when the first place comes back by itself."""
    ends = [end for place in pool.places.values() for end in place.free_by(now)]
    return moment(min(ends)) if ends else None


# The real server's words, for tests that look at what a user will read; `tests/licensing` holds the two together.

_WAIT = Remedy(kind="wait", text="Try again: a place comes back when a holder ends, or when its lease ends without a refresh.")
_FREE = Remedy(
    kind="free",
    text="If a listed holder is known to be dead, the server's administrator can free its seat: seatkeeper free USER@HOST.",
)
_LESS = Remedy(kind="renew", text="Waiting doesn't help: ask for less, or buy more of it.")
_ASK = Remedy(kind="contact", text="Ask the vendor of this program.")


def sentence(problem: str, denial: Denial) -> str:
    """Say a refusal as the real server does."""
    full = f"{denial.used} of {denial.limit}"
    what = f"Every seat of {denial.product_name} is taken: {full}."
    if denial.feature is not None:
        left = f"Not enough of {denial.feature} is left in {denial.product_name}"
        what = f"{left}: {denial.wanted} wanted, {full} taken."
    lead = "It was not held any more, and no place is left. " if problem == "seat.gone" else ""
    return f"{lead}{what}{_earliest_end(denial)}"


def _earliest_end(denial: Denial) -> str:
    if denial.next_free_by is None:
        return ""
    end = denial.next_free_by.replace(tzinfo=None).isoformat(" ", "seconds")
    return f" The earliest lease ends and its place comes back by {end} UTC, unless it is refreshed."


def moment(seconds: float) -> datetime:
    """Give a moment as documents have it."""
    return datetime.fromtimestamp(seconds, UTC)
