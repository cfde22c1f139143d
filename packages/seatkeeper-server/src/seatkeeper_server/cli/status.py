"""`seatkeeper status`: whether a server serves, and how full it is; with -a in the lines of `lmstat -a`, which monitors read.

The shape is that which the license administration guides of FlexNet document: a line `Users of F:` for every feature, with
how many licenses are issued and in use, and under it a line for every holder. A product's seats are a feature of its name,
and so is each of its counted features. What several entitlements have of one name is added up.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from socket import gethostname
from typing import Annotated, Final
from urllib.parse import urlsplit

from cyclopts import Parameter

from seatkeeper_server.cli._options import Data, Database, Json
from seatkeeper_server.cli._output import json_moment, number, print_json, say
from seatkeeper_server.cli._place import Desk, Place, opened
from seatkeeper_server.domain.timekeeping import BEAT
from seatkeeper_server.service import reporting
from seatkeeper_server.service.reporting import Occupant, Occupation

SILENT_AFTER: Final = 3 * BEAT
DEFAULT_PORT: Final = 6500
NO_WORD: Final = "-"


def status(
    *,
    all_: Annotated[
        bool, Parameter(name=("--all", "-a"), help="Every feature and every holder, in the lines of `lmstat -a`.", negative=())
    ] = False,
    data: Data = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Say whether a server serves these data, and how full it is."""
    with opened(data, database) as place:
        found, alive_at, today = place.read(_look)
        url = _url(place)
    serves = alive_at is not None and today - alive_at <= SILENT_AFTER
    features = _features(found)
    if json:
        print_json(_as_data(url, alive_at, features, serves=serves))
    elif all_:
        say(*_lmstat(url, features, datetime.now(UTC).astimezone(), serves=serves))
    else:
        where = f" {url}" if url else ""
        say(f"server{where}: {'serves' if serves else 'does not serve'}")
        say(*(f"{name}: {one.used} of {number(one.issued)} in use" for name, one in sorted(features.items())))


def _look(desk: Desk) -> tuple[list[Occupation], datetime | None, datetime]:
    alive = desk.catalogue.tx.alive()
    return reporting.occupations(desk.catalogue, None, desk.now, desk.today), alive.at if alive else None, desk.today


def _url(place: Place) -> str | None:
    try:
        return place.settings.url_path.read_text(encoding="ascii").strip()
    except OSError:
        return None


@dataclass
class _Feature:
    """What lmstat calls a feature; `issued` is None for any number."""

    issued: int | None = 0
    used: int = 0
    holders: list[tuple[Occupant, int]] = field(default_factory=list)

    def adds(self, issued: int | None, used: int, holders: Iterable[tuple[Occupant, int]]) -> None:
        self.issued = None if issued is None or self.issued is None else self.issued + issued
        self.used += used
        self.holders += holders


def _features(found: Sequence[Occupation]) -> dict[str, _Feature]:
    features: dict[str, _Feature] = defaultdict(_Feature)
    for one in found:
        counting = [occupant for occupant in one.occupants if occupant.counts]
        seats = [(occupant, occupant.place.holding.seats) for occupant in counting]
        features[one.overview.bought.product].adds(one.overview.seats, one.overview.used, seats)
        for tally in one.features:
            key = tally.right.key
            if tally.right.counted:
                drawn = [(occupant, occupant.features[key]) for occupant in counting if occupant.features.get(key)]
                features[key].adds(tally.right.bought, tally.used, drawn)
    return dict(features)


def _as_data(url: str | None, alive_at: datetime | None, features: dict[str, _Feature], *, serves: bool) -> dict[str, object]:
    return {
        "url": url,
        "serves": serves,
        "aliveAt": json_moment(alive_at),
        "features": [{"name": name, "issued": one.issued, "used": one.used} for name, one in sorted(features.items())],
    }


# --- as lmstat says it ---------------------------------------------------------------------------------------------


def _lmstat(url: str | None, features: dict[str, _Feature], now: datetime, *, serves: bool) -> list[str]:
    place = urlsplit(url or "")
    host, port = place.hostname or gethostname(), place.port or DEFAULT_PORT
    state = "UP" if serves else "DOWN"
    lines = [
        f"Flexible License Manager status on {_day(now)}/{now:%Y %H:%M}",
        "",
        f"License server status: {port}@{host}",
        "",
        f"{host}: license server {state} (MASTER) v11",
        "",
        f"Vendor daemon status (on {host}):",
        "",
        f"seatkeeper: {state} v11",
        "",
        "Feature usage info:",
        "",
    ]
    for name, one in sorted(features.items()):
        lines += [_users_of(_word(name), one), ""]
        if one.holders:
            lines += [f'  "{_word(name)}" v1.0, vendor: seatkeeper', "  floating license", ""]
            lines += [_holder(occupant, amount, f"{host}/{port}", at) for at, (occupant, amount) in enumerate(one.holders, 101)]
            lines.append("")
    return lines


def _users_of(name: str, one: _Feature) -> str:
    if one.issued is None:
        return f"Users of {name}:  (Uncounted, node-locked)"
    return f"Users of {name}:  (Total of {_licenses(one.issued)} issued;  Total of {_licenses(one.used)} in use)"


def _licenses(count: int) -> str:
    return f"{count} license" if count == 1 else f"{count} licenses"


def _holder(one: Occupant, amount: int, server: str, handle: int) -> str:
    who = one.place.who
    name, _, at = one.name.partition("@")
    user, host = who.user or name, who.host or at
    start = one.place.holding.activated_at.astimezone()
    many = f", {amount} licenses" if amount > 1 else ""
    return (
        f"    {_word(user)} {_word(host)} {_word(who.process or '')} (v1.0) ({server} {handle}),"
        f" start {_day(start)} {start.hour}:{start:%M}{many}"
    )


def _day(moment: datetime) -> str:
    return f"{_DAYS[moment.weekday()]} {moment.month}/{moment.day}"


_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")  # whatever the language of this machine is


def _word(text: str) -> str:
    """Give a name as one word: who reads these lines parts them at blanks."""
    return "_".join(text.split()) or NO_WORD
