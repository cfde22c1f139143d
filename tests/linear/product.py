"""The product's own decisions in the crowd's made-up time: desk use case, pool machine and SQLite, without HTTP and threads.

One tick of the crowd's time is a tenth of a second of the product's: its margin of six seconds is sixty ticks.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec import json
from msgspec.structs import replace

from seatkeeper_server.domain import terms
from seatkeeper_server.keys import features_of
from seatkeeper_server.service.calls import Done, HeldCall, Key, Refused, Served, TokenClaims, Verb
from seatkeeper_server.store.sqlite import SqliteStore
from tests.linear.history import Kind, Lease, Operation, Outcome, Rules
from tests.linear.programs import PROBLEMS
from tests.support import house

TICK = timedelta(milliseconds=100)
VERBS = {
    Kind.REFRESH: Verb.REFRESH,
    Kind.RETURN: Verb.RETURN,
    Kind.CHECK_OUT: Verb.CHECK_OUT,
    Kind.GIVE_BACK: Verb.GIVE_BACK,
}


class Product:
    """Serves a crowd as a server of `model` does. It is `away`, from one moment to another, as often as it is told."""

    def __init__(self, rules: Rules, place: Path, away: Sequence[tuple[int, int]] = ()) -> None:
        self.rules = rules
        self._away = away
        features = tuple(
            terms.Right(key, terms.Kind.ELEMENT_POOL if each.returnable else terms.Kind.USAGE_COUNT, each.amount)
            for key, each in rules.features.items()
        )
        self._house = house.make_house(
            SqliteStore(place),
            seats=rules.seats,
            features=features,
            lease=rules.lease * TICK,
            linger=rules.linger * TICK,
            ends_at=None if rules.ends is None else _moment(rules.ends),
        )
        self._ids: list[str] = []

    def serve(self, call: Operation, now: int) -> Operation:
        """Decide a call, and give it with its outcome; while it is away, no call arrives."""
        if any(since <= now < until for since, until in self._away):
            return call
        self._pass(now)
        outcome: Any = self._house.one(self._call(call))
        match outcome:
            case Served():
                is_new = outcome.new_place if call.kind is Kind.ACTIVATE else None
                return replace(call, outcome=Outcome.GRANTED, is_new=is_new, lease=self._lease(outcome))
            case Done():
                return replace(call, outcome=Outcome.DONE)
            case Refused(problem):
                told, rule = PROBLEMS[problem]
                return replace(call, outcome=told, rule=rule)
            case _:
                raise TypeError(f"what is {outcome!r}?")

    def _pass(self, now: int) -> None:
        """Let time pass, in which the server says that it is there, but for when it isn't."""
        for since, until in self._away:
            if _ticks(self._house.clock.time) < since < now:
                self._house.pass_((_moment(since) - self._house.clock.time).total_seconds())
                self._house.pass_((until - since) * TICK.total_seconds(), beating=False)
        self._house.pass_((_moment(now) - self._house.clock.time).total_seconds())

    def downtimes(self) -> list[Operation]:
        """Give when time was given back, and how much."""
        found = []
        for at, data in self._house.rows("SELECT at, data FROM fact WHERE kind = 'Note' ORDER BY at"):
            said = json.decode(data)
            if said["what"] == "downtime":
                moment = _ticks(datetime.fromtimestamp(at / 1e6, tz=UTC))
                gap = round(said["data"]["seconds"] / TICK.total_seconds())
                found.append(
                    Operation(client=-1, kind=Kind.DOWNTIME, sent=moment, answered=moment, outcome=Outcome.DONE, amount=gap)
                )
        return found

    def close(self) -> None:
        """Close the database."""
        self._house.store.close()

    def _call(self, call: Operation) -> Any:
        token = None if call.token is None else TokenClaims(self._ids[call.token[0]], call.token[1])
        if call.kind is Kind.ACTIVATE:
            return house.activate(f"seat-{call.seat}", f"key-{call.key}", proof=token)
        key = None if call.key is None else Key(call.kind.value, f"key-{call.key}", "body")
        assert token is not None
        return HeldCall(
            verb=VERBS[call.kind], tenant_id=house.TENANT, token=token, key=key, feature=call.feature, amount=call.amount
        )

    def _lease(self, served: Served) -> Lease:
        holding = served.holding
        if holding.activation_id not in self._ids:
            self._ids.append(holding.activation_id)
        return Lease(
            activation=self._ids.index(holding.activation_id),
            generation=holding.generation,
            issued=_ticks(served.at),
            ends=_ticks(holding.expires_at),
            sequence=holding.sequence,
            features=tuple(sorted(features_of(served).items())),
        )


def _moment(ticks: int) -> datetime:
    return house.START + ticks * TICK


def _ticks(moment: datetime) -> int:
    return round((moment - house.START) / TICK)
