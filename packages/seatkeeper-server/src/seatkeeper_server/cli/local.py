"""`seatkeeper local`: the license server of a customer's site. What it needs it makes on first start."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seatkeeper_server.cli._failures import wrong_values_told
from seatkeeper_server.cli._options import Data, Database, Host, TlsCert, TlsClientCa, TlsKey, Workers


def local(
    *,
    data: Data = None,
    database: Database = None,
    host: Host = None,
    port: Annotated[
        int | None, Parameter(env_var="SEATKEEPER_PORT", help="The TCP port; 6501 unless given, 0 takes a free one.")
    ] = None,
    workers: Workers = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    tls_client_ca: TlsClientCa = None,
    console_user: Annotated[
        str | None, Parameter(env_var="SEATKEEPER_CONSOLE_USER", help="Who may log in to the console; admin unless given.")
    ] = None,
    console_password_file: Annotated[
        Path | None,
        Parameter(
            env_var="SEATKEEPER_CONSOLE_PASSWORD_FILE",
            help="A file with his password, or SEATKEEPER_CONSOLE_PASSWORD; one is made on the first start unless given.",
        ),
    ] = None,
) -> None:
    """Serve the seats that were lent to this site until told to stop; what is under way is answered."""
    from seatkeeper_server.apps import local as house
    from seatkeeper_server.settings import LocalSettings

    options = {
        "data": data,
        "database": database,
        "workers": workers,
        "host": host,
        "port": port,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "tls_client_ca": tls_client_ca,
        "console_user": console_user,
        "console_password_file": console_password_file,
    }
    with wrong_values_told():
        settings = LocalSettings(**{name: value for name, value in options.items() if value is not None})  # type: ignore[arg-type]
    house.serve(settings)
