"""The fake server's pool: a few places in memory, counted honestly. No HTTP, no signatures; see `testing.py`.

Keeps the contract's rules of the seat for one entitlement: generations, keyed repeats, take-over, lapse and retake, places
that count until the last lease given for them has ended. Time is an argument, in seconds since 1970.
"""

from dataclasses import dataclass, field
from typing import Literal

from seatkeeper.protocol.documents import FeatureType, Holder


class Rejection(Exception):  # a problem code on its way to an error body
    """The request is refused; `code` is a problem code, `wanted` how much of the feature there is not enough for."""

    def __init__(self, code: str, details: str = "", *, feature: str | None = None, wanted: int = 1) -> None:
        super().__init__(details or code)
        self.code = code
        self.feature = feature
        self.wanted = wanted


@dataclass
class Feature:
    """A feature of the entitlement; `total` is None for bool features."""

    key: str
    type: FeatureType
    total: int | None
    consumed: int = 0  # of a usage count, for ever


@dataclass(frozen=True)
class Ghost:
    """What an older copy of a program may still believe in: a seat and what it drew, until its lease ends."""

    ends_at: float
    drawn: dict[str, int]


@dataclass
class Place:
    """A seat id's place. Taken back, it counts until its lease ends, for its holder may not know."""

    activation_id: str
    seat_id: str
    seat_name: str | None
    holder: Holder | None
    since: float
    expires_at: float
    refreshed_at: float
    generation: int = 1
    nonce: str = ""
    nonce_before: str | None = None
    request_before: bytes | None = None  # digest of the request that used it up, if it can be told apart
    request_done: bool = False
    sends_nonces: bool = False
    drawn: dict[str, int] = field(default_factory=dict)  # of element pools: comes back with the seat
    spent: dict[str, int] = field(default_factory=dict)  # of usage counts: does not
    device: str | None = None  # the device it was given to, by its public key
    borrowed: bool = False  # that device took it home: nobody can take it back before its lease ends
    came_home: bool = False  # the device gave it back before
    status: Literal["held", "returned", "taken back"] = "held"
    ghosts: list[Ghost] = field(default_factory=list)

    def is_held(self, now: float) -> bool:
        return self.status == "held" and now < self.expires_at

    def counts(self, now: float) -> bool:
        return self.status != "returned" and now < self.expires_at

    def occupies(self, now: float) -> int:
        """Count the seats this place takes up: its own, and one for each copy that may still believe in one."""
        return int(self.counts(now)) + sum(ghost.ends_at > now for ghost in self.ghosts)

    def amount_of(self, key: str, now: float) -> int:
        """Count what this place takes up of an element pool."""
        own = self.drawn.get(key, 0) if self.counts(now) else 0
        return own + sum(ghost.drawn.get(key, 0) for ghost in self.ghosts if ghost.ends_at > now)

    def free_by(self, now: float) -> list[float]:
        return ([self.expires_at] if self.counts(now) else []) + [g.ends_at for g in self.ghosts if g.ends_at > now]


LONG_LEASE = 900.0  # seconds; beyond this no token without a device proves whose place it is


class Pool:
    """All places of one entitlement."""

    def __init__(self, seats: int, lease: float, features: dict[str, Feature], borrow: float = 0.0) -> None:
        self.seats = seats
        self.lease = lease
        self.borrow = borrow
        self.features = features
        self.places: dict[str, Place] = {}  # by seat id

    def used(self, now: float) -> int:
        return sum(place.occupies(now) for place in self.places.values())

    def held(self, now: float) -> list[Place]:
        return [place for place in self.places.values() if place.is_held(now)]

    def by_activation(self, activation_id: str) -> Place | None:
        return next((place for place in self.places.values() if place.activation_id == activation_id), None)

    def take(self, fresh: Place, wanted: dict[str, int], *, proven: bool, now: float) -> tuple[Place, bool]:
        """Give a place for a seat id and whether it is a new one; `proven` says that the caller holds its token."""
        place = self.places.get(fresh.seat_id)
        if place is None:
            self._require_room(now)
            self._draw(fresh, wanted, now)
            self.places[fresh.seat_id] = fresh
            return fresh, True
        is_its_own = self.lease <= LONG_LEASE if place.device is None else fresh.device == place.device
        same = proven and is_its_own and place.status != "returned"
        same = same or (place.came_home and fresh.device is not None and fresh.device == place.device)
        if not (same and place.counts(now)):
            self._require_room(now)
        before = place.drawn, place.spent, list(place.ghosts)
        if place.counts(now) and not same:
            place.ghosts.append(Ghost(place.expires_at, place.drawn))
        place.drawn, place.spent = {}, dict(place.spent) if same else {}
        try:
            self._draw(place, wanted, now)
        except Rejection:
            place.drawn, place.spent, place.ghosts = before
            raise
        self._renew(place, fresh, now, same=same)
        return place, not same

    def refresh(self, place: Place, now: float) -> None:
        """Extend a seat; one that lapsed is taken back if there is room, with all it had drawn."""
        if not place.is_held(now):
            drawn, place.drawn = place.drawn, {}
            try:
                self._require_room(now)
                self._draw(place, drawn, now)
            except Rejection as rejection:
                place.drawn = drawn
                raise Rejection("seat.gone") from rejection  # which says what there is not enough of
            place.since = now
        place.borrowed = place.borrowed and now < place.expires_at
        place.expires_at, place.refreshed_at = place.expires_at if place.borrowed else now + self.lease, now

    def give_up(self, place: Place) -> None:
        """End a seat at its holder's word: it is free at once, or, if borrowed, when its lease has ended."""
        if place.borrowed:
            place.status, place.came_home = "taken back", True
            return
        place.status, place.drawn = "returned", {}

    def take_back(self, place: Place) -> None:
        """End a seat whose holder may not know: it counts until its lease ends."""
        if place.status == "held":
            place.status = "taken back"

    def checkout(self, place: Place, key: str, amount: int, now: float) -> Feature:
        feature = self._feature(key)
        self._draw(place, {key: amount}, now)
        return feature

    def give_back(self, place: Place, key: str, amount: int) -> Feature:
        feature = self._feature(key)
        if feature.type != "elementPool":
            raise Rejection("feature.notReturnable", feature=key)
        if amount > place.drawn.get(key, 0):
            raise Rejection("feature.overReturn", feature=key)
        place.drawn[key] -= amount
        return feature

    def use(self, key: str) -> None:
        if self._feature(key).type != "bool":
            raise Rejection("conflict", feature=key)

    def in_use(self, feature: Feature, now: float) -> int:
        return feature.consumed + sum(place.amount_of(feature.key, now) for place in self.places.values())

    def _require_room(self, now: float) -> None:
        if self.used(now) >= self.seats:
            raise Rejection("seats.exhausted")

    def _draw(self, place: Place, wanted: dict[str, int], now: float) -> None:
        """Draw all or nothing."""
        for key, amount in wanted.items():
            feature = self._feature(key)
            if feature.total is not None and self.in_use(feature, now) + amount > feature.total:
                raise Rejection("feature.exhausted", feature=key, wanted=amount)
        for key, amount in wanted.items():
            feature = self.features[key]
            if feature.type == "usageCount":
                feature.consumed += amount
                place.spent[key] = place.spent.get(key, 0) + amount
            elif feature.type == "elementPool":
                place.drawn[key] = place.drawn.get(key, 0) + amount

    def _feature(self, key: str) -> Feature:
        if key not in self.features:
            raise Rejection("feature.unknown", feature=key)
        return self.features[key]

    def _renew(self, place: Place, fresh: Place, now: float, *, same: bool) -> None:
        place.generation += 1
        place.seat_name, place.holder, place.device = fresh.seat_name, fresh.holder, fresh.device
        place.nonce_before = place.request_before = None
        place.sends_nonces = False
        place.since = place.since if place.is_held(now) else now
        ends_at = max(fresh.expires_at, place.expires_at if place.borrowed and same else 0.0)
        place.borrowed, place.came_home = fresh.borrowed or (place.borrowed and same and place.expires_at > now), False
        place.status, place.expires_at, place.refreshed_at = "held", ends_at, now
