"""`seatkeeper schema`: which steps of the schema a database has, and the end of an upgrade that rolls.

A server applies by itself what only adds. What takes something away that older code still needs waits until somebody who knows
says that no older code is left: here.
"""

from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import Parameter

from seatkeeper_server.apps.storage import storage_of
from seatkeeper_server.cli._failures import DONE, Unusable
from seatkeeper_server.cli._options import Data, Database, Json
from seatkeeper_server.cli._output import print_json, print_table, say
from seatkeeper_server.cli._whole import settings_of
from seatkeeper_server.store.migrations import Phase, Step


def schema(
    *,
    finish: Annotated[
        bool, Parameter(help="Take away what only older code needed. No older server or verb may be at work any more.")
    ] = False,
    data: Data = None,
    database: Database = None,
    json: Json = False,
) -> int:
    """Show the steps of the schema. To --finish an upgrade takes away what only older code needed; stop a server on SQLite."""
    storage = storage_of(settings_of(data, database))
    if not storage.is_there():
        raise Unusable(f"there is no Seatkeeper data in {storage.name}")
    with closing(storage.store()) as store:
        if finish:
            with storage.claimed():
                store.migrate(datetime.now(UTC))
                store.finish_migration(datetime.now(UTC))
        done, waiting = store.steps(), store.waiting()
    if json:
        print_json(
            {
                "applied": {str(number): name for number, name in sorted(done.items())},
                "waiting": {str(step.number): step.recorded for step in waiting},
            }
        )
    else:
        _print(done, waiting)
    return DONE


def _print(done: Mapping[int, str], waiting: list[Step]) -> None:
    rows = [[str(number), name, "applied"] for number, name in sorted(done.items())]
    rows += [[str(step.number), step.recorded, _WAITS_FOR[step.phase]] for step in waiting]
    print_table(("step", "name", "state"), rows)
    if any(step.phase is Phase.POST for step in waiting):
        say("When no older server or verb is left: seatkeeper schema --finish")


_WAITS_FOR = {Phase.PRE: "adds; a server applies it when it starts", Phase.POST: "takes away; waits for --finish"}
