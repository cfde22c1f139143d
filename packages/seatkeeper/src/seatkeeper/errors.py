"""What can go wrong, and what to do about each.

    SeatkeeperError
    ├── ConfigurationError      a setting is missing or wrong; nothing was sent
    ├── ServerUnreachable       no server answered
    ├── ServerProblem           a server answered, but could not serve (full disk, restart, a proxy's page)
    ├── UntrustedServer         an answer is not signed as the pinned key demands
    ├── NotAuthorized           unknown tenant, product or code; a token of another server
    ├── Refused                 understood, and refused by a rule
    │   ├── NoSeat              every seat is taken
    │   └── NoFeature           not enough of a feature is left, or it doesn't exist
    ├── BorrowedSeatUnusable    a borrowed seat lies here, and nobody may start on it
    │   ├── BorrowEnded         its time is over
    │   ├── OtherDevice         another device borrowed it
    │   └── ClockSetBack        the clock is behind what was seen here
    └── SeatLost                the seat this program held is no longer its own
        ├── SeatGone            it ended, was returned or was taken back
        └── SeatTakenOver       another copy of the program has it now

Each error carries what the server said (`problem`, `details`, `denial`), which server said it and when, so that a user can
quote it. Exceptions of other libraries never leave this package; they are the `__cause__`. `str(error)` is written for the
person at the screen.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from seatkeeper.protocol.text import visible

if TYPE_CHECKING:
    from seatkeeper.protocol.documents import Denial, SeatHolder

HOLDERS_SHOWN: Final = 5


class SeatkeeperError(Exception):
    """Something about the seat failed; the sentence says what, the class says what to do.

    Attributes:
        problem: the server's problem code, such as `seats.exhausted`; None if no server spoke.
        details: the server's own sentence; None if no server spoke.
        denial: why a seat or feature was refused; None for everything that is no refusal.
        server: the URL of the server concerned; None if it never came to that.
        at: when the error was made, UTC.
        retry_after: seconds the server asked to be left alone; 0 if it didn't.
    """

    def __init__(
        self,
        message: str,
        *,
        problem: str | None = None,
        details: str | None = None,
        denial: Denial | None = None,
        server: str | None = None,
        at: datetime | None = None,
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.problem = problem
        self.details = details
        self.denial = denial
        self.server = server
        self.at = at or datetime.now(UTC)
        self.retry_after = retry_after


class ConfigurationError(SeatkeeperError):
    """A setting is missing or wrong: give the named argument, variable or file. No request was sent."""


class ServerUnreachable(SeatkeeperError):
    """No license server answered: check the address, the network and the proxy, or run `seat doctor`."""


class ServerProblem(SeatkeeperError):
    """The license server can't serve just now: try again in a while; if it stays, tell its administrator."""


class UntrustedServer(SeatkeeperError):
    """The answer is not signed by this product's vendor: check that the address is really your license server's."""


class NotAuthorized(SeatkeeperError):
    """The server does not know this tenant, product or activation code: check all three."""


class Refused(SeatkeeperError):
    """A rule of the license says no: read `denial`, and ask whoever manages the licenses."""


class NoSeat(Refused):
    """Every seat is taken: wait for one to come back, or ask whoever manages the licenses."""


class NoFeature(Refused):
    """Not enough of the feature is left: ask for less, wait for some to come back, or buy more of it."""


class BorrowedSeatUnusable(SeatkeeperError):
    """The seat borrowed on this device can't be used: connect to the license server, and take or borrow a seat again."""


class BorrowEnded(BorrowedSeatUnusable):
    """The time for which the seat was borrowed is over: connect to the license server, and take or borrow a seat again."""


class OtherDevice(BorrowedSeatUnusable):
    """The borrowed seat is another device's: borrow one on this device, or connect to the license server."""


class ClockSetBack(BorrowedSeatUnusable):
    """The clock of this device was set back: set it right, or connect to the license server."""


class SeatLost(SeatkeeperError):
    """The seat is no longer this program's: save the work, then take a seat again."""


class SeatGone(SeatLost):
    """The seat ended, was returned or was taken back by an administrator: take a seat again."""


class SeatTakenOver(SeatLost):
    """Another copy of the program has taken this seat over: close one of them, or take a seat again."""


def refusal_text(
    denial: Denial,
    *,
    product: str | None = None,
    server: str | None = None,
    at: datetime | None = None,
    contact: str | None = None,
) -> str:
    """Say on a terminal why a seat was refused: how full, who holds, until when at the earliest, what to do, whom to ask.

    Times are shown in the reader's own time zone. `contact` is the setting SEATKEEPER_CONTACT: whoever manages the licenses
    on this site; the vendor is among the remedies. Waiting is advised only where a place may come back.
    """
    lines = [_headline(denial, product or denial.product_name)]
    lines += [f"  {_holder_line(holder)}" for holder in denial.holders[:HOLDERS_SHOWN]]
    hidden = len(denial.holders) - HOLDERS_SHOWN if len(denial.holders) > HOLDERS_SHOWN else 0
    if hidden + denial.holders_more:
        lines.append(f"  and {hidden + denial.holders_more} more")
    if denial.next_free_by is not None:
        lines.append(
            f"The earliest lease ends and its place comes back by {local_time(denial.next_free_by)}, unless it is refreshed."
        )
    comes_back = denial.next_free_by is not None
    lines += [f"To do: {remedy.text}" for remedy in denial.remedies if comes_back or remedy.kind != "wait"]
    lines += _last_lines(contact, denial.id, server, at)
    return "\n".join(visible(line) for line in lines)


def problem_text(said: str, *, server: str, at: datetime, contact: str | None, denial_id: str | None = None) -> str:
    """Say on a terminal what a server said about anything else: whom to ask, what to quote, which server it was, and when."""
    return "\n".join(visible(line) for line in [said, *_last_lines(contact, denial_id, server, at)])


def _headline(denial: Denial, product: str | None) -> str:
    thing = f"the feature {denial.feature} of {product or 'this product'}" if denial.feature else (product or "this product")
    if denial.rule not in {"pool-full", "feature-exhausted"}:
        return f"No seat for {thing}: {_RULES.get(denial.rule, denial.rule)}."
    full = f"{denial.used} of {denial.limit} are taken" if denial.limit is not None else f"{denial.used} are taken"
    wanted = f"{denial.wanted} wanted, " if denial.feature and denial.wanted is not None else ""
    line = f", {denial.line} waiting in line" if denial.line else ""
    return f"{'Not enough of' if denial.feature else 'No seat is free for'} {thing}: {wanted}{full}{line}."


_RULES: Final = {
    "group-limit": "your group has as many as it may have",
    "reserved": "the free ones are reserved for others",
    "excluded": "you are excluded by a rule of this site",
    "not-authorized": "you are not among those who may use it",
    "entitlement-expired": "the entitlement has ended",
    "entitlement-disabled": "the entitlement is switched off",
    "exported": "it is served by a local license server",
    "version": "this version of the program is not covered",
    "clock": "the server's clock is not to be trusted just now",
    "share-expired": "the local server's share has ended",
    "borrow-limit": "it may not be borrowed like that",
}


def _holder_line(holder: SeatHolder) -> str:
    borrowed = f", borrowed until {local_time(holder.borrowed_until)}" if holder.borrowed_until else ""
    return f"{holder.seat_name}  since {local_time(holder.since)}{borrowed}"


def _last_lines(contact: str | None, denial_id: str | None, server: str | None, at: datetime | None) -> list[str]:
    """Give whom to ask, and what to quote."""
    told = [denial_id, server, at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ") if at else None]
    quoted = " · ".join(part for part in told if part)
    return ([f"Ask: {contact}"] if contact else []) + ([f"({quoted})"] if quoted else [])


def local_time(moment: datetime) -> str:
    """Give a moment in the reader's time zone; the date only when it isn't today's."""
    here, today = moment.astimezone(), datetime.now(UTC).astimezone().date()
    return here.strftime("%H:%M:%S" if here.date() == today else "%Y-%m-%d %H:%M")
