"""`seatkeeper migrate`: move everything from a data directory into PostgreSQL, compare it, and close the directory."""

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import Parameter

from seatkeeper_server.apps import moving
from seatkeeper_server.apps.moving import Moved
from seatkeeper_server.cli import verify
from seatkeeper_server.cli._failures import DONE, REFUSED
from seatkeeper_server.cli._options import Data, Json, typed
from seatkeeper_server.cli._output import counted, print_json, say
from seatkeeper_server.cli._whole import check_place, connected, settings_of, there_is_data
from seatkeeper_server.settings import Settings


def migrate(
    *,
    to: Annotated[str, typed("Where to: an empty database, such as postgresql://seatkeeper@db.example/vendor.")],
    check_only: Annotated[
        bool, Parameter(help="Copy and compare, beside a running server too, and take it back: nothing is changed.")
    ] = False,
    force: Annotated[bool, Parameter(help="Move it as it is, although its facts and counters don't fit.")] = False,
    data: Data = None,
    json: Json = False,
) -> int:
    """Move everything into an empty PostgreSQL database: the same database, in the same epoch. The server must be stopped.

    All of it is moved and found to be the same, or nothing. Afterwards the directory says where it went, and nobody serves it.
    """
    settings = settings_of(data)
    check_place(to)
    there_is_data(settings)
    with connected(to) as target:
        if check_only:
            done = moving.check(settings.data, target, force=force)
        else:
            done = moving.move(settings.data, target, now=datetime.now(UTC), force=force)
    if json:
        print_json(_as_data(done, check_only))
    else:
        say(*_as_lines(done, settings, check_only))
    return DONE if done.verified is None or done.verified.holds else REFUSED


def _as_lines(done: Moved, settings: Settings, check_only: bool) -> list[str]:
    if done.rows is None or done.verified is None:
        return [f"The earlier move to {done.to} had been finished: the directory is marked now.", *_what_next(settings)]
    copied = f"{counted(sum(done.rows.values()), 'row')} in {counted(len(done.rows), 'table')}, each the same on both sides"
    if check_only:
        return [f"copied to {done.to} and taken back: {copied}", *verify.as_lines(done.verified)]
    moved = f"moved {settings.data} to {done.to}: {copied}; the database {done.database_id}, epoch {done.epoch}"
    return [moved, *verify.as_lines(done.verified), *_what_next(settings)]


def _what_next(settings: Settings) -> list[str]:
    return [
        "Start the servers with that --database (SEATKEEPER_DATABASE). The sealing key was not moved: name"
        f" {settings.seal_key_path} with SEATKEEPER_SEAL_KEY_FILE, or keep the same --data.",
        f"Nobody serves {settings.data} any more; moved.json in it says why.",
    ]


def _as_data(done: Moved, check_only: bool) -> dict[str, object]:
    return {
        "to": done.to,
        "databaseId": done.database_id,
        "epoch": done.epoch,
        "checkOnly": check_only,
        "rows": done.rows,
        "verified": None if done.verified is None else verify.as_data(done.verified),
    }
