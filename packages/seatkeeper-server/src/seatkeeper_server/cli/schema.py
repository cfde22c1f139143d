"""`seatkeeper schema`: which steps of the schema a database has, and the end of an upgrade that rolls.

A server applies by itself what only adds. What takes something away that older code still needs waits until somebody who knows
says that no older code is left: here.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import Parameter

from seatkeeper_server.cli._failures import DONE
from seatkeeper_server.cli._options import Data, Database, Json
from seatkeeper_server.cli._output import print_json, print_table, say
from seatkeeper_server.cli._whole import settings_of, to_be_finished
from seatkeeper_server.store import migrations
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
    with to_be_finished(settings_of(data), database, finish=finish) as (store, kind):
        if finish:
            store.finish_migration(datetime.now(UTC))
        done = store.steps()
    known = migrations.steps(kind)
    waiting = [known[number] for number in sorted(known.keys() - done.keys())]
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
