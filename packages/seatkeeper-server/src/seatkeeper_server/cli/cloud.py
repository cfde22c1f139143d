"""`seatkeeper cloud`: the vendor's server. What it needs it makes on first start."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seatkeeper_server.cli._failures import wrong_values_told
from seatkeeper_server.cli._options import Data, Database


def cloud(
    *,
    data: Data = None,
    database: Database = None,
    host: Annotated[
        str | None, Parameter(env_var="SEATKEEPER_HOST", help="The address to listen on; only this machine unless given.")
    ] = None,
    port: Annotated[
        int | None, Parameter(env_var="SEATKEEPER_PORT", help="The TCP port; 6500 unless given, 0 takes a free one.")
    ] = None,
    workers: Annotated[
        int | None,
        Parameter(
            env_var="SEATKEEPER_WORKERS", help="How many processes answer requests; 1 unless given, more need PostgreSQL."
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None, Parameter(env_var="SEATKEEPER_TLS_CERT", help="The server's certificate chain, PEM.")
    ] = None,
    tls_key: Annotated[Path | None, Parameter(env_var="SEATKEEPER_TLS_KEY", help="Its private key, PEM.")] = None,
    tls_client_ca: Annotated[
        Path | None,
        Parameter(env_var="SEATKEEPER_TLS_CLIENT_CA", help="Admit only clients with a certificate of this authority, PEM."),
    ] = None,
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
