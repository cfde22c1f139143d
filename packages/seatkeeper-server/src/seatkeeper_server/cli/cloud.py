"""`seatkeeper cloud`: the vendor's server. What it needs it makes on first start."""

from typing import Annotated

from cyclopts import Parameter

from seatkeeper_server.cli._failures import wrong_values_told
from seatkeeper_server.cli._options import Data, Database, Host, TlsCert, TlsClientCa, TlsKey, Workers


def cloud(
    *,
    data: Data = None,
    database: Database = None,
    host: Host = None,
    port: Annotated[
        int | None, Parameter(env_var="SEATKEEPER_PORT", help="The TCP port; 6500 unless given, 0 takes a free one.")
    ] = None,
    workers: Workers = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_client_ca: TlsClientCa = None,
) -> None:
    """Serve seats on the network until told to stop (Ctrl-C, SIGTERM); what is under way is answered."""
    from seatkeeper_server.apps import cloud as house
    from seatkeeper_server.settings import Settings

    options = {
        "data": data,
        "database": database,
        "workers": workers,
        "host": host,
        "port": port,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "tls_client_ca": tls_client_ca,
    }
    with wrong_values_told():
        settings = Settings(**{name: value for name, value in options.items() if value is not None})  # type: ignore[arg-type]
    house.serve(settings)
