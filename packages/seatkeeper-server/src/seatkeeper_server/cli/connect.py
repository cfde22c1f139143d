"""`seatkeeper connect`: a local server is licensed by its vendor over the network, and stays in step with him."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seatkeeper_server.apps.local import Visit, upstream_of
from seatkeeper_server.apps.office import Office
from seatkeeper_server.cli._failures import Unusable
from seatkeeper_server.cli._options import Data, Database, Json
from seatkeeper_server.cli._output import clock, json_moment, print_json, say
from seatkeeper_server.cli._place import Place, opened
from seatkeeper_server.cli.token import Tenant, vendor_of
from seatkeeper_server.upstream import Upstream


def connect(
    url: Annotated[str, Parameter(help="The vendor's server: https://licenses.example.com.")],
    /,
    *,
    code: Annotated[
        str | None,
        Parameter(
            env_var="SEATKEEPER_SITE_CODE",
            help="The activation code from `seatkeeper site code`; a server that is licensed already needs none.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[str | None, Parameter(help="What this server is to be called, such as lab-1.", show_default=False)] = None,
    tenant: Tenant = None,
    ca_file: Annotated[
        Path | None,
        Parameter(env_var="SEATKEEPER_CLOUD_CA_FILE", help="The authority of his server, PEM; the system's unless named."),
    ] = None,
    insecure_http: Annotated[
        bool, Parameter(help="Go there by plain http, which can be read and held back on its way.")
    ] = False,
    data: Data = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Connect a local server with its vendor: reports go up and changes come down by themselves from now on.

    It works beside the running server, or before its first start. Tokens can still be carried at any time.
    """
    if ca_file is not None and not ca_file.is_file():
        raise Unusable(f"the CA file {ca_file} can't be read")
    with opened(data, database, create=True) as place:
        tenant_id = vendor_of(place, tenant)
        made = upstream_at(place).connect(
            tenant_id,
            url,
            code=code,
            name=name,
            ca_file=None if ca_file is None else str(ca_file.absolute()),
            is_plain=insecure_http,
        )
    if json:
        told = {"cloudUrl": made.url, "lastContact": json_moment(made.succeeded_at), "nextTry": json_moment(made.next_at)}
        print_json({**told, "failures": made.failures, "lastError": made.error})
    elif made.error is not None:
        say(f"connected with {made.url}, but {made.error}", f"it is tried again at {clock(made.next_at)}")
    else:
        say(f"connected with {made.url}, in step; while a server runs, it stays so")


def upstream_at(place: Place) -> Upstream:
    """Give what connects the server whose data this is. The next exchange is at once that server's, which knows how often."""
    seal = place.read(place.seal_key)
    return upstream_of(Office(place.store, place.reader, seal, Visit), timedelta(0))
