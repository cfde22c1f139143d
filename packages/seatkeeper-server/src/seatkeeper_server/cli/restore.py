"""`seatkeeper restore`: a backup into an empty place, all of it or nothing. A vendor's server; a new epoch begins."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seatkeeper_server.apps import restoring
from seatkeeper_server.apps.restoring import Restored, SealKeyIs
from seatkeeper_server.cli import verify
from seatkeeper_server.cli._failures import DONE, REFUSED
from seatkeeper_server.cli._options import Data, Database, Json
from seatkeeper_server.cli._output import clock, json_moment, print_json, say
from seatkeeper_server.cli._whole import settings_of, target
from seatkeeper_server.domain.intervals import written


def restore(
    file: Annotated[Path, Parameter(help="The backup.")],
    /,
    *,
    force: Annotated[bool, Parameter(help="Restore it as it is, although its facts and counters don't fit.")] = False,
    data: Data = None,
    database: Database = None,
    json: Json = False,
) -> int:
    """Restore a backup into an empty data directory or PostgreSQL database, and begin a new epoch there.

    Nothing is written over, and nothing is half restored.
    """
    settings = settings_of(data, database)
    with target(settings) as (there, name):
        done = restoring.restore(file, there, seal_key=settings.seal_key_path, now=datetime.now(UTC), force=force)
    if json:
        print_json(_as_data(done, settings.seal_key_path))
    else:
        say(*_as_lines(done, name, settings.seal_key_path))
    return DONE if done.verified.holds else REFUSED


def _as_lines(done: Restored, where: str, seal_key: Path) -> list[str]:
    manifest = done.manifest
    return [
        f"restored into {where}: the database {manifest.database_id} as of {clock(manifest.made_at)}, now in epoch"
        f" {done.reopened.epoch}",
        *verify.as_lines(done.verified),
        *_about_what_was_lost(done),
        *_about_the_key(done, seal_key),
    ]


def _about_what_was_lost(done: Restored) -> list[str]:
    longest = written(done.reopened.unknown_for)
    return [
        "Leases signed since then are learned from the programs that have them, and counted, as soon as each one calls.",
        f"Until it does, its seat may be given to another. No lease lasts longer than {longest}: if that must not be, start the"
        " server that long after the old one stopped.",
    ]


def _about_the_key(done: Restored, seal_key: Path) -> list[str]:
    match done.seal_key:
        case SealKeyIs.MISSING:
            return [f"The sealing key is missing: put it at {seal_key} before the server is started."]
        case SealKeyIs.ANOTHER:
            return [
                f"{seal_key} is not the sealing key of this database: put the right one there before the server is started."
            ]
        case SealKeyIs.THERE:
            return []


def _as_data(done: Restored, seal_key: Path) -> dict[str, object]:
    manifest = done.manifest
    return {
        "databaseId": manifest.database_id,
        "epoch": done.reopened.epoch,
        "madeAt": json_moment(manifest.made_at),
        "unknownForSeconds": done.reopened.unknown_for.total_seconds(),
        "sealKey": {"path": str(seal_key), "is": done.seal_key.value},
        "verified": verify.as_data(done.verified),
    }
