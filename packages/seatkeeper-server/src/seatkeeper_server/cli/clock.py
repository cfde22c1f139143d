"""`seatkeeper clock`: lower the recorded time, for an operator who knows that it was wrong.

A server never believes a clock that is behind what was recorded: else a clock set back would lengthen every lease. So one
boot with a wrong year leaves a recorded time in the future, and this verb is how it is put right on a vendor's server.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from cyclopts import Parameter

from seatkeeper_server.cli._failures import DONE, REFUSED
from seatkeeper_server.cli._options import Data, Database, Json
from seatkeeper_server.cli._output import print_json, say
from seatkeeper_server.cli._place import Place, opened
from seatkeeper_server.service.catalogue import CannotDo
from seatkeeper_server.service.timekeeping import set_clock_back
from seatkeeper_server.store.sites import Sites


def clock(
    *,
    set_back: Annotated[bool, Parameter(help="Set the recorded time to this machine's; every lease moves with it.")] = False,
    data: Data = None,
    database: Database = None,
    json: Json = False,
) -> int:
    """Compare the recorded time with this machine's clock; 1 if the clock is behind.

    On SQLite the server must be stopped to set it.
    """
    with opened(data, database) as place:
        behind = _set_back(place) if set_back else _behind(place)
    if json:
        print_json({"behindSeconds": behind.total_seconds(), "setBack": set_back})
    elif set_back:
        say(f"The recorded time was set back by {behind}; every lease moved with it.")
    elif behind:
        say(f"This machine's clock is {behind} behind what was recorded.")
        say("Set it right first. If the recorded time was wrong: stop the server, then seatkeeper clock --set-back")
    else:
        say("This machine's clock is not behind what was recorded.")
    return REFUSED if behind and not set_back else DONE


def _behind(place: Place) -> timedelta:
    with place.store.transaction() as tx:
        alive, now = tx.alive(), tx.clock() or datetime.now(UTC)
    return timedelta(0) if alive is None else max(timedelta(0), alive.at - now)


def _set_back(place: Place) -> timedelta:
    with place.storage.claimed(), place.store.transaction() as tx:
        if Sites(tx).own_licenses():
            raise CannotDo(
                "on a local license server only the vendor's word sets the recorded time back: set this machine's clock right,"
                " then apply a fresh token from him (`seatkeeper site fresh`, `seatkeeper token apply`)"
            )
        return set_clock_back(tx, datetime.now(UTC))
