"""`seatkeeper backup`: one moment of a database in one file, made beside a running server, and checked."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seatkeeper_server.apps import backing_up
from seatkeeper_server.apps.backing_up import Made
from seatkeeper_server.cli import verify
from seatkeeper_server.cli._failures import DONE, REFUSED
from seatkeeper_server.cli._options import Data, Database, Json
from seatkeeper_server.cli._output import clock, counted, json_moment, print_json, say
from seatkeeper_server.cli._whole import settings_of, source


def backup(
    file: Annotated[Path, Parameter(help="The file to write, such as vendor.tar.")],
    /,
    *,
    with_seal_key: Annotated[
        bool, Parameter(help="Put the sealing key into it: then whoever has the file can sign seats and read codes.")
    ] = False,
    force: Annotated[bool, Parameter(help="Write over a file of that name.")] = False,
    data: Data = None,
    database: Database = None,
    json: Json = False,
) -> int:
    """Write everything into one file, as of one moment, beside a running server, and check it; 1 if it doesn't verify."""
    settings = settings_of(data, database)
    with source(settings) as there:
        made = backing_up.back_up(
            there,
            file,
            now=datetime.now(UTC),
            seal_key=settings.seal_key_path if with_seal_key else None,
            force=force,
        )
    if json:
        print_json(_as_data(made))
    else:
        say(*_as_lines(made, settings.seal_key_path))
    return DONE if made.verified.holds else REFUSED


def _as_lines(made: Made, seal_key: Path) -> list[str]:
    manifest = made.manifest
    rows = manifest.rows
    has = [
        counted(rows["tenant"], "vendor"),
        counted(rows["entitlement"], "entitlement"),
        counted(rows["holding"], "place"),
        counted(rows["fact"], "fact"),
    ]
    return [
        f"{made.file}: {', '.join(has)}; {_size(made.size)}, as of {clock(manifest.made_at)}",
        f"database     {manifest.database_id}, epoch {manifest.epoch}, from {manifest.made_from}",
        f"SHA-256      {made.sha256}",
        *verify.as_lines(made.verified),
        _about_the_key(made, seal_key),
    ]


def _about_the_key(made: Made, seal_key: Path) -> str:
    if made.manifest.with_seal_key:
        return "WARNING: the sealing key is in it. Whoever has this file can sign seats and read every activation code."
    return f"The sealing key is not in it: keep a copy of {seal_key} elsewhere. Without it nothing in here can be opened."


def _size(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def _as_data(made: Made) -> dict[str, object]:
    manifest = made.manifest
    return {
        "file": str(made.file),
        "bytes": made.size,
        "sha256": made.sha256,
        "format": manifest.format,
        "databaseId": manifest.database_id,
        "epoch": manifest.epoch,
        "madeAt": json_moment(manifest.made_at),
        "madeFrom": manifest.made_from,
        "schema": {str(number): name for number, name in manifest.schema.items()},
        "rows": manifest.rows,
        "withSealKey": manifest.with_seal_key,
        "verified": verify.as_data(made.verified),
    }
